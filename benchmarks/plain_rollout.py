"""The plain way to roll out: the yardstick of `benchmarks.rollout` and the oracle of the tests.

At every step the whole window goes through the embedding, all layers and all heads, attention is written out in
matrices, its biases are built anew, and the history grows by concatenation; all frames are drawn in one batch on
stacks of whole canvases. That is what the published implementation does (DDLP, arXiv 2306.05957, official code).
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from benchmarks.plain import plain_geometry
from dlp_dyn.dynamics.base import NOTHING, Conditions, Dynamics
from dlp_dyn.dynamics.blocks import Block, RelativeBias
from dlp_dyn.dynamics.transformer import FactorisedTrunk, JointTrunk, TransformerDynamics
from dlp_dyn.particles import Scene, SceneDistribution
from dlp_dyn.tree import cat
from dlp_dyn.video import VideoModel


@torch.no_grad()
def rollout(dynamics: Dynamics, context: Scene, horizon: int, conditions: Conditions = NOTHING) -> Scene:
    """The context and the means of `horizon` scenes after it; `dlp_dyn.dynamics.rollout.rollout`, step by step."""
    history = context
    for _ in range(horizon):
        end = history.background.shape[1]
        first = max(end - dynamics.window, 0)
        scene = expected(dynamics, history[:, first:], conditions.between(first, end)).mean[:, -1:]
        history = cat([history, scene], 1)
    return history


def expected(dynamics: Dynamics, history: Scene, conditions: Conditions = NOTHING) -> SceneDistribution:
    """Distributions for frames 1 .. T given 0 .. T - 1. What is no transformer is called as it is."""
    if not isinstance(dynamics, TransformerDynamics):
        return dynamics(cat([history, history[:, -1:]], 1), conditions).scenes  # whatever the last frame is
    x = dynamics.tokens(history)
    action = None
    if dynamics.action is not None:
        assert conditions.actions is not None
        action = dynamics.action(conditions.actions)[:, :, None]
    trunk = dynamics.trunk
    if isinstance(trunk, JointTrunk):
        return dynamics.heads(_joint(trunk, x, action), history)
    assert isinstance(trunk, FactorisedTrunk)
    return dynamics.heads(factorised(trunk, x, action), history)


@torch.no_grad()
def images(model: VideoModel, scene: Scene) -> Float[Tensor, "B T 3 H W"]:
    """The pictures of scenes over (B, T), all in one batch."""
    with plain_geometry():
        decoded = model.decode(scene.map(lambda x: x.flatten(0, 1)))
    return decoded.image.unflatten(0, scene.background.shape[:2])


def _joint(
    trunk: JointTrunk, x: Float[Tensor, "B T N D"], action: Float[Tensor, "B T 1 D"] | None
) -> Float[Tensor, "B T N D"]:
    n_frames, n_tokens = x.shape[1:3]
    x = (x if action is None else x + action).flatten(1, 2)
    for block, bias in zip(trunk.blocks, trunk.biases, strict=True):
        assert isinstance(block, Block)
        assert isinstance(bias, RelativeBias)
        x = x + _attention(block, block.norm_attention(x), *_bias(bias, n_frames, n_tokens))
        x = x + block.mlp(block.norm_mlp(x))
    return trunk.out(trunk.norm(x)).unflatten(1, (n_frames, n_tokens))


def factorised(
    trunk: FactorisedTrunk, x: Float[Tensor, "B T N D"], action: Float[Tensor, "B T 1 D"] | None
) -> Float[Tensor, "B T N D"]:
    b, t, n = x.shape[:3]
    condition = (trunk.frames[:t] + trunk.slots[:n]).expand(b, -1, -1, -1)
    condition = condition if action is None else condition + action
    later = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
    for space, time in zip(trunk.space, trunk.time, strict=True):
        assert isinstance(space, Block)
        assert isinstance(time, Block)
        x = _conditioned(space, x.flatten(0, 1), condition.flatten(0, 1), None).unflatten(0, (b, t))
        x, by_slot = (rearrange(y, "b t n d -> (b n) t d") for y in (x, condition))
        x = rearrange(_conditioned(time, x, by_slot, later), "(b n) t d -> b t n d", b=b)
    scale, shift = trunk.modulation(condition).chunk(2, -1)
    return trunk.out((1 + scale) * trunk.norm(x) + shift)


def _conditioned(block: Block, x: Tensor, condition: Tensor, later: Tensor | None) -> Tensor:
    assert block.modulation is not None
    a, b, gate, c, d, gate_mlp = block.modulation(condition).chunk(6, -1)
    x = x + gate * _attention(block, (1 + a) * block.norm_attention(x) + b, None, later)
    return x + gate_mlp * block.mlp((1 + c) * block.norm_mlp(x) + d)


def _attention(block: Block, x: Tensor, bias: Tensor | None, later: Tensor | None) -> Tensor:
    q, k, v = (
        rearrange(layer(x), "b n (h d) -> b h n d", h=block.n_heads)
        for layer in (block.query, block.key, block.value)
    )
    logits = q @ k.mT / q.shape[-1] ** 0.5
    if bias is not None:
        logits = logits + bias
    if later is not None:
        logits = logits.masked_fill(later, -torch.inf)
    return block.out(rearrange(logits.softmax(-1) @ v, "b h n d -> b n (h d)"))


def _bias(bias: RelativeBias, n_frames: int, n_tokens: int) -> tuple[Tensor, Tensor]:
    """What is added to the logits, and where a token would see a later frame."""

    def table(values: Tensor, n: int) -> Tensor:
        index = torch.arange(n, device=values.device)
        return values[index - index[:, None] + len(values) // 2].permute(2, 0, 1)

    time = table(bias.time, n_frames).repeat_interleave(n_tokens, 1).repeat_interleave(n_tokens, 2)
    particle = table(bias.particle, n_tokens).repeat(1, n_frames, n_frames)
    later = torch.ones(n_frames, n_frames, dtype=torch.bool, device=time.device).triu(1)
    return time + particle, later.repeat_interleave(n_tokens, 0).repeat_interleave(n_tokens, 1)
