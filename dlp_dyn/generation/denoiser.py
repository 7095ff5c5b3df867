"""The network of DiffuseDDLP: PINT's transformer over the tokens of a noisy clip."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dlp_dyn.dynamics.blocks import Block, RelativeBias, init_linear
from dlp_dyn.generation.config import DiffusionConfig
from dlp_dyn.nn import mlp

_LONGEST = 1e4  # period of the time code, over two pi


class Denoiser(nn.Module):
    """Noisy rows and the step they are at -> the rows without noise (DiffuseDDLP, official code).

    One token a row and frame; particles are told apart by where they stand, as in PINT.
    """

    def __init__(self, cfg: DiffusionConfig, n_rows: int, width: int) -> None:
        super().__init__()
        self.cfg = cfg
        dim = cfg.dim
        self.time = mlp([dim, 4 * dim, dim])
        self.read = mlp([width, dim, dim])
        self.blocks = nn.ModuleList(Block(dim, cfg.n_heads, cfg.dropout, False) for _ in range(cfg.n_layers))
        self.biases = nn.ModuleList(
            RelativeBias(cfg.frames, n_rows, cfg.n_heads) for _ in range(cfg.n_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim, bias=False)
        init_linear(self.out)
        self.write = mlp([dim, dim, width])

    def forward(self, x: Float[Tensor, "B T M C"], t: Int[Tensor, " B"]) -> Float[Tensor, "B T M C"]:
        n_frames, n_rows = x.shape[1:3]
        tokens = self.tokens(x, t).flatten(1, 2)[:, None]
        for block, bias in zip(self.blocks, self.biases, strict=True):
            tokens = block(tokens, bias(n_frames, n_rows, causal=self.cfg.causal))
        return self.write(self.out(self.norm(tokens[:, 0]))).unflatten(1, (n_frames, n_rows))

    def tokens(self, x: Float[Tensor, "B T M C"], t: Int[Tensor, " B"]) -> Float[Tensor, "B T M D"]:
        return self.read(x) + self.time_code(t)[:, None, None]

    def time_code(self, t: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        half = self.cfg.dim // 2
        index = torch.arange(half, device=t.device)
        angle = t[:, None] * (-math.log(_LONGEST) / (half - 1) * index.to(self.out.weight.dtype)).exp()
        return self.time(torch.cat([angle.sin(), angle.cos()], -1))
