"""Trainings in every process that torch.distributed.run starts, without noise, and what each process read and wrote.

    python -m torch.distributed.run --nproc-per-node 2 tests/many_processes.py PLAN.json

PLAN.json: a list of [verb, path]: ["train", a config], or ["resume", a run folder], which goes on to step 8. Process
r notes in PLAN.r.json, for each of them, the world size, the clips it read and what it wrote.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import safetensors.torch
import torch

from dlp_dyn import config, folders
from dlp_dyn.data.clips import ClipDataset
from dlp_dyn.particles import mean
from dlp_dyn.plotting import pictures, videos
from dlp_dyn.training.loop import resume, train
from dlp_dyn.training.particle_clips import ParticleClips
from dlp_dyn.training.run_log import RunLog


@contextmanager
def noted(reads: list[int], writes: list[str]) -> Iterator[None]:
    """While open, clips that are read and files that are written are noted."""
    patches = [
        mock.patch.object(kind, "__getitems__", _reading(kind.__getitems__, reads))
        for kind in (ClipDataset, ParticleClips)
    ]
    patches += [
        mock.patch.object(owner, name, _writing(getattr(owner, name), name, writes))
        for owner, name in (
            (folders, "write"),
            (RunLog, "__init__"),
            (RunLog, "write"),
            (pictures, "write_image"),
            (videos, "prediction_video"),
            (config, "save"),
            (safetensors.torch, "save"),
        )
    ]
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


def _reading(real: Callable[..., Any], reads: list[int]) -> Callable[..., Any]:
    def read(self: Any, indices: Sequence[int]) -> Any:
        reads.extend(int(i) for i in indices)
        return real(self, indices)

    return read


def _writing(real: Callable[..., Any], name: str, writes: list[str]) -> Callable[..., Any]:
    def write(*args: Any, **kwargs: Any) -> Any:
        writes.append(name)
        return real(*args, **kwargs)

    return write


def _main(plan: Path) -> None:
    rank, notes = int(os.environ["RANK"]), []
    for verb, path in json.loads(plan.read_text()):
        reads: list[int] = []
        writes: list[str] = []
        with noted(reads, writes):
            if verb == "train":
                train(config.read(Path(path)), sample=mean)
            else:
                resume(path, ["steps=8"], sample=mean)
        world = torch.distributed.get_world_size()
        notes.append({"path": path, "rank": rank, "world": world, "reads": reads, "writes": writes})
    plan.with_suffix(f".{rank}.json").write_text(json.dumps(notes))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
