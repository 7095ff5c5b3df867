"""Real trainings killed at random moments, again and again, until they are done: then they are as if never killed."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from agents import config as agent_config
from agents import train as agent_training
from benchmarks.faults.places import AGENT, CLIPS, SMALL, VIDEO
from benchmarks.faults.saving import widen_renames
from dlp_dyn import config, folders
from dlp_dyn.training import loop

LONG = ["steps=12", "save_every=2", "eval_every=4", "sample_every=6"]
FEWEST_S = 0.05


@dataclass(frozen=True)
class Training:
    """start: into a folder. resume: the run there. weights: the file that has to come out the same."""

    start: Callable[[Path], object]
    resume: Callable[[Path], object]
    weights: str = "model.safetensors"


def trainings(data: Path, image: Path) -> dict[str, Training]:
    def of(*words: str) -> Training:
        def start(out: Path) -> object:
            return loop.train(config.load(words[0], [*words[1:], *LONG, f"data.path={data}", f"out={out}"]))

        return Training(start, loop.resume)

    def agent(*words: str) -> Training:
        def start(out: Path) -> object:
            return agent_training.train(agent_config.load("push1", [*AGENT, *words, f"out={out}"]))

        return Training(start, agent_training.resume, "agent.safetensors")

    graph = ["dynamics.kind=graph", "dynamics.window=2"]
    return {
        "images": of("tiny", *SMALL),
        "clips": of("tiny", *SMALL, *graph, *CLIPS),
        "second stage": of("tiny", *VIDEO, "dynamics.kind=graph", "stage=dynamics", f"image={image}"),
        "agent": agent("steps=160"),
        "agent, most of it its warm-up": agent("steps=440", "warm_up.steps=400"),
    }


def killed_often(
    training: Training, place: Path, chance: random.Random, kills: int, longest_s: float
) -> tuple[int, int, int]:
    """Trainings killed until they are done, as many as it takes for so many kills.

    Gives the kills, the trainings, and how many of these came out right.
    """
    killed = trained = right = 0
    while killed < kills:
        folder = place / str(trained)
        folder.mkdir()
        n, same = killed_until_done(training, folder, chance, longest_s)
        killed, trained, right = killed + n, trained + 1, right + same
    return killed, trained, right


def killed_until_done(
    training: Training, place: Path, chance: random.Random, longest_s: float
) -> tuple[int, bool]:
    """How many kills it took, and whether all that was said and what came out is right."""
    whole, cut = place / "whole", place / "cut"
    seconds = time.monotonic()
    if _ended(lambda: training.start(whole), None) != 0:
        raise RuntimeError("the training fails where nobody kills it")
    seconds = min(time.monotonic() - seconds, longest_s)
    kills = 0
    for kills in range(1, 1_000):
        begun = folders.complete(cut / "checkpoints" / "last").exists()
        go = training.resume if begun else training.start
        code = _ended(lambda go=go: go(cut), chance.uniform(FEWEST_S, seconds))
        if code == 0:
            files = [run / "checkpoints" / "last" / training.weights for run in (whole, cut)]
            expected, found = map(load_file, files)
            return kills - 1, all(torch.equal(x, found[name]) for name, x in expected.items())
        if code is not None:
            return kills, False
    return kills, False


def _ended(work: Callable[[], object], kill_after: float | None) -> int | None:
    """The exit code of work in a process of its own, None where it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            widen_renames()
            work()
            code = 0
        finally:
            os._exit(code)
    until = None if kill_after is None else time.monotonic() + kill_after
    while until is None or time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
