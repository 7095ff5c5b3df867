"""Image -> distribution over scenes: attributes, appearance, background and interaction."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Beta, Normal

from dlp_dyn import geometry
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.interaction import InteractionEncoder
from dlp_dyn.image.lean import Trunk
from dlp_dyn.image.networks import GlimpseEncoder, ImageEncoder
from dlp_dyn.image.phases import NORMAL, Phase
from dlp_dyn.image.proposals import Mixer, ProposalNetwork, Proposals, gather, select_early, select_late
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
class Placed:
    """Located particles with the draws of what their glimpse told, and their appearance crops."""

    located: Located
    position: Float[Tensor, "B N 2"]
    scale: Float[Tensor, "B N 2"]
    transparency: Float[Tensor, "B N 1"]
    glimpses: Float[Tensor, "B N 3 S S"]


@dataclass(frozen=True)
class Encoding:
    """All that the loss and the pictures need of encoded images.

    posterior: given the draws below. scene: the draws. anchors: where the offsets start.
    proposals: keypoints that the Chamfer term pulls the anchors to. glimpses: appearance crops.
    """

    posterior: SceneDistribution
    scene: Scene
    anchors: Float[Tensor, "*B N 2"]
    proposals: Float[Tensor, "*B M 2"]
    glimpses: Float[Tensor, "*B N 3 S S"]

    def map(self, fn: Callable[[Tensor], Tensor]) -> "Encoding":
        """Map over all tensors, which share their leading axes."""
        return Encoding(
            self.posterior.map(fn),
            self.scene.map(fn),
            fn(self.anchors),
            fn(self.proposals),
            fn(self.glimpses),
        )


class AttributeEncoder(nn.Module):
    """Glimpse -> offset, scale, transparency and, without interaction, depth.

    reader: glimpses (B, C, S, S) to flat features (B, `flat`).
    """

    def __init__(self, cfg: DLPConfig, reader: nn.Module, flat: int, *, refines: bool = False) -> None:
        super().__init__()
        style, hidden = cfg.networks.style, cfg.networks.hidden_dim
        self.gated = cfg.encoder.transparency == "gated"
        # Particles chosen apart do not meet again when each moves less than half of their distance.
        self.reach = 0.5 * cfg.apart if refines and cfg.apart else 1.0
        self.scale_bias = 0.0 if refines or style == "dlpv2" else logit(cfg.glimpse_fraction, 1e-5)
        self.cnn = reader
        outputs = {"offset": 4, "scale": 4}
        if not refines:
            outputs["transparency"] = 1 if self.gated else 2
        if not cfg.encoder.interaction:
            outputs["depth"] = 2
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
            if not refines:
                zero_last(heads["transparency"])

    def forward(self, glimpses: Float[Tensor, "B N C S S"], first: Attributes | None = None) -> Attributes:
        """Attributes of glimpses; added to those of a first look where this encoder refines them.

        Transparency stays the first: which of two particles on one object is off can be told from where their
        patches lie, but no more once both look at its centre.
        """
        flat = self.trunk(self.cnn(glimpses.flatten(0, 1)))
        out = {key: head(flat).unflatten(0, glimpses.shape[:2]).float() for key, head in self.heads.items()}
        offset, offset_log_variance = out["offset"].chunk(2, -1)
        scale, scale_log_variance = out["scale"].chunk(2, -1)
        offset, scale = self.reach * offset.tanh(), scale + self.scale_bias
        if first is None:
            transparency = gated_beta(out["transparency"]) if self.gated else _free_beta(out["transparency"])
        else:
            offset, scale = first.offset.loc + offset, first.scale.loc + scale
            transparency = first.transparency
        return Attributes(
            normal(offset, offset_log_variance),
            normal(scale, scale_log_variance),
            transparency,
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
        glimpses = GlimpseEncoder(cfg, 4 if cfg.encoder.correlation else 3)
        if cfg.networks.style == "lean":
            self.trunk: Trunk | None = Trunk(3, cfg.networks.proposal_channels)
            self.feature_side = cfg.glimpse_size // Trunk.stride
            self.attributes = AttributeEncoder(cfg, nn.Flatten(), self.trunk.channels * self.feature_side**2)
            self.refine: AttributeEncoder | None = AttributeEncoder(
                cfg, glimpses, glimpses.out_dim, refines=True
            )
        else:
            self.trunk = self.refine = None
            self.attributes = AttributeEncoder(cfg, glimpses, glimpses.out_dim)
        self.appearance = AppearanceEncoder(cfg)
        self.background = BackgroundEncoder(cfg)
        self.interaction = InteractionEncoder(cfg) if cfg.encoder.interaction else None

    def forward(self, images: Float[Tensor, "B 3 H W"], draw: Draw = mean, phase: Phase = NORMAL) -> Encoding:
        """Encode; `draw` says whether the later stages see means or samples of the earlier ones."""
        return self.describe(images, self.place(images, self.locate(images, phase), draw, phase), draw)

    def locate(
        self, images: Float[Tensor, "B 3 H W"], phase: Phase = NORMAL, all_patches: bool = False
    ) -> Located:
        """Proposals, which of them are particles, and the attributes read at their anchors.

        all_patches: with late selection, every patch's proposal is a particle, in the order of the patches.
        """
        cfg = self.cfg
        source = images if self.trunk is None else self.trunk(images)
        proposals = self.proposals(source)
        anchors, kept = self._anchors(images, proposals)
        attributes = self._read_first(source, anchors)
        confidence = None
        if not cfg.encoder.early:
            spread = 2 * attributes.offset.scale.detach().log().sum(-1) + proposals.moments.detach().sum(-1)
            confidence = spread[..., None]
            if not all_patches:
                expected = (anchors + attributes.offset.loc).detach()
                index = select_late(spread, expected, cfg.n_particles, cfg.apart)
                anchors, attributes = gather(anchors, index), attributes.take(index)
                confidence = gather(confidence, index)
        if cfg.encoder.passes == 2 and self.refine is None:
            anchors = anchors + attributes.offset.loc
            attributes = self.read(
                images, anchors, None if phase.fixed_scale else attributes.scale.loc.detach()
            )
        elif cfg.encoder.passes == 2:
            attributes = self._refined(images, anchors, attributes)
        return Located(anchors, attributes, confidence, kept.position)

    def propose(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B M 2"]:
        """The keypoints that the Chamfer term sees."""
        proposals = self.proposals(images if self.trunk is None else self.trunk(images))
        return self._anchors(images, proposals)[1].position

    def _read_first(self, source: Tensor, anchors: Tensor) -> Attributes:
        """Attributes of glimpses of the standard size, from the image or from the trunk's features."""
        if self.trunk is None:
            return self.read(source, anchors, None)
        cfg = self.cfg
        size = torch.full_like(anchors, cfg.glimpse_size / cfg.image_size)
        return self.attributes(
            geometry.crop_features(source, anchors.detach(), size, self.feature_side, cfg.image_size)
        )

    def read(
        self,
        images: Float[Tensor, "B 3 H W"],
        anchors: Float[Tensor, "B N 2"],
        scale: Float[Tensor, "B N 2"] | None,
        template: Float[Tensor, "B N 3 S S"] | None = None,
    ) -> Attributes:
        """Attributes of glimpses of the image at the anchors; `scale` gives their sizes, None the standard one.

        template: how the particles looked a frame ago, for models that correlate (DDLP).
        """
        cfg = self.cfg
        size = (
            torch.full_like(anchors, cfg.glimpse_size / cfg.image_size) if scale is None else scale.sigmoid()
        )
        glimpses = self._crop(images, self._crop_at(anchors), size)
        if cfg.encoder.correlation:
            no_map = torch.zeros_like(glimpses[:, :, :1])
            found = no_map if template is None else geometry.correlation_map(glimpses, template)
            glimpses = torch.cat([glimpses, found], dim=2)
        return self.attributes(glimpses)

    def _refined(self, images: Tensor, anchors: Tensor, first: Attributes) -> Attributes:
        """Corrected by a look at the image itself, where the trunk's features see the particle."""
        assert self.refine is not None
        position = (anchors + first.offset.loc).detach()
        size = torch.full_like(anchors, self.cfg.glimpse_size / self.cfg.image_size)
        return self.refine(self._crop(images, position, size), first)

    def _crop_at(self, anchors: Tensor) -> Tensor:
        return anchors if self.cfg.networks.style == "dlpv3" else anchors.detach()

    def track(
        self,
        images: Float[Tensor, "B 3 H W"],
        anchors: Float[Tensor, "B N 2"],
        scale: Float[Tensor, "B N 2"] | None,
        template: Float[Tensor, "B N 3 S S"] | None,
    ) -> Attributes:
        """Attributes at the places where the frame before had the particles, of glimpses as large as they were then.

        The lean style reads glimpses of the standard size twice, as it does in single images.
        """
        if self.trunk is None:
            return self.read(images, anchors, scale, template)
        return self._refined(images, anchors, self._read_first(self.trunk(images), anchors))

    def place(
        self, images: Float[Tensor, "B 3 H W"], located: Located, draw: Draw = mean, phase: Phase = NORMAL
    ) -> Placed:
        """Draw position, scale and transparency, and cut out what is there."""
        anchors, attributes = located.anchors, located.attributes
        position = anchors + draw(attributes.offset)
        scale = self._draw_scale(attributes.scale, draw, phase)
        transparency = draw(attributes.transparency)
        seen_position = position.detach() if phase.glimpse_loss else position
        crop_scale = scale.detach() if self.cfg.networks.style == "dlpv2" else scale
        glimpses = self._crop(images, seen_position, crop_scale.sigmoid())
        return Placed(located, position, scale, transparency, glimpses)

    def describe(
        self,
        images: Float[Tensor, "B 3 H W"],
        placed: Placed,
        draw: Draw = mean,
        marked: Int[Tensor, "B K"] | None = None,
    ) -> Encoding:
        """Appearance, background and interaction of placed particles: the whole posterior.

        marked: those that are looked at closely; the features of the others start from 0, and the background is not
        told of them (LPWM's particle grid).
        """
        located, glimpses = placed.located, placed.glimpses
        anchors, attributes = located.anchors, located.attributes
        position, scale, transparency = placed.position, placed.scale, placed.transparency
        if marked is None:
            features = self.appearance(glimpses)
            background = self.background(images, position, transparency)
        else:
            rows = marked[..., None]
            seen = glimpses.take_along_dim(rows[..., None, None], 1)
            features = self.appearance(seen)
            nothing = features.new_zeros(*glimpses.shape[:2], features.shape[-1])
            features = nothing.scatter(1, rows.expand_as(features), features)
            background = self.background(images, gather(position, marked), gather(transparency, marked))
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
        if not cfg.encoder.early:
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
