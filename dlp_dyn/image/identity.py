"""Which particle is which over time: strategies that turn clips into particles with a fixed slot each.

All have `encode(encoder, video, draw, phase, state) -> (encoding over (B, T), state)`. The state carries everything
that later frames depend on, so a clip may be given whole or frame by frame.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn.image.attributes import Attributes
from dlp_dyn.image.config import DLPConfig, IdentityConfig
from dlp_dyn.image.encoder import Encoding, Located, Placed, SceneEncoder
from dlp_dyn.image.matching import Matcher
from dlp_dyn.image.memory import State, TrackState
from dlp_dyn.image.phases import NORMAL, Phase
from dlp_dyn.particles import Draw, beta, mean


@runtime_checkable
class Identity(Protocol):
    """One strategy."""

    def encode(
        self,
        encoder: SceneEncoder,
        video: Float[Tensor, "B T C H W"],
        draw: Draw = mean,
        phase: Phase = NORMAL,
        state: State = None,
    ) -> tuple[Encoding, State]: ...


def identity(cfg: IdentityConfig, image: DLPConfig) -> Identity:
    """The strategy that a config names. Raises InputError for one that the image model does not allow."""
    cfg.check(image)
    if cfg.kind == "tracker":
        return Tracker(cfg.static_frames)
    if cfg.kind == "grid":
        return Grid()
    return Matcher(cfg.patience, cfg.reach)


class Tracker:
    """Every particle is looked for where it was a frame ago (DDLP, arXiv 2306.05957, section 4.1).

    Identity is the slot. Only the search walks through frames: appearance, background and interaction are encoded in
    one batch. static_frames: how many first frames get proposals of their own, for the Chamfer term; later ones, and
    all of a clip that goes on from a state, repeat the last or have none.
    """

    def __init__(self, static_frames: int = 1) -> None:
        self.static_frames = static_frames

    def encode(
        self,
        encoder: SceneEncoder,
        video: Float[Tensor, "B T C H W"],
        draw: Draw = mean,
        phase: Phase = NORMAL,
        state: State = None,
    ) -> tuple[Encoding, State]:
        assert state is None or isinstance(state, TrackState)
        n_frames = video.shape[1]
        placed: list[Placed] = []
        known: list[Tensor] = []
        for t in range(n_frames):
            if state is None:
                located = encoder.locate(video[:, t], phase)
                known.append(located.proposals)
            else:
                located = self._follow(encoder, video[:, t], state, phase)
            placed.append(encoder.place(video[:, t], located, draw, phase))
            state = _track_state(placed[-1])
        whole = encoder.describe(video.flatten(0, 1), _join(placed), draw)
        encoding = whole.map(lambda x: x.unflatten(0, (-1, n_frames)))
        proposals = encoding.anchors[:, :, :0]
        if known:
            known += [encoder.propose(video[:, t]) for t in range(1, min(self.static_frames, n_frames))]
            proposals = torch.stack(known + known[-1:] * (n_frames - len(known)), 1)
        return (
            Encoding(encoding.posterior, encoding.scene, encoding.anchors, proposals, encoding.glimpses),
            state,
        )

    def _follow(self, encoder: SceneEncoder, image: Tensor, state: TrackState, phase: Phase) -> Located:
        standard = phase.fixed_scale or encoder.cfg.encoder.passes == 1  # one pass knows one size of glimpses
        anchors = state.position
        scale = None if standard else state.scale
        attributes = encoder.track(image, anchors, scale, None if phase.fixed_scale else state.template)
        confidence = None if state.moments is None else state.moments + _spread(attributes)
        return Located(anchors, attributes, confidence, anchors[:, :0])


def _spread(attributes: Attributes) -> Tensor:
    return 2 * attributes.offset.scale.detach().log().sum(-1, keepdim=True)


def _track_state(placed: Placed) -> TrackState:
    located = placed.located
    moments = None if located.confidence is None else located.confidence - _spread(located.attributes)
    return TrackState(placed.position.detach(), placed.scale.detach(), placed.glimpses.detach(), moments)


def _join(frames: Sequence[Placed]) -> Placed:
    """Frames of a clip as one batch, clip by clip."""

    def stack(parts: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(parts), 1).flatten(0, 1)

    def normals(parts: Sequence[Normal]) -> Normal:
        return Normal(stack([p.loc for p in parts]), stack([p.scale for p in parts]), validate_args=False)

    located = [frame.located for frame in frames]
    read = [part.attributes for part in located]
    depths = [a.depth for a in read if a.depth is not None]
    confidence = [part.confidence for part in located if part.confidence is not None]
    attributes = Attributes(
        normals([a.offset for a in read]),
        normals([a.scale for a in read]),
        beta(
            stack([a.transparency.concentration1 for a in read]),
            stack([a.transparency.concentration0 for a in read]),
        ),
        normals(depths) if depths else None,
    )
    anchors = stack([part.anchors for part in located])
    return Placed(
        Located(anchors, attributes, stack(confidence) if confidence else None, anchors[:, :0]),
        stack([frame.position for frame in frames]),
        stack([frame.scale for frame in frames]),
        stack([frame.transparency for frame in frames]),
        stack([frame.glimpses for frame in frames]),
    )


class Grid:
    """Every patch is a particle, and identity is the patch (LPWM, arXiv 2603.04553).

    Frames do not depend on each other: all are encoded in one batch. Only the `n_particles` most confident ones of a
    frame are looked at closely.
    """

    def encode(
        self,
        encoder: SceneEncoder,
        video: Float[Tensor, "B T C H W"],
        draw: Draw = mean,
        phase: Phase = NORMAL,
        state: State = None,
    ) -> tuple[Encoding, State]:
        images = video.flatten(0, 1)
        located = encoder.locate(images, phase, all_patches=True)
        assert located.confidence is not None
        marked = located.confidence[..., 0].topk(encoder.cfg.n_particles, dim=-1, largest=False).indices
        encoding = encoder.describe(images, encoder.place(images, located, draw, phase), draw, marked)
        return encoding.map(lambda x: x.unflatten(0, video.shape[:2])), state
