"""`collect` and `import`: rollout files from environments, synthetic sources and what others have made."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlp_dyn.commands.arguments import device, key_values
from dlp_dyn.errors import InputError

if TYPE_CHECKING:
    from dlp_dyn.data.images import Crop

SYNTHETIC_EPISODES = {"balls": (400, 50, 50), "shapes": (40_000, 2_000, 2_000)}


def collect(args: argparse.Namespace) -> None:
    """Play an environment, or draw a synthetic source, into a rollout file."""
    from dlp_dyn.progress import track

    _refuse_existing(args)
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
            crop=_crop(args.crop),
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


def import_(args: argparse.Namespace) -> None:
    """Turn pictures that somebody else made into a rollout file."""
    from dlp_dyn.data.convert import convert
    from dlp_dyn.data.readers import Choices
    from dlp_dyn.progress import track

    _refuse_existing(args)
    fps = _fps(args.fps)
    with track("import", None, "episodes") as bar:
        convert(
            args.path,
            args.out,
            image_size=args.image_size,
            crop=_crop(args.crop),
            episode_length=args.episode_length,
            choices=Choices(fps, args.bits, args.series, args.allow_damaged, args.camera, bar.say),
            seed=args.seed,
            progress=bar.reach,
        )


def export(args: argparse.Namespace) -> None:
    """Write a rollout file as other tools keep their data."""
    from dlp_dyn.data.export import export_data
    from dlp_dyn.progress import track

    _refuse_existing(args)
    particles = None
    if args.run_folder is not None:
        from dlp_dyn.observation.encoder import load_encoder

        particles = load_encoder(args.run_folder, device=device(args.device)).raw
    with track("export", None, "episodes") as bar:
        export_data(args.data, args.out, args.format, particles=particles, progress=bar.reach)
    print(args.out)


def _fps(text: str | None) -> float | str | None:
    if text is None or text == "all":
        return text
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 0 < fps < 100_000:
        raise InputError(f"--fps {text}: give frames a second above 0, or all")
    return fps


def _refuse_existing(args: argparse.Namespace) -> None:
    if Path(args.out).exists() and not args.overwrite:
        raise InputError(f"{args.out}: exists already; choose another place, or replace it with --overwrite")


def _parts(text: str) -> tuple[int, ...]:
    """TRAIN,VALIDATION,TEST, or one number of which a tenth each is for validation and test."""
    counts = tuple(_count(word) for word in text.split(","))
    if len(counts) == 3:
        return counts
    if len(counts) != 1 or counts[0] < 3:
        raise InputError(f"--episodes {text}: give one number (3 or more) or TRAIN,VALIDATION,TEST")
    tenth = max(counts[0] // 10, 1)
    return counts[0] - 2 * tenth, tenth, tenth


def _crop(text: str | None) -> "Crop | None":
    if text is None or text == "square":
        return text
    sides = text.split(",")
    if len(sides) != 4 or not all(side.isdecimal() and len(side) < 10 for side in sides):
        raise InputError(f"--crop {text}: give 'square' or LEFT,TOP,RIGHT,BOTTOM in pixels")
    left, top, right, bottom = map(int, sides)
    return left, top, right, bottom


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise InputError(f"--episodes {text[:40]}: not a number of episodes")
    return int(text)
