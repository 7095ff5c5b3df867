"""TransformerDynamics: attention over particles and time, jointly (DDLP's PINT) or one after the other (LPWM)."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dlp_dyn.dynamics.actions import ActionInput
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.dynamics.tokens import SceneHeads, SceneTokens
from dlp_dyn.errors import InputError
from dlp_dyn.nn import mlp
from dlp_dyn.particles import Scene, SceneDistribution

_INIT_STD = 0.02


class RelativeBias(nn.Module):
    """What attention adds for distances in time and in particle number; tokens ordered frame by frame."""

    def __init__(self, n_frames: int, n_tokens: int, n_heads: int) -> None:
        super().__init__()
        self.time = nn.Parameter(_INIT_STD * torch.randn(2 * n_frames - 1, n_heads))
        self.particle = nn.Parameter(_INIT_STD * torch.randn(2 * n_tokens - 1, n_heads))

    def forward(self, n_frames: int, n_tokens: int) -> Float[Tensor, "h L L"]:
        """With minus infinity where a token would see a later frame."""
        time, particle = _by_offset(self.time, n_frames), _by_offset(self.particle, n_tokens)
        later = torch.ones(n_frames, n_frames, dtype=torch.bool, device=time.device).triu(1)
        time = time.masked_fill(later, -torch.inf)
        return rearrange(time[:, :, None, :, None] + particle[:, None, :, None], "h t n s m -> h (t n) (s m)")


def _by_offset(table: Float[Tensor, "K h"], n: int) -> Float[Tensor, "h n n"]:
    """Entry [i, j] is the table's at offset j - i; offset 0 lies in its middle."""
    index = torch.arange(n, device=table.device)
    return table[(index - index[:, None] + len(table) // 2)].movedim(-1, 0)


class Block(nn.Module):
    """Pre-norm attention and perceptron, both residual.

    With `conditioned`, a condition scales, shifts and gates both; the gates start at zero (AdaLN-zero).
    """

    def __init__(self, dim: int, n_heads: int, dropout: float, conditioned: bool) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        norm = nn.RMSNorm if conditioned else nn.LayerNorm
        self.norm_attention, self.norm_mlp = norm(dim, eps=1e-5), norm(dim, eps=1e-5)
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.mlp = mlp([dim, 4 * dim, dim])
        self.apply(_init)
        self.modulation = nn.Linear(dim, 6 * dim) if conditioned else None
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        bias: Float[Tensor, "h L L"] | Bool[Tensor, "L L"] | None,
        condition: Float[Tensor, "B L D"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        if self.modulation is None:
            x = x + self._attend(self.norm_attention(x), bias)
            return x + self._drop(self.mlp(self.norm_mlp(x)))
        a, b, gate, c, d, gate_mlp = self.modulation(condition).chunk(6, -1)
        x = x + gate * self._attend((1 + a) * self.norm_attention(x) + b, bias)
        return x + gate_mlp * self._drop(self.mlp((1 + c) * self.norm_mlp(x) + d))

    def _attend(self, x: Tensor, bias: Tensor | None) -> Tensor:
        q, k, v = (
            rearrange(layer(x), "b n (h d) -> b h n d", h=self.n_heads)
            for layer in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        mask = bias if bias is None or bias.dtype == torch.bool else bias.to(q.dtype)
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout)
        return self._drop(self.out(rearrange(y, "b h n d -> b n (h d)")))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, _INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class JointTrunk(nn.Module):
    """All tokens of a window attend to those of their own and earlier frames (PINT)."""

    def __init__(self, cfg: DynamicsConfig, n_tokens: int) -> None:
        super().__init__()
        t = cfg.transformer
        self.blocks = nn.ModuleList(Block(t.dim, t.n_heads, t.dropout, False) for _ in range(t.n_layers))
        self.biases = nn.ModuleList(RelativeBias(cfg.window, n_tokens, t.n_heads) for _ in range(t.n_layers))
        self.norm = nn.LayerNorm(t.dim)
        self.out = nn.Linear(t.dim, t.dim, bias=False)
        _init(self.out)

    def forward(
        self, x: Float[Tensor, "B T N D"], action: Float[Tensor, "B T 1 D"] | None
    ) -> Float[Tensor, "B T N D"]:
        n_frames, n_tokens = x.shape[1:3]
        if action is not None:
            x = x + action
        x = x.flatten(1, 2)
        for block, bias in zip(self.blocks, self.biases, strict=True):
            x = block(x, bias(n_frames, n_tokens))
        return self.out(self.norm(x)).unflatten(1, (n_frames, n_tokens))


class FactorisedTrunk(nn.Module):
    """In every layer tokens attend within their frame, then each along its own past (LPWM).

    Slot, time and action enter through the adaptive norms only.
    """

    def __init__(self, cfg: DynamicsConfig, n_tokens: int) -> None:
        super().__init__()
        t = cfg.transformer
        self.space, self.time = (
            nn.ModuleList(Block(t.dim, t.n_heads, t.dropout, True) for _ in range(t.n_layers))
            for _ in range(2)
        )
        self.slots = nn.Parameter(_INIT_STD * torch.randn(n_tokens, t.dim))
        self.frames = nn.Parameter(_INIT_STD * torch.randn(cfg.window, 1, t.dim))
        self.norm = nn.RMSNorm(t.dim, eps=1e-5)
        self.modulation = nn.Linear(t.dim, 2 * t.dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.out = nn.Linear(t.dim, t.dim)

    def forward(
        self, x: Float[Tensor, "B T N D"], action: Float[Tensor, "B T 1 D"] | None
    ) -> Float[Tensor, "B T N D"]:
        b, t, n = x.shape[:3]
        condition = (self.frames[:t] + self.slots[:n]).expand(b, -1, -1, -1)
        if action is not None:
            condition = condition + action
        past = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
        by_frame, by_slot = condition.flatten(0, 1), rearrange(condition, "b t n d -> (b n) t d")
        for space, time in zip(self.space, self.time, strict=True):
            x = space(x.flatten(0, 1), None, by_frame).unflatten(0, (b, t))
            x = time(rearrange(x, "b t n d -> (b n) t d"), past, by_slot)
            x = rearrange(x, "(b n) t d -> b t n d", b=b)
        scale, shift = self.modulation(condition).chunk(2, -1)
        return self.out((1 + scale) * self.norm(x) + shift)


class TransformerDynamics(nn.Module):
    """DDLP's PINT (arXiv 2306.05957, section 4.2) or LPWM's factorised transformer (arXiv 2603.04553).

    Not equivariant to the order of particles: biases and embeddings belong to slots. The distribution for time t + 1
    sees frames up to t.
    """

    def __init__(self, cfg: DynamicsConfig, n_particles: int, feature_dim: int, background_dim: int) -> None:
        super().__init__()
        t = cfg.transformer
        self.window, self.n_slots = cfg.window, t.n_slots or n_particles
        self.tokens = SceneTokens(feature_dim, background_dim, t.dim)
        self.action = ActionInput(cfg.action_dim, t.dim) if cfg.action_dim else None
        trunk = JointTrunk if t.attention == "joint" else FactorisedTrunk
        self.trunk = trunk(cfg, self.n_slots + 1)
        self.heads = SceneHeads(feature_dim, background_dim, t.dim, t.depth_logvar_is_delta)

    def forward(self, history: Scene, actions: Float[Tensor, "B T A"] | None = None) -> SceneDistribution:
        """Distributions for frames 1 .. T given 0 .. T - 1; T is at most `window`.

        Raises InputError for more particles than the model has slots.
        """
        n_frames, n = history.particles.position.shape[1:3]
        if n != self.n_slots:
            raise InputError(
                f"{n} particles, the transformer was made for {self.n_slots}: use graph dynamics, which take any number"
            )
        assert n_frames <= self.window, f"{n_frames} frames, the window has {self.window}"
        action = None
        if self.action is not None:
            assert actions is not None
            action = self.action(actions)[:, :, None]
        return self.heads(self.trunk(self.tokens(history), action), history)

    def step(self, history: Scene, actions: Float[Tensor, "B T A"] | None = None) -> SceneDistribution:
        """The distribution of the frame after the last."""
        return self(history, actions)[:, -1]
