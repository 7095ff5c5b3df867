"""What an action does to the tokens or nodes of a frame."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

_LEAST_STD = 1e-3  # of a component that hardly varies: it would be blown up otherwise


class ActionInput(nn.Module):
    """A linear embedding of actions, each component first shifted and scaled as the training data asks.

    Actions come as their environment takes them: pixels from 0 to 512, torques of a hundredth.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, action_dim: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(action_dim))
        self.register_buffer("std", torch.ones(action_dim))
        self.linear = nn.Linear(action_dim, dim)

    @torch.no_grad()
    def fit(self, actions: Float[Tensor, "K A"]) -> None:
        """Take mean and standard deviation from all actions of a data set."""
        self.mean.copy_(actions.mean(0))
        self.std.copy_(actions.std(0, correction=0).clamp_min(_LEAST_STD))

    def forward(self, actions: Float[Tensor, "*B A"]) -> Float[Tensor, "*B D"]:
        return self.linear((actions - self.mean) / self.std)
