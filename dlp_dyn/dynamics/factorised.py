"""The trunk of LPWM: attention among the tokens of a frame, then of each along its own past, in turns."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.dynamics.blocks import INIT_STD, Block, Past
from dlp_dyn.dynamics.memory import Memory


class FactorisedTrunk(nn.Module):
    """Blocks over space and time in turns, all steered by a condition through adaptive norms (arXiv 2603.04553).

    Token and place in the window are learned tables that are part of the condition; nothing is added to the tokens.
    With its gates at zero, as they start, the trunk is a normalised linear layer.
    """

    def __init__(
        self, dim: int, n_layers: int, n_heads: int, dropout: float, n_frames: int, n_tokens: int
    ) -> None:
        super().__init__()
        self.space, self.time = (
            nn.ModuleList(Block(dim, n_heads, dropout, True) for _ in range(n_layers)) for _ in range(2)
        )
        self.slots = nn.Parameter(INIT_STD * torch.randn(n_tokens, dim))
        self.frames = nn.Parameter(INIT_STD * torch.randn(n_frames, 1, dim))
        self.norm = nn.RMSNorm(dim, eps=1e-8)
        self.modulation = nn.Linear(dim, 2 * dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.out = nn.Linear(dim, dim)

    def forward(
        self,
        x: Float[Tensor, "B T N D"],
        condition: Float[Tensor, "*B T _ D"] | None,
        memory: Memory,
        last_only: bool = False,
    ) -> Float[Tensor, "B _ N D"]:
        """Outputs for the frames that memory does not know the states of, or for the last one only.

        condition: beside the tables, the same for all clips or tokens where its axes say so.
        """
        n_frames = x.shape[1]
        first = n_frames - memory.n_run
        x, condition = x[:, first:], None if condition is None else condition[..., first:, :, :]
        layers = self._modulations()
        if not memory.constants:
            still = self.frames + self.slots[: x.shape[2]]
            memory.constants = [layer(still) for layer in layers]
        if memory.slid or not memory.pasts:  # every frame has another place in the window
            memory.pasts = [Past() for _ in self.time]

        def modulation(i: int) -> Tensor:
            """Linear in the condition, so the clips' share is added to the tables', which is the same for all."""
            known = memory.constants[i][first:n_frames]
            return known if condition is None else known + F.linear(condition, layers[i].weight)

        seen = torch.ones(n_frames, n_frames, dtype=torch.bool, device=x.device).tril()[first:]
        for i, (space, time) in enumerate(zip(self.space, self.time, strict=True)):
            x = space(x, None, modulation(2 * i), linear=memory.linear)
            n_queries = 1 if last_only and i == len(self.time) - 1 else len(seen)
            x, m = (y.transpose(-3, -2).contiguous() for y in (x, modulation(2 * i + 1)))
            x = time(x, seen[-n_queries:], m, memory.pasts[i], 0, n_queries, memory.linear)
            x = x.transpose(1, 2)
        scale, shift = modulation(-1)[..., -x.shape[1] :, :, :].chunk(2, -1)
        return self.out((1 + scale) * self.norm(x) + shift)

    def _modulations(self) -> list[nn.Linear]:
        """Space and time in turns, layer by layer; then that of the output."""
        blocks = [block for pair in zip(self.space, self.time, strict=True) for block in pair]
        layers = [*(block.modulation for block in blocks), self.modulation]
        assert all(isinstance(layer, nn.Linear) for layer in layers)
        return cast(list[nn.Linear], layers)
