"""TransformerDynamics: attention over particles and time, jointly (DDLP's PINT) or one after the other (LPWM)."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.dynamics.actions import ActionInput
from dlp_dyn.dynamics.blocks import INIT_STD, Block, Past, RelativeBias, init_linear
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.dynamics.memory import Memory
from dlp_dyn.dynamics.packed import linear
from dlp_dyn.dynamics.tokens import SceneHeads, SceneTokens
from dlp_dyn.errors import InputError
from dlp_dyn.particles import Scene, SceneDistribution


class JointTrunk(nn.Module):
    """All tokens of a window attend to those of their own and earlier frames (PINT)."""

    def __init__(self, cfg: DynamicsConfig, n_tokens: int) -> None:
        super().__init__()
        t = cfg.transformer
        self.window = cfg.window
        self.blocks = nn.ModuleList(Block(t.dim, t.n_heads, t.dropout, False) for _ in range(t.n_layers))
        self.biases = nn.ModuleList(RelativeBias(cfg.window, n_tokens, t.n_heads) for _ in range(t.n_layers))
        self.norm = nn.LayerNorm(t.dim)
        self.out = nn.Linear(t.dim, t.dim, bias=False)
        init_linear(self.out)

    def forward(
        self,
        x: Float[Tensor, "B T N D"],
        action: Float[Tensor, "B T 1 D"] | None,
        memory: Memory,
        last_only: bool = False,
    ) -> Float[Tensor, "B _ N D"]:
        """Outputs for the frames that memory does not know the states of, or for the last one only."""
        n_frames, n_tokens = x.shape[1:3]
        n_run = memory.n_run
        x = (x if action is None else x + action)[:, n_frames - n_run :].flatten(1, 2)[:, None]
        if not memory.constants:
            memory.constants = [bias(self.window, n_tokens) for bias in self.biases]
            memory.pasts = [Past() for _ in self.blocks]
        if memory.slid:  # the first keys and values are made of the tokens alone, which are as they were
            memory.pasts[0].forget(n_tokens)
            memory.pasts[1:] = [Past() for _ in self.blocks[1:]]
        n_known = (n_run - memory.n_new) * n_tokens
        for i, block in enumerate(self.blocks):
            last = last_only and i == len(self.blocks) - 1
            n_queries = n_tokens if last else n_run * n_tokens
            end = n_frames * n_tokens
            bias = memory.constants[i][:, :, end - n_queries : end, :end]
            x = block(x, bias, None, memory.pasts[i], 0 if i else n_known, n_queries, memory.linear)
        return self.out(self.norm(x)).unflatten(2, (-1, n_tokens))[:, 0]


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
        self.slots = nn.Parameter(INIT_STD * torch.randn(n_tokens, t.dim))
        self.frames = nn.Parameter(INIT_STD * torch.randn(cfg.window, 1, t.dim))
        self.norm = nn.RMSNorm(t.dim, eps=1e-5)
        self.modulation = nn.Linear(t.dim, 2 * t.dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.out = nn.Linear(t.dim, t.dim)

    def forward(
        self,
        x: Float[Tensor, "B T N D"],
        action: Float[Tensor, "B T 1 D"] | None,
        memory: Memory,
        last_only: bool = False,
    ) -> Float[Tensor, "B _ N D"]:
        """Outputs for the frames that memory does not know the states of, or for the last one only."""
        n_frames = x.shape[1]
        first = n_frames - memory.n_run
        x, action = x[:, first:], None if action is None else action[:, first:]
        layers = self._modulations()
        if not memory.constants:
            still = self.frames + self.slots[: x.shape[2]]
            memory.constants = [layer(still) for layer in layers]
        if memory.slid or not memory.pasts:  # every frame has another place in the window
            memory.pasts = [Past() for _ in self.time]
        # Linear in the condition, so the share of actions is added to the rest, which is the same for all clips.
        modulations = [known[first:n_frames] for known in memory.constants]
        if action is not None:
            shares = [F.linear(action, layer.weight) for layer in layers]
            modulations = [m + share for m, share in zip(modulations, shares, strict=True)]
        seen = torch.ones(n_frames, n_frames, dtype=torch.bool, device=x.device).tril()[first:]
        for i, (space, time) in enumerate(zip(self.space, self.time, strict=True)):
            x = space(x, None, modulations[2 * i], linear=memory.linear)
            n_queries = 1 if last_only and i == len(self.time) - 1 else len(seen)
            x, m = (y.transpose(-3, -2).contiguous() for y in (x, modulations[2 * i + 1]))
            x = time(x, seen[-n_queries:], m, memory.pasts[i], 0, n_queries, memory.linear)
            x = x.transpose(1, 2)
        scale, shift = modulations[-1][..., -x.shape[1] :, :, :].chunk(2, -1)
        return self.out((1 + scale) * self.norm(x) + shift)

    def _modulations(self) -> list[nn.Linear]:
        """Space and time in turns, layer by layer; then that of the output."""
        blocks = [block for pair in zip(self.space, self.time, strict=True) for block in pair]
        layers = [*(block.modulation for block in blocks), self.modulation]
        assert all(isinstance(layer, nn.Linear) for layer in layers)
        return cast(list[nn.Linear], layers)


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
        n_frames = history.background.shape[1]
        memory = Memory(linear=linear)
        tokens = memory.extend(self._embed(history), n_frames)
        return self.heads(self.trunk(tokens, self._actions(actions), memory), history)

    def step(
        self,
        history: Scene,
        actions: Float[Tensor, "B T A"] | None = None,
        memory: Memory | None = None,
    ) -> SceneDistribution:
        """The distribution of the frame after the last.

        memory: of the steps before, whose window this one continues by a frame; it is brought up to date. Keys and
        values are reused while the window grows. When it slides, the states of all its frames change, because those
        that they had seen left: then only tokens and the first layer's keys and values are (joint attention).
        """
        memory = memory or Memory()
        n_frames = history.background.shape[1]
        tokens = memory.extend(self._embed(history[:, -memory.missing(n_frames) :]), n_frames)
        x = self.trunk(tokens, self._actions(actions), memory, last_only=True)
        return self.heads(x[:, 0], history[:, -1])

    def memory(self) -> Memory:
        """For the steps of a rollout."""
        return Memory()

    def _embed(self, scene: Scene) -> Float[Tensor, "B T N D"]:
        n_frames, n = scene.particles.position.shape[1:3]
        if n != self.n_slots:
            raise InputError(
                f"{n} particles, the transformer was made for {self.n_slots}: use graph dynamics, which take any number"
            )
        assert n_frames <= self.window, f"{n_frames} frames, the window has {self.window}"
        return self.tokens(scene)

    def _actions(self, actions: Float[Tensor, "B T A"] | None) -> Float[Tensor, "B T 1 D"] | None:
        if self.action is None:
            return None
        assert actions is not None
        return self.action(actions)[:, :, None]
