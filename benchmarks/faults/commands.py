"""Every option of every command with every wrong value: exit code 2 and one line, and nothing changed.

Options are those of the parsers, so that new ones are tried by themselves. A value that a command takes is right too.
"""

import argparse
import ctypes
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agents import evaluate as agent_evaluation
from agents import export as agent_export
from agents import train as agent_training
from benchmarks.faults.places import AGENT, PUSH, VIDEO, prepare, wrong_values
from dlp_dyn import cli
from dlp_dyn.commands.parser import parser

Main = Callable[[Sequence[str]], int]
PATIENCE_S = 60.0
_LINUX_CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True)
class Try:
    """words: of a command; one of them, told of by `wrong`, is not what it is meant for."""

    main: Main
    command: str
    words: tuple[str, ...]
    wrong: str
    befalls: Callable[[Path], None] = lambda _: None  # in its process, before it begins


@dataclass(frozen=True)
class Ended:
    """code: None for a command that still worked when time was up."""

    code: int | None
    said: str
    changed: bool

    @property
    def right(self) -> bool:
        lines = [line for line in self.said.splitlines() if "error: " in line]
        told = len(lines) == 1 and self.said.splitlines()[-1] == lines[0] and "Traceback" not in self.said
        return self.code == 0 or (not self.changed and (self.code is None or (self.code == 2 and told)))


def working(place: Path) -> dict[str, list[str]]:
    """Words with which each command does what it should."""
    at = {path.name: str(path) for path in place.iterdir()}
    out = ["--out", "out.gif"]
    video = [at["video"], "--data", at["film.gif"], "--context", "3", "--horizon", "2", "--episodes", "1"]
    clips = [at["mover"], "--data", at["push.h5"], "--part", "train", "--episodes", "1"]
    return {
        "demo": ["--context", "3", "--horizon", "3", "--episodes", "1", *out],
        "collect": ["balls", "--episodes", "3", "--image-size", "32", "--set", "radius=2", "--out", "out.h5"],
        "import": [at["film.gif"], "--out", "out.h5"],
        "inspect": [at["data.h5"]],
        "train": ["tiny", f"data.path={at['data.h5']}", "steps=1", "out=run", "device=cpu", "eval_frames=1"],
        "evaluate": [at["image"], "--data", at["data.h5"], "--episodes", "1"],
        "predict": [*video, *out],
        "plan": [at["mover"], "--env", PUSH, "--steps", "1", "--horizon", "1", *out],
        "generate": [at["samples"], "--n", "2", "--out", "out.png"],
        "view": [at["video"], "--port", "0"],
        "convert": [at["weights.pth"], "--hparams", at["hparams.json"], "--out", "run"],
        "export": [at["image"], "--format", "torch", "--out", "programs"],
        "augment": [*clips, "--out", "out.h5"],
        "track": [*clips, "--out", "out.json"],
        "export-data": [at["data.h5"], "out", "--format", "lerobot"],
        "agents.train": ["push1", "observation.kind=state", "out=run", "steps=1", "warm_up.steps=1"],
        "agents.evaluate": [at["agent"], "--episodes", "1"],
        "agents.export": [at["agent"], "--out", "out.pt2"],
    }


def also_written(place: Path) -> dict[str, list[str]]:
    """More that commands write, as `working`; what follows a comma tells what."""
    at = {path.name: str(path) for path in place.iterdir()}
    second = [f"image={at['image']}", f"data.path={at['data.h5']}", "stage=dynamics", "dynamics.kind=graph"]
    seen = [
        f"observation.encoder={at['image']}",
        "observation.normalizer_frames=16",
        "env.settings.image_size=32",
    ]
    task = ["--task", "push1", "--pairs", "1", "--seeds", "0", "--horizon", "1"]
    words = working(place)
    return {
        "train, second stage": ["tiny", *VIDEO, *second, "out=run"],
        "train, samples": ["soft_intro_2d", "steps=1", "batch_size=16", "device=cpu", "out=run"],
        "plan, task": [at["mover"], *task],
        "predict, film": [*words["predict"][:-1], "out.mp4"],
        "track, MOT": [*words["track"][:-1], "mot", "--format", "mot"],
        "track, Rerun": [*words["track"][:-1], "out.rrd", "--format", "rerun"],
        "export-data, Minari": [at["push.h5"], "out", "--format", "minari"],
        "export-data, worldmodel": [at["data.h5"], "out.h5", "--format", "worldmodel"],
        "agents.train, particles": ["push1", *AGENT, *seen, "observation.kind=particles", "out=run"],
    }


AGENTS: dict[str, tuple[Main, list[str]]] = {
    "agents.train": (agent_training.main, ["--resume"]),
    "agents.evaluate": (agent_evaluation.main, ["--episodes", "--gif", "--encoder", "--set", "--seed"]),
    "agents.export": (agent_export.main, ["--out", "--encoder", "--checkpoint"]),
}


def tries(place: Path) -> Iterator[Try]:
    """All of them: commands x options x wrong values."""
    wrong = wrong_values(prepare(place))
    verbs = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    for command, words in working(place).items():
        if command in AGENTS:
            main, options = AGENTS[command]
        else:
            main = cli.main
            options = [
                action.option_strings[0]
                for action in verbs[command]._actions
                if action.option_strings and action.nargs != 0
            ]
        verb = [command] if main is cli.main else []
        for name, value in wrong.items():
            yield Try(main, command, (*verb, value, *words[1:]), f"{name} in the place of {words[0]}")
            for option in options:
                yield Try(main, command, (*verb, *_replaced(words, option, value)), f"{option}: {name}")


def disks(place: Path) -> Iterator[Try]:
    """Every command where nothing may be written, and where the disk is full after so many bytes of a file."""
    for name, words in (working(place) | also_written(place)).items():
        command = name.partition(",")[0]
        if command == "view":  # writes nothing
            continue
        main = AGENTS[command][0] if command in AGENTS else cli.main
        all_words = (command, *words) if main is cli.main else tuple(words)
        yield Try(main, name, all_words, "a folder that may not be written", _read_only)
        for size in (0, 1_000, 20_000):
            full = partial(_full, size)
            yield Try(main, name, all_words, f"a disk that is full after {size:,} bytes", full)


def _read_only(here: Path) -> None:
    os.environ["XDG_CACHE_HOME"] = str(here)  # what is encoded is kept there
    here.chmod(0o555)


def _full(size: int, here: Path) -> None:
    os.environ["XDG_CACHE_HOME"] = str(here)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _replaced(words: Sequence[str], option: str, value: str) -> list[str]:
    """Words with another value of an option, written so that it may begin with a minus."""
    if option not in words:
        return [*words, f"{option}={value}"]
    at = words.index(option)
    return [*words[:at], f"{option}={value}", *words[at + 2 :]]


def ended(one: Try, place: Path, here: Path) -> Ended:
    """Run a try in a process of its own, in an empty folder."""
    before = _listing(place)
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    ear, mouth = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(mouth, 1)
            os.dup2(mouth, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
            os.setsid()
            os.chdir(here)
            sys.path.append(str(here))
            _obey_permissions()
            one.befalls(here)
            code = _code(one)
        finally:
            os._exit(code)
    os.close(mouth)
    with ThreadPoolExecutor(1) as reader, os.fdopen(ear, errors="replace") as said:
        heard = reader.submit(said.read)
        code = _waited(child)
        return Ended(code, heard.result(), _listing(place) != before)


def _code(one: Try) -> int:
    try:
        return one.main(one.words)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1


def _waited(child: int) -> int | None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _obey_permissions() -> None:
    """Root reads and writes everything; without its capabilities it is an owner like any other."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)())


def _listing(place: Path) -> dict[str, tuple[int, int]]:
    """Files with size and time of change; what is kept beside a run is no change of it."""
    stats = {
        path: path.stat()
        for path in place.rglob("*")
        if "particles" not in path.parts and path.name != ".lock"
    }
    return {str(path): (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items() if path.is_file()}
