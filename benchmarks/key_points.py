"""Key points by linear regression from particles: landmarks of faces, and centres of objects in no order.

    python -m benchmarks.key_points faces runs/dlpv1_faces faces.h5 --labelled 100 1000
    python -m benchmarks.key_points centres runs/dlpv1_shapes runs/shapes shapes.h5 --labelled 100 1000

Labelled frames are of the training part, errors of the test part.
faces: MAFL's protocol (`landmark_errors`), per cent of the distance between the eyes; beside it regression from
principal components of the pixels, found on the training part without labels, and the mean landmarks: they see nothing.
centres: pixels; of each object the particle nearest to it is taken: its position itself (`as it is`, no labels), and
regression from its position and from all that it has.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from dlp_dyn.checkpoint import load_model
from dlp_dyn.data.rollouts import Part, Rollouts
from dlp_dyn.data.writer import Episode
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.images import spread_frames
from dlp_dyn.evaluation.keypoints import (
    ParticleRows,
    centre_error,
    eye_distance_error,
    landmark_errors,
    nearest_rows,
    pixel_error,
    read_particles,
    regress,
)
from dlp_dyn.image.keypoint_vae.model import KeypointVAE
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.dlpv1 import cut
from dlp_dyn.settings import has_section
from dlp_dyn.sharing.locate import CONFIG, resolve

UNLABELLED, TEST = 3000, 1000  # frames: principal components are found on, errors are of
COMPONENTS = (16, 64, 256)


def load(run: str) -> KeypointVAE | DLP:
    v1 = has_section(resolve(run) / CONFIG, "keypoint_vae")
    return KeypointVAE.from_pretrained(run).eval() if v1 else load_model(run)


def frames_of(rollouts: Rollouts, part: Part, n: int, side: int) -> Episode:
    """Cut to the middle that a model of this side sees, positions with them."""
    episode = spread_frames(rollouts, part, n)
    if episode.states is None or "position" not in episode.states:
        raise InputError(f"{rollouts.path}: no positions in it; give a file that has them")
    whole = episode.frames.shape[1]
    middle = cut(torch.from_numpy(episode.frames).movedim(-1, 1), side).movedim(1, -1).numpy()
    position = episode.states["position"] * (whole - 1) / (side - 1)
    return Episode(middle, states={**episode.states, "position": position})


def faces(model: KeypointVAE | DLP, rollouts: Rollouts, labelled: Sequence[int]) -> None:
    """Print a table."""
    side = model.cfg.image_size
    train, test = frames_of(rollouts, "train", UNLABELLED, side), frames_of(rollouts, "test", TEST, side)
    rows, others = (read_particles(model, part.frames) for part in (train, test))
    landmarks, truth = (_positions(part) for part in (train, test))
    few, many = principal_components(train.frames, test.frames, max(COMPONENTS))
    print(f"{len(test)} faces; per cent of the distance between the eyes\n")
    for n in labelled:
        some = np.linspace(0, len(train) - 1, n).round().astype(int)
        errors = landmark_errors(rows.map(lambda x, some=some: x[some]), landmarks[some], others, truth)
        for k in COMPONENTS:
            if k < n:
                found = regress(few[some, :k], landmarks[some], many[:, :k], intercept=True)
                errors[f"{k} principal components"] = eye_distance_error(found, truth)
        nothing = np.broadcast_to(landmarks[some].mean(0), truth.shape)
        errors["mean landmarks"] = eye_distance_error(nothing, truth)
        print(f"{n} labelled: " + ", ".join(f"{name} {x:.2f}" for name, x in errors.items()), flush=True)


def principal_components(
    frames: UInt8[np.ndarray, "N H W 3"], others: UInt8[np.ndarray, "M H W 3"], n: int
) -> tuple[Float[np.ndarray, "N n"], Float[np.ndarray, "M n"]]:
    """Coordinates of both along the n directions in which `frames` differ most."""
    pixels, seen = (torch.from_numpy(x.reshape(len(x), -1)).float() / 255 for x in (frames, others))
    middle = pixels.mean(0)
    torch.manual_seed(0)
    directions = torch.pca_lowrank(pixels - middle, n, center=False, niter=4)[2]
    found, rest = (((x - middle) @ directions).double().numpy() for x in (pixels, seen))
    return found, rest


def centres(runs: Sequence[str], rollouts: Rollouts, labelled: Sequence[int]) -> None:
    """Print a table."""
    print("| run | as it is |" + "".join(f" position, {n} | all, {n} |" for n in labelled))
    print("|---" * (2 + 2 * len(labelled)) + "|")
    for run in runs:
        model = load(run)
        side = model.cfg.image_size
        train, test = (
            frames_of(rollouts, "train", max(labelled), side),
            frames_of(rollouts, "test", TEST, side),
        )
        rows, others = (read_particles(model, part.frames) for part in (train, test))
        known, truth = ((_positions(part), _visible(part)) for part in (train, test))
        found, expected = nearest_rows(others, *truth, "position")
        cells = [f"{pixel_error(found[:, None], expected[:, None], side):.2f}"]
        for n in labelled:
            some = np.linspace(0, len(train) - 1, n).round().astype(int)
            few: ParticleRows = rows.map(lambda x, some=some: x[some])
            for what in ("position", "all"):
                error = centre_error(few, (known[0][some], known[1][some]), others, truth, side, what)
                cells.append(f"{error:.2f}")
        print(f"| {Path(run).name} | {' | '.join(cells)} |", flush=True)


def _positions(part: Episode) -> np.ndarray:
    assert part.states is not None
    return np.asarray(part.states["position"], np.float64)


def _visible(part: Episode) -> np.ndarray:
    assert part.states is not None
    return part.states.get("visible", np.ones(part.states["position"].shape[:2]))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("faces", "centres"))
    parser.add_argument("runs", nargs="+", help="of image models; of faces the first alone")
    parser.add_argument("data", help="rollout file with positions")
    parser.add_argument(
        "--labelled", type=int, nargs="+", default=[100, 1000], help="frames (default: 100 1000)"
    )
    args = parser.parse_args(words)
    if args.what == "faces":
        faces(load(args.runs[0]), Rollouts(args.data), args.labelled)
    else:
        centres(args.runs, Rollouts(args.data), args.labelled)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
