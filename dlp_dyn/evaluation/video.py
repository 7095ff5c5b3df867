"""Evaluating predictions on rollouts: pictures, positions, motion and actions, beside simple baselines."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dlp_dyn import metrics
from dlp_dyn.checkpoint import load_video_model, rollouts_of
from dlp_dyn.clip import Clip
from dlp_dyn.data.rollouts import Part, Rollouts
from dlp_dyn.data.strided import read_strided, strided_lengths
from dlp_dyn.data.writer import Episode
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation import trajectories as tracks
from dlp_dyn.evaluation.frechet import ClipFeatures
from dlp_dyn.evaluation.images import Score, check_size
from dlp_dyn.evaluation.motion_statistics import diameters
from dlp_dyn.evaluation.trajectories import Trajectories
from dlp_dyn.evaluation.video_report import ClipScores, VideoReport, report
from dlp_dyn.particles import Scene
from dlp_dyn.video import VideoModel

_AT_ONCE = 16  # episodes
_FRAMES_AT_ONCE = 8  # of each, that are tracked


def evaluate_video(
    run: str | Path,
    data: str | Path,
    part: Part = "test",
    context: int = 10,
    horizon: int | None = None,
    lpips: bool = False,
    device: str = "cpu",
    max_episodes: int | None = None,
    progress: Callable[[int], None] | None = None,
    fvd: str | Path | None = None,
    seed: int = 0,
) -> VideoReport:
    """Predict every episode of a part from its first `context` frames, for `horizon` steps or to its end.

    fvd: a network that gives features of clips (see `frechet.ClipFeatures`). seed: of the exchange of actions, and of
    samples.
    Raises InputError for a run without dynamics, and for data that is too short or does not fit the model.
    """
    model, rollouts = load_video_model(run, device), rollouts_of(run, data)
    check_fits(model, rollouts)
    stride = model.cfg.stride
    if max_episodes is not None and max_episodes < 1:
        raise InputError(f"episodes {max_episodes}: give 1 or more")
    episodes = rollouts.some_of(part, max_episodes)
    steps = _horizon(
        int(strided_lengths(rollouts, episodes, stride).min()), context, horizon, f"{data}, {part}"
    )
    scores: dict[str, Score] = {"psnr": metrics.psnr, "ssim": metrics.ssim}
    if lpips:
        scores["lpips"] = metrics.Lpips().to(device)
    network = None if fvd is None else ClipFeatures(fvd, device)
    exchanged = model.cfg.dynamics.action_dim > 0 and len(episodes) > 1
    others = episodes[derangement(len(episodes), seed)] if exchanged else None
    evaluated, generator = [], torch.Generator(device).manual_seed(seed)
    for begin in range(0, len(episodes), _AT_ONCE):
        some = slice(begin, begin + _AT_ONCE)
        read = [read_strided(rollouts, int(i), context + steps, stride) for i in episodes[some]]
        other = None
        if others is not None:
            other = [read_strided(rollouts, int(i), context + steps, stride) for i in others[some]]
        evaluated.append(evaluate_clips(model, read, context, scores, other, network, generator))
        if progress:
            progress(begin + len(read))
    return report(evaluated, context, rollouts.image_size[0])


def check_fits(model: VideoModel, rollouts: Rollouts) -> None:
    """Raise InputError for frames of another size, and for actions that are missing, too wide or too narrow."""
    check_size(model.image, rollouts)
    stride = model.cfg.stride
    width, found = model.cfg.dynamics.action_dim, rollouts.action_dim * stride
    if width and not found:
        raise InputError(
            f"{rollouts.path}: no actions in it, the model was trained with actions of width {width}: "
            "give a file that has them"
        )
    if width not in (0, found):
        raise InputError(
            f"{rollouts.path}: actions of width {found} between frames (stride {stride}), the model was trained with "
            f"width {width}: give a file of the same environment"
        )


def _horizon(shortest: int, context: int, horizon: int | None, where: str) -> int:
    """How many frames to predict: as asked, or all that follow the context."""
    for name, value in (("context", context), ("horizon", horizon)):
        if value is not None and value < 1:
            raise InputError(f"{name} {value}: give 1 frame or more")
    steps = max(shortest - context, 1) if horizon is None else horizon
    if context + steps > shortest:
        raise InputError(
            f"{where}: the shortest episode has {shortest} frames, {context} are seen and {steps} predicted: "
            "lower context or horizon"
        )
    return steps


def derangement(n: int, seed: int) -> Int[np.ndarray, " n"]:
    """A random order of 2 things or more in which each takes another's place."""
    order = np.random.default_rng(seed).permutation(n)
    places = np.empty(n, int)
    places[order] = np.roll(order, 1)
    return places


@torch.no_grad()
def evaluate_clips(
    model: VideoModel,
    episodes: Sequence[Episode],
    context: int,
    scores: Mapping[str, Score],
    others: Sequence[Episode] | None = None,
    network: ClipFeatures | None = None,
    generator: torch.Generator | None = None,
) -> ClipScores:
    """Predict equally long episodes and compare.

    others: as many episodes, whose actions take the place of the true ones after the last context frame: the method
    `shuffled actions`. Of random dynamics, `model` follows the policy's means, which have seen no frame to come; `one
    sample` is drawn from it; `told the future` follows latent actions that were inferred from the frames to be
    predicted, as published PSNR, SSIM and LPIPS of LPWM do: not to be put beside the others. FVD is of samples there.
    """
    device = next(model.parameters()).device
    video = Clip(torch.from_numpy(np.stack([e.frames for e in episodes])).to(device)).video
    horizon, side = video.shape[1] - context, video.shape[-1]
    actions = _actions(model, episodes)
    scenes = {"model": model.predict(video[:, :context], horizon, actions)}
    if others is not None and actions is not None:
        wrong = _actions(model, others)
        assert wrong is not None
        wrong = torch.cat([actions[:, : context - 1], wrong[:, context - 1 :]], 1)
        scenes["shuffled actions"] = model.predict(video[:, :context], horizon, wrong)
    if model.dynamics.random:
        scenes["one sample"] = model.predict(video[:, :context], horizon, actions, 1, generator)
        latent = model.latent_actions(video, actions)
        scenes["told the future"] = model.predict(video[:, :context], horizon, actions, latent=latent)
    found = {name: tracks.of_particles(scene.particles, side) for name, scene in scenes.items()}
    tracking = tracks.of_particles(model.follow(video.split(_FRAMES_AT_ONCE, 1)).particles, side)
    seen = found["model"].frames(0, context)
    found["last frame"] = tracks.still(seen, horizon)
    found["constant velocity"] = tracks.straight(seen, horizon)

    motions, diameter = {"tracking": tracking, "model": found["model"]}, None
    states = [e.states for e in episodes if e.states and "position" in e.states]
    if len(states) == len(episodes):
        truth = tracks.of_states(states, side)
        diameter = diameters(states, truth.visible)
        motions = {"truth": truth, **motions}
        found["tracking"] = tracking
    else:
        truth = tracking
    later = truth.frames(context)
    figures: dict[str, dict[str, np.ndarray]] = {}
    for method, path in found.items():
        path = path.frames(context)
        figures[method] = tracks.follow(path, later, tracks.match_first(path, later))
    if "truth" in motions:
        figures["true constant velocity"] = _true_constant_velocity(truth, states, context, side)
    features = _compare_pictures(model, video, context, scenes, scores, network, figures)
    motions = {method: path.frames(context - 1) for method, path in motions.items()}
    return ClipScores(figures, motions, diameter, features)


def _actions(model: VideoModel, episodes: Sequence[Episode]) -> Float[Tensor, "B T A"] | None:
    known = [e.actions for e in episodes if e.actions is not None]
    if model.cfg.dynamics.action_dim == 0 or not known:
        return None
    return torch.from_numpy(np.stack(known)).float().to(next(model.parameters()).device)


def _true_constant_velocity(
    truth: Trajectories, states: Sequence[Mapping[str, np.ndarray]], context: int, side: int
) -> dict[str, Float[np.ndarray, "B H"]]:
    """Straight on from the true state, which for the velocity is the file's own or else the last motion."""
    horizon = truth.position.shape[1] - context
    velocity = None
    if all("velocity" in s for s in states):
        velocity = np.stack([s["velocity"][context - 1] for s in states]) * tracks.image_sides(side)
    straight = tracks.straight(truth.frames(0, context), horizon, velocity).frames(context)
    known = truth.visible[:, context - 1]
    return tracks.follow(straight, truth.frames(context), np.where(known, np.arange(known.shape[1]), -1))


def _compare_pictures(
    model: VideoModel,
    video: Float[Tensor, "B T C H W"],
    context: int,
    scenes: Mapping[str, Scene],
    scores: Mapping[str, Score],
    network: ClipFeatures | None,
    figures: dict[str, dict[str, np.ndarray]],
) -> dict[str, Float[np.ndarray, "B D"]]:
    """Adds the scores of the pictures to `figures`; gives the clips' features where there is a network."""
    target, last = video[:, context:], video[:, context - 1 : context].expand_as(video[:, context:])
    features = {} if network is None else {"truth": network(target)}
    for method in (*scenes, "last frame"):
        images = last
        if method in scenes:
            images = model.images(scenes[method].map(lambda x: x[:, context:]))
        pairs = target.flatten(0, 1), images.flatten(0, 1)
        measured = {name: score(*pairs) for name, score in scores.items()}
        measured["psnr_moving"] = metrics.psnr_moving(*pairs, last.flatten(0, 1))
        measured = {
            name: v.view(target.shape[:2]).float().cpu().double().numpy() for name, v in measured.items()
        }
        figures[method] = measured | figures[method]
        if network is not None:
            features[method] = network(images)
    return features
