"""Networks that take noise off a clip: PINT's transformer as published, and one over space and time in turns."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dlp_dyn.dynamics.blocks import Block, RelativeBias, init_linear
from dlp_dyn.dynamics.factorised import FactorisedTrunk
from dlp_dyn.generation.config import DiffusionConfig
from dlp_dyn.nn import mlp

_LONGEST = 1e4  # period of the time code, over two pi


class Denoiser(nn.Module):
    """Noisy rows and the step that clips or frames are at -> the rows without noise (DiffuseDDLP, official code).

    One token a row and frame; particles are told apart by where they stand, as in PINT.
    """

    def __init__(self, cfg: DiffusionConfig, n_rows: int, width: int) -> None:
        super().__init__()
        self.cfg = cfg
        dim = cfg.dim
        self.time = mlp([dim, 4 * dim, dim])
        self.read = mlp([_seen(cfg, width), dim, dim])
        self.blocks = nn.ModuleList(Block(dim, cfg.n_heads, cfg.dropout, False) for _ in range(cfg.n_layers))
        self.biases = nn.ModuleList(
            RelativeBias(cfg.frames, n_rows, cfg.n_heads) for _ in range(cfg.n_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim, bias=False)
        init_linear(self.out)
        self.write = mlp([dim, dim, width])

    def forward(self, x: Float[Tensor, "B T M X"], t: Int[Tensor, "*S"]) -> Float[Tensor, "B T M C"]:
        n_frames, n_rows = x.shape[1:3]
        tokens = self.tokens(x, t).flatten(1, 2)[:, None]
        for block, bias in zip(self.blocks, self.biases, strict=True):
            tokens = block(tokens, bias(n_frames, n_rows, causal=self.cfg.causal))
        return self.write(self.out(self.norm(tokens[:, 0]))).unflatten(1, (n_frames, n_rows))

    def tokens(self, x: Float[Tensor, "B T M X"], t: Int[Tensor, "*S"]) -> Float[Tensor, "B T M D"]:
        return self.read(x) + _of_frames(self.time_code(t), x.shape[1])

    def time_code(self, t: Int[Tensor, "*S"]) -> Float[Tensor, "*S D"]:
        return self.time(sinusoids(t, self.cfg.dim, self.out.weight.dtype))


class FactorisedDenoiser(nn.Module):
    """The same by LPWM's trunk, steered by the step.

    Rows of a frame attend to each other, then each row to itself in other frames, in turns: that a row stays the same
    thing, which joint attention has to learn, is where it starts from, and costs grow with frames plus rows.
    """

    def __init__(self, cfg: DiffusionConfig, n_rows: int, width: int) -> None:
        super().__init__()
        dim = cfg.dim
        self.time = mlp([dim, 4 * dim, dim])
        self.read = mlp([_seen(cfg, width), dim, dim])
        self.trunk = FactorisedTrunk(
            dim, cfg.n_layers, cfg.n_heads, cfg.dropout, cfg.frames, n_rows, cfg.causal
        )
        self.write = mlp([dim, dim, width])

    def forward(self, x: Float[Tensor, "B T M X"], t: Int[Tensor, "*S"]) -> Float[Tensor, "B T M C"]:
        code = self.time(sinusoids(t, self.trunk.frames.shape[-1], self.trunk.frames.dtype))
        return self.write(self.trunk(self.read(x), _of_frames(code, x.shape[1])))


class RowDenoiser(nn.Module):
    """The same with one token a row, of all its frames and which of them have noise; tokens attend to each other.

    That frames of a row agree, a linear layer tells; a clip costs as much as a frame.
    """

    def __init__(self, cfg: DiffusionConfig, n_rows: int, width: int) -> None:
        super().__init__()
        dim = cfg.dim
        self.time = mlp([dim, 4 * dim, dim])
        self.read = mlp([cfg.frames * (_seen(cfg, width) + 1), dim, dim])
        self.trunk = FactorisedTrunk(dim, cfg.n_layers, cfg.n_heads, cfg.dropout, 1, n_rows, causal=False)
        self.write = mlp([dim, dim, cfg.frames * width])

    def forward(self, x: Float[Tensor, "B T M X"], t: Int[Tensor, "*S"]) -> Float[Tensor, "B T M C"]:
        of_frames = t if t.ndim == 2 else t[:, None].expand(-1, x.shape[1])
        noisy = (of_frames >= 0).to(x.dtype)[:, :, None, None].expand_as(x[..., :1])
        tokens = self.read(torch.cat([x, noisy], -1).transpose(1, 2).flatten(2))
        code = self.time(sinusoids(of_frames.amax(1), self.trunk.frames.shape[-1], x.dtype))
        clips = self.write(self.trunk(tokens[:, None], code[:, None, None]))[:, 0]
        return clips.unflatten(-1, (x.shape[1], -1)).transpose(1, 2)


_KINDS = {"joint": Denoiser, "factorised": FactorisedDenoiser, "rows": RowDenoiser}


def denoiser(cfg: DiffusionConfig, n_rows: int, width: int) -> Denoiser | FactorisedDenoiser | RowDenoiser:
    """The network that `cfg.attention` names."""
    return _KINDS[cfg.attention](cfg, n_rows, width)


def _seen(cfg: DiffusionConfig, width: int) -> int:
    """Columns: of rows, and of the straight lines through a gap."""
    return 2 * width if cfg.gaps else width


def _of_frames(code: Float[Tensor, "*S D"], n_frames: int) -> Float[Tensor, "B F 1 D"]:
    """Beside the rows of each frame; of a clip, the same for all."""
    whole = code if code.ndim == 3 else code[:, None].expand(-1, n_frames, -1)
    return whole[:, :, None]


def sinusoids(t: Int[Tensor, "*S"], dim: int, dtype: torch.dtype) -> Float[Tensor, "*S D"]:
    """Sines and cosines of a step at `dim` / 2 rates each."""
    half = dim // 2
    index = torch.arange(half, device=t.device).to(dtype)
    angle = t[..., None] * (-math.log(_LONGEST) / (half - 1) * index).exp()
    return torch.cat([angle.sin(), angle.cos()], -1)
