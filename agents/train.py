"""Training of agents: warm-up -> learn, look how good it is, save.

python -m agents.train CONFIG key=value ...
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents import algorithms, bundle, config, environments, foreground, seeing
from agents.bundle import Bundle
from agents.command import run_command
from agents.config import AgentConfig
from agents.environments import AgentEnv
from agents.evaluate import N_ENVS, play
from agents.foreground import Foreground
from agents.replay import GoalReplayBuffer
from agents.rewards import ChamferReward
from agents.warm_up import warm_up
from dlp_dyn.errors import InputError
from dlp_dyn.interrupt import Interrupt, Interrupted, interrupts
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.progress import Tracker, track
from dlp_dyn.settings import split_words
from dlp_dyn.training import run_log

EVALUATION_SEED = 20_000  # beside those of the training


@dataclass
class Agent:
    """An agent on its way, and what it sees and learns with."""

    cfg: AgentConfig
    model: BaseAlgorithm
    encoder: ParticleEncoder | None
    extras: dict[str, bytes] = field(default_factory=dict)
    score: float = float("-inf")  # the best one so far

    def save(self, name: str) -> None:
        """`best` is to be used; `last` is also to go on from."""
        folder = Path(self.cfg.out) / "checkpoints" / name
        bundle.save(
            folder, self.model, self.cfg, self.encoder, self.score, self.extras, going_on=name == "last"
        )


class Watch(BaseCallback):
    """Called after each step of the environments: logs, judges, saves, and stops when asked to."""

    def __init__(
        self, agent: Agent, judge: AgentEnv, log: run_log.RunLog, progress: Tracker, interrupt: Interrupt
    ) -> None:
        super().__init__()
        self.agent, self.judge, self.log, self.progress, self.interrupt = (
            agent,
            judge,
            log,
            progress,
            interrupt,
        )
        self.begun, self.cpu_begun = time.perf_counter(), time.process_time()
        self.earlier_steps = agent.model.num_timesteps
        self.looked = self.env.seconds_looking
        self.judging, self.cpu_judging = 0.0, 0.0  # seconds
        self.judged = 0  # the step of the last evaluation

    def _on_step(self) -> bool:
        cfg, n = self.agent.cfg, self.agent.model.num_timesteps
        step = self.env.num_envs
        if _passes(n, step, cfg.log_every):
            self.write()
        if _passes(n, step, cfg.eval_every):
            self.evaluate()
        if _passes(n, step, cfg.save_every):
            self.agent.save("last")
        self.progress.reach(n)
        return not self.interrupt.signum

    @property
    def env(self) -> AgentEnv:
        env = self.agent.model.get_env()
        assert isinstance(env, AgentEnv)
        return env

    def write(self) -> None:
        """What SB3 noted of its updates, how the episodes went, and where the time goes."""
        model = self.agent.model
        row = {
            k.removeprefix("train/"): float(v) for k, v in self.logger.name_to_value.items() if "train/" in k
        }
        if model.ep_success_buffer:
            row["success_while_exploring"] = float(np.mean(model.ep_success_buffer))
        if model.ep_info_buffer:
            row["return_while_exploring"] = float(np.mean([e["r"] for e in model.ep_info_buffer]))
        seconds = time.perf_counter() - self.begun - self.judging
        row["steps_per_second"] = (model.num_timesteps - self.earlier_steps) / seconds
        row["cpu_seconds"] = time.process_time() - self.cpu_begun - self.cpu_judging
        row["looking"] = (self.env.seconds_looking - self.looked) / seconds  # share of the time
        self.log.write(model.num_timesteps, "train", row)

    def evaluate(self) -> None:
        """Success on episodes that are always the same; the best agent is kept."""
        agent, begun, cpu_begun = self.agent, time.perf_counter(), time.process_time()
        record = play(agent.model, self.judge, agent.cfg.eval_episodes, EVALUATION_SEED + agent.cfg.seed)
        figures = record.figures()
        self.log.write(agent.model.num_timesteps, "evaluation", figures)
        shown = {k: v for k, v in figures.items() if k in ("success", "success_per_object", "return")}
        self.progress.say(
            f"step {agent.model.num_timesteps}: " + ", ".join(f"{k} {v:.3g}" for k, v in shown.items())
        )
        if record.score >= agent.score:
            agent.score = record.score
            agent.save("best")
        self.judged = agent.model.num_timesteps
        self.judging += time.perf_counter() - begun
        self.cpu_judging += time.process_time() - cpu_begun


def train(cfg: AgentConfig, going_on: bool = False) -> Path:
    """Train an agent as a config says; gives the run folder `cfg.out`.

    The `best` checkpoint is that of the highest success (or return, where success is not told). going_on: from the
    `last` checkpoint in `cfg.out`: networks, optimisers, goal replay buffer and random generators are as they were;
    episodes that were running begin anew, so the curve goes on, but not bit for bit.

    Raises InputError for settings that do not fit and a run folder that is taken; Interrupted, after saving, on
    Ctrl-C or SIGTERM.
    """
    torch.set_flush_denormal(True)
    run = Path(cfg.out)
    saved = bundle.find(run, "last") if going_on else None
    encoder = saved.load_encoder(cfg.observation.encoder, cfg.device) if saved else seeing.encoder_for(cfg)
    if not going_on:
        run_log.create(run)
    reward, extras = _reward(cfg, encoder, saved)
    env = environments.make(cfg, cfg.env.n_envs, encoder, reward=reward)
    judge = environments.make(cfg, min(N_ENVS, cfg.eval_episodes), encoder)
    agent = Agent(
        cfg, _model(cfg, env, encoder, saved), encoder, extras, saved.score if saved else float("-inf")
    )
    model = agent.model
    model.set_logger(Logger(None, []))
    with (
        run_log.RunLog(run, cfg, torch.device(cfg.device), model.num_timesteps) as log,
        interrupts() as interrupt,
        track("train", cfg.steps, "steps", start=model.num_timesteps) as progress,
    ):
        progress.say(algorithms.replay_memory(model))
        if saved:
            progress.say(_what_goes_on(saved, cfg, model))
        if encoder is not None and cfg.network.kind == "flat" and not cfg.observation.track:
            progress.say(
                "network.kind=flat on particles whose slots have no meaning: a baseline that cannot work well"
            )
        if not saved and isinstance(model, OffPolicyAlgorithm):
            warm_up(model, cfg.warm_up, progress)
        watch = Watch(agent, judge, log, progress, interrupt)
        left = cfg.steps - model.num_timesteps
        if left > 0:
            quiet: Any = None  # SB3 takes it, though its annotation does not say so
            model.learn(left, callback=watch, log_interval=quiet, reset_num_timesteps=False)
            watch.write()
        if not interrupt.signum and watch.judged < model.num_timesteps:
            watch.evaluate()
        agent.save("last")
    env.close()
    judge.close()
    if interrupt.signum:
        raise Interrupted(
            f"saved after step {model.num_timesteps}; go on with: python -m agents.train --resume {run}",
            interrupt.signum,
        )
    return run


def _reward(
    cfg: AgentConfig, encoder: ParticleEncoder | None, saved: Bundle | None
) -> tuple[ChamferReward | None, dict[str, bytes]]:
    """The reward, if it is not the environment's, and the files that it and the observation need."""
    if encoder is None:
        return None, {}
    assert encoder.normalizer is not None
    extras = {bundle.NORMALIZER: encoder.normalizer.to_json().encode()}
    if cfg.reward.kind == "environment":
        return None, extras
    found: Foreground
    if saved:
        found = foreground.load(saved.folder / bundle.FOREGROUND)
        reward = ChamferReward(cfg.reward.chamfer, seeing.Unpacker(encoder.normalizer, found))
    else:
        reward, found = seeing.chamfer_reward(cfg, encoder)
    return reward, extras | {bundle.FOREGROUND: found.to_json().encode()}


def _model(
    cfg: AgentConfig, env: AgentEnv, encoder: ParticleEncoder | None, saved: Bundle | None
) -> BaseAlgorithm:
    if not saved:
        layout = None if encoder is None else encoder.layout
        return algorithms.build(cfg, env, layout)
    arguments = {} if cfg.algorithm.kind == "ppo" else algorithms.replay(cfg, env)
    model = bundle.go_on(saved, env, arguments, cfg.device)
    env.seed(cfg.seed + model.num_timesteps)  # others than those of the beginning
    return model


def _what_goes_on(saved: Bundle, cfg: AgentConfig, model: BaseAlgorithm) -> str:
    off_policy = isinstance(model, OffPolicyAlgorithm)
    emptied = off_policy and not isinstance(model.replay_buffer, GoalReplayBuffer)
    note = " and the replay buffer, which has no goals, is empty" if emptied else ""
    return f"{cfg.out}: going on after step {saved.step} of {cfg.steps}; running episodes begin anew{note}"


def _passes(n: int, step: int, every: int) -> bool:
    """Whether a multiple of `every` was reached with the last step."""
    return n // every > (n - step) // every


def resume(run: str | Path, overrides: Sequence[str] = ()) -> Path:
    """Go on with a run from its last checkpoint, with its own config and overrides on top (`steps=...`)."""
    run = Path(run)
    if not (run / "config.yaml").is_file():
        raise InputError(
            f"{run}: no run folder (no config.yaml in it); start one with python -m agents.train CONFIG"
        )
    return train(replace(config.read(run / "config.yaml", overrides), out=str(run)), going_on=True)


def _run(args: argparse.Namespace) -> None:
    name, overrides = split_words(args.config, args.resume)
    run = resume(args.resume, overrides) if args.resume else train(config.load(name, overrides))
    print(f"run folder: {run}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agents.train", description="Train an agent.")
    parser.add_argument(
        "config", nargs="*", metavar="CONFIG [KEY=VALUE ...]", help="name in configs/agents or path"
    )
    parser.add_argument("--resume", metavar="RUN", help="go on with this run, with its own config")
    return run_command(parser, _run, argv)


if __name__ == "__main__":
    sys.exit(main())
