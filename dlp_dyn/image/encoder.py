"""Image -> distribution over scenes: attributes, appearance, background and interaction."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Beta, Normal

from dlp_dyn import geometry
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.interaction import InteractionEncoder
from dlp_dyn.image.networks import GlimpseEncoder, ImageEncoder
from dlp_dyn.image.phases import NORMAL, Phase
from dlp_dyn.image.proposals import Mixer, ProposalNetwork, Proposals, gather, select_early
from dlp_dyn.nn import mlp, zero_last
from dlp_dyn.particles import (
    Draw,
    ParticleDistribution,
    Particles,
    Scene,
    SceneDistribution,
    beta,
    logit,
    mean,
    normal,
)

VISIBLE = 0.2  # transparency above which a particle counts in the background's mask (LPWM, official code)
_SCALE_NOISE = 0.1  # of glimpse sizes in DLPv2's first phases
_OFFSET_LOG_STD, _SCALE_LOG_STD = math.log(0.01), math.log(0.1)  # at initialisation (DLPv3)


@dataclass(frozen=True)
class Attributes:
    """What one glimpse says of the particle at its anchor. `depth` is None where interaction gives it."""

    offset: Normal
    scale: Normal
    transparency: Beta
    depth: Normal | None

    def take(self, index: Int[Tensor, "B K"]) -> "Attributes":
        def pick(d: Normal) -> Normal:
            return Normal(gather(d.loc, index), gather(d.scale, index), validate_args=False)

        t = self.transparency
        transparency = beta(gather(t.concentration1, index), gather(t.concentration0, index))
        depth = None if self.depth is None else pick(self.depth)
        return Attributes(pick(self.offset), pick(self.scale), transparency, depth)


@dataclass(frozen=True)
class Located:
    """Particles whose place is known but not yet their looks.

    anchors: where the offsets start. confidence: of each, the lower the surer; None where selection was early.
    proposals: keypoints that the Chamfer term pulls the anchors to.
    """

    anchors: Float[Tensor, "B N 2"]
    attributes: Attributes
    confidence: Float[Tensor, "B N 1"] | None
    proposals: Float[Tensor, "B M 2"]


@dataclass(frozen=True)
class Encoding:
    """All that the loss and the pictures need of an encoded image.

    posterior: given the draws below. scene: the draws. anchors: where the offsets start.
    proposals: keypoints that the Chamfer term pulls the anchors to. glimpses: appearance crops.
    """

    posterior: SceneDistribution
    scene: Scene
    anchors: Float[Tensor, "B N 2"]
    proposals: Float[Tensor, "B M 2"]
    glimpses: Float[Tensor, "B N 3 S S"]


class AttributeEncoder(nn.Module):
    """Glimpse -> offset, scale, transparency and, without interaction, depth."""

    def __init__(self, cfg: DLPConfig, in_channels: int = 3) -> None:
        super().__init__()
        style, hidden = cfg.networks.style, cfg.networks.hidden_dim
        self.gated = cfg.encoder.transparency == "gated"
        self.scale_bias = 0.0 if style == "dlpv2" else logit(cfg.glimpse_fraction, 1e-5)
        self.cnn = GlimpseEncoder(cfg, in_channels)
        outputs = {"offset": 4, "scale": 4, "transparency": 1 if self.gated else 2}
        if not cfg.encoder.interaction:
            outputs["depth"] = 2
        flat = self.cnn.out_dim
        if style == "dlpv3":  # a perceptron for every attribute
            self.trunk: nn.Module = nn.Identity()
            heads = {
                key: mlp([flat, hidden, n], last_bias=key != "transparency") for key, n in outputs.items()
            }
        elif style == "dlpv2":
            self.trunk = nn.Sequential(nn.Linear(flat, 256), mlp([256, 256, 256], nn.ReLU), nn.ReLU())
            heads = {key: mlp([256, n]) for key, n in outputs.items()}
        else:
            self.trunk = nn.Sequential(mlp([flat, hidden]), nn.GELU())
            heads = {key: mlp([hidden, n]) for key, n in outputs.items()}
        self.heads = nn.ModuleDict(heads)
        if style != "dlpv2":
            zero_last(heads["offset"], [0.0, 0.0, 2 * _OFFSET_LOG_STD, 2 * _OFFSET_LOG_STD])
            zero_last(heads["scale"], [0.0, 0.0, 2 * _SCALE_LOG_STD, 2 * _SCALE_LOG_STD])
            zero_last(heads["transparency"])

    def forward(self, glimpses: Float[Tensor, "B N C S S"]) -> Attributes:
        flat = self.trunk(self.cnn(glimpses.flatten(0, 1)))
        out = {key: head(flat).unflatten(0, glimpses.shape[:2]).float() for key, head in self.heads.items()}
        offset, offset_log_variance = out["offset"].chunk(2, -1)
        scale, scale_log_variance = out["scale"].chunk(2, -1)
        return Attributes(
            normal(offset.tanh(), offset_log_variance),
            normal(scale + self.scale_bias, scale_log_variance),
            gated_beta(out["transparency"]) if self.gated else _free_beta(out["transparency"]),
            normal(*out["depth"].chunk(2, -1)) if "depth" in out else None,
        )


def gated_beta(gate: Float[Tensor, "*B 1"]) -> Beta:
    """Beta whose two parameters share one logit: a from 1e-4 to 100, and a·b = 0.01 (LPWM, arXiv 2603.04553)."""
    low, high = math.log(1e-4), math.log(100.0)
    p = gate.sigmoid()
    return beta((low + (high - low) * p).exp(), (high - (high - low) * p).exp())


def _free_beta(logits: Float[Tensor, "*B 2"]) -> Beta:
    a, b = logits.clamp_max(20).exp().clamp_min(1e-5).chunk(2, -1)
    return beta(a, b)


class AppearanceEncoder(nn.Module):
    """Glimpse -> features: a distribution (DLPv2), or its mean alone where interaction gives the spread."""

    def __init__(self, cfg: DLPConfig) -> None:
        super().__init__()
        hidden, features = cfg.networks.hidden_dim, cfg.feature_dim
        self.cnn = GlimpseEncoder(cfg)
        n_out = features if cfg.encoder.interaction else 2 * features
        if cfg.networks.style == "dlpv2":
            trunk = nn.Sequential(
                nn.Linear(self.cnn.out_dim, 256),
                mlp([256, 256, 256], nn.ReLU),
                nn.ReLU(),
                nn.Linear(256, n_out),
            )
        else:
            trunk = mlp([self.cnn.out_dim, hidden, n_out])
        self.head = trunk

    def forward(self, glimpses: Float[Tensor, "B N 3 S S"]) -> Float[Tensor, "B N D"]:
        return self.head(self.cnn(glimpses.flatten(0, 1))).unflatten(0, glimpses.shape[:2])


class BackgroundEncoder(nn.Module):
    """Image without its visible particles -> background vector, as a mean or as mean and log-variance."""

    def __init__(self, cfg: DLPConfig) -> None:
        super().__init__()
        hidden = cfg.networks.hidden_dim
        self.hard = cfg.encoder.hard_background_mask
        self.box, self.canvas = cfg.glimpse_size, cfg.image_size
        self.align_corners = not cfg.compat.pixel_border_sampling
        self.cnn = ImageEncoder(cfg)
        n_out = cfg.background_dim if cfg.encoder.interaction else 2 * cfg.background_dim
        flat = self.cnn.out_dim
        if cfg.networks.style == "dlpv2":
            self.head = mlp([flat, 256, 256, n_out], nn.ReLU)
        else:
            self.head = mlp([flat, hidden, n_out])

    def forward(
        self,
        images: Float[Tensor, "B 3 H W"],
        position: Float[Tensor, "B N 2"],
        visible: Float[Tensor, "B N 1"],
    ) -> Float[Tensor, "B D"]:
        weight = (visible > VISIBLE).float() if self.hard else visible
        cover = geometry.box_cover(
            position.detach(), weight.detach(), self.box, self.canvas, align_corners=self.align_corners
        )
        return self.head(self.cnn(images * (1 - cover)).flatten(1))


class SceneEncoder(nn.Module):
    """The whole posterior of an image; every published encoder is a choice of its parts."""

    def __init__(self, cfg: DLPConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.align_corners = not cfg.compat.pixel_border_sampling
        self.proposals = ProposalNetwork(cfg)
        self.mixer = Mixer(cfg) if cfg.encoder.selection == "mixer" else None
        self.attributes = AttributeEncoder(cfg)
        self.appearance = AppearanceEncoder(cfg)
        self.background = BackgroundEncoder(cfg)
        self.interaction = InteractionEncoder(cfg) if cfg.encoder.interaction else None

    def forward(self, images: Float[Tensor, "B 3 H W"], draw: Draw = mean, phase: Phase = NORMAL) -> Encoding:
        """Encode; `draw` says whether the later stages see means or samples of the earlier ones."""
        return self.describe(images, self.locate(images, phase), draw, phase)

    def locate(self, images: Float[Tensor, "B 3 H W"], phase: Phase = NORMAL) -> Located:
        """Proposals, which of them are particles, and the attributes read at their anchors."""
        cfg = self.cfg
        proposals = self.proposals(images)
        anchors, kept = self._anchors(images, proposals)
        attributes = self.read(images, anchors, None)
        confidence = None
        if cfg.encoder.selection == "confidence":
            spread = 2 * attributes.offset.scale.detach().log().sum(-1) + proposals.moments.detach().sum(-1)
            index = spread.topk(cfg.n_particles, dim=-1, largest=False).indices
            anchors, attributes = gather(anchors, index), attributes.take(index)
            confidence = spread.gather(1, index)[..., None]
        for _ in range(cfg.encoder.passes - 1):
            anchors = anchors + attributes.offset.loc
            scale = None if phase.fixed_scale else attributes.scale.loc.detach()
            attributes = self.read(images, anchors, scale)
        return Located(anchors, attributes, confidence, kept.position)

    def read(
        self,
        images: Float[Tensor, "B 3 H W"],
        anchors: Float[Tensor, "B N 2"],
        scale: Float[Tensor, "B N 2"] | None,
    ) -> Attributes:
        """Attributes of the glimpses at the anchors, of the standard size or of a given scale."""
        cfg = self.cfg
        size = (
            torch.full_like(anchors, cfg.glimpse_size / cfg.image_size) if scale is None else scale.sigmoid()
        )
        where = anchors.detach() if cfg.networks.style == "dlpv2" else anchors
        return self.attributes(self._crop(images, where, size))

    def describe(
        self, images: Float[Tensor, "B 3 H W"], located: Located, draw: Draw = mean, phase: Phase = NORMAL
    ) -> Encoding:
        """Appearance, background and interaction of located particles: the whole posterior."""
        anchors, attributes = located.anchors, located.attributes
        position = anchors + draw(attributes.offset)
        scale = self._draw_scale(attributes.scale, draw, phase)
        transparency = draw(attributes.transparency)
        seen_position = position.detach() if phase.glimpse_loss else position
        crop_scale = scale.detach() if self.cfg.networks.style == "dlpv2" else scale
        glimpses = self._crop(images, seen_position, crop_scale.sigmoid())
        features = self.appearance(glimpses)
        background = self.background(images, position, transparency)
        if self.interaction is None:
            assert attributes.depth is not None
            depth_distribution = attributes.depth
            features_distribution = normal(*features.chunk(2, -1))
            background_distribution = normal(*background.chunk(2, -1))
        else:
            assert located.confidence is not None
            depth_distribution, features_distribution, background_distribution = self.interaction(
                images, position, scale, transparency, features, background, located.confidence
            )
        offset = attributes.offset
        posterior = SceneDistribution(
            ParticleDistribution(
                Normal(anchors + offset.loc, offset.scale, validate_args=False),
                attributes.scale,
                depth_distribution,
                attributes.transparency,
                features_distribution,
            ),
            background_distribution,
        )
        particles = Particles(
            position, scale, draw(depth_distribution), transparency, draw(features_distribution)
        )
        scene = Scene(particles, draw(background_distribution))
        return Encoding(posterior, scene, anchors, located.proposals, glimpses)

    def _anchors(self, images: Tensor, proposals: Proposals) -> tuple[Tensor, Proposals]:
        """Where attributes are read first, and the proposals that the Chamfer term sees."""
        cfg = self.cfg
        how = cfg.encoder.selection
        if how == "confidence":
            return proposals.position, proposals
        if self.mixer is not None:
            return self.mixer(images, proposals.position), proposals
        kept = select_early(proposals, how, cfg.n_proposals or cfg.n_patches)
        return kept.position[:, : cfg.n_particles], kept

    def _crop(self, images: Tensor, position: Tensor, size: Tensor) -> Tensor:
        padding = "border" if self.cfg.encoder.glimpse_padding == "border" else "zeros"
        return geometry.crop_glimpses(
            images, position, size, self.cfg.glimpse_size, padding=padding, align_corners=self.align_corners
        )

    def _draw_scale(self, distribution: Normal, draw: Draw, phase: Phase) -> Tensor:
        if not phase.fixed_scale:
            return draw(distribution)
        prior = torch.full_like(distribution.loc, logit(self.cfg.glimpse_fraction, 1e-5))
        return draw(Normal(prior, _SCALE_NOISE, validate_args=False))
