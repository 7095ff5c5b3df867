"""Attention among the tokens of a set."""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.nn.layers import mlp


class SelfAttention(nn.Module):
    """Multi-head attention among the tokens of a set; no biases, no positions."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        q, k, v = (
            rearrange(layer(x), "b n (h d) -> b h n d", h=self.n_heads)
            for layer in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(rearrange(y, "b h n d -> b n (h d)"))


class AttentionBlock(nn.Module):
    """Pre-norm attention and perceptron, both residual."""

    def __init__(self, dim: int, n_heads: int, expansion: int = 4) -> None:
        super().__init__()
        self.norm_attention = nn.RMSNorm(dim, eps=1e-8)
        self.attention = SelfAttention(dim, n_heads)
        self.norm_mlp = nn.RMSNorm(dim, eps=1e-8)
        self.mlp = mlp([dim, expansion * dim, dim])

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        x = x + self.attention(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))
