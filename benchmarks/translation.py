"""Whether a picture's content is drawn in the class of another: Push with one disc, whose colour is the class.

    dlp-dyn collect envs:Push-v0 --set n_objects=1 shape=disc random_colours=true time_limit=40 --episodes 200 \
        --policy envs.policies:RestlessPusher --image-size 32 --out disc.h5
    dlp-dyn train soft_intro_translation data.path=disc.h5
    python -m benchmarks.translation disc.h5 RUN...

The true translation is painted: the content's places, and the colour of the class. Pairs are of two test episodes with
other colours.
"""

import sys

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.clip import to_images
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.evaluation.images import spread_frames
from dlp_dyn.metrics import psnr
from dlp_dyn.soft_intro.families import load
from dlp_dyn.soft_intro.translation import TranslationVAE
from envs.drawing import PALETTE, Painter
from envs.table import FOOTPRINTS
from envs.tasks import layout_of

_FRAMES, _SHIFT = 400, 150  # of the test part; how far apart the two of a pair are
_COLUMNS = (
    "PSNR",
    "of reconstructions",
    "content as it is",
    "colour of the class",
    "of the content",
    "of neither",
)


def pairs(rollouts: Rollouts) -> tuple[Tensor, Tensor, Tensor, np.ndarray, np.ndarray, np.ndarray]:
    """Contents, classes, true translations; their discs' pixels, and the colours of class and content."""
    found = spread_frames(rollouts, "test", _FRAMES)
    assert found.states is not None
    places, colours = found.states["position"], np.rint(255 * found.states["colour"][:, 0]).astype(np.uint8)
    visible = found.states["visible"][:, :1]
    others = np.roll(np.arange(len(places)), _SHIFT)
    side = found.frames.shape[1]
    painter = Painter(side, layout_of("free", False), FOOTPRINTS["disc"])
    poses = np.concatenate([places[:, :1], np.zeros_like(places[:, :1, :1])], -1)
    true = np.stack(
        [
            painter.draw(*each)
            for each in zip(poses, colours[others][:, None], visible, places[:, 1], strict=True)
        ]
    )
    kept = (colours != colours[others]).any(1) & visible[:, 0]
    disc = found.states["masks"] == 1
    contents = to_images(found.frames)
    return (
        contents[kept],
        contents[others][kept],
        to_images(true)[kept],
        disc[kept],
        colours[others][kept],
        colours[kept],
    )


def nearest(drawn: Float[Tensor, "B 3 S S"], disc: np.ndarray) -> np.ndarray:
    """The colour of the palette that is nearest to the mean of a disc's pixels."""
    mask = torch.from_numpy(disc)[:, None]
    mean = (drawn * mask).sum((2, 3)) / mask.sum((2, 3)).clamp_min(1)
    gap = (mean[:, None] - torch.from_numpy(PALETTE / 255.0)).norm(dim=-1)
    return PALETTE[gap.argmin(1).numpy()]


def figures(model: TranslationVAE, rollouts: Rollouts) -> list[str]:
    contents, classes, true, disc, wanted, own = pairs(rollouts)
    drawn = model.translate(contents, classes).clamp(0, 1)
    again = model.reconstruct(contents).clamp(0, 1)
    told = nearest(drawn, disc)
    of_class, of_content = (told == wanted).all(1).mean(), (told == own).all(1).mean()
    means = [float(psnr(a, b).mean()) for a, b in ((true, drawn), (contents, again), (true, contents))]
    return [f"{x:.2f}" for x in (*means, of_class, of_content, 1 - of_class - of_content)]


def main(data: str, runs: list[str]) -> None:
    print(f"| run | {' | '.join(_COLUMNS)} |\n| --- |{' --- |' * len(_COLUMNS)}")
    for run in runs:
        model = load(run)
        assert isinstance(model, TranslationVAE)
        print(f"| {run} | {' | '.join(figures(model, Rollouts(data)))} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
