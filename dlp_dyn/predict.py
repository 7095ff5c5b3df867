"""Predict the future of videos and draw it."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dlp_dyn.checkpoint import load_video_model, rollouts_of
from dlp_dyn.clip import Clip, to_images
from dlp_dyn.data.images import as_rgb
from dlp_dyn.data.readers import open_source
from dlp_dyn.data.rollouts import Part
from dlp_dyn.data.steering import read_embeddings
from dlp_dyn.data.strided import read_strided, strided_lengths
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.images import check_views
from dlp_dyn.evaluation.video import check_fits
from dlp_dyn.image.model import DLP
from dlp_dyn.particles import Scene
from dlp_dyn.plotting import pictures, videos
from dlp_dyn.tracking.looks import alike, carried
from dlp_dyn.video import VideoModel

SUFFIXES = (".gif", ".webp", ".mp4")
VIDEOS = (".gif", ".webp", ".mp4", ".avi", ".mov", ".mkv")


def predict(
    run: str | Path,
    data: str | Path,
    out: str | Path,
    context: int = 10,
    horizon: int = 50,
    samples: int = 0,
    episodes: int = 4,
    part: Part = "test",
    seed: int = 0,
    device: str = "cpu",
    fps: float = 12.0,
    goal: str | Path | None = None,
    text: str | Path | None = None,
    replay: str | Path | None = None,
) -> Scene:
    """Draw what a run predicts after the first `context` frames of episodes or of one video; gives the scenes.

    data: a rollout file, or a GIF or MP4. samples: 0 draws the most likely future, K draws K random ones of the first
    episode, one below the other. goal: a picture to reach. text: a npy file with the tokens (length, width) of a text
    encoder. replay: a video whose latent actions, told from its frames, move these scenes from the first frame on.
    Raises InputError for a run without dynamics, data that is too short or of another size, missing actions, and for a
    goal, a text or a video that the model cannot follow.
    """
    out = check_out(out)
    for name, value in (("context", context), ("horizon", horizon)):
        if value < 1:
            raise InputError(f"{name} {value}: give 1 frame or more")
    if samples < 0:
        raise InputError(f"samples {samples}: give 0 for the most likely future, or how many random ones")
    if episodes < 1:
        raise InputError(f"episodes {episodes}: give 1 or more")
    model = load_video_model(run, device)
    frames, actions = _read(run, model, Path(data), part, 1 if samples else episodes, context, horizon)
    video = Clip(torch.from_numpy(frames[:, :context])).to(device).video
    generator = torch.Generator(device).manual_seed(seed)
    if actions is not None:
        actions = actions.to(device)
    scene = model.predict(
        video, horizon, actions, samples, generator, **_steering(model, video, goal, text, replay)
    )
    truth = frames[:, : context + horizon]
    if samples:
        truth = np.repeat(truth, samples, 0)
    pictures.write_video(out, videos.prediction_video(model, scene, truth, context), fps)
    return scene


def _steering(
    model: VideoModel,
    context: Float[Tensor, "B T C H W"],
    goal: str | Path | None,
    text: str | Path | None,
    replay: str | Path | None,
) -> dict[str, Tensor]:
    """What steers predictions beside actions, as `VideoModel.predict` takes it."""
    device, n, found = context.device, len(context), {}
    if goal is not None:
        found["goal"] = to_images(read_fitting_video(Path(goal), model.image)[:1]).expand(n, -1, -1, -1)
    if text is not None:
        found["language"] = (
            torch.from_numpy(read_embeddings(text, ("length", "width"))).float()[None].expand(n, -1, -1)
        )
    if replay is not None:
        video = to_images(read_fitting_video(Path(replay), model.image))[None].to(device)
        found["latent"] = _carried(model, video, context)
    return {name: x.to(device) for name, x in found.items()}


def _carried(
    model: VideoModel, video: Float[Tensor, "1 U C H W"], context: Float[Tensor, "B T C H W"]
) -> Float[Tensor, "B K M L"]:
    """The latent actions of a video, of the same patches or, where particles are tracked, of those that look alike."""
    latent = model.latent_actions(video).expand(len(context), -1, -1, -1)
    if model.cfg.tracking.kind == "grid":
        return latent
    with torch.no_grad():
        source, target = (model.encode(x)[0].scene for x in (video, context))
    return carried(latent, alike(source.map(lambda x: x.expand(len(context), *x.shape[1:])), target))


def check_out(out: str | Path) -> Path:
    """The file to draw into. Raises InputError where its suffix is of no kind that can be written."""
    out = Path(out)
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out}: cannot write '{out.suffix}'; use one of {', '.join(SUFFIXES)}")
    return out


def _read(
    run: str | Path, model: VideoModel, path: Path, part: Part, episodes: int, context: int, horizon: int
) -> tuple[UInt8[np.ndarray, "B T H W 3"], Float[Tensor, "B T A"] | None]:
    """Frames that are a stride apart, as many as the shortest episode has, and actions where the model wants them."""
    if path.suffix.lower() in VIDEOS:
        return _read_video(model, path, context), None
    rollouts = rollouts_of(run, path)
    check_fits(model, rollouts)
    stride = model.cfg.stride
    index = rollouts.some_of(part)
    wants_actions = model.cfg.dynamics.action_dim > 0
    least = context + horizon if wants_actions else context
    lengths = strided_lengths(rollouts, index, stride)
    if lengths.max() < least:
        raise InputError(
            f"{path}: the longest episode of the {part} part has {lengths.max()} frames, {least} are needed: "
            "lower context or horizon"
        )
    index, lengths = index[lengths >= least][:episodes], lengths[lengths >= least][:episodes]
    read = [read_strided(rollouts, int(i), int(lengths.min()), stride) for i in index]
    frames = np.stack([episode.frames for episode in read])
    if not wants_actions:
        return frames, None
    return frames, torch.stack([torch.as_tensor(episode.actions).float() for episode in read])


def _read_video(model: VideoModel, path: Path, context: int) -> UInt8[np.ndarray, "1 T H W 3"]:
    if model.cfg.dynamics.action_dim:
        raise InputError(f"{path}: the model was trained with actions, a video has none: give a rollout file")
    frames = read_fitting_video(path, model.image)[None, :: model.cfg.stride]
    if frames.shape[1] < context:
        raise InputError(f"{path}: {frames.shape[1]} frames, context {context} asks for more: lower it")
    return frames


def read_fitting_video(path: Path, model: DLP) -> UInt8[np.ndarray, "T S S 3"]:
    """`read_video`, for a model. Raises InputError for frames of another size too, and as `check_views`."""
    check_views(model, path)
    frames, side = read_video(path), model.cfg.image_size
    height, width = frames.shape[1:3]
    if (height, width) != (side, side):
        raise InputError(
            f"{path}: frames of {width}x{height} pixels, the model sees {side}x{side}; "
            f"import it as a rollout file with images of {side} pixels"
        )
    return frames


def read_video(path: Path) -> UInt8[np.ndarray, "T H W 3"]:
    """The frames of a GIF or video file. Raises InputError for what cannot be read, and for pictures with alpha."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    frames = [as_rgb(image, name) for stream in open_source(path) for name, image in stream.frames()]
    if len({frame.shape for frame in frames}) != 1:
        raise InputError(
            f"{path}: frames of several sizes, or none; turn it into a rollout file with dlp-dyn import"
        )
    return np.stack(frames)
