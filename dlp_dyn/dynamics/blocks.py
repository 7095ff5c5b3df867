"""Transformer blocks that can go on from the keys and values of earlier tokens, and the biases of their attention."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dlp_dyn.dynamics.packed import linear
from dlp_dyn.nn import mlp

INIT_STD = 0.02


class RelativeBias(nn.Module):
    """What attention adds for distances in time and in particle number; tokens ordered frame by frame."""

    def __init__(self, n_frames: int, n_tokens: int, n_heads: int) -> None:
        super().__init__()
        self.time = nn.Parameter(INIT_STD * torch.randn(2 * n_frames - 1, n_heads))
        self.particle = nn.Parameter(INIT_STD * torch.randn(2 * n_tokens - 1, n_heads))

    def forward(self, n_frames: int, n_tokens: int, causal: bool = True) -> Float[Tensor, "1 h L L"]:
        """With minus infinity where a token would see a later frame, if `causal`. Fewer frames give the upper left
        corner.
        """
        time, particle = _by_offset(self.time, n_frames), _by_offset(self.particle, n_tokens)
        if causal:
            later = torch.ones(n_frames, n_frames, dtype=torch.bool, device=time.device).triu(1)
            time = time.masked_fill(later, -torch.inf)
        bias = time[:, :, None, :, None] + particle[:, None, :, None]
        return rearrange(bias, "h t n s m -> 1 h (t n) (s m)")


def _by_offset(table: Float[Tensor, "K h"], n: int) -> Float[Tensor, "h n n"]:
    """Entry [i, j] is the table's at offset j - i; offset 0 lies in its middle."""
    index = torch.arange(n, device=table.device)
    return table[(index - index[:, None] + len(table) // 2)].movedim(-1, 0)


@dataclass
class Past:
    """Keys and values that a block has made, of the tokens of each group in order; grows as the block goes on."""

    keys: Float[Tensor, "B G L D"] | None = None
    values: Float[Tensor, "B G L D"] | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, the new ones last."""
        self.keys = keys if self.keys is None else torch.cat([self.keys, keys], 2)
        self.values = values if self.values is None else torch.cat([self.values, values], 2)
        return self.keys, self.values

    def forget(self, n: int) -> None:
        """The oldest `n` tokens of each group."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[:, :, n:], self.values[:, :, n:]


class Block(nn.Module):
    """Pre-norm attention within groups of tokens, and a perceptron, both residual.

    With `conditioned`, a modulation scales, shifts and gates both; the gates start at zero (AdaLN-zero).
    """

    def __init__(self, dim: int, n_heads: int, dropout: float, conditioned: bool) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        norm = partial(nn.RMSNorm, eps=1e-8) if conditioned else partial(nn.LayerNorm, eps=1e-5)
        self.norm_attention, self.norm_mlp = norm(dim), norm(dim)
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.mlp = mlp([dim, 4 * dim, dim])
        if not conditioned:
            self.apply(init_linear)
        self.modulation = nn.Linear(dim, 6 * dim) if conditioned else None
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Float[Tensor, "B G L D"],
        bias: Float[Tensor, "1 h _ _"] | Bool[Tensor, "_ _"] | None,
        modulation: Float[Tensor, "*B L M"] | None = None,
        past: Past | None = None,
        n_known: int = 0,
        n_queries: int | None = None,
        linear: Callable[..., Tensor] = linear,
    ) -> Float[Tensor, "B G _ D"]:
        """New states of the newest `n_queries` tokens of `x`, or of all.

        They attend to the tokens in `past`, which are older, or the first `n_known` of `x` themselves, and to `x`.
        bias: added to the logits, or where to attend; of queries against keys. modulation: 6 D wide.
        linear: applies a linear layer and an activation.
        """
        m = [None] * 6 if modulation is None else list(modulation.chunk(6, -1))
        y = _modulate(self.norm_attention(x), m[0], m[1])
        fresh = y[:, :, n_known:]
        keys, values = linear(self.key, fresh), linear(self.value, fresh)
        if past is not None:
            keys, values = past.append(keys, values)
        if n_queries is not None:
            x, y = x[:, :, -n_queries:], y[:, :, -n_queries:]
            m = [part if part is None else part[..., -n_queries:, :] for part in m]
        x = x + _gate(self._attend(linear(self.query, y), keys, values, bias, linear), m[2])
        y = linear(self.mlp[0], _modulate(self.norm_mlp(x), m[3], m[4]), "gelu")
        return x + _gate(self._drop(linear(self.mlp[2], y)), m[5])

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, linear: Callable[..., Tensor]
    ) -> Tensor:
        groups = q.shape[:2]
        q, k, v = (x.flatten(0, 1).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for x in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        mask = bias if bias is None or bias.dtype == torch.bool else bias.to(q.dtype)
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout)
        return self._drop(linear(self.out, y.transpose(1, 2).flatten(-2))).unflatten(0, groups)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def _modulate(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    return x if scale is None or shift is None else (1 + scale) * x + shift


def _gate(x: Tensor, gate: Tensor | None) -> Tensor:
    return x if gate is None else gate * x


def init_linear(module: nn.Module) -> None:
    """As the official DDLP does."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
