"""Particles that play: what a particle model answers when Soft-IntroVAE asks.

Only appearance is compared. Places, sizes, depths and transparencies are those of the batch's own images, without
gradient, and fakes are encoded where their own particles are ("guided"): no particle can hide by
moving, no background error can stand for an object, and what agents see of places does not change.
A video model's fakes are the scenes that it predicts, at the places that it predicts.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from dlp_dyn.clip import Clip
from dlp_dyn.dynamics.base import Conditions, Prediction
from dlp_dyn.dynamics.rollout import unroll
from dlp_dyn.errors import InputError
from dlp_dyn.image.encoder import Located, Placed
from dlp_dyn.image.model import DLP
from dlp_dyn.image.proposals import gather
from dlp_dyn.particles import Draw, Particles, Scene
from dlp_dyn.soft_intro.config import GameConfig
from dlp_dyn.video import VideoModel


@dataclass(frozen=True)
class PlayerConfig:
    """What the objective reads of a model's config."""

    game: GameConfig


class ParticlePlayer(nn.Module):
    """A latent is the features of all particles and the background vector, one after the other.

    Raises InputError for models whose particles are a grid, and for settings of the game that need more.
    """

    def __init__(self, scenes: DLP, game: GameConfig) -> None:
        super().__init__()
        if scenes.cfg.encoder.grid:
            raise InputError(
                "config: introspection wants particles that are few; model.encoder.grid has to be false"
            )
        if game.target_every or game.redraw != "nothing":
            raise InputError(
                "config: introspection has no target decoder and redraws nothing; leave both as they are"
            )
        self.scenes, self.cfg = scenes, PlayerConfig(game)
        parts = (scenes.encoder.appearance, scenes.encoder.background, scenes.encoder.interaction)
        self.encoder = nn.ModuleList(part for part in parts if part is not None)
        self.decoder = nn.ModuleList([scenes.decoder.glimpses, scenes.decoder.background])
        self.steps = 0
        self._placed: Placed | None = None
        self._depth: Tensor | None = None

    @property
    def scale(self) -> float:
        """Of the objective: 1 over the numbers of an image, unless set."""
        return self.cfg.game.scale or 1 / (3 * self.scenes.cfg.image_size**2)

    @property
    def plays(self) -> bool:
        return self.cfg.game.fakes != "none" and self.steps > self.cfg.game.warm_up_steps

    def at_step(self, step: int) -> None:
        self.steps = step

    @torch.no_grad()
    def shown(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """The images, whose particles are placed for all that follows until the next ones."""
        encoder = self.scenes.encoder
        self._placed = encoder.place(x, encoder.locate(x))
        self._depth = encoder.describe(x, self._placed).scene.particles.depth
        return x

    def encode(self, x: Float[Tensor, "B 3 H W"], frozen: bool = False) -> Normal:  # noqa: ARG002 - all keep theirs
        """Looks of pictures at the places of the last images shown."""
        assert self._placed is not None
        posterior = self.scenes.encoder.look_again(x, self._placed).posterior
        features, background = posterior.particles.features, posterior.background
        return Normal(
            torch.cat([features.loc.flatten(1), background.loc], 1),
            torch.cat([features.scale.flatten(1), background.scale], 1),
            validate_args=False,
        )

    def decode(self, z: Float[Tensor, "B L"], frozen: bool = False) -> Float[Tensor, "B 3 H W"]:  # noqa: ARG002
        return self.scenes.decoder(self.scene(z)).image

    def scene(self, z: Float[Tensor, "B L"]) -> Scene:
        """Latents as scenes, particles where those of the last images are."""
        assert self._placed is not None
        assert self._depth is not None
        p, (n, d) = self._placed, self._shape
        features = z[:, : n * d].unflatten(1, (n, d))
        particles = Particles(p.position, p.scale, self._depth, p.transparency, features)
        return Scene(particles, z[:, n * d :])

    def of(self, fakes: str) -> "ParticlePlayer":  # noqa: ARG002 - all alike
        """What draws and judges fakes of a sort."""
        return self

    def draw_prior(self, n: int, draw: Draw) -> Float[Tensor, "B L"]:
        return draw(self._prior(n))

    def kl(self, posterior: Normal) -> Float[Tensor, " B"]:
        """Of the looks of visible particles, and of the background, in nats."""
        assert self._placed is not None
        n, d = self._shape
        each = kl_divergence(posterior, self._prior(len(posterior.loc)))
        appearance = each[:, : n * d].unflatten(1, (n, d)).sum(-1)
        return (appearance * self._placed.transparency[..., 0]).sum(1) + each[:, n * d :].sum(1)

    def error(self, x: Float[Tensor, "B 3 H W"], drawn: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
        return (x - drawn).square().sum((1, 2, 3))

    @property
    def _shape(self) -> tuple[int, int]:
        return self.scenes.cfg.n_particles, self.scenes.cfg.feature_dim

    def _prior(self, n: int) -> Normal:
        particles, features = self._shape
        zero = next(self.scenes.parameters()).new_zeros(
            n, particles * features + self.scenes.cfg.background_dim
        )
        return Normal(zero, torch.ones_like(zero), validate_args=False)


class _Predicted(ParticlePlayer):
    """Plays at the places of scenes that were predicted, whose looks are the prior of its fakes."""

    def stand(self, last: Placed, expected: Prediction) -> None:
        """last: where particles are in the true frames; confidences and anchors are of the nearest ones there."""
        scene, located = expected.scenes.mean, last.located
        p = scene.particles
        nearest = (p.position[:, :, None] - last.position[:, None]).square().sum(-1).argmin(-1)
        confidence = None if located.confidence is None else gather(located.confidence, nearest)
        there = Located(
            gather(located.anchors, nearest),
            located.attributes.take(nearest),
            confidence,
            located.proposals,
        )
        self._placed = Placed(there, p.position, p.scale, p.transparency, last.glimpses)
        self._depth = p.depth
        features, background = expected.scenes.particles.features, expected.scenes.background
        self._expected = Normal(
            torch.cat([features.loc.flatten(1), background.loc], 1),
            torch.cat([features.scale.flatten(1), background.scale], 1),
            validate_args=False,
        )

    def _prior(self, n: int) -> Normal:  # noqa: ARG002 - as many as there are predictions
        return self._expected


class FuturePlayer(ParticlePlayer):
    """Data are the last frames of clips; samples are the scenes that the dynamics, which rest, predict of them.

    What is drawn of a prediction has to be encoded as what was predicted: the prior of a sample's looks is theirs.
    """

    def __init__(self, video: VideoModel, game: GameConfig) -> None:
        super().__init__(video.image, game)
        self.video, self.predicted = video, _Predicted(video.image, game)
        self._foreseen: Prediction | None = None

    @torch.no_grad()
    def foresee(self, clip: Clip) -> Float[Tensor, "B 3 H W"]:
        """The last frames; what the first frames, as many as the dynamics look back on, let expect is remembered."""
        video, window = clip.video, self.video.dynamics.window
        self.video.check_actions(clip.actions, video.shape[1] - 1)
        seen = self.video.encode(video[:, :window])[0].scene
        steps = unroll(self.video.dynamics, seen, video.shape[1] - window, Conditions(clip.actions))
        *_, self._foreseen = steps
        return video[:, -1]

    def shown(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        super().shown(x)
        assert self._placed is not None
        assert self._foreseen is not None
        self.predicted.stand(self._placed, self._foreseen)
        return x

    def of(self, fakes: str) -> ParticlePlayer:
        return self.predicted if fakes == "sample" else self
