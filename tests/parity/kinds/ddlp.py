"""DDLP (`ObjectDynamicsDLP` of ddlp): DLPv2 tracked through a clip, and a transformer over particles and time."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from bundles import Bundle
from kinds import dlp
from kinds.dlp import Official, statistics, swap
from torch import Tensor

from dlp_dyn import geometry, official
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.image.attributes import Attributes
from dlp_dyn.image.encoder import Encoding, SceneEncoder
from dlp_dyn.objectives.clip_elbo import ClipElbo, flat_encoding
from dlp_dyn.particles import Particles, Scene, SceneDistribution
from dlp_dyn.tracking.state import TrackState
from dlp_dyn.tree import cat, tree_map
from dlp_dyn.video import VideoModel

CONVERTS = True


def holds(bundle: Bundle) -> bool:
    keys = bundle.state_dict
    return any(key.startswith("fg_module.") for key in keys) and any(
        key.startswith("dyn_module.") for key in keys
    )


@torch.no_grad()
def outputs(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    model, weights = official.load(bundle.state_dict, bundle.hparams)
    assert isinstance(model, VideoModel)
    model.to(torch.get_default_dtype())
    video, theirs, encoder = bundle.inputs["x"], Official(bundle), model.image.encoder
    frames = video.flatten(0, 1)
    clips = follow_official(model, video, theirs)
    yield from dlp.proposed(flat_encoding(clips))
    yield from dlp.read_off(looks(encoder, video, theirs))
    yield from dlp.described(encoder, frames, theirs)
    yield from dlp.drawn(model.image.decoder, theirs)
    yield from dlp.constants(theirs)
    yield from clip_losses(model, video, clips, weights, bundle.hparams)
    scene = theirs.scene.map(lambda x: x.unflatten(0, video.shape[:2]))
    yield from predicted(model.dynamics(scene).scenes)
    yield from rolled_out(model, bundle)


def looks(encoder: SceneEncoder, video: Tensor, theirs: Official) -> Attributes:
    """What the first frame's two looks read, and those of later frames at the official places of the one before."""
    b, n_frames = video.shape[:2]

    def at(t: int) -> Official:
        outputs = {k: v.unflatten(0, (b, n_frames))[:, t] for k, v in per_frame(theirs.bundle).items()}
        return Official(Bundle(theirs.bundle.path, {}, {}, {}, outputs))

    read = [dlp.two_looks(encoder, video[:, 0], at(0))]
    for t in range(1, n_frames):
        p, crops = at(t - 1).scene.particles, at(t - 1).crops
        read.append(encoder.track(video[:, t], p.position, p.scale, crops))
    return tree_map(lambda *parts: torch.stack(parts, 1).flatten(0, 1), *read)


def per_frame(bundle: Bundle) -> dict[str, Tensor]:
    n = len(bundle.outputs["rec"])
    return {name: x for name, x in bundle.outputs.items() if x.ndim and len(x) == n}


def follow_official(model: VideoModel, video: Tensor, theirs: Official) -> Encoding:
    """Every frame of a clip, tracked from the official state of the frame before, as one clip."""
    scene = theirs.scene.map(lambda x: x.unflatten(0, video.shape[:2]))
    crops = theirs.crops.unflatten(0, video.shape[:2])
    static = model.cfg.tracking.static_frames
    frames = []
    for t in range(video.shape[1]):
        p = scene.particles[:, t - 1]
        state = TrackState(p.position, p.scale, crops[:, t - 1], None) if t else None
        proposals = model.image.encoder.propose(video[:, min(t, static - 1)])
        frames.append(replace(model.encode(video[:, t : t + 1], state)[0], proposals=proposals[:, None]))
    return cat(frames, 1)


def clip_losses(
    model: VideoModel, video: Tensor, clips: Encoding, weights: dict[str, float], hparams: dict
) -> Iterator[tuple[str, Tensor]]:
    """Official terms are sums over the frames of a clip; ours are divided by their number."""
    terms, images = ClipElbo(model).clip_terms(video, clips)
    terms = {name: term.mean() for name, term in terms.items()}
    yield "loss/loss", torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    yield "loss/psnr", dlp.psnr(video.flatten(0, 1), images)
    terms = {name: video.shape[1] * term for name, term in terms.items()}
    later = hparams.get("beta_dyn_rec", 0.1)  # the official default
    terms["reconstruction"] = terms["reconstruction"] + later * terms["reconstruction_dynamic"]
    terms["kl_background"] = terms["kl_background"] / model.cfg.image.background_dim
    image_weights = weights | {"kl_background": weights["kl_features"]}
    image_terms = {k: v for k, v in terms.items() if "dynamic" not in k}
    named = dict(dlp.loss_terms(image_terms, image_weights, flat_encoding(clips), hparams["kl_balance"]))
    yield from ((name, term) for name, term in named.items() if name != "loss/loss")
    yield "loss/kl_dyn", torch.stack([v for k, v in terms.items() if k.startswith("dynamic_")]).sum()


def predicted(q: SceneDistribution) -> Iterator[tuple[str, Tensor]]:
    """What the dynamics expect of the frames after the first, given the official ones."""
    p = q.particles
    for name, normal in {
        "scale": p.scale,
        "depth": p.depth,
        "features": p.features,
        "bg": q.background,
    }.items():
        for key, value in statistics(f"{name}_dyn", normal, swap if name == "scale" else lambda x: x):
            yield key, value
    for key, value in statistics("dyn", p.position, swap):
        yield key, value
    yield "obj_on_a_dyn", p.transparency.concentration1
    yield "obj_on_b_dyn", p.transparency.concentration0


def rolled_out(model: VideoModel, bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    """The frames seen, each tracked from the official places of the one before, and those predicted from them."""
    outputs, video = bundle.outputs, bundle.inputs["x_sample"]
    context, horizon = bundle.hparams["cond_steps"], bundle.hparams["num_steps"]
    truth = Scene(
        Particles(
            swap(outputs["sample/z_pos"]),
            swap(outputs["sample/z_scale"]),
            outputs["sample/z_depth"],
            outputs["sample/z_obj_on"][..., None],
            outputs["sample/z_features"],
        ),
        outputs["sample/z_bg_features"],
    )
    side = model.cfg.image.glimpse_size
    seen = []
    for t in range(context):
        state = None
        if t:
            p = truth.particles[:, t - 1]
            crops = geometry.crop_glimpses(video[:, t - 1], p.position, p.size, side)
            state = TrackState(p.position, p.scale, crops, None)
        seen.append(model.encode(video[:, t : t + 1], state)[0].scene)
    scene = rollout(model.dynamics, truth[:, :context], horizon)
    ours = [
        torch.cat([*frames, future[:, context:]], 1) for *frames, future in zip(*seen, scene, strict=True)
    ]
    position, scale, depth, transparency, features, background = ours
    yield "sample/z_pos", swap(position)
    yield "sample/z_scale", swap(scale)
    yield "sample/z_depth", depth
    yield "sample/z_obj_on", transparency
    yield "sample/z_features", features
    yield "sample/z_bg_features", background
    yield "sample/rec", model.images(scene)
    yield "sample/z_ids", torch.arange(1, position.shape[2] + 1).expand(position.shape[:3])
