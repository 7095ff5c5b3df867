"""The trunk of LPWM: attention among the tokens of a frame, then of each along its own past, in turns."""

from collections.abc import Callable
from functools import partial
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
    With its gates at zero, as they start, the trunk is a normalised linear layer. causal: tokens see their own past
    alone, otherwise their future too, and `resume` is not to be called.
    """

    def __init__(
        self,
        dim: int,
        n_layers: int,
        n_heads: int,
        dropout: float,
        n_frames: int,
        n_tokens: int,
        causal: bool = True,
    ) -> None:
        super().__init__()
        self.causal = causal
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
        self, x: Float[Tensor, "B T N D"], condition: Float[Tensor, "*B T _ D"] | None
    ) -> Float[Tensor, "B T N D"]:
        """Outputs for all frames.

        condition: beside the tables, the same for all clips or tokens where its axes say so.
        """
        modulation = self._modulate(x.shape[1], x.shape[2], condition)
        everything = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device)
        seen = everything.tril() if self.causal else None
        for i, (space, time) in enumerate(zip(self.space, self.time, strict=True)):
            x = space(x, None, modulation(2 * i))
            x, m = (y.transpose(-3, -2).contiguous() for y in (x, modulation(2 * i + 1)))
            x = time(x, seen, m).transpose(1, 2)
        return self._output(x, modulation(-1))

    def resume(
        self, x: Float[Tensor, "B T N D"], condition: Float[Tensor, "*B T _ D"] | None, memory: Memory
    ) -> Float[Tensor, "B 1 N D"]:
        """The output for the last frame; the states of the frames that memory knows are not made again."""
        n_frames = x.shape[1]
        first = n_frames - memory.n_run
        x, condition = x[:, first:], None if condition is None else condition[..., first:, :, :]
        if not memory.constants:
            memory.constants = self._tables(len(self.frames), x.shape[2])
        if memory.slid or not memory.pasts:  # every frame has another place in the window
            memory.pasts = [Past() for _ in self.time]
        modulation = partial(self._modulation, memory.constants, condition, first, n_frames)
        seen = torch.ones(n_frames, n_frames, dtype=torch.bool, device=x.device).tril()[first:]
        for i, (space, time) in enumerate(zip(self.space, self.time, strict=True)):
            x = space(x, None, modulation(2 * i), linear=memory.linear)
            n_queries = 1 if i == len(self.time) - 1 else len(seen)
            x, m = (y.transpose(-3, -2).contiguous() for y in (x, modulation(2 * i + 1)))
            x = time(x, seen[-n_queries:], m, memory.pasts[i], 0, n_queries, memory.linear).transpose(1, 2)
        return self._output(x, modulation(-1))

    def _modulate(self, n_frames: int, n_tokens: int, condition: Tensor | None) -> Callable[[int], Tensor]:
        """The modulation of layer i. Where every token has a condition of its own, it goes through the layer together
        with the tables; otherwise by itself, and the tables once for all clips."""
        layers = self._modulations()
        if condition is not None and condition.shape[-2] == n_tokens > 1:
            steered = self.frames[:n_frames] + self.slots[:n_tokens] + condition
            return lambda i: layers[i](steered)
        return partial(self._modulation, self._tables(n_frames, n_tokens), condition, 0, n_frames)

    def _tables(self, n_frames: int, n_tokens: int) -> list[Tensor]:
        """What each layer makes of the tables."""
        still = self.frames[:n_frames] + self.slots[:n_tokens]
        return [layer(still) for layer in self._modulations()]

    def _modulation(
        self, tables: list[Tensor], condition: Tensor | None, first: int, end: int, i: int
    ) -> Tensor:
        """Of layer i. Linear in the condition, so the clips' share is added to the tables', the same for all."""
        known = tables[i][first:end]
        return known if condition is None else known + F.linear(condition, self._modulations()[i].weight)

    def _output(self, x: Float[Tensor, "B T N D"], modulation: Tensor) -> Float[Tensor, "B T N D"]:
        scale, shift = modulation[..., -x.shape[1] :, :, :].chunk(2, -1)
        return self.out((1 + scale) * self.norm(x) + shift)

    def _modulations(self) -> list[nn.Linear]:
        """Space and time in turns, layer by layer; then that of the output."""
        blocks = [block for pair in zip(self.space, self.time, strict=True) for block in pair]
        layers = [*(block.modulation for block in blocks), self.modulation]
        assert all(isinstance(layer, nn.Linear) for layer in layers)
        return cast(list[nn.Linear], layers)
