"""Particles of frames that were encoded one by one, joined to the particles of the frame before."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dlp_dyn.image.encoder import STANDARD, EncodeOptions, Encoding, SceneEncoder
from dlp_dyn.image.proposals import gather
from dlp_dyn.particles import Draw, Particles, mean
from dlp_dyn.tracking.state import MatchState, State
from dlp_dyn.tree import stack, tree_map

_APPEARANCE = 0.02  # what a squared feature distance of 1 counts as a squared distance in the image


class Matcher:
    """Frames are encoded independently; a Hungarian match by distance and looks gives every object a fixed slot.

    An object that no particle of a frame explains stays in its slot, moving on as it did, for `patience` frames. For
    image models that were trained on single images: unlike the tracker this asks nothing of them. `scene` holds the
    remembered objects, `posterior` what each frame really gave. The match itself has no gradient.

    reach: farthest that an object may be from where it is expected, in [-1, 1] units.
    """

    def __init__(self, patience: int = 5, reach: float = 0.4) -> None:
        self.patience, self.reach = patience, reach

    def encode(
        self,
        encoder: SceneEncoder,
        video: Float[Tensor, "B T C H W"],
        draw: Draw = mean,
        options: EncodeOptions = STANDARD,
        state: State = None,
    ) -> tuple[Encoding, State]:
        assert state is None or isinstance(state, MatchState)
        n_frames = video.shape[1]
        flat = encoder(video.flatten(0, 1), draw, options)
        found = flat.scene.particles.map(lambda x: x.unflatten(0, (-1, n_frames)))
        order = self._orders(found, state)
        remembered = []
        for t in range(n_frames):
            state = self._remember(state, found[:, t].map(lambda x, t=t: gather(x, order[:, t])))
            remembered.append(state.particles)
            state = replace(state, particles=state.particles.detach())
        order = order.flatten(0, 1)

        def in_order(x: Tensor) -> Tensor:
            return x.gather(1, order.view(*order.shape, *[1] * (x.ndim - 2)).expand_as(x))

        posterior = replace(flat.posterior, particles=flat.posterior.particles.map(in_order))
        joined = replace(
            flat, posterior=posterior, anchors=in_order(flat.anchors), glimpses=in_order(flat.glimpses)
        ).map(lambda x: x.unflatten(0, (-1, n_frames)))
        return replace(joined, scene=replace(joined.scene, particles=stack(remembered, 1))), state

    def follow(self, found: Particles, state: MatchState | None) -> tuple[Int[Tensor, "B N"], MatchState]:
        """Which particle of the next frame goes into each slot, and what is remembered from then on."""
        order = self._order(state, found)
        return order, self._remember(state, found.map(lambda x: gather(x, order)))

    @torch.no_grad()
    def _orders(self, found: Particles, state: MatchState | None) -> Int[Tensor, "B T N"]:
        """Which particle of each frame goes into each slot; worked out on the CPU, so that a GPU is waited for once."""
        widths = [x.shape[-1] for x in found]
        known = Particles(*torch.cat(list(found), -1).cpu().split(widths, -1))
        if state is not None:
            state = state.to("cpu")
        orders = []
        for t in range(found.position.shape[1]):
            order, state = self.follow(known[:, t], state)
            orders.append(order)
        return torch.stack(orders, 1).to(found.position.device)

    @torch.no_grad()
    def _order(self, state: MatchState | None, found: Particles) -> Int[Tensor, "B N"]:
        """Which particle of the new frame goes into each slot; of the first frame, each stays where it is."""
        if state is None:
            batch, n, _ = found.position.shape
            return torch.arange(n, device=found.position.device).expand(batch, -1)
        expected = state.particles.position + state.velocity
        distance = torch.cdist(expected.float(), found.position.float()).square()
        appearance = torch.cdist(state.particles.features.float(), found.features.float()).square()
        alive = (state.missed <= self.patience)[:, :, None]
        visible = _on(found)[:, None]
        near = distance <= self.reach**2
        # An object without a partner costs as much as the farthest allowed one, a partner out of reach more than two.
        lonely = self.reach**2
        cost = torch.where(near, distance + _APPEARANCE * appearance.clamp_max(10), 3 * lonely)
        cost = torch.where(alive & visible, cost, lonely * (alive ^ visible))
        # Fresh objects take the slots that have been empty the longest.
        cost = cost - 1e-6 * state.missed[:, :, None].clamp_max(1000) * visible
        columns = [linear_sum_assignment(c)[1] for c in cost.cpu().numpy()]
        return torch.from_numpy(np.stack(columns)).to(found.position.device)

    def _remember(self, state: MatchState | None, found: Particles) -> MatchState:
        """What was found, slot by slot, and where an object was missed what was expected of it."""
        if state is None:
            missed = torch.where(_on(found), 0, self.patience + 1)
            return MatchState(found, torch.zeros_like(found.position), missed)
        expected = state.particles.position + state.velocity
        alive = state.missed <= self.patience
        jump = (found.position - expected).norm(dim=-1)
        seen = _on(found)
        same = seen & alive & (jump <= self.reach)
        missed = torch.where(seen, 0, state.missed + 1)
        hold = (alive & ~seen & (missed <= self.patience))[..., None]
        memory = replace(state.particles, position=expected)
        particles = tree_map(lambda new, held: torch.where(hold, held, new), found, memory)
        moved = torch.where(same[..., None], found.position.detach() - state.particles.position, 0.0)
        return MatchState(particles, torch.where(hold, state.velocity, moved), missed)


def _on(particles: Particles) -> Tensor:
    return particles.visible
