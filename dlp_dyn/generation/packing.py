"""The particles of a clip as one array, and its columns scaled to [-1, 1]."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from dlp_dyn.errors import InputError
from dlp_dyn.generation.motion import fitted, in_both, step_between
from dlp_dyn.particles import ParticleLayout, Particles, Scene

_EPS = 1e-5  # of the quotient by a column's range


@dataclass(frozen=True)
class ScenePacking:
    """A row a particle (position, scale, depth, transparency, features), and last the background's (0, 0, features).

    Shorter rows end in padding. Scale is (height, width), as published: with the particles' rows the background's share
    the denoiser's weights, so that no order of its own could be made good there.

    hide_off: rows of particles that are off are zero, whatever they look like, which nobody sees.
    motion: of clips, rows of particles end in their step from the frame before; 0 where they are off in one of the two.
    """

    feature_dim: int
    background_dim: int
    hide_off: bool = False
    motion: bool = False

    @property
    def particle_width(self) -> int:
        return ParticleLayout(self.feature_dim).dim + 2 * self.motion

    @property
    def steps(self) -> slice:
        """Columns of motion in the rows of particles; none without."""
        return slice(ParticleLayout(self.feature_dim).dim, self.particle_width)

    @property
    def width(self) -> int:
        return max(self.particle_width, 2 + self.background_dim)

    def pack(self, scene: Scene) -> Float[Tensor, "*B M C"]:
        particles, background = (
            ParticleLayout(self.feature_dim).pack(_flipped(scene.particles)),
            scene.background,
        )
        if self.hide_off:
            particles = particles * scene.particles.visible[..., None]
        if self.motion:
            step = step_between(particles[..., :2], in_both(scene.particles.visible))
            particles = torch.cat([particles, step], -1)
        middle = torch.zeros_like(background[..., :1]).expand(*background.shape[:-1], 2)
        last = torch.cat([middle, background], -1)[..., None, :]
        padded = [nn.functional.pad(x, (0, self.width - x.shape[-1])) for x in (particles, last)]
        return torch.cat(padded, -2)

    def unpack(self, x: Float[Tensor, "*B M C"]) -> Scene:
        particles = ParticleLayout(self.feature_dim).unpack(x[..., :-1, :])
        return Scene(_flipped(particles), x[..., -1, 2 : 2 + self.background_dim])

    def joined(
        self,
        scene: Scene,
        x: Float[Tensor, "B T M C"],
        scale: Float[Tensor, " C"],
        given: Bool[Tensor, "B T M"] | None,
    ) -> Scene:
        """A clip of rows x with the positions that fit their steps as well. scale: of columns. given: what stays."""
        particles = scene.particles
        position = fitted(
            particles.position,
            x[..., :-1, self.steps],
            in_both(particles.visible),
            (scale[:2] / scale[self.steps]).square(),
            None if given is None else given[..., :-1],
        )
        return replace(scene, particles=replace(particles, position=position))

    def entries(
        self, rows: Shaped[Tensor, "B T M"], both: Callable[[Tensor, Tensor], Tensor]
    ) -> Shaped[Tensor, "B T M C"]:
        """Values of rows for each of their columns. both: of two frames, for the step from one to the other."""
        values = rows[..., None].repeat(1, 1, 1, self.width)
        before = torch.cat([rows[:, :1], rows[:, :-1]], 1)
        values[..., :-1, self.steps] = both(rows, before)[..., :-1, None]
        return values

    def mask(self, n_particles: int, device: torch.device | None = None) -> Float[Tensor, "M C"]:
        """0 where rows are padded, 1 elsewhere."""
        mask = torch.zeros(n_particles + 1, self.width, device=device)
        mask[:-1, : self.particle_width] = 1
        mask[-1, : 2 + self.background_dim] = 1
        return mask


def _flipped(particles: Particles) -> Particles:
    return replace(particles, scale=particles.scale.flip(-1))


class Normalizer(nn.Module):
    """Scales each column by what it was in the training data; padding and the background's zeros stay as they are.

    `minmax` brings a column's range to [-1, 1], `std` its mean to 0 and its deviation to 1. Sampling is clipped to
    [-1, 1], so `minmax` is what generation needs.
    """

    particle_shift: Tensor
    particle_scale: Tensor
    background_shift: Tensor
    background_scale: Tensor

    def __init__(self, packing: ScenePacking) -> None:
        super().__init__()
        self.packing = packing
        for name, n in (
            ("particle", packing.particle_width),
            ("background", packing.background_dim),
        ):
            self.register_buffer(f"{name}_shift", torch.zeros(n))
            self.register_buffer(f"{name}_scale", torch.ones(n))

    def fit(self, scenes: Scene, kind: Literal["minmax", "std"] = "minmax", quantile: float = 0.0) -> None:
        """Take the columns' statistics over all leading axes; of motion, the last of them is time.

        quantile: share of values at either end that limits leave out, against outliers; they are clipped to the limits
        in generation. 0 is the published way.
        """
        rows = self.packing.pack(scenes)
        particles = rows[..., :-1, : self.packing.particle_width].flatten(0, -2)
        background = rows[..., -1, 2 : 2 + self.packing.background_dim].flatten(0, -2)
        for name, values in (("particle", particles), ("background", background)):
            if kind == "std":
                self.set_std(name, values.mean(0), values.std(0))
            else:
                self.set_limits(name, *_limits(values, quantile))

    def set_limits(self, name: str, low: Tensor, high: Tensor) -> None:
        """The columns' least and largest values. name: particle or background."""
        half = (high - low + _EPS) / 2
        self._set(name, low + half, half)

    def set_std(self, name: str, mean: Tensor, std: Tensor) -> None:
        self._set(name, mean, std + _EPS)

    def _set(self, name: str, shift: Tensor, scale: Tensor) -> None:
        getattr(self, f"{name}_shift").copy_(shift)
        getattr(self, f"{name}_scale").copy_(scale)

    def forward(self, x: Float[Tensor, "*B M C"]) -> Float[Tensor, "*B M C"]:
        shift, scale = self._rows(x)
        return (x - shift) / scale

    def inverse(self, x: Float[Tensor, "*B M C"]) -> Float[Tensor, "*B M C"]:
        shift, scale = self._rows(x)
        return x * scale + shift

    def _rows(self, x: Tensor) -> tuple[Float[Tensor, "M C"], Float[Tensor, "M C"]]:
        shift, scale = x.new_zeros(x.shape[-2:]), x.new_ones(x.shape[-2:])
        for whole, part in ((shift, "shift"), (scale, "scale")):
            particle, background = getattr(self, f"particle_{part}"), getattr(self, f"background_{part}")
            whole[:-1, : len(particle)] = particle
            whole[-1, 2 : 2 + len(background)] = background
        return shift, scale


def _limits(values: Float[Tensor, "K C"], quantile: float) -> tuple[Tensor, Tensor]:
    if not 0 <= quantile < 0.5:
        raise InputError(f"quantile {quantile}: give a share below one half")
    if quantile == 0:
        return values.amin(0), values.amax(0)
    index = round(quantile * (len(values) - 1))
    ordered = values.sort(0).values
    return ordered[index], ordered[len(values) - 1 - index]
