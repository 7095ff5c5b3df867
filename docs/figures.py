"""Pictures of the pages that no command draws: `python docs/figures.py FOLDER` writes particles.png there."""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Rectangle

from dlp_dyn.bundled import BALLS
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.geometry import to_pixel
from dlp_dyn.image.model import DLP
from dlp_dyn.particles import ON
from dlp_dyn.plotting.pictures import colours

EPISODE, FRAME = 1, 12


def draw_particles(path: Path) -> None:
    """A frame with boxes, and beside it each particle that is on: its numbers and its glimpse."""
    model = DLP.from_pretrained(BALLS)
    frame = Rollouts(BALLS / "clips.h5").episode(EPISODE).frames[FRAME]
    with torch.no_grad():
        scene = model.encode(torch.from_numpy(frame)[None].movedim(-1, -3).float() / 255).mean
        glimpses = model.decode(scene).glimpses[0].movedim(1, -1).numpy()
    p = scene.particles[0]
    slots = np.flatnonzero((p.transparency[:, 0] > ON).numpy())
    side, palette = frame.shape[0], colours(len(p.position)) / 255
    figure, axes = plt.subplots(
        1, 1 + len(slots), figsize=(10, 3.2), width_ratios=[1.5, *[1] * len(slots)], layout="constrained"
    )
    axes[0].imshow(frame)
    axes[0].set_autoscale_on(False)
    axes[0].set_title(f"{len(slots)} of {len(p.position)} particles are on", fontsize=9)
    for axis, slot in zip(axes[1:], slots, strict=True):
        x, y = to_pixel(p.position[slot], side).tolist()
        width, height = (p.size[slot] * side).tolist()
        corner, colour = (x - width / 2, y - height / 2), palette[slot]
        axes[0].add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=2))
        axes[0].plot(x, y, "o", color=colour, markeredgecolor="white", markersize=5)
        alpha = glimpses[slot, ..., 3:]
        axis.imshow(glimpses[slot, ..., :3] * alpha + 0.85 * (1 - alpha))
        for spine in axis.spines.values():
            spine.set(color=colour, linewidth=2)
        axis.set_title(f"slot {slot}", fontsize=9)
        axis.set_xlabel(
            f"position  {p.position[slot, 0]:.2f}, {p.position[slot, 1]:.2f}\n"
            f"size  {p.size[slot, 0]:.2f}, {p.size[slot, 1]:.2f}\n"
            f"depth  {p.depth[slot, 0]:.2f}   transparency  {p.transparency[slot, 0]:.2f}\n"
            f"features  {', '.join(f'{f:.1f}' for f in p.features[slot].tolist())}",
            fontsize=8,
        )
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def main(folder: str) -> None:
    draw_particles(Path(folder) / "particles.png")


if __name__ == "__main__":
    main(sys.argv[1])
