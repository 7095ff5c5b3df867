"""`collect`: rollout files from environments and synthetic sources."""

import argparse
from collections.abc import Callable
from typing import Any

from dlp_dyn.commands.arguments import add_settings, key_values, whole
from dlp_dyn.commands.writing import add_writing, crop, refuse_existing
from dlp_dyn.errors import InputError

SYNTHETIC_EPISODES = {"balls": (400, 50, 50), "shapes": (40_000, 2_000, 2_000)}


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("env_id", metavar="ENV_ID", help='a Gymnasium id, "module:Id", or balls or shapes')
    sub.add_argument(
        "--episodes", help="how many; for balls and shapes also TRAIN,VALIDATION,TEST (default: 100)"
    )
    sub.add_argument("--max-steps", type=whole, default=1000, help="steps an episode at most (default: 1000)")
    sub.add_argument("--frame-skip", type=whole, default=1, help="environment steps an action (default: 1)")
    sub.add_argument(
        "--action-block", type=int, default=1, help="actions a frame, kept side by side (default: 1)"
    )
    sub.add_argument("--policy", default="random", help='"random" or "module:name" (default: random)')
    sub.add_argument("--n-envs", type=whole, default=1, help="processes that play (default: 1)")
    sub.add_argument(
        "--source", choices=("auto", "observation", "render"), default="auto", help="of the pictures"
    )
    balls = "balls: length, n_balls, radius, speed, turn_every, mode=interaction|occlusion"
    add_settings(sub, f"arguments of the environment; {balls}")
    add_writing(sub, image_size=64)


def run(args: argparse.Namespace) -> None:
    """Play an environment, or draw a synthetic source, into a rollout file."""
    from dlp_dyn.progress import track

    refuse_existing(args)
    settings = key_values(args.settings)
    if args.env_id in SYNTHETIC_EPISODES:
        counts = _parts(args.episodes) if args.episodes is not None else SYNTHETIC_EPISODES[args.env_id]
        write, settings = _synthetic(args.env_id, settings)
        with track(f"collect {args.env_id}", sum(counts), "episodes") as bar:
            write(
                args.out, counts, image_size=args.image_size, seed=args.seed, progress=bar.reach, **settings
            )
        return

    from dlp_dyn.data.collect import collect

    episodes = _count("100" if args.episodes is None else args.episodes)
    with track(f"collect {args.env_id}", episodes, "episodes") as bar:
        collect(
            args.env_id,
            args.out,
            episodes=episodes,
            max_steps=args.max_steps,
            image_size=args.image_size,
            crop=crop(args.crop),
            frame_skip=args.frame_skip,
            action_block=args.action_block,
            policy=args.policy,
            n_envs=args.n_envs,
            seed=args.seed,
            source=args.source,
            env_kwargs=settings,
            progress=bar.reach,
        )


def _synthetic(name: str, settings: dict[str, Any]) -> tuple[Callable[..., None], dict[str, Any]]:
    """The writer of a synthetic source, and its settings as it wants them."""
    from dlp_dyn.data.balls import Mode
    from dlp_dyn.data.synthetic import WRITERS
    from dlp_dyn.settings import Count, Natural, NonNegative, Positive
    from dlp_dyn.settings.kinds import checked

    balls = {
        "length": Count, "n_balls": Count, "radius": Positive, "speed": NonNegative, "mode": Mode,
        "turn_every": Natural,
    }  # fmt: skip
    known = {"balls": balls, "shapes": {}}[name]
    for key in settings:
        if key not in known:
            raise InputError(f"--set {key}: {name} has {', '.join(known) or 'no settings'}; leave it out")
    return WRITERS[name], {
        key: checked(known[key], value, None, key, "--set") for key, value in settings.items()
    }


def _parts(text: str) -> tuple[int, ...]:
    """TRAIN,VALIDATION,TEST, or one number of which a tenth each is for validation and test."""
    counts = tuple(_count(word) for word in text.split(","))
    if len(counts) == 3:
        return counts
    if len(counts) != 1 or counts[0] < 3:
        raise InputError(f"--episodes {text}: give one number (3 or more) or TRAIN,VALIDATION,TEST")
    tenth = max(counts[0] // 10, 1)
    return counts[0] - 2 * tenth, tenth, tenth


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise InputError(f"--episodes {text[:40]}: not a number of episodes")
    return int(text)
