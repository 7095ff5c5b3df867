"""What commands are tried on: small runs of every kind, data, and files that are something else."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch

from agents import config as agent_config
from agents import train as agent_training
from dlp_dyn import config
from dlp_dyn.bundled import BALLS
from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.collect import collect
from dlp_dyn.official import soft_intro
from dlp_dyn.soft_intro.families import build
from dlp_dyn.training.loop import train

SMALL = [
    "batch_size=2",
    "eval_frames=2",
    "device=cpu",
    "steps=4",
    "log_every=1",
    "eval_every=4",
    "save_every=2",
]
VIDEO = [
    *SMALL, "dynamics.window=4", "dynamics.rollout_steps=2", "dynamics.graph.hidden_dim=16",
    "optimizer.warm_up_steps=1",
]  # fmt: skip
AGENT = [
    "observation.kind=state", "env.settings.time_limit=6", "env.n_envs=2", "warm_up.steps=20", "steps=40",
    "algorithm.batch_size=8", "algorithm.gradient_steps=1", "algorithm.buffer_size=100", "log_every=20",
    "eval_every=20", "eval_episodes=2", "save_every=20", "network.kind=flat", "network.flat=[8]",
]  # fmt: skip
CLIPS = ["data.clip_length=4", "tracking.static_frames=1", "dynamics.graph.hidden_dim=16"]
PUSH = "envs:Push-v0"
OFFICIAL = {  # hyper-parameters of an official Soft-IntroVAE
    "hidden": 8, "hidden_layers": 2, "z_dim": 2, "beta_rec": 1.0, "beta_kl": 0.5, "beta_neg": 8.0, "gamma_r": 0.0,
    "scale": 0.1,
}  # fmt: skip


def prepare(place: Path) -> dict[str, Path]:
    """Everything by its name. The runs are trained for a few steps; what they predict is nothing."""
    data = place / "data.h5"
    write_balls(data, (4, 2, 2), 12, image_size=32, n_balls=2, radius=4.0, speed=1.5)
    train(config.load("tiny", [*SMALL, f"data.path={data}", f"out={place / 'image'}"]))
    shutil.copytree(BALLS, place / "video")
    clips, push = (
        place / "push.h5",
        ["dynamics.kind=graph", "dynamics.window=2", "dynamics.action_dim=2", *CLIPS],
    )
    collect(PUSH, clips, episodes=3, max_steps=8, image_size=32)
    train(config.load("tiny", [*SMALL, *push, f"data.path={clips}", f"out={place / 'mover'}"]))
    soft = [
        f"out={place / 'samples'}", "steps=2", "batch_size=16", "device=cpu", "eval_every=2", "save_every=2",
    ]  # fmt: skip
    train(config.load("soft_intro_2d", soft))
    agent_training.train(agent_config.load("push1", [*AGENT, f"out={place / 'agent'}"]))
    return (
        {name: place / name for name in ("image", "video", "mover", "samples", "agent")}
        | {"data": data}
        | _others(place)
    )


def _others(place: Path) -> dict[str, Path]:
    """Pictures, films, arrays, and files that are not what they seem."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (8, 64, 64, 3), np.uint8)
    iio.imwrite(place / "film.gif", frames, duration=50, loop=0)
    iio.imwrite(place / "picture.png", frames[0])
    np.save(place / "text.npy", rng.normal(size=(3, 4)).astype(np.float32))
    official = build(soft_intro.config(["encoder.main.input.weight"], OFFICIAL))
    weights = {name: official.state_dict()[ours] for ours, name in soft_intro.names(official)}
    torch.save({"model": weights}, place / "weights.pth")
    (place / "hparams.json").write_text(json.dumps(OFFICIAL))
    (place / "empty").touch()
    (place / "folder").mkdir()
    (place / "noise.h5").write_bytes(rng.bytes(3000))
    (place / "cut.h5").write_bytes((place / "data.h5").read_bytes()[:20_000])
    (place / "closed.h5").write_bytes((place / "data.h5").read_bytes())
    (place / "closed.h5").chmod(0)
    (place / "locked").mkdir(mode=0o555)
    return {path.name: path for path in place.iterdir()}


def wrong_values(found: Mapping[str, Path]) -> dict[str, str]:
    """What no option is meant for, or only one; by what is told of it."""
    paths = {
        f"the file {name}": str(found[name])
        for name in ("data.h5", "film.gif", "picture.png", "text.npy", "hparams.json", "weights.pth")
    }
    place = found["data"].parent
    return paths | {
        "the run of an image model": str(found["image"]),
        "the run of an agent": str(found["agent"]),
        "the run of a sampler": str(found["samples"]),
        "an empty file": str(found["empty"]),
        "a folder": str(found["folder"]),
        "noise": str(found["noise.h5"]),
        "a file cut short": str(found["cut.h5"]),
        "a file that may not be read": str(found["closed.h5"]),
        "in a folder that may not be written": str(found["locked"] / "new.gif"),
        "in a file": str(found["empty"] / "new.gif"),
        "missing": str(place / "missing.h5"),
        "a name of 300 characters": str(place / ("x" * 300 + ".gif")),
        "nothing": "",
        "words": "no such thing",
        "NaN": "nan",
        "infinity": "inf",
        "negative": "-1",
        "zero": "0",
        "a fraction": "0.5",
        "too large for 64 bits": "9" * 25,
        "4,301 digits": "9" * 4301,
        "raised digits": "²",
        "a key and a value": "x=1",
        "an unclosed list": "x=[1",
    }
