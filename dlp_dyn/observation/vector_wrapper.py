"""Observations of many environments as particles, one batch of the encoder a step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from dlp_dyn.errors import InputError
from dlp_dyn.observation.encoder import ParticleEncoder, load_encoder, recorded
from dlp_dyn.observation.observer import Batch, Images, Observer, batch_of, one_of, rows_of, with_rows
from dlp_dyn.particles import ParticleLayout


class VectorParticleObservation(VectorWrapper[Any, Any, Any, Any, Any], RecordConstructorArgs):
    """`ParticleObservation` for vector environments, with the same arguments and in all three autoreset modes.

    Last observations of episodes, which are `infos["final_obs"]` with the mode SAME_STEP, are encoded in the batch of
    their step. Gymnasium's vector wrappers are not part of `spec`: `settings` has what makes this one again.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
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
        mode = env.metadata.get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise InputError(
                f"{env}: does not say when it resets; set its metadata['autoreset_mode'] to one of Gymnasium's "
                "AutoresetMode"
            )
        self.mode = mode
        self.observer = Observer(env.single_observation_space, encoder, images, keep, env.num_envs, **form)
        self.single_observation_space = self.observer.space
        self.observation_space = batch_space(self.observer.space, env.num_envs)
        self._over = np.zeros(env.num_envs, bool)  # rows that the next step begins anew

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments, ready for JSON, with which the wrapper gives the same observations again."""
        return dict(self._saved_kwargs)

    @property
    def encoder(self) -> ParticleEncoder:
        return self.observer.encoder

    @property
    def layout(self) -> ParticleLayout:
        """The columns of the observation."""
        return self.observer.layout

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Batch, dict[str, Any]]:
        """All, or with `options={"reset_mask": ...}` some rows; the others keep their observation."""
        mask = (options or {}).get("reset_mask")
        batch, infos = self.env.reset(seed=seed, options=options)
        rows = np.arange(self.num_envs) if mask is None else np.flatnonzero(mask)
        self._over[rows] = False
        self.observer.reset(rows)
        if mask is None:
            self._now = self.observer.observe(batch)
        else:
            fresh = self.observer.observe(rows_of(batch, rows), rows)
            self._now = with_rows(self._now, rows, fresh)
        return self._now, infos

    def step(self, actions: Any) -> tuple[Batch, Any, Any, Any, dict[str, Any]]:
        batch, rewards, terminations, truncations, infos = self.env.step(actions)
        self.observer.reset(np.flatnonzero(self._over))
        over = np.logical_or(terminations, truncations)
        if self.mode is AutoresetMode.NEXT_STEP:
            self._over = over
        rows = np.flatnonzero(over)
        if self.mode is AutoresetMode.SAME_STEP and len(rows):
            last = batch_of([infos["final_obs"][row] for row in rows])
            last, self._now = self.observer.observe_ends(last, rows, batch)
            final = np.full(self.num_envs, None, object)
            for i, row in enumerate(rows):
                final[row] = one_of(last, i)
            infos = {**infos, "final_obs": final}
        else:
            self._now = self.observer.observe(batch)
        return self._now, rewards, terminations, truncations, infos
