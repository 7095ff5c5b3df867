"""How good an agent is: success with its interval, per object and of all of them, and a video of what it sees.

python -m agents.evaluate RUN --episodes 400 --gif X.gif --set n_objects=3
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from agents import checkpoint, environments, recording
from agents.checkpoint import Score
from agents.command import run_command
from agents.config import WarmUpConfig
from agents.environments import AgentEnv
from agents.learner import Actor
from agents.warm_up import Players
from dlp_dyn.commands.arguments import add_settings, key_values, seed, whole
from dlp_dyn.errors import InputError
from dlp_dyn.plotting.pictures import write_video
from dlp_dyn.progress import Tracker, track

N_ENVS = 20
RESAMPLES = 2000
FEW = 200  # episodes; with fewer, agents of nearly the same worth cannot be told apart


@dataclass(frozen=True)
class Record:
    """Episodes that were played to their ends. success: at the last step; None where the environment does not tell.

    object_success: share of the objects that are where they should be.
    """

    returns: Float[np.ndarray, " E"]
    success: Bool[np.ndarray, " E"] | None = None
    object_success: Float[np.ndarray, " E"] | None = None

    def figures(self) -> dict[str, float]:
        """Means, with the ends of their 95% intervals."""
        found = {"episodes": float(len(self.returns)), **_with_interval("return", self.returns)}
        if self.success is not None:
            found |= _with_interval("success", self.success)
        if self.object_success is not None:
            found |= _with_interval("success_per_object", self.object_success)
        return found

    @property
    def score(self) -> Score:
        """To compare agents by: success, and among equals the return; an environment may tell only of success."""
        return (0.0 if self.success is None else float(self.success.mean())), float(self.returns.mean())


class Script:
    """A scripted policy, to be measured as agents are. It sees the environments' own observations."""

    def __init__(self, name: str, env: AgentEnv, seed: int) -> None:
        self.env, self.players = env, Players(WarmUpConfig(policy=name), env, seed)

    def predict(self, observation: Any, deterministic: bool = True) -> tuple[np.ndarray, None]:  # noqa: ARG002
        self.players.begin(self.env.lengths == 0)
        return self.players(), None


def bootstrap(values: Float[np.ndarray, " E"], seed: int = 0) -> tuple[float, float]:
    """The 95% interval of the mean, from means of episodes drawn with replacement."""
    rng = np.random.default_rng(seed)
    means = [rng.choice(values, len(values)).mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def play(actor: Actor, env: AgentEnv, episodes: int, seed: int, progress: Tracker | None = None) -> Record:
    """Play episodes without exploration. Every environment plays as many, so that short ones do not count more."""
    quota = np.full(env.num_envs, episodes // env.num_envs)
    quota[: episodes % env.num_envs] += 1
    env.seed(seed)
    observation: Any = env.reset()
    ends: list[dict[str, Any]] = []
    while quota.any():
        actions, _ = actor.predict(observation, deterministic=True)
        observation, _, dones, infos = env.step(actions)
        for i in np.flatnonzero(dones & (quota > 0)):
            quota[i] -= 1
            ends.append(infos[i])
            if progress:
                progress.advance()
    returns = np.array([end["episode"]["r"] for end in ends])
    success = np.array([end.get("is_success", False) for end in ends], bool) if env.tells_success else None
    each = None
    if any("object_success" in end for end in ends):
        each = np.array([np.mean(end.get("object_success", 0.0)) for end in ends])
    return Record(returns, success, each)


def _with_interval(name: str, values: np.ndarray) -> dict[str, float]:
    low, high = bootstrap(values.astype(np.float64))
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}


def evaluate(args: argparse.Namespace) -> None:
    """Play, print figures, and write a video where one is asked for."""
    for name in ("episodes", "gif_episodes"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(args, name)}: give 1 or more")
    if args.gif is not None and args.script is not None:
        raise InputError("--gif shows the agent, not a script; leave one of --gif and --script out")
    if args.gif is not None and Path(args.gif).suffix not in recording.SUFFIXES:
        raise InputError(f"{args.gif}: cannot write that; use one of {', '.join(recording.SUFFIXES)}")
    found = checkpoint.find(args.run_folder, args.checkpoint)
    encoder = found.load_encoder(args.encoder, args.device)
    settings = key_values(args.settings)
    env = environments.make(found.cfg, min(N_ENVS, args.episodes), encoder, settings)
    actor: Any = checkpoint.load(found, env.observation_space, args.device)
    if args.script is not None:
        actor = Script(args.script, env, args.seed)
    with track("evaluate", args.episodes, "episodes") as bar:
        figures = play(actor, env, args.episodes, args.seed, bar).figures()
    env.close()
    if args.json:
        print(json.dumps({"run": str(found.folder), "step": found.step, "settings": settings, **figures}))
    else:
        print(_table(figures))
        if args.episodes < FEW:
            print(
                f"{args.episodes} episodes are few: the interval is wide; use {FEW} or more to compare agents"
            )
    if args.gif is not None:
        stage = environments.make(found.cfg, 1, encoder, {**recording.settings(found.cfg), **settings})
        write_video(
            args.gif, recording.record(actor, stage, encoder, args.gif_episodes, args.seed), fps=recording.FPS
        )
        stage.close()
        print(f"video: {args.gif}")


def _table(figures: dict[str, float]) -> str:
    rows = [f"{'':20} {'mean':>8}   95% interval, {figures['episodes']:.0f} episodes"]
    for name in figures:
        if f"{name}_low" in figures:
            low, high = figures[f"{name}_low"], figures[f"{name}_high"]
            rows.append(f"{name:20} {figures[name]:8.3f}   {low:.3f} to {high:.3f}")
    return "\n".join(rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agents.evaluate", description="Measure a trained agent.")
    parser.add_argument(
        "run_folder", metavar="RUN", help="run folder (its best checkpoint) or checkpoint folder"
    )
    parser.add_argument("--episodes", type=whole, default=400, help="(default: 400)")
    add_settings(parser, "other arguments of the environment than in training: n_objects=3")
    parser.add_argument(
        "--script",
        metavar="MODULE:NAME",
        help="measure a scripted policy in its place, as `dlp-dyn collect` names them",
    )
    parser.add_argument("--gif", metavar="FILE", help="X.gif, X.webp or X.mp4: what the agent sees")
    parser.add_argument("--gif-episodes", type=whole, default=4, help="(default: 4)")
    parser.add_argument("--encoder", metavar="RUN", help="where the encoder lies now, if it was moved")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="(default: best)")
    parser.add_argument("--seed", type=seed, default=10_000, help="of the episodes (default: 10000)")
    parser.add_argument("--device", default="cpu", help="(default: cpu)")
    parser.add_argument("--json", action="store_true", help="JSON on standard output instead of a table")
    return run_command(parser, evaluate, argv)


if __name__ == "__main__":
    sys.exit(main())
