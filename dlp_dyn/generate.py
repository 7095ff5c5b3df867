"""What models make up, as pictures: videos of a generator, samples of a Soft-IntroVAE."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.checkpoint import rollouts_of
from dlp_dyn.clip import Clip, to_images
from dlp_dyn.data import densities
from dlp_dyn.data.rollouts import Part, Rollouts
from dlp_dyn.data.strided import read_strided
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.images import check_frames, spread_frames
from dlp_dyn.evaluation.video import check_fits
from dlp_dyn.generation.model import VideoGenerator
from dlp_dyn.particles import Scene
from dlp_dyn.plotting import pictures, samples, videos
from dlp_dyn.predict import check_out
from dlp_dyn.settings import read_yaml
from dlp_dyn.sharing.locate import CONFIG, resolve
from dlp_dyn.soft_intro import families
from dlp_dyn.soft_intro.style import StyleVAE
from dlp_dyn.soft_intro.translation import TranslationVAE

_ROWS, _BETWEEN = 6, 7  # of samples; drawings on a way


def draw_samples(run: str | Path, out: str | Path, n: int = 24, seed: int = 0, device: str = "cpu") -> Tensor:
    """Draw n samples of a Soft-IntroVAE into a picture; gives them as tensors (n, ...).

    Images and point clouds stand side by side, points of the plane in one square.
    Raises InputError for another run and a file that is no PNG, JPEG or WebP.
    """
    out = _picture_file(out)
    model = families.load(run, device)
    drawn = model.sample(n, torch.Generator(device).manual_seed(seed))
    if model.cfg.densities is not None:
        limit = densities.limit(str(read_yaml(resolve(run) / CONFIG).get("data", {}).get("path", "")))
        picture = samples.points_picture(drawn.cpu().numpy(), limit)
    else:
        one = samples.cloud_picture if model.cfg.point_clouds is not None else samples.image_picture
        tiles = [one(x) for x in drawn.float().cpu().numpy()]
        tiles += [np.full_like(tiles[0], 255)] * (-n % _ROWS)
        columns = [np.concatenate(tiles[i : i + _ROWS]) for i in range(0, len(tiles), _ROWS)]
        picture = np.concatenate(columns, 1)
    pictures.write_image(out, picture)
    return drawn


def draw_between(
    run: str | Path, data: str | Path, out: str | Path, n: int = 4, part: Part = "test", device: str = "cpu"
) -> Tensor:
    """Draw ways between n pairs of frames of a file into a picture, a row each; gives them as (n, 7, C, H, W).

    Raises InputError for a run that is no Soft-IntroVAE of images, and for frames that do not fit or are too few.
    """
    out = _picture_file(out)
    model = families.load(run, device)
    if model.cfg.image_size is None:
        raise InputError(f"{run}: a model of points; frames lie between those of images")
    ends = model.shown(_two_sets(data, model.cfg.image_size, n, part).to(device))
    drawn = model.interpolate(ends[:n], ends[n:], _BETWEEN)
    columns = {"from": ends[:n]} | {str(i + 1): x for i, x in enumerate(drawn.unbind(1))} | {"to": ends[n:]}
    pictures.write_image(out, samples.sample_picture(samples.image_picture, columns))
    return drawn


def draw_translated(
    run: str | Path, data: str | Path, out: str | Path, n: int = 4, part: Part = "test", device: str = "cpu"
) -> Tensor:
    """Draw the contents of n frames of a file in the classes of n others; gives them as (n classes, n, C, H, W).

    The first column of the picture is the frames whose content is drawn, the first row those of the classes.
    Raises InputError for a run of another kind, and for frames that do not fit or are too few.
    """
    out = _picture_file(out)
    model = families.load(run, device)
    if not isinstance(model, TranslationVAE):
        raise InputError(f"{run}: has no codes of content and class; train one with soft_intro_translation")
    frames = model.shown(_two_sets(data, model.own.image_size, n, part).to(device))
    contents, classes = frames[:n], frames[n:]
    drawn = torch.stack([model.translate(contents, kind.expand_as(contents)) for kind in classes])
    pictures.write_image(out, _every_pair(drawn, contents, classes, ("content", "class")))
    return drawn


def draw_mixed(
    run: str | Path,
    data: str | Path,
    out: str | Path,
    first: int | None = None,
    n: int = 4,
    part: Part = "test",
    device: str = "cpu",
) -> Tensor:
    """Draw n frames of a file with the finer styles of n others; gives them as (n others, n, C, H, W).

    first: the finer styles are those from this one on, of two a side from 4 pixels up; None is their finer half.
    The first column of the picture is the frames that give the coarse styles, the first row the others.
    Raises InputError for a run of another kind, for frames that do not fit or are too few, and where nothing is mixed.
    """
    out = _picture_file(out)
    model = families.load(run, device)
    if not isinstance(model, StyleVAE):
        raise InputError(f"{run}: does not draw by styles; train one with soft_intro_style")
    frames = model.shown(_two_sets(data, model.own.image_size, n, part).to(device))
    coarse, fine = frames[:n], frames[n:]
    first = model.own.n_levels if first is None else first
    drawn = torch.stack([model.mix(coarse, other.expand_as(coarse), first) for other in fine])
    pictures.write_image(out, _every_pair(drawn, coarse, fine, ("coarse", "fine")))
    return drawn


def _every_pair(
    drawn: Float[Tensor, "n m 3 S S"],
    rows: Float[Tensor, "m 3 S S"],
    columns: Float[Tensor, "n 3 S S"],
    names: tuple[str, str],
) -> samples.Picture:
    """Drawings of a frame at the left and one at the top each, with those frames."""
    left = {names[0]: torch.cat([torch.ones_like(rows[:1]), rows])}
    others = {f"{names[1]} {i + 1}": torch.cat([columns[i : i + 1], each]) for i, each in enumerate(drawn)}
    return samples.sample_picture(samples.image_picture, left | others)


def _two_sets(data: str | Path, side: int, n: int, part: Part) -> Float[Tensor, "F 3 S S"]:
    """n frames, and n others of later episodes."""
    rollouts = Rollouts(data)
    check_frames(side, rollouts)
    frames = spread_frames(rollouts, part, 2 * n).frames
    if len(frames) < 2 * n:
        raise InputError(
            f"{data}: {len(frames)} frames in the {part} part, {n} pairs are {2 * n}: give a smaller --n"
        )
    return to_images(frames)


def _picture_file(out: str | Path) -> Path:
    out = Path(out)
    if out.suffix.lower() not in (".png", ".jpg", ".webp"):
        raise InputError(f"{out}: samples are a picture; use .png, .jpg or .webp")
    return out


def draw_generated(
    run: str | Path,
    out: str | Path,
    n: int = 4,
    frames: int = 40,
    steps: int | None = None,
    eta: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    fps: float = 12.0,
) -> Scene:
    """Draw n clips that a generator makes up, one below the other; gives their scenes. The rest as in `generate`.

    Raises InputError for a run that generates nothing and a file of another kind.
    """
    out = check_out(out)
    model = VideoGenerator.from_pretrained(run, device=device)
    scenes = model.generate(n, frames, steps, eta, torch.Generator(device).manual_seed(seed))
    frames_drawn = videos.prediction_video(model.video, scenes, None, min(model.cfg.frames, frames))
    pictures.write_video(out, frames_drawn, fps)
    return scenes


def draw_filled(
    run: str | Path,
    data: str | Path,
    out: str | Path,
    missing: range,
    n: int = 4,
    steps: int | None = None,
    rounds: int = 5,
    seed: int = 0,
    part: Part = "test",
    device: str = "cpu",
    fps: float = 6.0,
) -> Scene:
    """Fill a gap in the first clips of n episodes of a file, drawn beside the truth; gives their scenes.

    steps, rounds: as of `VideoGenerator.complete`.
    Raises InputError for a run that generates nothing, a file that does not fit, and frames that clips do not have.
    """
    out = check_out(out)
    model = VideoGenerator.from_pretrained(run, device=device)
    rollouts, n_frames = rollouts_of(run, data), model.cfg.frames
    check_fits(model.video, rollouts)
    if not 0 < missing.start < missing.stop < n_frames:
        raise InputError(
            f"missing {missing.start}:{missing.stop}: a gap in clips of {n_frames} frames begins at 1 or later and "
            f"ends before {n_frames}"
        )
    stride = model.video.cfg.stride
    clips = [read_strided(rollouts, int(i), n_frames, stride).frames for i in rollouts.some_of(part, n)]
    truth = np.stack(clips)
    generator = torch.Generator(device).manual_seed(seed)
    scenes = model.complete(
        Clip(torch.from_numpy(truth).to(device)).video, missing, steps, rounds=rounds, generator=generator
    )
    drawn = videos.prediction_video(model.video, scenes, truth, missing.start, len(missing))
    pictures.write_video(out, drawn, fps)
    return scenes
