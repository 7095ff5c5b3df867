"""What else runs for hours: the viewer with its sessions, 64 environments seen as particles, a planner in its loop.

Each is a generator that has done a piece of work, a turn, whenever it yields.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

from dlp_dyn.bundled import BALLS
from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.clip import to_images
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.observation.vector_wrapper import VectorParticleObservation
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.controller import Controller
from dlp_dyn.planning.goals import Places
from dlp_dyn.planning.planner import Planner
from dlp_dyn.planning.shooting import Predictor
from dlp_dyn.planning.solvers import ICEM
from dlp_dyn.video import VideoModel
from dlp_dyn.viewer import requests
from dlp_dyn.viewer.run_data import data_of
from dlp_dyn.viewer.server import load_studio
from dlp_dyn.viewer.session import Sessions

EDITS, SESSIONS, ENVIRONMENTS, EPISODE = 1_000, 50, 64, 40


def viewer() -> Iterator[None]:
    """A thousand edits of one session, then 50 other sessions that look elsewhere and predict; again and again."""
    studio = load_studio(BALLS, None, "test", "cpu")
    sessions, rng = Sessions(studio), np.random.default_rng(0)

    def ask(session: str, verb: str, **words: Any) -> dict[str, Any]:
        return requests.answer(sessions, verb, {"session": session, **words})

    while True:
        first = requests.answer(sessions, "open", {})
        for edit in range(EDITS):
            values = {name: float(rng.uniform(-0.9, 0.9)) for name in ("x", "y")}
            ask(
                first["session"], "change", particle=int(rng.integers(len(first["particles"]))), values=values
            )
            if edit % 100 == 0:
                yield
        for _ in range(SESSIONS):
            other = requests.answer(sessions, "open", {})["session"]
            ask(other, "seek", episode=int(rng.integers(len(studio.source.lengths))), time=5)
            ask(other, "futures", horizon=3)
            yield


def vector() -> Iterator[None]:
    """64 environments, all of whose pictures are encoded in a batch; episodes end all the time."""
    env = gym.make_vec(
        "envs:Push-v0", ENVIRONMENTS, vectorization_mode="sync", pixels=True, time_limit=EPISODE
    )
    seen = VectorParticleObservation(env, str(BALLS), images={"pixels": "pixels"}, track=True, stack=2)
    seen.reset(seed=0)
    while True:
        seen.step(seen.action_space.sample())
        yield


def plan() -> Iterator[None]:
    """Plans with random dynamics, an action each; on clips of Balls, 40 frames of each."""
    cfg = VideoModel.from_config(BALLS / "config.yaml").cfg
    model = VideoModel(replace(cfg, dynamics=replace(cfg.dynamics, action_dim=2))).eval()
    model.image.load_state_dict(load_video_model(BALLS).image.state_dict())
    space = gym.spaces.Box(-1, 1, (2,), np.float32)
    actions = ActionSpace.of(space, 1)
    control = Controller(model, Planner(Predictor(model.dynamics), actions, ICEM(), 3))
    rollouts = Rollouts(data_of(BALLS))
    clips = [rollouts.episode(i).frames for i in range(rollouts.n_episodes)]
    for frames in itertools.cycle(clips):
        shown = model.encode(to_images(frames[:1])[None])[0].scene.particles.transparency[0, 0, :, 0]
        control.reset([Places.parse(f"{int(shown.argmax())}:0.2,0.2")])
        for frame in frames[:EPISODE]:
            control(frame[None])
            yield


LOOPS: dict[str, Callable[[], Iterator[None]]] = {"viewer": viewer, "vector": vector, "plan": plan}
