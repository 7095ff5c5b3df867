"""Diffusion over the particles of a clip: what training adds noise to, and sampling takes it off again."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dlp_dyn.generation.config import DiffusionConfig
from dlp_dyn.generation.denoiser import denoiser
from dlp_dyn.generation.motion import straight
from dlp_dyn.generation.packing import Normalizer, ScenePacking
from dlp_dyn.generation.schedule import CosineSchedule
from dlp_dyn.particles import Scene

Noise = Callable[[int], Tensor]


@dataclass(frozen=True)
class Known:
    """What of a clip is given: its rows, scaled, and 1 where they hold."""

    rows: Float[Tensor, "B T M C"]
    where: Float[Tensor, "B T M C"]


class ClipDiffusion(nn.Module):
    """Draws clips of scenes as they were in training (DiffuseDDLP, TMLR 2024).

    Raises InputError when the settings cannot make a model.
    """

    def __init__(self, cfg: DiffusionConfig, n_particles: int, packing: ScenePacking) -> None:
        super().__init__()
        cfg.check()
        self.cfg, self.n_rows, self.packing = cfg, n_particles + 1, packing
        self.normalizer = Normalizer(packing)
        self.schedule = CosineSchedule(cfg.steps)
        self.denoiser = denoiser(cfg, self.n_rows, packing.width)

    def network(self, x: Float[Tensor, "B T M C"], t: Int[Tensor, "*S"]) -> Float[Tensor, "B T M C"]:
        """What the denoiser gives for noisy rows: the clip or its velocity.

        One that knows gaps sees straight lines between the frames that are given, and says what clips are beside them.
        """
        if not self.cfg.gaps:
            return self.denoiser(x, t)
        given = (t if t.ndim == 2 else t[:, None].expand(x.shape[:2])) < 0
        line = straight(x, given)
        line[..., :-1, self.packing.steps] = 0  # the step out of a gap is not known
        beside = self.denoiser(torch.cat([x, line], -1), t)
        if self.cfg.predicts == "clip":
            return beside + line
        return beside + self.schedule.velocity(line, torch.zeros_like(line), self.levels(t))

    def rows(self, scenes: Scene) -> Float[Tensor, "B T M C"]:
        """Scenes as what is diffused."""
        return self.normalizer(self.packing.pack(scenes))

    def scenes(self, rows: Float[Tensor, "B T M C"], given: Float[Tensor, "B T M"] | None = None) -> Scene:
        """given: 1 where rows hold as they are, whatever steps say."""
        rows = self.normalizer.inverse(rows)
        scenes = self.packing.unpack(rows)
        if not self.packing.motion:
            return scenes
        held = None if given is None else given > 0
        return self.packing.joined(scenes, rows, self.normalizer.particle_scale, held)

    def levels(self, t: Int[Tensor, "*S"]) -> Int[Tensor, "*E"]:
        """Steps of noise of frames as those of their entries: what a frame moved since has the noise of both."""
        if t.ndim == 1:
            return t
        return self.packing.entries(t[..., None].expand(*t.shape, self.n_rows), torch.maximum)

    def clean(self, x: Float[Tensor, "B T M C"], t: Int[Tensor, "*S"]) -> Float[Tensor, "B T M C"]:
        """What rows without noise are thought to be, in the range of the training data.

        t: of clips or of each frame, -1 where a frame has no noise.
        """
        given = self.network(x, t)
        clip = given if self.cfg.predicts == "clip" else self.schedule.against(x, given, self.levels(t))
        return clip.clamp(-1, 1)

    @torch.no_grad()
    def sample(
        self, n: int, steps: int | None = None, eta: float = 1.0, generator: torch.Generator | None = None
    ) -> Scene:
        """n clips of `cfg.frames` scenes. steps: all of `cfg.steps`, or fewer for less time; eta: see `step`."""
        shape = (n, self.cfg.frames, self.n_rows, self.packing.width)
        return self.scenes(self.denoise(self._noise(shape, generator), steps, eta))

    @torch.no_grad()
    def complete(
        self,
        scenes: Scene,
        given: Float[Tensor, "B T M"],
        steps: int | None = None,
        eta: float = 1.0,
        rounds: int = 1,
        generator: torch.Generator | None = None,
    ) -> Scene:
        """Clips with what is not given drawn anew: frames, or particles within frames (the last is the background).

        given: 1 where a row of the clip holds. Whole frames are shown without noise to a model that knows gaps
        (`cfg.gaps`); otherwise what is given replaces what is drawn in every step. rounds: every step is taken so
        often, with fresh noise in between, which fits what is drawn to what is given (RePaint, Lugmayr et al. 2022).
        A causal model fills frames without regard to those after them.
        """
        rows = self.rows(scenes)
        known = Known(rows, self.packing.entries(given, torch.minimum))
        filled = self.denoise(self._noise(tuple(rows.shape), generator), steps, eta, known, rounds)
        return self.scenes(filled, given)

    def denoise(
        self,
        noise: Noise,
        steps: int | None = None,
        eta: float = 1.0,
        known: Known | None = None,
        rounds: int = 1,
    ) -> Float[Tensor, "B T M C"]:
        """Rows from noise alone. noise: draws it, told the step that it is for; `cfg.steps` is the start."""
        x = noise(self.cfg.steps)
        times = self.schedule.times(steps or self.cfg.steps)
        for now, then in pairwise(times):
            t, to = (torch.full((len(x),), step, device=x.device) for step in (now, then))
            for again in range(rounds):
                if again:
                    x = self.schedule.renoise(x, noise(now), to, t)
                clean = self._clean_beside(x, t, known)
                x = self.schedule.step(x, clean, t, to, noise(now) if now else torch.zeros_like(x), eta)
        return x if known is None else torch.where(known.where > 0, known.rows, x)

    def _clean_beside(self, x: Tensor, t: Int[Tensor, " B"], known: Known | None) -> Tensor:
        """`clean`, told what is known."""
        if known is None:
            return self.clean(x, t)
        held = known.where[..., 0] > 0
        frames = held.all(-1)
        if self.cfg.gaps and torch.equal(frames, held.any(-1)):
            x = torch.where(known.where > 0, known.rows, x)
            t = torch.where(frames, -1, t[:, None])
        return torch.where(known.where > 0, known.rows, self.clean(x, t))

    def _noise(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Noise:
        device = next(self.parameters()).device
        return lambda _step: torch.randn(shape, generator=generator, device=device)
