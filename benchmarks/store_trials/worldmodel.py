"""stable-worldmodel reads what we write and evaluates policies on it, and we read what its `World` collects."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data_trials.trial import Result
from benchmarks.store_trials.episodes import differing, write
from dlp_dyn.data.collect import collect
from dlp_dyn.data.convert import convert
from dlp_dyn.data.export import export_data
from dlp_dyn.data.rollouts import Rollouts

_ENV = "swm/PushT-v1"
_SIDE = 64
_N, _START, _STEPS = 8, 5, 25  # episodes, and the steps of each that are evaluated
_ARRIVING = {"rewards": "reward", "terminated": "terminated", "truncated": "truncated"}


def trials(place: Path) -> Iterator[Result]:
    tool: Any = importlib.import_module("stable_worldmodel")
    data: Any = importlib.import_module("stable_worldmodel.data")
    yield from _ours(data, place)
    yield from _evaluated(tool, data, place)
    yield from _its_own(tool, data, place)


def _ours(data: Any, place: Path) -> Iterator[Result]:
    write(place / "ours.h5")
    export_data(place / "ours.h5", place / "ours_there.h5", "worldmodel")
    opened, ours = data.HDF5Dataset(path=place / "ours_there.h5"), Rollouts(place / "ours.h5")
    for i in range(ours.n_episodes):
        found, columns = opened.load_episode(i), ours.episode(i).columns()
        errors = [
            differing("pixels", found["pixels"].permute(0, 2, 3, 1), columns["frames"]),
            differing("wrist", found["pixels_wrist"].permute(0, 2, 3, 1), columns["views/wrist"]),
            differing("state", found["state"], columns["observations/state"]),
            differing("action", found["action"][:-1], columns["actions"][:-1]),
            *(differing(there, found[there][1:], columns[name][:-1]) for name, there in _ARRIVING.items()),
            "" if found["task"] == ours.episode_texts[i] else "another task",
        ]
        yield _result("ours, opened by stable-worldmodel", f"episode {i}", errors)


class _Replay:
    """The actions of some episodes of a rollout file, one row an environment, `late` steps behind."""

    def __init__(self, rollouts: Rollouts, late: int = 0) -> None:
        actions = [rollouts.episode(i).columns()["actions"] for i in range(_N)]
        self._actions = np.stack([rows[_START + late :][:_STEPS] for rows in actions])
        self._t = 0

    def set_env(self, env: Any) -> None:
        pass

    def get_action(self, _: Any) -> np.ndarray:
        self._t += 1
        return self._actions[:, self._t - 1]


def _evaluated(tool: Any, data: Any, place: Path) -> Iterator[Result]:
    """Episodes of our `collect`, exported: started in the state of a row, with that of a later row for a goal.

    The actions between the two have to lead there; those of the wrong rows must not.
    """
    collect(
        f"stable_worldmodel:{_ENV}", place / "pusht.h5", episodes=_N, max_steps=_START + 2 * _STEPS,
        image_size=_SIDE,
    )  # fmt: skip
    export_data(place / "pusht.h5", place / "pusht_there.h5", "worldmodel")
    opened, rollouts = data.HDF5Dataset(path=place / "pusht_there.h5"), Rollouts(place / "pusht.h5")
    goals = np.stack(
        [rollouts.episode(i).columns()["observations/state"][_START + _STEPS] for i in range(_N)]
    )
    for name, late in (("its own actions", 0), ("those of later rows", _STEPS)):
        world = tool.World(_ENV, num_envs=_N, image_shape=(_SIDE, _SIDE), max_episode_steps=4 * _STEPS)
        world.set_policy(_Replay(rollouts, late))
        scores = world.evaluate(
            dataset=opened, episodes_idx=[*range(_N)], start_steps=[_START] * _N, goal_offset=_STEPS,
            eval_budget=_STEPS,
            callables=[
                {"method": "_set_state", "args": {"state": {"value": "state"}}},
                {"method": "_set_goal_state", "args": {"goal_state": {"value": "goal_state"}}},
            ],
        )  # fmt: skip
        ends = world.infos["state"].reshape(_N, -1)
        away = np.linalg.norm(ends[:, :2] - goals[:, :2], axis=1)
        world.close()
        rate = scores["success_rate"]
        said = f"{rate:g} % reach the goal, {np.median(away):.1f} of 512 pixels away from it in the median"
        right = rate == 100 if late == 0 else rate < 50
        yield Result(
            "ours, evaluated by World", f"{_N} episodes, {name}", "right" if right else "wrong", said
        )


def _its_own(tool: Any, data: Any, place: Path) -> Iterator[Result]:
    """HDF5, and Lance as it converts that to HDF5, as our error says."""
    world = tool.World(_ENV, num_envs=2, image_shape=(_SIDE, _SIDE), max_episode_steps=12)
    world.set_policy(tool.policy.RandomPolicy(seed=0))
    world.collect(place / "its.h5", episodes=5, seed=1, format="hdf5", progress=False)
    world.collect(place / "table.lance", episodes=5, seed=2, format="lance", progress=False)
    world.close()
    data.convert(place / "table.lance", place / "table.h5", dest_format="hdf5", progress=False)
    for name in ("its", "table"):
        kind = f"its own, {'HDF5' if name == 'its' else 'Lance by way of HDF5'}, read by us"
        convert(place / f"{name}.h5", place / f"{name}_here.h5")
        opened, read = data.HDF5Dataset(path=place / f"{name}.h5"), Rollouts(place / f"{name}_here.h5")
        for i in range(len(opened.lengths)):
            there, columns = opened.load_episode(i), read.episode(i).columns()
            errors = [
                differing("frames", columns["frames"], there["pixels"].permute(0, 2, 3, 1)),
                differing("state", columns["observations/state"], there["state"], 1e-4),
                differing("actions", columns["actions"][:-1], there["action"][:-1]),
                *(
                    differing(here, columns[here][:-1], there[key][1:].reshape(-1), 1e-4)
                    for here, key in _ARRIVING.items()
                ),
            ]
            yield _result(kind, f"episode {i}", errors)
        if read.n_episodes != len(opened.lengths):
            yield Result(kind, "number", "wrong", f"{read.n_episodes} episodes")


def _result(kind: str, name: str, errors: list[str]) -> Result:
    wrong = next(filter(None, errors), "")
    return Result(kind, name, "wrong" if wrong else "right", wrong)
