"""What a planner may do: bounds, and blocks of actions that lie side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.errors import InputError


@dataclass(frozen=True)
class ActionSpace:
    """The actions from one frame that a video model sees to the next: `block` of an environment, side by side.

    low, high: of one action of the environment. choices: True where an action is one-hot over its components.
    """

    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]
    block: int = 1
    choices: bool = False

    @classmethod
    def of(cls, space: gym.Space, block: int = 1) -> "ActionSpace":
        """Raises InputError for spaces that are neither a bounded Box nor Discrete."""
        if isinstance(space, gym.spaces.Discrete):
            n = int(space.n)
            return cls(torch.zeros(n), torch.ones(n), block, True)
        if not isinstance(space, gym.spaces.Box) or not np.isfinite([space.low, space.high]).all():
            raise InputError(
                f"action space {space}: a plan needs bounds: use a Box with finite ones, or Discrete"
            )
        low, high = (torch.from_numpy(np.array(x, np.float32).reshape(-1)) for x in (space.low, space.high))
        return cls(low, high, block)

    @property
    def width(self) -> int:
        """Columns of a block."""
        return self.block * len(self.low)

    @property
    def bounds(self) -> tuple[Float[Tensor, " W"], Float[Tensor, " W"]]:
        """Of the columns of a block."""
        return self.low.repeat(self.block), self.high.repeat(self.block)

    @property
    def middle(self) -> Float[Tensor, " W"]:
        low, high = self.bounds
        return (low + high) / 2

    @property
    def half_range(self) -> Float[Tensor, " W"]:
        low, high = self.bounds
        return (high - low) / 2

    def clip(self, actions: Float[Tensor, "*B W"]) -> Float[Tensor, "*B W"]:
        low, high = self.bounds
        return torch.minimum(torch.maximum(actions, low), high)

    def single(self, blocks: Float[Tensor, "*B W"]) -> Float[Tensor, "*B k A"]:
        """The environment's actions of blocks, in order."""
        return blocks.unflatten(-1, (self.block, len(self.low)))


def noise(
    generators: Sequence[torch.Generator], shape: tuple[int, ...], colour: float = 0.0
) -> Float[Tensor, "B S L A"]:
    """Standard normal noise (S, L, A) of one generator a problem, correlated along L: power falls as frequency^-colour.

    Colour 0 is white; 2 drifts as a random walk does (iCEM, arXiv 2008.06389). Every component has variance 1 on
    average over L.
    """
    white = torch.stack([torch.randn(shape, generator=g) for g in generators])
    length = shape[-2]
    if colour == 0 or length == 1:
        return white
    frequency = torch.fft.rfftfreq(length)
    frequency[0] = frequency[1]  # the mean of a sequence drifts as its slowest wave does
    gain = frequency ** (-colour / 2)
    twice = torch.full_like(gain, 2.0)  # all but the first and, of even lengths, the last stand for a pair
    twice[0] = 1.0
    if length % 2 == 0:
        twice[-1] = 1.0
    gain = gain / ((gain.square() * twice).sum() / length).sqrt()
    return torch.fft.irfft(torch.fft.rfft(white, dim=-2) * gain[:, None], n=length, dim=-2)


def set_spaces(env: VectorEnv, observations: gym.spaces.Box, space: ActionSpace) -> None:
    """Give a vector environment its spaces, whose actions are blocks, and say that episodes begin anew at once."""
    env.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
    low, high = (x.numpy() for x in space.bounds)
    env.single_observation_space = observations
    env.single_action_space = gym.spaces.Box(low, high, dtype=np.float32)
    env.observation_space = gym.vector.utils.batch_space(env.single_observation_space, env.num_envs)
    env.action_space = gym.vector.utils.batch_space(env.single_action_space, env.num_envs)
