"""How sharp predicted pictures are when other image models of the same particles draw them.

    python -m benchmarks.sharpness VIDEO DATA RUN...    prints a table, of the video model's own first

VIDEO: a video model; its dynamics predict the first test episodes of DATA, with their actions. RUN: image or video
models that began as its image model; they encode the context and draw what is predicted.
"""

import sys

import torch
from torch import Tensor

from dlp_dyn.checkpoint import load, load_video_model
from dlp_dyn.clip import to_images
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.strided import read_strided
from dlp_dyn.evaluation.samples import gradient_energy
from dlp_dyn.image.model import DLP
from dlp_dyn.metrics import psnr
from dlp_dyn.video import VideoModel

_CONTEXT, _HORIZON, _EPISODES = 10, 20, 10
_MOVED = 0.1  # of a colour, from the last frame that was seen
_COLUMNS = ("PSNR", "PSNR of moved pixels", "gradient energy", "place px", "looks")


def figures(model: VideoModel, video: Tensor, actions: Tensor | None) -> list[str]:
    """At the last step. gradient energy: of drawn pictures over that of true ones. place, looks: how far what is
    predicted is from its drawing encoded again, of visible particles; pixels, and root mean square."""
    future = model.predict(video[:, :_CONTEXT], _HORIZON, actions)
    drawn, true = model.images(future)[:, -1].clamp(0, 1), video[:, -1]
    moved = (true - video[:, _CONTEXT - 1]).abs().amax(1, keepdim=True) > _MOVED
    wrong = ((true - drawn).square() * moved).sum() / (3 * moved.sum())
    scene = future[:, -1]
    again = model.image.encode(drawn).mean
    p, q = scene.particles, again.particles
    gap = (p.position[:, :, None] - q.position[:, None]).norm(dim=-1)
    nearest = gap.argmin(-1)
    visible = p.transparency[..., 0] > 0.5
    place = gap.amin(-1)[visible].mean() * video.shape[-1] / 2
    features = q.features.gather(1, nearest[..., None].expand_as(p.features))
    looks = (features - p.features)[visible].square().mean().sqrt()
    numbers = (
        psnr(true, drawn).mean(),
        -10 * wrong.log10(),
        gradient_energy(drawn).mean() / gradient_energy(true).mean(),
    )
    return [f"{float(x):.2f}" for x in numbers] + [f"{float(place):.3f}", f"{float(looks):.3f}"]


@torch.no_grad()
def main(video: str, data: str, runs: list[str]) -> None:
    rollouts, cfg = Rollouts(data), load_video_model(video).cfg
    chosen = rollouts.some_of("test", _EPISODES)
    episodes = [read_strided(rollouts, int(i), _CONTEXT + _HORIZON, cfg.stride) for i in chosen]
    seen = torch.stack([to_images(e.frames) for e in episodes])
    known = [torch.from_numpy(e.actions) for e in episodes if e.actions is not None]
    actions = torch.stack(known).float() if cfg.dynamics.action_dim else None
    print(f"| image model | {' | '.join(_COLUMNS)} |\n| --- |{' --- |' * len(_COLUMNS)}")
    for run in [video, *runs]:
        model, other = load_video_model(video), load(run)
        model.image.load_state_dict((other if isinstance(other, DLP) else other.image).state_dict())
        print(f"| {run} | {' | '.join(figures(model, seen, actions))} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
