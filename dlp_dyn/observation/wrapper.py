"""Observations of one environment as particles."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from dlp_dyn.errors import InputError
from dlp_dyn.observation.encoder import ParticleEncoder, load_encoder, recorded
from dlp_dyn.observation.observer import Images, Observer, batch_of, entry, one_of
from dlp_dyn.particles import ParticleLayout


class ParticleObservation(gym.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """Observations of one environment as particles; see `Observer` for the arguments that are not named here.

    run: a run folder, a checkpoint folder or a Hugging Face id. normalizer: file of a `Normalizer`.
    hash, normalizer_hash: of the encoder and the normalizer; None is what is there now. They are recorded with the
    paths, so that `gym.make(env.spec)`, or a spec from JSON, makes the same observations or raises InputError.
    `render` gives the environment's pictures as they are, and no picture is put into `info`.

    Raises InputError where `ParticleEncoder`, `Normalizer.load` or `Observer` does.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        run: str,
        hash: str | None = None,
        images: Images | None = None,
        keep: Mapping[str, str] | None = None,
        normalizer: str | None = None,
        normalizer_hash: str | None = None,
        flatten: bool = False,
        dtype: str = "float32",
        named: bool = False,
        track: bool = False,
        stack: int = 1,
        device: str = "cpu",
    ) -> None:
        encoder = load_encoder(run, hash, normalizer, normalizer_hash, device)
        form = {"flatten": flatten, "dtype": dtype, "named": named, "track": track, "stack": stack}
        RecordConstructorArgs.__init__(
            self, **recorded(encoder, normalizer), images=images, keep=keep, device=device, **form
        )
        super().__init__(env)
        self.observer = Observer(env.observation_space, encoder, images, keep, **form)
        self.observation_space = self.observer.space

    @property
    def encoder(self) -> ParticleEncoder:
        return self.observer.encoder

    @property
    def layout(self) -> ParticleLayout:
        """The columns of the observation."""
        return self.observer.layout

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self.observer.reset()
        return super().reset(seed=seed, options=options)

    def observation(self, observation: Any) -> Any:
        return one_of(self.observer.observe(batch_of([observation])), 0)

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """The environment's own reward, of its own goals (which `keep` passes on), one pair or many.

        Raises InputError for goals of another shape, such as particles.
        """
        for key, goal in (("achieved_goal", achieved_goal), ("desired_goal", desired_goal)):
            shape = entry(self.env.observation_space, key).shape or ()
            found = np.shape(goal)
            if found[len(found) - len(shape) :] != shape:
                raise InputError(
                    f"compute_reward: {key} has shape {found}, the environment's goals have {shape}: keep them with "
                    f'keep={{"{key[:-5]}_state": "{key}"}} and give those'
                )
        return self.env.get_wrapper_attr("compute_reward")(achieved_goal, desired_goal, info)
