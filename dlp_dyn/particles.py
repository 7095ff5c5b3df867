"""The types that cross every boundary: particles, scenes, their distributions, and their packed form."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Beta, Distribution, Normal

from dlp_dyn.nn.private import dirichlet
from dlp_dyn.tree import TensorTree

ON = 0.5  # transparency above which a particle is on
FAINT = 0.2  # transparency below which LPWM's masks and tokens leave a particle out (official code)
_LOG_VARIANCE = 30.0  # beyond it the variance overflows or its logarithm is lost
Draw = Callable[[Distribution], Tensor]


def mean(distribution: Distribution) -> Tensor:
    """The deterministic draw."""
    return distribution.mean


def rsample(distribution: Distribution) -> Tensor:
    """The reparameterised random draw, from the global generator."""
    return distribution.rsample()


def sampler(generator: torch.Generator | None = None) -> Draw:
    """The random draw without gradient, from a generator of the caller's."""

    @torch.no_grad()
    def draw(distribution: Distribution) -> Tensor:
        if isinstance(distribution, Normal):
            noise = torch.randn(distribution.loc.shape, generator=generator, device=distribution.loc.device)
            return distribution.loc + distribution.scale * noise
        assert isinstance(distribution, Beta)
        both = torch.stack([distribution.concentration1, distribution.concentration0], -1)
        return dirichlet(both, generator)[..., 0]

    return draw


@dataclass(frozen=True)
class Particles(TensorTree):
    """N foreground particles (DDLP, arXiv 2306.05957, section 3).

    position: centre (x, y); -1 and 1 are the centres of the first and last pixel; may leave that range.
    scale: logit of glimpse side / image side, as (width, height). depth: larger is farther.
    transparency: 0 is off, 1 is on. features: appearance.
    """

    position: Float[Tensor, "*B N 2"]
    scale: Float[Tensor, "*B N 2"]
    depth: Float[Tensor, "*B N 1"]
    transparency: Float[Tensor, "*B N 1"]
    features: Float[Tensor, "*B N F"]

    @property
    def visible(self) -> Bool[Tensor, "*B N"]:
        """Which particles are on."""
        return self.transparency[..., 0] > ON

    @property
    def size(self) -> Float[Tensor, "*B N 2"]:
        """Glimpse side as a fraction of the image side, in (0, 1)."""
        return self.scale.sigmoid()


@dataclass(frozen=True)
class Scene(TensorTree):
    """All that the decoder needs for one image: particles and a background vector."""

    particles: Particles
    background: Float[Tensor, "*B G"]


class _Distributions(TensorTree):
    """Frozen dataclasses of `torch.distributions` with a twin of tensors."""

    def _apply(self, draw: Draw) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {k: draw(v) if isinstance(v, Distribution) else v.draw(draw) for k, v in values.items()}


@dataclass(frozen=True)
class ParticleDistribution(_Distributions):
    """Independent distributions over the fields of `Particles`; transparency is Beta, the rest is normal."""

    position: Normal
    scale: Normal
    depth: Normal
    transparency: Beta
    features: Normal

    def draw(self, draw: Draw) -> Particles:
        return Particles(**self._apply(draw))

    @property
    def mean(self) -> Particles:
        return self.draw(mean)


@dataclass(frozen=True)
class SceneDistribution(_Distributions):
    """A distribution over scenes: what encoders and dynamics give."""

    particles: ParticleDistribution
    background: Normal

    def draw(self, draw: Draw) -> Scene:
        return Scene(**self._apply(draw))

    @property
    def mean(self) -> Scene:
        return self.draw(mean)

    def rsample(self) -> Scene:
        return self.draw(rsample)

    def sample(self, generator: torch.Generator | None = None) -> Scene:
        """A random scene without gradient, from a generator of the caller's."""
        return self.draw(sampler(generator))


def most_visible(scene: Scene, n: int) -> Scene:
    """The `n` particles of highest transparency."""
    p = scene.particles
    if p.position.shape[-2] <= n:
        return scene
    index = p.transparency[..., 0].topk(n, dim=-1).indices[..., None]
    return Scene(p.map(lambda x: x.take_along_dim(index, -2)), scene.background)


def normal(loc: Tensor, log_variance: Tensor) -> Normal:
    """A normal distribution in float32, whatever the precision of the network that gave its parameters."""
    spread = (0.5 * log_variance.float().clamp(-_LOG_VARIANCE, _LOG_VARIANCE)).exp()
    return Normal(loc.float(), spread, validate_args=False)


def beta(a: Tensor, b: Tensor) -> Beta:
    """A Beta distribution in float32: lgamma and the sampler lose all accuracy below that."""
    return Beta(a.float(), b.float(), validate_args=False)


_GATE_LOW, _GATE_HIGH = math.log(1e-4), math.log(100.0)


def gated_beta(gate: Float[Tensor, "*B 1"]) -> Beta:
    """Beta whose two parameters share one logit: a from 1e-4 to 100, and a·b = 0.01 (LPWM, arXiv 2603.04553)."""
    low, high = _GATE_LOW, _GATE_HIGH
    p = gate.sigmoid()
    return beta((low + (high - low) * p).exp(), (high - (high - low) * p).exp())


def gate_of(transparency: Beta, most: float = 9.2) -> Float[Tensor, "*B 1"]:
    """The logit that `gated_beta` was given, from -most to most."""
    p = (transparency.concentration1.log() - _GATE_LOW) / (_GATE_HIGH - _GATE_LOW)
    return p.logit(1 / (1 + math.exp(most)))


def logit(p: float, eps: float = 0.0) -> float:
    return math.log(p / (1 - p + eps))


@dataclass(frozen=True)
class ParticleLayout:
    """The columns of the packed `(N, D)` array that agents see; saved with everything that holds packed data.

    extra: names of columns after those of the particle itself, which observations add (time, view, ...).
    """

    feature_dim: int
    extra: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        named = ("x", "y", "scale_x", "scale_y", "depth", "transparency")
        return named + tuple(f"feature_{i}" for i in range(self.feature_dim)) + self.extra

    @property
    def dim(self) -> int:
        return 6 + self.feature_dim + len(self.extra)

    def pack(self, particles: Particles) -> Float[Tensor, "*B N D"]:
        """The particles' own columns."""
        packed = torch.cat(list(particles), dim=-1)
        width = 6 + self.feature_dim
        assert packed.shape[-1] == width, f"{packed.shape[-1]} columns, expected {width}"
        return packed

    def unpack(self, packed: Float[Tensor, "*B N D"]) -> Particles:
        """Particles of packed ones, without the extra columns."""
        return Particles(*packed[..., : 6 + self.feature_dim].split([2, 2, 1, 1, self.feature_dim], dim=-1))
