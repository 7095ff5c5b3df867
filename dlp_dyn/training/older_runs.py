"""What earlier versions of dlp_dyn wrote, in today's form: converted when it is loaded, never in its place."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from dlp_dyn.objectives.base import Update


def training_state(state: dict[str, Any], model: nn.Module, updates: Sequence[Update]) -> dict[str, Any]:
    """A training state with an optimiser for each update.

    Version 1 had one optimiser, of all of a model's parameters in their order, learning or not.
    """
    if "optimizer" not in state:
        return state
    (update,) = updates
    places = {id(parameter): i for i, parameter in enumerate(model.parameters())}
    moments, (group,) = state["optimizer"]["state"], state["optimizer"]["param_groups"]
    own = [places[id(parameter)] for parameter in update.parameters]
    optimizer = {
        "state": {new: moments[old] for new, old in enumerate(own) if old in moments},
        "param_groups": [group | {"params": list(range(len(own)))}],
    }
    ceilings = {} if state["ceiling"] is None else {update.name: state["ceiling"]}
    kept = {key: value for key, value in state.items() if key not in ("optimizer", "ceiling")}
    return kept | {"optimizers": {update.name: optimizer}, "ceilings": ceilings}
