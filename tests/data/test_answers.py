"""Environments of another API than Gymnasium's, and what is no number."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from dlp_dyn.data.answers import RESET, STEP, answered, finite
from dlp_dyn.data.collect import collect
from dlp_dyn.errors import InputError

SEEN = np.zeros((32, 32, 3), np.uint8)


def test_what_gymnasium_gives_is_taken() -> None:
    assert answered("reset", (SEEN, {}), RESET)[1] == {}
    assert answered("step", (SEEN, 0.0, False, False, {}), STEP)[1:4] == (0.0, False, False)
    assert finite("reward", np.float32(2)) == 2.0


@pytest.mark.parametrize(
    ("verb", "answer", "names", "said"),
    [
        ("reset", SEEN, RESET, "reset gives something else"),
        ("reset", (SEEN, None), RESET, "reset gives something else"),
        ("step", (SEEN, 0.0, False, {}), STEP, "step gives 4 parts, not"),
        ("step", (SEEN, 0.0, False, False, None), STEP, "step gives something else"),
        ("step", None, STEP, "step gives something else"),
    ],
)
def test_other_answers_are_one_line(verb: str, answer: Any, names: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        answered(verb, answer, names)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [None, 1j, float("nan"), [1.0, 2.0], "1"])
def test_what_is_no_number_is_one_line(value: Any) -> None:
    with pytest.raises(InputError, match="reward is"):
        finite("reward", value)


class Earlier(gym.Env):
    """As Gym had them."""

    observation_space, action_space = gym.spaces.Box(0, 255, (32, 32, 3), np.uint8), gym.spaces.Discrete(2)

    def reset(self, **_: Any) -> Any:
        return SEEN, {}

    def step(self, action: Any) -> Any:  # noqa: ARG002
        return SEEN, 0.0, True, {}


def test_collect_says_it(tmp_path: Any) -> None:
    gym.register("Earlier-v0", entry_point=lambda **_: Earlier(), disable_env_checker=True)
    with pytest.raises(InputError, match="step gives 4 parts"):
        collect("Earlier-v0", tmp_path / "x.h5", episodes=1)
