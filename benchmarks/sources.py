"""The preset `image` on sources of any kind, without another setting: one table, pictures a source.

    python -m benchmarks.sources push3 boxing my_film.h5 --steps 1000 --out runs/sources

A source is a rollout file, or a name of benchmarks/source_files.py, whose file is made in --data unless it is there.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.source_files import DOCUMENTS, SOURCES, named
from dlp_dyn import config
from dlp_dyn.evaluation.images import evaluate
from dlp_dyn.training.loop import train

COLUMNS = (
    "recall", "precision", "position_error_px", "recall_free", "recall_contact", "moving_recall", "moving_precision",
    "moving_share", "psnr",
)  # fmt: skip


def measure(path: Path, out: Path, overrides: Sequence[str], episodes: int | None) -> dict[str, float]:
    """Train on a file as it is, and judge the best checkpoint on its test part."""
    start = time.perf_counter()
    run = train(config.load("image", [f"data.path={path}", f"out={out}", *overrides]))
    minutes = (time.perf_counter() - start) / 60
    return evaluate(run, path, max_episodes=episodes).overall | {"minutes": minutes}


def row(name: str, figures: dict[str, float]) -> str:
    """A line of the table; what a file has no truth for is left open."""
    cells = [f"{figures[c]:.3f}" if c in figures else "-" for c in COLUMNS]
    return f"| {name} | " + " | ".join(cells) + f" | {figures['minutes']:.0f} |"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", help=f"rollout files, or any of {', '.join(SOURCES)}")
    parser.add_argument("--steps", type=int, default=3000, help="(default: 3000)")
    parser.add_argument("--episodes", type=int, help="of the test part that are evaluated (default: all)")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="where files are made (default: data)"
    )
    parser.add_argument(
        "--films",
        type=Path,
        default=DOCUMENTS,
        help=f"where the films of packages lie (default: {DOCUMENTS})",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/sources"), help="(default: runs/sources)")
    parser.add_argument(
        "--set", nargs="+", default=[], help="settings for all sources alike, as in ablations"
    )
    args = parser.parse_args(words)
    print(f"| source | {' | '.join(COLUMNS)} | minutes |\n|{'---|' * (len(COLUMNS) + 2)}")
    for source in args.sources:
        path = Path(source) if Path(source).suffix else named(source, args.data, args.films)
        settings = [f"steps={args.steps}", *args.set]
        print(row(path.stem, measure(path, args.out / path.stem, settings, args.episodes)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
