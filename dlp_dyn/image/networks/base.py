"""What a style of layers gives the image model."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn import geometry
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.nn import Stack, mlp


class GlimpseEncoder(nn.Module):
    """Glimpses (B, C, S, S) -> flat features (B, `out_dim`)."""

    def __init__(self, cnn: Stack, out_dim: int) -> None:
        super().__init__()
        self.cnn, self.out_dim = cnn, out_dim

    def forward(self, glimpses: Float[Tensor, "B C S S"]) -> Float[Tensor, "B D"]:
        return self.cnn(glimpses).flatten(1)


class ImageEncoder(nn.Module):
    """Whole images (B, 3, H, W) -> a coarse map (B, `channels`, `side`, `side`)."""

    def __init__(self, cnn: Stack, channels: int, side: int) -> None:
        super().__init__()
        self.cnn, self.channels, self.side = cnn, channels, side

    @property
    def out_dim(self) -> int:
        return self.channels * self.side**2

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h h"]:
        return self.cnn(images)


class FromVector(nn.Module):
    """A vector to a small map by a perceptron, then convolutions up to the image, then a sigmoid."""

    def __init__(self, widths: list[int], activation: type[nn.Module], start: int, cnn: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp(widths, activation)
        self.last_activation = activation() if activation is nn.ReLU else nn.Identity()
        self.start = start
        self.cnn = cnn

    def forward(self, vector: Float[Tensor, "B F"]) -> Float[Tensor, "B C S S"]:
        flat = self.last_activation(self.mlp(vector))
        return self.cnn(flat.unflatten(-1, (-1, self.start, self.start))).sigmoid()


class Networks(ABC):
    """Makes the layers of an image model; each method makes new ones.

    starts_at_prior: attributes start at their anchor, at the standard size, surely; else they start anywhere.
    crops_move_anchors: gradients of the glimpses that attributes are read from reach the anchors.
    crops_change_scale: gradients of the glimpses that features are read from reach the scale.
    feature_stride: pixels of a cell of the trunk's map, which attributes are first read from; 0 is no trunk.
    """

    starts_at_prior = True
    crops_move_anchors = False
    crops_change_scale = True
    feature_stride = 0

    def __init__(self, cfg: DLPConfig) -> None:
        self.cfg = cfg

    @abstractmethod
    def check(self) -> None:
        """Raise InputError where layers that halve and double do not meet the sizes of images and glimpses."""

    def trunk(self) -> nn.Module:
        """Images (B, 3, H, W) -> what proposals are read from: the images themselves, or features."""
        return nn.Identity()

    @abstractmethod
    def proposal_network(self) -> nn.Module:
        """The layers that `heat` runs."""

    def heat(self, network: nn.Module, source: Float[Tensor, "B C h w"]) -> Float[Tensor, "B M p p"]:
        """A heat map for every patch: a small network looks at each by itself."""
        patches = geometry.patches(source, self.cfg.patch_size)
        return network(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])[:, :, 0]

    @abstractmethod
    def glimpse_encoder(self, in_channels: int = 3) -> GlimpseEncoder: ...

    @abstractmethod
    def image_encoder(self, init_std: float | None = None) -> ImageEncoder:
        """init_std: of the kernels, where a style draws them from a normal distribution; None is its own."""

    @abstractmethod
    def attribute_heads(
        self, flat: int, outputs: dict[str, int]
    ) -> tuple[nn.Module, dict[str, nn.Sequential]]:
        """Layers on `flat` features that all attributes share, and those of each, by name, with its width."""

    def appearance_head(self, flat: int, n_out: int) -> nn.Module:
        """Flat features of a glimpse -> `n_out` numbers."""
        return mlp([flat, self.cfg.networks.hidden_dim, n_out])

    def background_head(self, flat: int, n_out: int) -> nn.Module:
        """Flat features of an image -> `n_out` numbers."""
        return mlp([flat, self.cfg.networks.hidden_dim, n_out])

    @abstractmethod
    def glimpse_decoder(self) -> nn.Module:
        """Features (B, F) -> RGBA glimpses (B, 4, S, S) in [0, 1]."""

    @abstractmethod
    def background_decoder(self) -> nn.Module:
        """Background vectors (B, G) -> images (B, 3, H, W) in [0, 1]."""
