"""stable-worldmodel's own CEM over our model beside our search, on the same problems of a task.

python -m benchmarks.swm_solver runs/tworoom_video --task tworoom-door --pairs 20 --seeds 0,1
"""

import argparse
import time
from collections import deque
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
from stable_worldmodel.policy import PlanConfig  # pyright: ignore[reportMissingImports]
from stable_worldmodel.solver import CEMSolver  # pyright: ignore[reportMissingImports]
from torch import Tensor

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.planning.controller import Controller
from dlp_dyn.planning.evaluate import evaluate
from dlp_dyn.planning.intervals import paired_difference
from dlp_dyn.planning.planner import Planner
from dlp_dyn.planning.play import controller_of
from dlp_dyn.planning.players import Actions, Frames, Planned, Random
from dlp_dyn.planning.stable_worldmodel import ParticleCost
from dlp_dyn.planning.tasks import TASKS, Problem, World


class Theirs:
    """A block of their plan, then the next plan, which begins with the rest of the last one."""

    name = "swm"

    def __init__(
        self, cost: ParticleCost, planner: Planner, horizon: int, samples: int, iterations: int
    ) -> None:
        self.cost, self.space = cost, planner.space
        self.horizon, self.samples, self.iterations = horizon, samples, iterations
        self.seconds, self.plans = 0.0, 0

    def begin(self, worlds: Sequence[World], problems: Sequence[Problem], frames: Frames) -> None:  # noqa: ARG002
        config = PlanConfig(self.horizon, 1, action_block=self.space.block)
        self.solvers, self.goals = [], [world.goal_picture() for world in worlds]
        for world, problem in zip(worlds, problems, strict=True):
            solver = CEMSolver(
                self.cost,
                num_samples=self.samples,
                n_steps=self.iterations,
                topk=self.samples // 10,
                seed=problem.seed,
            )
            assert world.space.shape is not None
            batched = gym.spaces.Box(-1, 1, (1, *world.space.shape))
            solver.configure(action_space=batched, n_envs=1, config=config)
            self.solvers.append(solver)
        self.queues: list[deque[np.ndarray]] = [deque() for _ in worlds]
        self.rest: list[Tensor | None] = [None for _ in worlds]

    def act(self, frames: Frames, rows: Sequence[int]) -> Actions:
        for frame, i in zip(frames, rows, strict=True):
            if not self.queues[i]:
                self._plan(frame, i)
        return np.stack([self.queues[i].popleft() for i in rows])

    def _plan(self, frame: np.ndarray, i: int) -> None:
        start = time.process_time()
        info = {"pixels": frame[None, None], "goal": self.goals[i][None, None]}
        plan = self.solvers[i].solve(info, init_action=self.rest[i])["actions"]
        self.seconds += time.process_time() - start
        self.plans += 1
        block = self.space.clip(plan[0, 0]).numpy().reshape(self.space.block, -1)
        self.queues[i].extend(block.astype(np.float32))
        self.rest[i] = plan[:, 1:]


def _controller(args: argparse.Namespace, space: gym.Space, n: int) -> Controller:
    return controller_of(
        args.run, space, n, horizon=args.horizon, samples=args.samples, iterations=args.iterations
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run")
    parser.add_argument("--task", default="tworoom-door")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--horizon", type=int, default=5)
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("--iterations", type=int, default=4)
    args = parser.parse_args()
    task, model = TASKS[args.task], load_video_model(args.run)
    world = task.world(model.cfg.image.image_size)
    space = world.space
    world.close()
    ours = Planned(lambda n: _controller(args, space, n), task.prices, aim=task.aim)
    planner = _controller(args, space, 1).planner
    theirs = Theirs(
        ParticleCost(model, planner, prices=task.prices), planner, args.horizon, args.samples, args.iterations
    )
    seeds = [int(seed) for seed in args.seeds.split(",")]
    report = evaluate(task, [Random(), ours, theirs], model.cfg.image.image_size, args.pairs, seeds)
    print(report.table())
    print(f"swm: {theirs.seconds / max(theirs.plans, 1):.2f} CPU seconds a plan")
    traces = report.to_json()["traces"]
    for predicate in task.holds:
        a, b = (
            np.array([trace["solved_at"][predicate] is not None for trace in traces[name]], float)
            for name in ("planned", "swm")
        )
        mean, low, high = paired_difference(a, b)
        print(f"{predicate}: ours - theirs {100 * mean:+.1f} [{100 * low:+.0f}, {100 * high:+.0f}]")


if __name__ == "__main__":
    main()
