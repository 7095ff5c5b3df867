"""Introspective particles: the game of Soft-IntroVAE for the looks of particles."""

from jaxtyping import Float
from torch import Tensor

from dlp_dyn.clip import Clip
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.base import Losses, Objective, Update
from dlp_dyn.objectives.particle_player import FuturePlayer, ParticlePlayer
from dlp_dyn.objectives.soft_intro import SoftIntro
from dlp_dyn.particles import Draw, rsample
from dlp_dyn.soft_intro.config import GameConfig
from dlp_dyn.video import VideoModel


class IntrospectiveElbo(Objective):
    """Two updates, of what encodes looks and the background, and of what draws them; all else of the model rests.

    Fakes are reconstructions, and the batch's scenes with looks of the prior. With a video model, which takes clips,
    they are reconstructions of the last frames, and those frames as predicted from the first ones.
    For models that are trained already.
    """

    model: DLP | VideoModel

    def __init__(self, model: DLP | VideoModel, game: GameConfig, sample: Draw = rsample) -> None:
        super().__init__(model)
        player = FuturePlayer(model, game) if isinstance(model, VideoModel) else ParticlePlayer(model, game)
        self._played = (SoftIntro(player, sample),)  # in a tuple: weights are the model's alone

    @property
    def played(self) -> SoftIntro:
        return self._played[0]

    def updates(self) -> tuple[Update, ...]:
        return self.played.updates()

    def terms(self, update: str) -> tuple[str, ...]:
        return self.played.terms(update)

    def weights(self, values: object) -> dict[str, dict[str, float]]:
        return self.played.weights(values)

    def notes(self) -> tuple[str, ...]:
        return self.played.notes()

    def forward(
        self, batch: Float[Tensor, "B 3 H W"] | Clip, update: str = "encoder", step: int = 1
    ) -> Losses:
        player = self.played.model
        if isinstance(player, FuturePlayer) and isinstance(batch, Clip) and update == "encoder":
            batch = player.foresee(batch)
        return self.played(batch, update, step)
