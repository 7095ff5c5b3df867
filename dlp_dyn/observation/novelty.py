"""How unlike its training data a trained image model finds a picture, and every particle in it."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import RecordConstructorArgs
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.checkpoint import load_model
from dlp_dyn.clip import to_images
from dlp_dyn.data.images import image_key
from dlp_dyn.errors import InputError
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives import terms
from dlp_dyn.objectives.config import ImageWeights

_WEIGHTS = ImageWeights()


@dataclass(frozen=True)
class Novelty:
    """Of pictures, higher where they are less like what a model was trained on.

    picture: weighted squared error of its reconstruction and KL of the looks of particles and background, in nats.
    particles: each one's share of that: the error of the pixels that it draws, and the KL of its appearance.
    error, kl: the two parts of `picture`.
    """

    picture: Float[Tensor, " B"]
    particles: Float[Tensor, "B N"]
    error: Float[Tensor, " B"]
    kl: Float[Tensor, " B"]


@torch.no_grad()
def novelty(
    model: DLP,
    images: Float[Tensor, "B 3 H W"],
    reconstruction: float = 1.0,
    kl: float = _WEIGHTS.kl_features / _WEIGHTS.reconstruction,
) -> Novelty:
    """Of images in [0, 1]. reconstruction, kl: weights; by default in the proportion of training.

    Only what is visible counts: KLs and errors of a particle are multiplied by its transparency.
    Raises InputError for a model whose particles are a grid.
    """
    if model.cfg.encoder.grid:
        raise InputError("novelty: the particles of this model are a grid; use a model with few of them")
    posterior = model.encode(images)
    scene = posterior.mean
    decoded = model.decode(scene)
    wrong = reconstruction * (images - decoded.image).square().sum(1)
    prior = model.prior(images.new_zeros(len(images), model.cfg.n_particles, 2))
    appearance = kl * terms.kl_normal(posterior.particles.features, prior.particles.features)
    appearance = appearance * scene.particles.transparency[..., 0]
    backdrop = kl * terms.kl_normal(posterior.background, prior.background)
    shares = model.masks(scene, decoded)
    particles = appearance + (shares * wrong[:, None]).sum((2, 3))
    error, told = wrong.sum((1, 2)), appearance.sum(1) + backdrop
    return Novelty(error + told, particles, error, told)


class NoveltyInfo(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Puts the novelty of each picture into `info`; goes around an environment, inside of `ParticleObservation`.

    info["novelty"]: a float. info["novelty_particles"]: float32 (N,), in the order of the encoder's particles, which is
    that of observations that are not tracked. run: a run of an image model. image: key of the picture in observations
    that are dictionaries; None where they have one. Raises InputError where pictures do not fit the model.
    """

    def __init__(
        self, env: gym.Env[Any, Any], run: str, image: str | None = None, device: str = "cpu"
    ) -> None:
        RecordConstructorArgs.__init__(self, run=run, image=image, device=device)
        super().__init__(env)
        self.model, self.device = load_model(run, device), device
        found = (image,) if image is not None else image_key(env.observation_space)
        if found is None:
            raise InputError(
                "novelty: observations have no picture in them; wrap the environment in one that has"
            )
        self.image = found

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, info | self._told(observation)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, info | self._told(observation)

    def _told(self, observation: Any) -> dict[str, Any]:
        for key in self.image:
            observation = observation[key]
        frame = np.asarray(observation)
        side = self.model.cfg.image_size
        if frame.dtype != np.uint8 or frame.shape != (side, side, 3):
            raise InputError(
                f"novelty: the picture is {frame.dtype} of shape {frame.shape}, the model reads uint8 of "
                f"({side}, {side}, 3): resize it or use another model"
            )
        image = to_images(frame[None], self.device)
        found = novelty(self.model, image)
        return {"novelty": float(found.picture), "novelty_particles": found.particles[0].cpu().numpy()}
