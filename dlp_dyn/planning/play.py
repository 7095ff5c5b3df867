"""One episode of an environment, played by a planner, and the film of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
from jaxtyping import Float, UInt8

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.errors import InputError
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.controller import Controller, Target
from dlp_dyn.planning.costs import DEFAULT, Prices
from dlp_dyn.planning.goals import GoalScene, Places, goal_scene
from dlp_dyn.planning.planner import Planner
from dlp_dyn.planning.reach import TimeToReach, time_to_reach
from dlp_dyn.planning.recording import record
from dlp_dyn.planning.shooting import Predictor
from dlp_dyn.planning.solvers import ICEM, Categorical, Solver
from dlp_dyn.planning.stage import Picture, Pictures, Stage, as_taken, goal_picture
from dlp_dyn.planning.visited import visited_episodes
from dlp_dyn.plotting import pictures
from dlp_dyn.predict import check_out
from dlp_dyn.video import VideoModel

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True)
class Played:
    """An episode. success: as the environment says at its end; None where it says nothing."""

    steps: int
    success: bool | None
    targets: tuple[Target, ...]


def controller_of(
    run: str | Path,
    space: gym.Space,
    n_envs: int = 1,
    solver: Solver | None = None,
    horizon: int = 5,
    replan: int = 1,
    seed: int = 0,
    samples: int = 300,
    iterations: int = 10,
) -> Controller:
    """A controller with the video model of a run, for environments with these actions.

    samples, iterations: of the search, where no other is given.

    Raises InputError for a run without dynamics or actions, and for actions that are not those it was trained with.
    """
    if horizon < 1:
        raise InputError(f"horizon {horizon}: plan 1 block of actions or more")
    model = load_video_model(run)
    single = len(ActionSpace.of(space).low)
    actions = ActionSpace.of(space, max(model.cfg.dynamics.action_dim // single, 1))
    solver = solver or searcher(actions, samples, iterations)
    return Controller(
        model, Planner(Predictor(model.dynamics), actions, solver, horizon), n_envs, replan, seed
    )


def searcher(space: ActionSpace, samples: int = 300, iterations: int = 10) -> Solver:
    """The search that fits the actions, whose elites are a tenth of the candidates.

    Raises InputError for fewer than 20 candidates, and below 1 iteration.
    """
    if samples < 20 or iterations < 1:
        raise InputError(f"{samples} candidates, {iterations} iterations: use 20 or more, and 1 or more")
    kind = Categorical if space.choices else ICEM
    return kind(samples=samples, elites=samples // 10, iterations=iterations)


def play(
    run: str | Path,
    env_id: str,
    out: str | Path,
    goal: str = "",
    steps: int = 100,
    horizon: int = 5,
    replan: int = 1,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    fps: float = 5.0,
    samples: int = 300,
    iterations: int = 10,
    approach: bool = False,
    looks: float = DEFAULT.appearance,
    data: str | Path | None = None,
) -> Played:
    """Plan an episode toward a goal, draw it, and tell how it went.

    goal: a picture file, or "SLOT:X,Y" places of particles, or nothing: what the environment shows as its goal.
    steps: of the environment, unless it ends or succeeds before. samples, iterations: of the search.
    approach: what acts is drawn behind what the goal has it move; see `goals.Approach`.
    looks: what a squared difference of looks costs, in image sides; 0 where things may be turned as they like.
    data: a rollout file whose training episodes tell how far the scene of a goal picture is (see `reach`).
    Raises InputError for what does not fit together.
    """
    out = check_out(out)
    if steps < 1:
        raise InputError(f"steps {steps}: use 1 or more")
    side = load_video_model(run).cfg.image.image_size
    stage = Stage(env_id, side, settings)
    try:
        control = controller_of(
            run, stage.env.action_space, 1, None, horizon, replan, seed, samples, iterations
        )
        frame = stage.reset(seed)
        picture, aim = read_goal(control.model, goal, stage.goal, replace(DEFAULT, appearance=looks))
        first = aim if data is None else _far(control.model, aim, Path(data))
        control.reset([first, control.approach(aim, frame)] if approach else [first])
        done = 0
        while done < steps and not stage.done and not stage.success:
            frame = stage.step(control(frame[None])[0])
            done += 1
    finally:
        stage.close()
    pictures.write_video(out, record(control.model, control.moments(), replan, picture), fps)
    return Played(done, stage.success, control.why())


def _far(model: VideoModel, goal: GoalScene | Places, data: Path) -> TimeToReach:
    """Raises InputError for places by hand, from which no time to reach is told."""
    if isinstance(goal, Places):
        raise InputError(
            f"{data}: it tells how far the scene of a picture is, not places: give a picture as the goal"
        )
    return time_to_reach(goal, visited_episodes(model, data))


def read_goal(
    model: VideoModel, goal: str, shown: Callable[[], Picture], prices: Prices = DEFAULT
) -> tuple[Picture | None, GoalScene | Places]:
    """The goal that a text means, and its picture if it has one. shown: what the environment shows as its goal.

    Raises InputError for a goal that is neither a picture nor places.
    """
    if goal and Path(goal).suffix.lower() not in PICTURES:
        return None, Places.parse(goal, prices)
    picture = read_picture(Path(goal)) if goal else shown()
    return picture, goal_scene(model, picture, prices=prices)


def read_picture(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Raises InputError for what cannot be read as a picture."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if image is None:
        raise InputError(f"{path}: no picture that can be read")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


class PlanningPolicy:
    """A planner as the policy of one environment and one episode: observations in, actions out.

    goal: as of `play`. settings: of `controller_of`. A function that makes one is a policy of `dlp-dyn collect`.
    """

    def __init__(self, run: str | Path, env: gym.Env, goal: str = "", **settings: Any) -> None:
        self.control = controller_of(run, env.action_space, **settings)
        self.pictures = Pictures(env, self.control.model.cfg.image.image_size)
        self.goal, self.begun = goal, False

    def __call__(self, observation: Any) -> Float[np.ndarray, "..."]:
        if not self.begun:
            model = self.control.model
            _, goal = read_goal(model, self.goal, lambda: goal_picture(self.pictures, observation))
            self.control.reset([goal])
            self.begun = True
        action = self.control(self.pictures.of(observation)[None])[0]
        return as_taken(self.pictures.env.action_space, action)
