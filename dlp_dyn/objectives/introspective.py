"""Introspective particles: the game of Soft-IntroVAE for the looks of an image model's particles."""

from jaxtyping import Float
from torch import Tensor

from dlp_dyn.clip import Clip
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.base import Losses, Objective, Update
from dlp_dyn.objectives.particle_player import ParticlePlayer
from dlp_dyn.objectives.soft_intro import SoftIntro
from dlp_dyn.particles import Draw, rsample
from dlp_dyn.soft_intro.config import GameConfig


class IntrospectiveElbo(Objective):
    """Two updates, of what encodes looks and the background, and of what draws them; all else of the model rests.

    Fakes are the batch's scenes with looks of the prior, and reconstructions. For models that are trained already.
    """

    model: DLP

    def __init__(self, model: DLP, game: GameConfig, sample: Draw = rsample) -> None:
        super().__init__(model)
        self._played = (
            SoftIntro(ParticlePlayer(model, game), sample),
        )  # in a tuple: weights are the model's alone

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
        return self.played(batch, update, step)
