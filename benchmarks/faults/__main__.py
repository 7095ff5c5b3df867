"""Faults by kind: how often each was tried, and how often what followed was right.

python -m benchmarks.faults [saving|commands|disks|trainings ...] [--tries N]   (default: saving)
"""

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from benchmarks.faults import commands, saving
from benchmarks.faults.commands import Try
from benchmarks.faults.places import prepare
from benchmarks.faults.trainings import killed_often, trainings

LONGEST_S, KILLS = 15.0, 25  # until a training is killed; of a kind, at least


def _row(kind: str, tries: int, right: int) -> None:
    print(f"| {kind} | {tries} | {right} | {tries - right} |", flush=True)


def _saving(tries: int) -> None:
    for name, (kind, share) in saving.KINDS.items():
        n = max(round(tries * share), 1)
        _row(name, n, sum(saving.tried(kind, seed) for seed in range(n)))


def _each(made: Callable[[Path], Iterable[Try]]) -> None:
    """What is wrong is printed as it is found; then a row a command."""
    done, right = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as here:
        place = Path(name)
        for one in made(place):
            ended = commands.ended(one, place, Path(here) / "here")
            done[one.command] += 1
            right[one.command] += ended.right
            if not ended.right:
                print(f"{one.command}, {one.wrong}: {ended.said.strip()[-200:]}", flush=True)
    for command, n in done.items():
        _row(command, n, right[command])


def _disks(place: Path) -> Iterable[Try]:
    prepare(place)
    return commands.disks(place)


def _trainings() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        found = prepare(place)
        for kind, training in trainings(found["data"], found["image"]).items():
            folder = place / kind
            folder.mkdir()
            kills, tries, right = killed_often(training, folder, random.Random(0), KILLS, LONGEST_S)
            _row(f"{kind}, killed {kills} times until done, then equal to the last bit", tries, right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=("saving", "commands", "disks", "trainings", []))
    parser.add_argument("--tries", type=int, default=400, help="of the cheap kinds of saving (default: 400)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| kind | tries | right | wrong |\n|---|---|---|---|")
    for part in args.parts or ("saving",):
        if part == "saving":
            _saving(args.tries)
        elif part == "trainings":
            _trainings()
        else:
            _each(commands.tries if part == "commands" else _disks)


if __name__ == "__main__":
    main()
