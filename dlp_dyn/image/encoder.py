"""Image -> distribution over scenes: where particles are, what they look like, and what interaction makes of it."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Normal

from dlp_dyn import geometry
from dlp_dyn.image.appearance import AppearanceEncoder, BackgroundEncoder
from dlp_dyn.image.attributes import AttributeEncoder, AttributeRefiner, Attributes
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.interaction import InteractionEncoder
from dlp_dyn.image.networks.base import Networks
from dlp_dyn.image.proposals import Mixer, ProposalNetwork, Proposals, gather, select_early, select_late
from dlp_dyn.image.reference import Reference, meet, merge_met
from dlp_dyn.particles import (
    Draw,
    ParticleDistribution,
    Particles,
    Scene,
    SceneDistribution,
    logit,
    mean,
    normal,
)
from dlp_dyn.tree import TensorTree

_SCALE_NOISE = 0.1  # of glimpse sizes in DLPv2's first phases
_LIKELY = 4  # proposals for each particle that are looked at, where they are shifted
_LIKE = 0.5  # of `other_colour`: particles whose colours differ by less may be parts of one thing


@dataclass(frozen=True)
class Found(TensorTree):
    """Proposals after a first look.

    confidence: of each, the lower the surer; None where selection was early. colour: right there, with a reference.
    """

    anchors: Float[Tensor, "B N 2"]
    attributes: Attributes
    confidence: Float[Tensor, "B N 1"] | None = None
    colour: Float[Tensor, "B N 3"] | None = None

    def take(self, index: Int[Tensor, "B K"]) -> "Found":
        return self.map(lambda x: gather(x, index))


@dataclass(frozen=True)
class Located(TensorTree):
    """Particles whose place is known but not yet their appearance.

    anchors: where the offsets start. confidence: of each, the lower the surer; None where selection was early.
    proposals: keypoints that the Chamfer term pulls the anchors to.
    """

    anchors: Float[Tensor, "B N 2"]
    attributes: Attributes
    confidence: Float[Tensor, "B N 1"] | None
    proposals: Float[Tensor, "B M 2"]


@dataclass(frozen=True)
class Placed(TensorTree):
    """Located particles with the draws of what their glimpse told, and their appearance crops.

    visible_index: those that are looked at closely and have a crop; None is all.
    """

    located: Located
    position: Float[Tensor, "B N 2"]
    scale: Float[Tensor, "B N 2"]
    transparency: Float[Tensor, "B N 1"]
    glimpses: Float[Tensor, "B K C S S"]
    visible_index: Int[Tensor, "B K"] | None = None


@dataclass(frozen=True)
class Encoding(TensorTree):
    """All that the loss and the pictures need of encoded images.

    posterior: given the draws below. scene: the draws. anchors: where the offsets start.
    proposals: keypoints that the Chamfer term pulls the anchors to. glimpses: appearance crops.
    visible_index: the particles of a grid that have one, which are drawn; None is all.
    """

    posterior: SceneDistribution
    scene: Scene
    anchors: Float[Tensor, "*B N 2"]
    proposals: Float[Tensor, "*B M 2"]
    glimpses: Float[Tensor, "*B K C S S"]
    visible_index: Int[Tensor, "*B K"] | None = None

    def drawn(self) -> Scene:
        """The draws of the particles that are drawn."""
        if self.visible_index is None:
            return self.scene
        index = self.visible_index[..., None]
        return Scene(self.scene.particles.map(lambda x: x.take_along_dim(index, -2)), self.scene.background)


@dataclass(frozen=True)
class EncodeOptions:
    """What first training steps ask of an encoder.

    fixed_scale: glimpses have the prior's size with a little noise. detach_crops: what a glimpse shows does not move
    it (both DLPv2). whole: particles that draw parts of one thing are merged, where the encoder's `overlap` asks for
    it.
    """

    fixed_scale: bool = False
    detach_crops: bool = False
    whole: Tensor | bool = True


STANDARD = EncodeOptions()


class SceneEncoder(nn.Module):
    """The whole posterior of an image; every published encoder is a choice of its parts.

    A style with a trunk reads attributes first off its features, and then refines them on the image.
    """

    def __init__(self, cfg: DLPConfig, networks: Networks) -> None:
        super().__init__()
        self.cfg, self.networks = cfg, networks
        self.align_corners = not cfg.compat.pixel_border_sampling
        self.reference = None if cfg.reference == "none" else Reference(cfg)
        self.proposals = ProposalNetwork(cfg, networks)
        self.mixer = Mixer(cfg, networks) if cfg.encoder.selection == "mixer" else None
        glimpses = networks.glimpse_encoder(cfg.channels + cfg.encoder.correlation)
        self.trunk = networks.trunk()
        self.refine: AttributeRefiner | None = None
        if networks.feature_stride:
            self.feature_side = cfg.glimpse_size // networks.feature_stride
            flat = cfg.networks.proposal_channels[-1] * self.feature_side**2
            self.attributes = AttributeEncoder(cfg, networks, nn.Flatten(), flat)
            self.refine = AttributeRefiner(cfg, networks, glimpses, glimpses.out_dim)
        else:
            self.attributes = AttributeEncoder(cfg, networks, glimpses, glimpses.out_dim)
        self.appearance = AppearanceEncoder(cfg, networks)
        self.background = BackgroundEncoder(cfg, networks)
        self.interaction = InteractionEncoder(cfg, networks) if cfg.encoder.interaction else None
        self.unseen = nn.Parameter(0.02 * torch.randn(cfg.feature_dim)) if cfg.encoder.grid else None

    def forward(
        self, images: Float[Tensor, "B 3 H W"], draw: Draw = mean, options: EncodeOptions = STANDARD
    ) -> Encoding:
        """Encode; `draw` says whether the later stages see means or samples of the earlier ones."""
        if self.cfg.encoder.grid:
            return self.on_grid(images, draw, options)
        return self.describe(images, self.place(images, self.locate(images, options), draw, options), draw)

    def on_grid(
        self, images: Float[Tensor, "B 3 H W"], draw: Draw = mean, options: EncodeOptions = STANDARD
    ) -> Encoding:
        """Every patch a particle, of which the `n_particles` most confident ones are looked at closely (LPWM)."""
        located = self.locate(images, options, all_patches=True)
        assert located.confidence is not None
        visible_index = located.confidence[..., 0].topk(self.cfg.n_particles, dim=-1, largest=False).indices
        return self.describe(images, self.place(images, located, draw, options, visible_index), draw)

    def keypoints(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B M 2"]:
        """The keypoint of every patch."""
        return self.proposals(self.trunk(self._seen(images))).position

    @torch.no_grad()
    def propose(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B M 2"]:
        """The keypoints that the Chamfer term sees, which have no gradient of it."""
        seen = self._seen(images)
        return self._select(seen, self.proposals(self.trunk(seen)))[1].position

    def locate(
        self, images: Float[Tensor, "B 3 H W"], options: EncodeOptions = STANDARD, all_patches: bool = False
    ) -> Located:
        """Proposals, which of them are particles, and the attributes read at their anchors.

        all_patches: with late selection, every patch's proposal is a particle, in the order of the patches.
        """
        cfg, seen = self.cfg, self._seen(images)
        source = self.trunk(seen)
        proposals = self.proposals(source)
        anchors, kept = self._select(seen, proposals)
        if cfg.encoder.early:
            found = Found(anchors, self._first_look(source, anchors))
        elif cfg.encoder.mean_shift:
            found = self._at_modes(seen, source, anchors, all_patches)
        else:
            found = self._after_look(seen, source, anchors, proposals.moments, all_patches)
        anchors, attributes, colour = found.anchors, found.attributes, found.colour
        if cfg.encoder.passes == 2:
            anchors, attributes = self._second_look(seen, anchors, attributes, options)
        if cfg.encoder.merge:
            also = None
            if cfg.merges_overlap:  # `& True` has no place in a traced program
                whole = torch.as_tensor(options.whole, device=anchors.device)
                also = self._parts(colour, anchors, attributes) & whole
            attributes = merge_met(anchors, attributes, 2 * cfg.encoder.merge * cfg.glimpse_fraction, also)
        return Located(anchors, attributes, found.confidence, kept.position)

    def track(
        self,
        images: Float[Tensor, "B 3 H W"],
        anchors: Float[Tensor, "B N 2"],
        scale: Float[Tensor, "B N 2"] | None,
        template: Float[Tensor, "B N C S S"] | None,
    ) -> Attributes:
        """Attributes at the places where the frame before had the particles, of glimpses as large as they were then.

        A style with a trunk reads glimpses of the standard size twice, as it does in single images.
        """
        seen = self._seen(images)
        if self.refine is None:
            return self._look(seen, anchors, scale, template)
        return self._refined(self.refine, seen, anchors, self._first_look(self.trunk(seen), anchors))

    def place(
        self,
        images: Float[Tensor, "B 3 H W"],
        located: Located,
        draw: Draw = mean,
        options: EncodeOptions = STANDARD,
        visible_index: Int[Tensor, "B K"] | None = None,
    ) -> Placed:
        """Draw position, scale and transparency, and cut out what is there, of `visible_index` or of all particles.

        The features of the others start from a constant, and the background is not told of them (LPWM's particle grid).
        """
        anchors, attributes = located.anchors, located.attributes
        position = anchors + draw(attributes.offset)
        scale = self._draw_scale(attributes.scale, draw, options)
        transparency = draw(attributes.transparency)
        crop_position = position.detach() if options.detach_crops else position
        crop_scale = scale if self.networks.crops_change_scale else scale.detach()
        if visible_index is not None:
            crop_position, crop_scale = (
                gather(crop_position, visible_index),
                gather(crop_scale, visible_index),
            )
        glimpses = self._crop(self._seen(images), crop_position, crop_scale.sigmoid())
        return Placed(located, position, scale, transparency, glimpses, visible_index)

    def describe(
        self,
        images: Float[Tensor, "B 3 H W"],
        placed: Placed,
        draw: Draw = mean,
    ) -> Encoding:
        """Appearance, background and interaction of placed particles: the whole posterior."""
        located, attributes = placed.located, placed.located.attributes
        if self.reference is not None and self.reference.fixed:
            images = self.reference.difference(images)  # all that a still background does not tell
        appearance, backdrop = self._appearances(images, placed)
        if self.interaction is None:
            assert attributes.depth is not None
            depth = attributes.depth
            features, background = (normal(*x.chunk(2, -1)) for x in (appearance, backdrop))
        else:
            assert located.confidence is not None
            depth, features, background = self.interaction(
                images,
                placed.position,
                placed.scale,
                placed.transparency,
                appearance,
                backdrop,
                located.confidence,
            )
        offset = attributes.offset
        position = Normal(located.anchors + offset.loc, offset.scale, validate_args=False)
        posterior = SceneDistribution(
            ParticleDistribution(position, attributes.scale, depth, attributes.transparency, features),
            background,
        )
        particles = Particles(placed.position, placed.scale, draw(depth), placed.transparency, draw(features))
        scene = Scene(particles, draw(background))
        return Encoding(
            posterior, scene, located.anchors, located.proposals, placed.glimpses, placed.visible_index
        )

    def look_again(self, images: Float[Tensor, "B 3 H W"], placed: Placed) -> Encoding:
        """The posterior of other images, of which particles are where they were placed in the first ones."""
        size = placed.scale.sigmoid()
        return self.describe(
            images, replace(placed, glimpses=self._crop(self._seen(images), placed.position, size))
        )

    def _seen(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C H W"]:
        """What places and appearances are read from."""
        return images if self.reference is None else self.reference(images)

    def _select(self, images: Tensor, proposals: Proposals) -> tuple[Tensor, Proposals]:
        """Where attributes are read first, and the proposals that the Chamfer term sees."""
        cfg = self.cfg
        if not cfg.encoder.early:
            return proposals.position, proposals
        if self.mixer is not None:
            return self.mixer(images, proposals.position), proposals
        kept = select_early(proposals, cfg.encoder.selection, cfg.n_proposals or cfg.n_patches)
        return kept.position[:, : cfg.n_particles], kept

    def _after_look(
        self, seen: Tensor, source: Tensor, anchors: Tensor, moments: Tensor, all_patches: bool
    ) -> Found:
        """Every proposal is looked at, and ranked where that saw a thing: by its spread, or by evidence (DLPv3)."""
        attributes, colour = self._first_look(source, anchors), None
        expected = (anchors + attributes.offset.loc).detach()
        if self.reference is None:
            spread = 2 * attributes.offset.scale.detach().log().sum(-1) + moments.detach().sum(-1)
            traits = expected
        else:
            spread = -self.reference.evidence(seen, expected)
            colour = self.reference.colour(seen, expected)
            traits = torch.cat([expected, colour * self.cfg.colour_distance], -1)
        found = Found(anchors, attributes, spread[..., None], colour)
        if all_patches:
            return found
        return found.take(select_late(spread, traits, self.cfg.n_particles, self.cfg.min_distance))

    def _at_modes(self, seen: Tensor, source: Tensor, anchors: Tensor, all_patches: bool) -> Found:
        """Proposals go to the middle of what has their colour, and only those that are particles are looked at.

        Of proposals so many for each particle are shifted as are most evident, unless all are asked for.
        """
        assert self.reference is not None
        cfg, evidence = self.cfg, self.reference.evidence(seen, anchors)
        if not all_patches:
            likely = evidence.topk(min(_LIKELY * cfg.n_particles, cfg.n_patches), dim=-1).indices
            anchors, evidence = gather(anchors, likely), evidence.gather(1, likely)
        colour = self.reference.colour(seen, anchors)
        middle, colour = self.reference.mean_shift(
            seen, anchors, colour, cfg.encoder.mean_shift, cfg.glimpse_size
        )
        anchors = anchors + (middle - anchors).detach()
        spread = -evidence
        if not all_patches:
            traits = torch.cat([middle, colour * cfg.colour_distance], -1)
            index = select_late(spread, traits, cfg.n_particles, cfg.min_distance)
            anchors, spread, colour = gather(anchors, index), spread.gather(1, index), gather(colour, index)
        return Found(anchors, self._first_look(source, anchors), spread[..., None], colour)

    def _first_look(self, source: Tensor, anchors: Tensor) -> Attributes:
        """Attributes of glimpses of the standard size, of what the trunk makes of the image."""
        if self.refine is None:
            return self._look(source, anchors)
        size = self._standard_size(anchors)
        return self.attributes(
            geometry.crop_features(source, anchors.detach(), size, self.feature_side, self.cfg.image_size)
        )

    def _second_look(
        self, images: Tensor, anchors: Tensor, first: Attributes, options: EncodeOptions
    ) -> tuple[Tensor, Attributes]:
        """Anchors and attributes after a look at where the first look saw the particles.

        The published styles start over from there: the first look's positions are the new anchors.
        """
        if self.refine is not None:
            return anchors, self._refined(self.refine, images, anchors, first)
        moved = anchors + first.offset.loc
        return moved, self._look(images, moved, None if options.fixed_scale else first.scale.loc.detach())

    def _parts(self, colour: Tensor | None, anchors: Tensor, attributes: Attributes) -> Tensor:
        """Pairs of particles that draw parts of one thing."""
        assert colour is not None
        position, size = (anchors + attributes.offset.loc).detach(), attributes.scale.loc.detach().sigmoid()
        return meet(position, size, colour, _LIKE * self.cfg.encoder.other_colour, self.cfg.encoder.overlap)

    def _refined(
        self, refine: AttributeRefiner, images: Tensor, anchors: Tensor, first: Attributes
    ) -> Attributes:
        position = (anchors + first.offset.loc).detach()
        return refine(self._crop(images, position, self._standard_size(anchors)), first)

    def _look(
        self, images: Tensor, anchors: Tensor, scale: Tensor | None = None, template: Tensor | None = None
    ) -> Attributes:
        """Attributes of glimpses of the image at the anchors; `scale` gives their sizes, None the standard one.

        template: how the particles looked a frame ago, for models that correlate (DDLP).
        """
        size = self._standard_size(anchors) if scale is None else scale.sigmoid()
        at = anchors if self.networks.crops_move_anchors else anchors.detach()
        glimpses = self._crop(images, at, size)
        if self.cfg.encoder.correlation:
            no_map = torch.zeros_like(glimpses[:, :, :1])
            found = no_map if template is None else geometry.correlation_map(glimpses, template)
            glimpses = torch.cat([glimpses, found], dim=2)
        return self.attributes(glimpses)

    def _appearances(self, images: Tensor, placed: Placed) -> tuple[Tensor, Tensor]:
        """What the appearance and the background encoder say."""
        seen, visible_index = self.appearance(placed.glimpses), placed.visible_index
        if visible_index is None:
            return seen, self.background(images, placed.position, placed.transparency)
        unseen = seen.new_zeros(seen.shape[-1]) if self.unseen is None else self.unseen.to(seen.dtype)
        unseen = unseen.expand(*placed.position.shape[:2], -1)
        appearance = unseen.scatter(1, visible_index[..., None].expand_as(seen), seen)
        backdrop = self.background(
            images, gather(placed.position, visible_index), gather(placed.transparency, visible_index)
        )
        return appearance, backdrop

    def _standard_size(self, anchors: Tensor) -> Tensor:
        """Of glimpses before any scale is known."""
        return torch.full_like(anchors, self.cfg.glimpse_size / self.cfg.image_size)

    def _crop(self, images: Tensor, position: Tensor, size: Tensor) -> Tensor:
        padding = "border" if self.cfg.encoder.glimpse_padding == "border" else "zeros"
        return geometry.crop_glimpses(
            images, position, size, self.cfg.glimpse_size, padding=padding, align_corners=self.align_corners
        )

    def _draw_scale(self, distribution: Normal, draw: Draw, options: EncodeOptions) -> Tensor:
        if not options.fixed_scale:
            return draw(distribution)
        prior = torch.full_like(distribution.loc, logit(self.cfg.glimpse_fraction, 1e-5))
        return draw(Normal(prior, _SCALE_NOISE, validate_args=False))
