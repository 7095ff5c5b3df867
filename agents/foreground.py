"""Which particles are objects, found without labels: by transparency, and by how often what looks alike moves."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.cluster.vq import kmeans2

from agents.rewards import Things
from dlp_dyn.errors import InputError
from dlp_dyn.settings import Count, Fraction, above, check, parse_json

FEWEST_FRAMES = 50


@dataclass(frozen=True)
class ForegroundConfig:
    """Particles are grouped by appearance. How often a group moves says whether it is background, agent or objects."""

    groups: Count = 12
    """Groups of looks; more than there are kinds of things."""
    motion: Annotated[float, above(0, "in [-1, 1] units")] = 0.03
    """A particle moves when its nearest look-alike of the next frame is so far away or
    farther."""
    still: Fraction = 0.005
    """Less than `agent`: a group that moves in a smaller share of the steps is background."""
    agent: Fraction = 0.6
    """A group that moves in a larger share is what the actions drive."""

    def __post_init__(self) -> None:
        check(self, "foreground")
        if self.still >= self.agent:
            raise InputError(
                f"foreground: still is {self.still} and agent {self.agent}; give a still below agent"
            )


@dataclass(frozen=True)
class Foreground:
    """Groups of like appearance, how often each moved, and which are objects."""

    centres: Float[np.ndarray, "K F"]
    moving: Float[np.ndarray, " K"]
    is_object: Bool[np.ndarray, " K"]

    def __call__(self, things: Things) -> Things:
        """The same particles; only objects stay present."""
        group = _group(things.features.astype(np.float64), self.centres)
        return Things(things.position, things.features, things.present & self.is_object[group])

    def to_json(self) -> str:
        fields = {"centres": self.centres, "moving": self.moving, "is_object": self.is_object}
        return json.dumps({name: value.tolist() for name, value in fields.items()}) + "\n"


def load(path: Path) -> Foreground:
    """A file of what `Foreground.to_json` gives. Raises InputError for other files."""
    try:
        raw = parse_json(path.read_text())
        return Foreground(np.array(raw["centres"]), np.array(raw["moving"]), np.array(raw["is_object"], bool))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no foreground filter ({type(error).__name__}); train the agent again"
        ) from None


def fit(cfg: ForegroundConfig, rollouts: list[Things], seed: int = 0) -> Foreground:
    """From the particles (T, N) of a few rollouts, best of random actions: objects must not move all the time.

    Raises InputError when the rollouts are too short, or nothing in them moves like an object.
    """
    n_frames = sum(len(r.present) for r in rollouts)
    if n_frames < FEWEST_FRAMES:
        raise InputError(f"foreground: {n_frames} frames are too few; give {FEWEST_FRAMES} or more")
    appearance = np.concatenate([r.features[r.present] for r in rollouts]).astype(np.float64)
    if len(appearance) < cfg.groups:
        raise InputError(
            f"foreground: only {len(appearance)} particles are on in {n_frames} frames; check the encoder"
        )
    rng = np.random.default_rng(seed)
    centres, group = kmeans2(appearance, cfg.groups, minit="++", rng=rng, missing="warn")
    moved, followed = zip(*(_moved(r, cfg.motion) for r in rollouts), strict=True)
    in_group = np.split(group, np.cumsum([r.present.sum() for r in rollouts])[:-1])
    moves, seen = np.zeros(cfg.groups), np.zeros(cfg.groups)
    for rollout, labels, m, f in zip(rollouts, in_group, moved, followed, strict=True):
        of = np.zeros(rollout.present.shape, int)
        of[rollout.present] = labels
        seen += np.bincount(of[:-1][f], minlength=cfg.groups)
        moves += np.bincount(of[:-1][f & m], minlength=cfg.groups)
    moving = moves / np.maximum(seen, 1)
    is_object = (moving >= cfg.still) & (moving <= cfg.agent)
    if not is_object.any():
        shares = ", ".join(f"{share:.3f}" for share in np.sort(moving))
        raise InputError(
            f"foreground: no group moves in {cfg.still} to {cfg.agent} of the steps (they move in {shares}); "
            "give more rollouts, or other reward.foreground settings"
        )
    return Foreground(centres, moving, is_object)


def _moved(rollout: Things, motion: float) -> tuple[Bool[np.ndarray, "S N"], Bool[np.ndarray, "S N"]]:
    """Which particles moved until the next frame, and of which that is known: of those whose look-alike is there."""
    spread = np.maximum(rollout.features[rollout.present].var(0).mean(), 1e-9)
    now, then = slice(None, -1), slice(1, None)
    gap = rollout.position[now][:, :, None] - rollout.position[then][:, None]
    far = np.square(gap.astype(np.float64)).sum(-1)
    look_gap = rollout.features[now][:, :, None] - rollout.features[then][:, None]
    unlike = np.square(look_gap.astype(np.float64)).mean(-1) / spread
    both = rollout.present[now][:, :, None] & rollout.present[then][:, None]
    # A step is short beside the picture: a look-alike nearby is the same thing rather than one far away.
    cost = np.where(both, unlike + far / 0.1, np.inf)
    match = cost.argmin(-1)
    distance = np.sqrt(np.take_along_axis(far, match[..., None], -1)[..., 0])
    followed = np.isfinite(cost.min(-1)) & (np.take_along_axis(unlike, match[..., None], -1)[..., 0] < 1)
    return distance >= motion, followed


def _group(appearance: Float[np.ndarray, "*B F"], centres: Float[np.ndarray, "K F"]) -> Int[np.ndarray, "*B"]:
    return np.square(appearance[..., None, :] - centres).sum(-1).argmin(-1)
