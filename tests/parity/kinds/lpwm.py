"""LPWM (`DLP` of lpwm with several frames): a particle grid, latent actions, dynamics, and rollouts of all three kinds.

Weights are of single precision and outputs of double: ours, in double, are run from images to the end.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from bundles import Bundle
from kinds.dlp import psnr, statistics, swap
from torch import Tensor

from dlp_dyn import official
from dlp_dyn.clip import Clip
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.dynamics.latent_actions import LatentActionDynamics, LatentState
from dlp_dyn.dynamics.rollout import unroll
from dlp_dyn.image.encoder import Encoding
from dlp_dyn.objectives.config import ScheduleConfig
from dlp_dyn.objectives.lpwm import LatentActionElbo
from dlp_dyn.particles import Scene, SceneDistribution, mean
from dlp_dyn.tree import cat
from dlp_dyn.video import VideoModel

CONVERTS = True
LEFT_OUT = {"debug/*": "inputs and outputs of trunks, which later outputs tell"}
_SCORE_LOG_VARIANCE = -3.218876  # of N(., 0.2²), which nothing reads


def holds(bundle: Bundle) -> bool:
    return any(key.startswith("ctx_module.") for key in bundle.state_dict)


@dataclass(frozen=True)
class World:
    """A model and what steers it in a bundle."""

    model: VideoModel
    dynamics: LatentActionDynamics
    inputs: dict[str, Tensor]
    goal: Scene | None

    def conditions(self, n_frames: int | None) -> Conditions:
        """Of the first frames, or of all."""
        actions = self.inputs.get("actions")
        return Conditions(
            None if actions is None else actions[:, :n_frames], self.goal, self.inputs.get("lang_embed")
        )


@torch.no_grad()
def outputs(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    model, weights = official.load(bundle.state_dict, bundle.hparams)
    assert isinstance(model, VideoModel)
    assert isinstance(model.dynamics, LatentActionDynamics)
    model.to(torch.get_default_dtype())
    video, goal = bundle.inputs["x"], bundle.inputs.get("x_goal")
    goals = None if goal is None else model.encode(goal.view(len(video), 1, *goal.shape[-3:]))[0]
    world = World(model, model.dynamics, bundle.inputs, None if goals is None else goals.scene[:, 0])
    encoding = model.encode(video)[0]
    yield from encoded(encoding, goals)
    decoded = model.image.decoder(encoding.drawn().map(lambda x: x.flatten(0, 1)))
    yield "dec_objects_original", decoded.glimpses[:, :, [3, 0, 1, 2]]
    yield "rec", decoded.image
    yield from confidence(world, video, encoding)
    yield from trained(world, encoding.scene)
    if "actions_mask" in bundle.inputs:
        yield from masked(world, encoding.scene)
    yield from losses(world, weights, bundle)
    yield from rolled_out(world, bundle)


def losses(world: World, weights: Mapping[str, float], bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    """Whole, in the warm-up, and with frames beyond the end of an episode."""
    inputs, n_frames = bundle.inputs, bundle.inputs["x"].shape[1]
    actions, goal = inputs.get("actions"), inputs.get("x_goal")
    clip = Frames(
        inputs["x"],
        None if actions is None else actions[:, :n_frames],
        None if goal is None else goal.view(len(inputs["x"]), *goal.shape[-3:]),
        inputs.get("lang_embed"),
    )
    balance = bundle.hparams["kl_balance"]
    for prefix, steps, alive in (("loss", 0, None), ("loss_warmup", 1, None), ("loss_done", 0, "done_mask")):
        if f"{prefix}/loss" not in bundle.outputs:
            continue
        objective = LatentActionElbo(world.model, ScheduleConfig(static_steps=steps), mean)
        mask = None if alive is None else inputs[alive]
        found, metrics = objective(replace(clip, alive=mask), step=1)
        terms = {name: value.mean() for name, value in found.items()}
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        named = dict(named_terms(terms, 1 if mask is not None else n_frames, balance))
        named |= {"loss": total, "obj_on_l1": metrics["n_visible"].mean()}
        named |= {"psnr": psnr(inputs["x"], pictures(world, clip)), "loss_kl_score_dyn": torch.zeros(())}
        for name, value in named.items():
            if f"{prefix}/{name}" in bundle.outputs:
                yield f"{prefix}/{name}", value


def named_terms(terms: dict[str, Tensor], n: int, balance: float) -> Iterator[tuple[str, Tensor]]:
    """Official terms are sums over the frames of a clip; ours are divided by their number."""
    t = {name: n * term for name, term in terms.items()}
    yield "loss_rec", t["reconstruction"] + t["reconstruction_dynamic"]
    yield "loss_kl_kp", 0.5 * balance * t["kl_anchor"] + t["kl_position"]
    for ours, theirs in (("scale", "scale"), ("depth", "depth"), ("transparency", "obj_on")):
        yield f"loss_kl_{theirs}", t[f"kl_{ours}"]
    features = t["kl_features"] + t["kl_background"]
    yield "loss_kl_feat", features
    kls = ("position", "scale", "depth", "transparency")
    yield "kl", sum((t[f"kl_{k}"] for k in kls), 0.5 * balance * t["kl_anchor"] + balance * features)
    pieces = {
        "kp": "position",
        "scale": "scale",
        "depth": "depth",
        "obj_on": "transparency",
        "feat": "features",
    }
    for theirs, ours in pieces.items():
        yield f"loss_kl_{theirs}_dyn", t[f"dynamic_{ours}"]
    yield "kl_dyn", sum((t[f"dynamic_{k}"] for k in pieces.values()), t["dynamic_background"])
    yield "loss_kl_context", t["dynamic_latent"]
    yield "loss_obj_reg", t["transparency_sum"]


@dataclass(frozen=True)
class Frames(Clip):
    """A clip of frames in [0, 1], which golden bundles hold."""

    @property
    def video(self) -> Tensor:
        return self.frames


def pictures(world: World, clip: Clip) -> Tensor:
    drawn = world.model.encode(clip.video)[0].drawn().map(lambda x: x.flatten(0, 1))
    return world.model.image.decoder(drawn).image.view_as(clip.video)


def encoded(encoding: Encoding, goals: Encoding | None) -> Iterator[tuple[str, Tensor]]:
    q, scene = encoding.posterior.particles, encoding.scene
    p = scene.particles
    yield "kp_p", swap(encoding.proposals).flatten(0, 1)
    yield "z_base", swap(encoding.anchors)
    yield "z", swap(p.position)
    yield "mu_tot", swap(p.position)
    offset = swap(q.position.loc - encoding.anchors)
    yield "mu_offset", offset
    yield "z_offset", offset
    yield "logvar_offset", 2 * swap(q.position.scale).log()
    yield from statistics("scale", q.scale, swap)
    yield "z_scale", swap(p.scale)
    yield "obj_on_a", q.transparency.concentration1
    yield "obj_on_b", q.transparency.concentration0
    yield "obj_on", p.transparency
    yield "mu_obj_on", p.transparency
    yield from statistics("depth", q.depth)
    yield "z_depth", p.depth
    yield from statistics("features", q.features)
    yield "z_features", p.features
    yield from statistics("bg_features", encoding.posterior.background)
    yield "z_bg_features", scene.background
    crops = encoding.glimpses if goals is None else torch.cat([encoding.glimpses, goals.glimpses], 1)
    yield "cropped_objects_original", crops.flatten(0, 2)


def confidence(world: World, video: Tensor, encoding: Encoding) -> Iterator[tuple[str, Tensor]]:
    """How wide a heat map is, and how unsure the offset read there; in no order but that of the patches."""
    encoder = world.model.image.encoder
    moments = encoder.proposals(video.flatten(0, 1)).moments.view(*encoding.anchors.shape[:3], 3)
    spread = torch.cat(
        [moments[..., [1, 0, 2]], 2 * swap(encoding.posterior.particles.position.scale).log()], -1
    )
    yield "z_base_var", spread
    score = 2 * spread.sum(-1, keepdim=True) / 30 - 1
    yield "mu_score", score
    yield "z_score", score
    yield "logvar_score", torch.full_like(score, _SCORE_LOG_VARIANCE)


def trained(world: World, scene: Scene) -> Iterator[tuple[str, Tensor]]:
    """Latent actions and predictions of the training forward."""
    n_frames = scene.background.shape[1]
    predicted = world.dynamics(scene, world.conditions(n_frames), mean)
    posterior, policy = world.dynamics.context(scene, world.conditions(n_frames))
    yield from statistics("context", posterior)
    yield "z_context", posterior.loc
    for name, value in statistics("context_dyn", policy):
        yield f"context/{name}", value
        yield name, value[:, :-1]
    if world.goal is not None:
        context = world.dynamics.context
        assert context.goal is not None
        yield "context/z_goal_proj", context.goal(context.tokens(world.goal))[:, None]
    yield from dynamics(predicted.scenes)


def dynamics(q: SceneDistribution) -> Iterator[tuple[str, Tensor]]:
    p = q.particles
    yield from statistics("dyn", p.position, swap)
    yield from statistics("scale_dyn", p.scale, swap)
    yield from statistics("depth_dyn", p.depth)
    yield from statistics("features_dyn", p.features)
    yield from statistics("bg_dyn", q.background)
    yield "obj_on_a_dyn", p.transparency.concentration1
    yield "obj_on_b_dyn", p.transparency.concentration0


def masked(world: World, scene: Scene) -> Iterator[tuple[str, Tensor]]:
    """With actions that are not known."""
    n_frames = scene.background.shape[1]
    known = world.inputs["actions_mask"].view(len(scene.background), -1)[:, :n_frames, None] > 0
    actions = world.inputs["actions"][:, :n_frames].masked_fill(~known, torch.nan)
    posterior, policy = world.dynamics.context(
        scene, Conditions(actions, world.goal, world.inputs.get("lang_embed"))
    )
    yield "masked/mu_context", posterior.loc
    yield "masked/mu_context_dyn", policy.loc


def rolled_out(world: World, bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    """From the policy's means, with latent actions of the whole truth, and with given ones."""
    video, n_context = bundle.inputs["x_sample"], bundle.hparams["cond_steps"]
    seen = world.model.encode(video[:, :n_context])[0]
    policy = Recorder(world, seen.scene, None)
    scene = policy.unroll(bundle.hparams["num_steps"])
    yield from scenes(scene, "sample/")
    yield "sample/z_context", policy.latent
    for name in (
        "mu",
        "z",
    ):  # the official list has the last observed transition twice, and not the last imagined
        known = policy.latent[:, : n_context - 1]
        yield f"sample/{name}_context_posterior", torch.cat([known, *policy.posterior], 1)
    first = seen.map(lambda x: x[:1])
    drawn = world.model.image.decoder(first.drawn().map(lambda x: x.flatten(0, 1))).image[None]
    future = world.model.images(scene[:1, n_context:])
    yield "sample/rec", torch.cat([drawn, future], 1)
    if "sample_all_context/z_context" in bundle.outputs:
        whole = world.model.encode(video)[0].scene
        latent = world.dynamics.infer(whole, world.conditions(video.shape[1]))
        yield "sample_all_context/z_context", latent
        found = Recorder(world, seen.scene, latent).unroll(bundle.hparams["num_steps"])
        yield from scenes(found, "sample_all_context/")
    if "z_context_given" in bundle.inputs:
        given = Recorder(world, seen.scene, bundle.inputs["z_context_given"])
        yield from scenes(given.unroll(bundle.hparams["num_steps"]), "sample_given/")


class Recorder:
    """A rollout, and what the context module said on the way."""

    def __init__(self, world: World, context: Scene, latent: Tensor | None) -> None:
        self.world, self.context = world, context
        conditions = world.conditions(context.background.shape[1])
        self.state: LatentState = world.dynamics.start(context, conditions, latent)
        self.latent = self.state.latent
        self.posterior: list[Tensor] = []

    def unroll(self, horizon: int) -> Scene:
        dynamics, conditions = self.world.dynamics, self.world.conditions(None)
        scene = self.context
        for step in unroll(dynamics, scene, horizon, conditions, mean, self.state):
            assert step.latent is not None
            if step.latent.policy is not None:
                self.latent = torch.cat([self.latent, step.latent.drawn], 1)
                self.posterior.append(self._posterior(scene, conditions))
            scene = cat([scene, step.drawn.map(lambda x: x[:, None])], 1)
        return scene

    def _posterior(self, scene: Scene, conditions: Conditions) -> Tensor:
        """Of the latent action that led to the last frame, told from the window of the step after it."""
        end = scene.background.shape[1]
        first = max(end - self.world.dynamics.window, 0)
        return self.world.dynamics.context(scene[:, first:], conditions.between(first, end))[0].loc[:, -1:]


def scenes(scene: Scene, prefix: str) -> Iterator[tuple[str, Tensor]]:
    p = scene.particles
    yield f"{prefix}z_pos", swap(p.position)
    yield f"{prefix}z_scale", swap(p.scale)
    yield f"{prefix}z_depth", p.depth
    yield f"{prefix}z_obj_on", p.transparency
    yield f"{prefix}z_features", p.features
    yield f"{prefix}z_bg_features", scene.background
