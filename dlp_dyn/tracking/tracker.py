"""Every particle looked for near where it was a frame ago."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.image.attributes import Attributes
from dlp_dyn.image.encoder import STANDARD, EncodeOptions, Encoding, Located, Placed, SceneEncoder
from dlp_dyn.particles import Draw, mean
from dlp_dyn.tracking.state import State, TrackState
from dlp_dyn.tree import tree_map


class Tracker:
    """Every particle is looked for where it was a frame ago (DDLP, arXiv 2306.05957, section 4.1).

    Identity is the slot. Only the search walks through frames: appearance, background and interaction are encoded in
    one batch. static_frames: how many first frames get proposals of their own, for the Chamfer term; later ones, and
    all of a clip that goes on from a state, repeat the last or have none.
    """

    def __init__(self, static_frames: int = 1) -> None:
        self.static_frames = static_frames
        self._compiled: tuple[_First, _Next, _Whole] | None = None

    def compile(self, **options: Any) -> None:
        """Compile the search in a frame, for training: once, however many frames a clip has.

        options: of `torch.compile`.
        """

        def owned(part: Callable[..., Placed]) -> Callable[..., Placed]:
            """Gives tensors that share no memory, because the compiler cannot always tell views of each other."""
            return torch.compile(lambda *inputs: part(*inputs).map(torch.clone), **options)

        self._compiled = owned(_first), owned(_next), torch.compile(_whole, **options)

    def encode(
        self,
        encoder: SceneEncoder,
        video: Float[Tensor, "B T C H W"],
        draw: Draw = mean,
        options: EncodeOptions = STANDARD,
        state: State = None,
    ) -> tuple[Encoding, State]:
        assert state is None or isinstance(state, TrackState)
        # What is evaluated comes in batches of other sizes, and would be compiled again for each.
        compiled = self._compiled if torch.is_grad_enabled() else None
        first, following, whole = compiled or (_first, _next, _whole)
        n_frames = video.shape[1]
        placed: list[Placed] = []
        known: list[Tensor] = []
        for t in range(n_frames):
            if state is None:
                placed.append(first(encoder, video[:, t], draw, options))
                known.append(placed[-1].located.proposals)
            else:
                placed.append(following(encoder, video[:, t], state, draw, options))
            state = _track_state(placed[-1])
        encoding = whole(encoder, video, placed, draw)
        proposals = encoding.anchors[:, :, :0]
        if known:
            static = video[:, 1 : self.static_frames]
            if static.shape[1]:
                known += encoder.propose(static.flatten(0, 1)).unflatten(0, static.shape[:2]).unbind(1)
            proposals = torch.stack(known + known[-1:] * (n_frames - len(known)), 1)
        return replace(encoding, proposals=proposals), state


_First = Callable[[SceneEncoder, Tensor, Draw, EncodeOptions], Placed]
_Next = Callable[[SceneEncoder, Tensor, TrackState, Draw, EncodeOptions], Placed]
_Whole = Callable[[SceneEncoder, Tensor, Sequence[Placed], Draw], Encoding]


def _first(
    encoder: SceneEncoder, image: Float[Tensor, "B C H W"], draw: Draw, options: EncodeOptions
) -> Placed:
    """Particles where the proposals are."""
    return encoder.place(image, encoder.locate(image, options), draw, options)


def _next(
    encoder: SceneEncoder,
    image: Float[Tensor, "B C H W"],
    state: TrackState,
    draw: Draw,
    options: EncodeOptions,
) -> Placed:
    """Particles near where those of the frame before were."""
    standard = options.fixed_scale or encoder.cfg.encoder.passes == 1  # one pass knows one size of glimpses
    anchors = state.position
    scale = None if standard else state.scale
    attributes = encoder.track(image, anchors, scale, None if options.fixed_scale else state.template)
    confidence = None if state.moments is None else state.moments + _spread(attributes)
    return encoder.place(image, Located(anchors, attributes, confidence, anchors[:, :0]), draw, options)


def _whole(
    encoder: SceneEncoder, video: Float[Tensor, "B T C H W"], placed: Sequence[Placed], draw: Draw
) -> Encoding:
    """What needs no search, of all frames in one batch."""
    frames = [_without_proposals(frame) for frame in placed]
    joined = tree_map(lambda *parts: torch.stack(parts, 1).flatten(0, 1), *frames)
    encoding = encoder.describe(video.flatten(0, 1), joined, draw)
    return encoding.map(lambda x: x.unflatten(0, (-1, video.shape[1])))


def _without_proposals(placed: Placed) -> Placed:
    """Frames differ in how many proposals they have."""
    located = placed.located
    return replace(placed, located=replace(located, proposals=located.anchors[:, :0]))


def _spread(attributes: Attributes) -> Tensor:
    return 2 * attributes.offset.scale.detach().log().sum(-1, keepdim=True)


def _track_state(placed: Placed) -> TrackState:
    located = placed.located
    moments = None if located.confidence is None else located.confidence - _spread(located.attributes)
    return TrackState(placed.position.detach(), placed.scale.detach(), placed.glimpses.detach(), moments)
