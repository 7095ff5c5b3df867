"""Bricks without particle knowledge: perceptrons, convolution layers, attention."""

from dlp_dyn.nn.attention import AttentionBlock, SelfAttention
from dlp_dyn.nn.layers import ConvLayer, Padding, Stack, layers_of, mlp, zero_last

__all__ = [
    "AttentionBlock",
    "ConvLayer",
    "Padding",
    "SelfAttention",
    "Stack",
    "layers_of",
    "mlp",
    "zero_last",
]
