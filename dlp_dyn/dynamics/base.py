"""What every family of dynamics takes and gives."""

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from dlp_dyn.dynamics.actions import ActionInput
from dlp_dyn.errors import InputError
from dlp_dyn.particles import Draw, Scene, SceneDistribution, mean, rsample
from dlp_dyn.tree import TensorTree

State = Any
"""What the steps of one rollout hand on. Its family alone looks inside; a step brings it up to date in place."""


@dataclass(frozen=True)
class Conditions:
    """What steers dynamics beside the scenes themselves; absent ones are None.

    actions: `actions[:, t]` leads from frame t to frame t + 1. goal: the scene to reach. language: tokens of a text.
    view: which camera each clip was seen by.
    """

    actions: Float[Tensor, "B T A"] | None = None
    goal: Scene | None = None
    language: Float[Tensor, "b L E"] | None = None
    view: Float[Tensor, " B"] | None = None

    def between(self, first: int, end: int) -> "Conditions":
        """Those of frames `first` to `end - 1`."""
        return self if self.actions is None else replace(self, actions=self.actions[:, first:end])


NOTHING = Conditions()


@dataclass(frozen=True)
class LatentActions(TensorTree):
    """What led from frames to the frames after them, one for each particle and one for the background.

    drawn: those that were followed. policy: what was expected before the frame after was seen. posterior: what was
    inferred from it. None where nobody asked.
    """

    drawn: Float[Tensor, "B U N Z"]
    policy: Normal | None = None
    posterior: Normal | None = None


@dataclass(frozen=True)
class Prediction(TensorTree):
    """Of frames that follow those given.

    scenes: their distribution. latent: of families that have latent actions.
    """

    scenes: SceneDistribution
    latent: LatentActions | None = None


@dataclass(frozen=True, kw_only=True)
class Step(Prediction):
    """Of one frame. drawn: the scene that a rollout goes on from."""

    drawn: Scene


class Dynamics(nn.Module):
    """A family of models of how particles move. A new one gives `window`, `forward` and `step`.

    window: how many frames a step looks back on. any_number: whether scenes may have more or fewer particles than the
    ones that it was trained on. random: whether one past has several futures, which samples tell and means do not.
    """

    window: int
    any_number = False
    random = False

    def forward(self, scenes: Scene, conditions: Conditions = NOTHING, sample: Draw = rsample) -> Prediction:
        """Teacher-forced: of frames 0 .. U, what is expected of frames 1 .. U, each from the frames before it.

        sample: how latent actions are drawn from what the frames tell.
        """
        raise NotImplementedError

    def start(
        self,
        scenes: Scene,
        conditions: Conditions = NOTHING,
        latent: Float[Tensor, "B K N Z"] | None = None,
    ) -> State:
        """The state of a rollout that goes on from the last of these frames.

        conditions: of the same frames. latent: latent actions from the first frame on, to be followed.
        Raises InputError for what the family does not take, and for conditions that are missing.
        """
        del scenes
        for name, value in (
            ("a goal", conditions.goal),
            ("a text", conditions.language),
            ("latent actions", latent),
        ):
            if value is not None:
                raise InputError(
                    f"{name} steers dynamics.kind=latent_actions, this model has {type(self).__name__}: leave it out"
                )

    def step(self, scenes: Scene, conditions: Conditions, state: State, sample: Draw = mean) -> Step:
        """Of the frame after the last of `window` frames or fewer; without a time axis, but for its latent actions.

        conditions: of the same frames. state: of the steps before, each of which saw the window one frame earlier.
        sample: how what is random is drawn.
        """
        raise NotImplementedError

    def infer(self, scenes: Scene, conditions: Conditions = NOTHING) -> Float[Tensor, "B U N Z"]:
        """The mean latent actions between the frames of clips of any length. Raises InputError where there are none."""
        del scenes, conditions
        raise InputError(
            f"{type(self).__name__} has no latent actions: use a model with dynamics.kind=latent_actions or "
            "latent_graph"
        )

    def fit_actions(self, actions: Float[Tensor, "K A"]) -> None:
        """Take the range of the actions of a data set."""
        for layer in self.modules():
            if isinstance(layer, ActionInput):
                layer.fit(actions)
