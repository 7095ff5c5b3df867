"""Images in two codes, of class and of content, so that one picture's content is drawn in the class of another.

Source: Soft-IntroVAE's page shows translation with an encoder of each, after LORD (arXiv 1906.11796). Here a class is
what the frames of an episode have in common, so that no labels are needed.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from dlp_dyn.soft_intro.config import SoftIntroConfig, TranslationConfig, own_section
from dlp_dyn.soft_intro.images import ImageEncoder, ImageVAE

Images = Float[Tensor, "B C H W"]


class TwoEncoders(nn.Module):
    """Content, then class. In training a frame's class is told by the other frames of its clip: of what it has alone,
    its class code cannot know."""

    def __init__(self, cfg: TranslationConfig) -> None:
        super().__init__()
        self.content = ImageEncoder(cfg)
        self.kind = ImageEncoder(replace(cfg, latent_dim=cfg.class_dim))
        self.frames = cfg.frames

    def forward(self, x: Images) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        kind = self.kind(x)
        if self.training:
            kind = [of_the_others(part, self.frames) for part in kind]
        mean, log_variance = (torch.cat(parts, 1) for parts in zip(self.content(x), kind, strict=True))
        return mean, log_variance


def of_the_others(x: Float[Tensor, "B Z"], frames: int) -> Float[Tensor, "B Z"]:
    """For each of so many rows that follow each other, the mean of the rest of them."""
    clips = x.unflatten(0, (-1, frames))
    return ((clips.sum(1, keepdim=True) - clips) / (frames - 1)).flatten(0, 1)


class TranslationVAE(ImageVAE):
    """Images in [0, 1]. A latent is the content, then the class."""

    def __init__(self, cfg: SoftIntroConfig, own: TranslationConfig) -> None:
        super().__init__(cfg, replace(own, latent_dim=own.latent_dim + own.class_dim), TwoEncoders(own))
        self.content_dim, self.frames = own.latent_dim, own.frames

    @classmethod
    def build(cls, cfg: SoftIntroConfig) -> "TranslationVAE":
        return cls(cfg, own_section(cfg.translation, "translation"))

    def draw_prior(self, n: int, draw: Any) -> Float[Tensor, "n Z"]:
        """Of clips, whose frames are of one class."""
        z = super().draw_prior(n, draw)
        kind = z[:: self.frames, self.content_dim :].repeat_interleave(self.frames, 0)
        return torch.cat([z[:, : self.content_dim], kind], 1)

    def kl(self, posterior: Normal) -> Float[Tensor, " B"]:
        """That of the class is shared by the frames of a clip: what they have in common is cheapest there."""
        each = self.kls(posterior)
        return each[:, : self.content_dim].sum(1) + each[:, self.content_dim :].sum(1) / self.frames

    @torch.no_grad()
    def translate(self, content: Images, kind: Images) -> Images:
        """Drawings of what is in one set of images, each in the class of its fellow in another."""
        codes = self.encode(content).loc[:, : self.content_dim], self.encode(kind).loc[:, self.content_dim :]
        return self.decode(torch.cat(codes, 1))
