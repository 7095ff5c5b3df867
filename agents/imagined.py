"""Train an agent in what a video model imagines, and play it in the real environment.

python -m agents.imagined push --env envs:Push-v0 --set n_objects=1 --data push.h5 --out runs/imagined
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

from agents.command import run_command
from agents.vector import OfGymnasium
from dlp_dyn import folders
from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.commands.arguments import add_part, add_settings, key_values, many, seed, whole
from dlp_dyn.data.rollouts import Part
from dlp_dyn.errors import InputError
from dlp_dyn.imagination import Imagination, Trust
from dlp_dyn.planning.delivery import Deliveries, starts_of
from dlp_dyn.planning.intervals import wilson
from dlp_dyn.planning.play import controller_of
from dlp_dyn.planning.stage import Stage
from dlp_dyn.planning.watched import Watched
from dlp_dyn.progress import track
from dlp_dyn.sharing.weights import to_bytes

N_ENVS = 16
BEFORE = 2000  # steps of random actions before learning begins
EVALUATION_SEED = 10_000
WEIGHTS, RESULT = "agent.safetensors", "result.json"


@dataclass(frozen=True)
class Settings:
    """run: with the video model. steps: blocks of actions, of all environments together. real: trained in the real
    environment, seen through the same model, for comparison. things: that are delivered. blocks: of a real episode.
    rollout: blocks of an imagined one: what is imagined drifts, and values reach past the end."""

    run: str
    env: str
    env_settings: Mapping[str, Any]
    data: str | None
    part: Part
    things: int
    steps: int
    blocks: int
    rollout: int
    real: bool
    episodes: int
    seed: int


@dataclass(frozen=True)
class Result:
    """success: share of real episodes that end with success, with its Wilson interval. lost: share of imagined
    episodes that were not believed to their end. cpu_seconds: of training."""

    success: float
    low: float
    high: float
    episodes: int
    cpu_seconds: float
    lost: float | None


class _Lost(BaseCallback):
    """Counts episodes, and those that were not believed."""

    def __init__(self, progress: Any) -> None:
        super().__init__()
        self.progress, self.ended, self.lost = progress, 0, 0

    def _on_step(self) -> bool:
        self.ended += int(self.locals["dones"].sum())
        self.lost += sum(int(info.get("lost", False)) for info in self.locals["infos"])
        self.progress.reach(self.num_timesteps)
        return True


def train(s: Settings, out: Path) -> Result:
    """Train, play in the real environment, and write the policy's weights and the result.

    Raises InputError for what does not fit together, and where `out` is taken.
    """
    if out.exists():
        raise InputError(f"{out}: is there already; give another folder with --out")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    real = _real(s)
    world = OfGymnasium(real if s.real else _imagination(s))
    world.seed(s.seed)
    agent = _agent(world, s.seed)
    begun = time.process_time()
    with track("train", s.steps, "steps") as progress:
        counter = _Lost(progress)
        agent.learn(s.steps, callback=counter)
    seconds = time.process_time() - begun
    with track("play", s.episodes, "episodes") as progress:
        solved = play(agent, OfGymnasium(real), s.episodes, progress)
    low, high = wilson(int(solved.sum()), len(solved))
    lost = None if s.real else counter.lost / max(counter.ended, 1)
    result = Result(float(solved.mean()), low, high, len(solved), seconds, lost)
    folders.write(
        out,
        {
            WEIGHTS: to_bytes(agent.policy.state_dict()),
            RESULT: (json.dumps({"settings": asdict(s), "result": asdict(result)}, indent=2) + "\n").encode(),
        },
    )
    real.close()
    return result


def play(agent: SAC, env: OfGymnasium, episodes: int, progress: Any = None) -> np.ndarray:
    """Which of the episodes end with success, without exploration; every environment plays as many."""
    env.seed(EVALUATION_SEED)
    observation: Any = env.reset()
    solved: list[bool] = []
    quota = np.full(env.num_envs, -(-episodes // env.num_envs))
    while quota.any():
        actions, _ = agent.predict(observation, deterministic=True)
        observation, _, dones, infos = env.step(actions)
        for i in np.flatnonzero(dones & (quota > 0)):
            quota[i] -= 1
            solved.append(bool(infos[i]["is_success"]))
            if progress is not None:
                progress.advance()
    return np.array(solved)


def _agent(env: OfGymnasium, seed: int) -> SAC:
    return SAC(
        "MlpPolicy", env, learning_rate=1e-3, buffer_size=200_000, batch_size=256, gamma=0.95, tau=0.01,
        train_freq=1, gradient_steps=4, learning_starts=BEFORE, ent_coef="auto_0.02", seed=seed,
        policy_kwargs={"net_arch": [128, 128], "optimizer_kwargs": {"fused": True}}, device="cpu",
    )  # fmt: skip


def _real(s: Settings) -> Watched:
    side = load_video_model(s.run).cfg.image.image_size
    stages = [Stage(s.env, side, s.env_settings) for _ in range(N_ENVS)]
    control = controller_of(s.run, stages[0].env.action_space)
    return Watched(control.model, control.planner, stages, s.things, s.blocks)


def _imagination(s: Settings) -> Imagination:
    if s.data is None:
        raise InputError(
            "agents.imagined: give --data FILE, rollouts whose scenes imagined episodes begin with"
        )
    stage = Stage(s.env, load_video_model(s.run).cfg.image.image_size, s.env_settings)
    control = controller_of(s.run, stage.env.action_space)
    stage.close()
    generator = torch.Generator().manual_seed(s.seed)
    starts = starts_of(control.model, control.planner, s.data, s.things, generator, s.part)
    aims = Deliveries(starts.particles[:, 0])
    return Imagination(control.model, control.planner.space, starts, aims, N_ENVS, s.rollout, trust=Trust())


def _run(args: argparse.Namespace) -> None:
    settings = Settings(
        args.run, args.env, key_values(args.settings), args.data, args.part, args.things, args.steps, args.blocks,
        args.rollout, args.real, args.episodes, args.seed,
    )  # fmt: skip
    result = train(settings, Path(args.out))
    print(
        f"success in the real environment: {result.success:.3f} ({result.low:.3f}-{result.high:.3f}) of "
        f"{result.episodes} episodes; {result.cpu_seconds:.0f} CPU seconds of training"
        + (
            ""
            if result.lost is None
            else f"; {100 * result.lost:.1f} % of imagined episodes were not believed to the end"
        )
    )
    print(f"run folder: {args.out}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m agents.imagined", description="Train an agent in imagination."
    )
    parser.add_argument(
        "run", metavar="RUN", help="a run folder with dynamics that have actions, or a model that comes along"
    )
    parser.add_argument(
        "--env", required=True, help="a Gymnasium id, or module:Id: to play in; it shows a goal picture"
    )
    add_settings(parser)
    parser.add_argument("--data", help="rollout file: imagined episodes begin in its scenes")
    add_part(parser, "train")
    parser.add_argument("--things", type=many, default=1, help="that are brought to places (default: 1)")
    parser.add_argument(
        "--steps", type=whole, default=60_000, help="blocks of actions, of all environments (default: 60000)"
    )
    parser.add_argument("--blocks", type=many, default=25, help="of an episode at most (default: 25)")
    parser.add_argument("--rollout", type=many, default=8, help="blocks of an imagined episode (default: 8)")
    parser.add_argument("--real", action="store_true", help="train in the real environment, for comparison")
    parser.add_argument("--episodes", type=many, default=400, help="real ones, to evaluate (default: 400)")
    parser.add_argument("--seed", type=seed, default=0, help="of training (default: 0)")
    parser.add_argument("--out", required=True, help="a new folder: weights and result")
    return run_command(parser, _run, argv)


if __name__ == "__main__":
    sys.exit(main())
