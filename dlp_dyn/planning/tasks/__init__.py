"""The tasks that planning is measured on."""

from collections.abc import Mapping

from dlp_dyn.planning.tasks.base import Aim, Places, Problem, Task, World
from dlp_dyn.planning.tasks.push import Push
from dlp_dyn.planning.tasks.push_t import PushT
from dlp_dyn.planning.tasks.two_room import TwoRoom

_ALL: tuple[Task, ...] = (
    Push(1), Push(2), Push(3), TwoRoom(), TwoRoom("door"), TwoRoom("far"), PushT(), PushT("moved"), PushT("places"),
)  # fmt: skip
TASKS: Mapping[str, Task] = {task.name: task for task in _ALL}

__all__ = ["TASKS", "Aim", "Places", "Problem", "Task", "World"]
