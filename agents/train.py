"""Training of agents: warm-up -> learn, look how good it is, save.

python -m agents.train CONFIG key=value ...
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from agents import checkpoint, config, environments, fit_observation, foreground
from agents.agent import Agent
from agents.checkpoint import Checkpoint
from agents.command import run_command
from agents.config import AgentConfig
from agents.environments import AgentEnv
from agents.evaluate import N_ENVS
from agents.foreground import Foreground
from agents.offline.learner import OfflineLearner
from agents.online import OnlineLearner
from agents.rewards import ChamferReward
from agents.warm_up import warm_up
from dlp_dyn import folders
from dlp_dyn.checkpoint import going_on_from
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.progress import Tracker, track
from dlp_dyn.settings import split_arguments
from dlp_dyn.training import run_log, trackers
from dlp_dyn.training.interrupt import Interrupt, Interrupted, interrupts


def train(cfg: AgentConfig, resume: bool = False) -> Path:
    """Train an agent as a config says; gives the run folder `cfg.out`.

    The `best` checkpoint is that of the highest success, and among equals of the highest return. resume: from the
    `last` checkpoint in `cfg.out`: networks, optimisers, goal replay buffer, random generators and running episodes
    are as they were. What could not be brought back is said in a line.

    Raises InputError for settings that do not fit and a run folder that is taken; Interrupted, after saving, on
    Ctrl-C or SIGTERM.
    """
    torch.set_flush_denormal(True)
    trackers.check(cfg.log_with)
    with run_log.owned(Path(cfg.out), new=not resume):
        return _train(_from_anywhere(cfg), resume)


def _from_anywhere(cfg: AgentConfig) -> AgentConfig:
    """With whole paths, so that a run goes on from another folder too."""
    seen, data = cfg.observation, cfg.data
    seen = replace(
        seen,
        encoder=seen.encoder and folders.absolute(seen.encoder),
        normalizer=seen.normalizer and folders.absolute(seen.normalizer),
    )
    return replace(
        cfg,
        observation=seen,
        data=replace(data, path=data.path and folders.absolute(data.path)),
        init=cfg.init and folders.absolute(cfg.init),
    )


def _train(cfg: AgentConfig, resume: bool) -> Path:
    run = Path(cfg.out)
    saved = checkpoint.find(run, "last") if resume else None
    other = checkpoint.find(cfg.init) if cfg.init and not resume else None
    known = saved or other
    encoder = (
        known.load_encoder(cfg.observation.encoder, cfg.device)  # scaled as its weights are used to
        if known and known.encoder
        else fit_observation.encoder_for(cfg)
    )
    reward, extras = _reward(cfg, encoder, saved)
    eval_env = environments.make(cfg, min(N_ENVS, cfg.eval_episodes), encoder)
    learner = (
        OfflineLearner.build(cfg, encoder)
        if cfg.algorithm.offline
        else OnlineLearner.build(cfg, encoder, reward)
    )
    score = (
        max(saved.score, checkpoint.find(run).score) if saved else checkpoint.NO_SCORE
    )  # `best` may be newer than `last`
    agent = Agent(cfg, learner, encoder, extras, score)
    if saved:
        with going_on_from(saved.folder):
            lost = "".join(f"; {note}" for note in learner.restore(saved))
        begun = [f"{run}: going on after step {saved.step} of {cfg.steps}{lost}"]
    else:
        begun = []
        if other:
            learner.begin_from(other)
            begun = [f"begins with the weights of {other.folder}, after its step {other.step}"]
        agent.save("last")  # whatever comes, there is something to go on from
    with (
        run_log.RunLog(run, cfg, torch.device(cfg.device), learner.step, cfg.log_with) as log,
        interrupts() as interrupt,
        track("train", cfg.steps, "steps", start=learner.step) as progress,
    ):
        for line in (*begun, *learner.notes()):
            progress.say(line)
        _learn(agent, eval_env, log, progress, interrupt)
    learner.close()
    eval_env.close()
    if interrupt.signum:
        raise Interrupted(
            f"saved after step {checkpoint.find(run, 'last').step}; go on with: python -m agents.train --resume {run}",
            interrupt.signum,
        )
    return run


def _learn(
    agent: Agent, eval_env: AgentEnv, log: run_log.RunLog, progress: Tracker, interrupt: Interrupt
) -> None:
    """Rounds of learning until the last step, or until interrupted; logs, evaluates and saves between them."""
    cfg, learner = agent.cfg, agent.learner
    if isinstance(learner, OnlineLearner) and not learner.step:
        warm_up(learner.algorithm, cfg.warm_up, progress, interrupt)
        if interrupt.signum:
            return  # what was saved before it is the place to go on from
    clock, first = Clock(), learner.step
    while learner.step < cfg.steps and not interrupt.signum:
        before = learner.step
        learner.learn()
        log.check_place()
        step, last = learner.step, learner.step >= cfg.steps
        if last or _passes(before, step, cfg.log_every):
            log.write(step, "train", {**learner.figures(), **clock.figures(step - first)})
        if last or _passes(before, step, cfg.eval_every):
            with clock.paused():
                figures = agent.evaluate(eval_env)
            log.write(step, "evaluation", figures)
            shown = {k: v for k, v in figures.items() if k in ("success", "success_per_object", "return")}
            progress.say(f"step {step}: " + ", ".join(f"{k} {v:.3g}" for k, v in shown.items()))
        if _passes(before, step, cfg.save_every):
            agent.save("last")
        progress.reach(step)
    agent.save("last")


class Clock:
    """Wall time and CPU time of learning, without what is done while it is paused."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @contextmanager
    def paused(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self._wall += time.perf_counter() - wall
        self._cpu += time.process_time() - cpu

    def figures(self, steps: int) -> dict[str, float]:
        return {
            "steps_per_second": steps / (time.perf_counter() - self._wall),
            "cpu_seconds": time.process_time() - self._cpu,
        }


def _passes(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` was reached since."""
    return now // every > before // every


def _reward(
    cfg: AgentConfig, encoder: ParticleEncoder | None, saved: Checkpoint | None
) -> tuple[ChamferReward | None, dict[str, bytes]]:
    """The reward, if it is not the environment's, and the files that it and the observation need."""
    if encoder is None:
        return None, {}
    assert encoder.normalizer is not None
    extras = {checkpoint.NORMALIZER: encoder.normalizer.to_json().encode()}
    if cfg.reward.kind == "environment":
        return None, extras
    found: Foreground
    if saved:
        found = foreground.load(saved.folder / checkpoint.FOREGROUND)
        reward = ChamferReward(cfg.reward.chamfer, fit_observation.Unpacker(encoder.normalizer, found))
    else:
        reward, found = fit_observation.chamfer_reward(cfg, encoder)
    return reward, extras | {checkpoint.FOREGROUND: found.to_json().encode()}


def resume(run: str | Path, overrides: Sequence[str] = ()) -> Path:
    """Go on with a run from its last checkpoint, with its own config and overrides on top (`steps=...`)."""
    cfg = config.read(run_log.settings(Path(run)), overrides)
    return train(replace(cfg, out=str(run)), resume=True)


def _run(args: argparse.Namespace) -> None:
    name, overrides = split_arguments(args.config, args.resume)
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
