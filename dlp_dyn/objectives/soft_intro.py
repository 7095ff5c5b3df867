"""Soft-IntroVAE: the encoder tells data from what the decoder makes, the decoder makes what looks like data to it."""

import copy
from collections import deque
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn.clip import Clip
from dlp_dyn.objectives.base import Losses, Objective, Update
from dlp_dyn.objectives.particle_player import ParticlePlayer
from dlp_dyn.particles import Draw, rsample
from dlp_dyn.soft_intro.config import GameConfig
from dlp_dyn.soft_intro.model import IntroVAE

_ENCODER = ("reconstruction", "kl", "exp_reconstruction", "exp_sample")
_DECODER = (
    "decoder_reconstruction", "kl_reconstruction", "kl_sample", "cycle_reconstruction", "cycle_sample",
)  # fmt: skip


class Fakes(NamedTuple):
    """What was drawn, how it is encoded, and drawn again from that."""

    drawn: Tensor
    kl: Float[Tensor, " B"]
    again: Tensor
    error: Float[Tensor, " B"]


class Drawn(NamedTuple):
    """What the encoder's turn leaves to the decoder's: data, latents of the prior and of data, and their posterior."""

    x: Tensor
    prior: Tensor
    latent: Tensor
    posterior: Normal


class SoftIntro(Objective):
    """Two updates: `encoder`, then `decoder` against the encoder that has just moved (arXiv 2012.13253, algorithm 1).

    The encoder raises the ELBO of data and lowers exp(2 s ELBO) of fakes, which are samples and reconstructions; the
    decoder raises the ELBO of both. s is the model's `scale`; weights come from its `GameConfig`.
    Batches are tensors of data or clips. sample: how latents are drawn.
    """

    model: IntroVAE | ParticlePlayer

    def __init__(self, model: IntroVAE | ParticlePlayer, sample: Draw = rsample) -> None:
        super().__init__(model)
        self.game, self.sample = model.cfg.game, sample
        self.target = copy.deepcopy(model.decoder) if self.game.target_every else None
        if self.target is not None:
            self.target.requires_grad_(False)
        self._left: deque[Drawn] = deque()
        self._step = 0

    def updates(self) -> tuple[Update, ...]:
        return (
            Update("encoder", tuple(self.model.encoder.parameters())),
            Update("decoder", tuple(self.model.decoder.parameters())),
        )

    def terms(self, update: str) -> tuple[str, ...]:
        return _ENCODER if update == "encoder" else _DECODER

    def state(self) -> dict[str, Tensor]:
        return {} if self.target is None else {f"target.{k}": v for k, v in self.target.state_dict().items()}

    def weights(self, values: object) -> dict[str, dict[str, float]]:  # noqa: ARG002 - the game has its own
        return game_weights(self.game, self.model.scale)

    def notes(self) -> tuple[str, ...]:
        if self.game.fakes == "none":
            return ()
        fading, negative = self.game.fading_kl(self.model.scale), self.game.negative
        if fading <= 0:
            return (
                f"soft_intro.game.negative={negative:g} repels no fake more than data are attracted: the game is weak; "
                f"raise it above {2 * self.game.kl:g}",
            )
        return (f"fakes are repelled up to a KL of about {fading:.3g} nats (negative={negative:g})",)

    def forward(self, batch: Tensor | Clip, update: str = "encoder", step: int = 1) -> Losses:
        if update == "encoder":
            self._begin(step)
            self.model.at_step(step)
            x = batch.video.flatten(0, 1) if isinstance(batch, Clip) else batch
            return self._encoder_losses(self.model.shown(x), self.model.plays)
        return self._decoder_losses(self._left.popleft(), self.model.plays)

    def _begin(self, step: int) -> None:
        if step == self._step:
            return
        self._step = step
        self._left.clear()
        if self.target is not None and step > 1 and (step - 1) % self.game.target_every == 0:
            self.target.load_state_dict(self.model.decoder.state_dict())

    def _encoder_losses(self, x: Tensor, plays: bool) -> Losses:
        model, game = self.model, self.game
        prior = model.of("sample").draw_prior(len(x), self.sample)
        made = {"sample": self._draw_sample(prior)} if plays and "sample" in self._faked() else {}
        posterior = model.encode(x)
        z = self.sample(posterior)
        made["reconstruction"] = model.decode(z, frozen=True)
        terms = {"reconstruction": model.error(x, made["reconstruction"]), "kl": model.kl(posterior)}
        metrics = {f"encoder_kl_{name}": torch.zeros_like(terms["kl"]) for name in self._faked()}
        if plays:
            for name in self._faked():
                fakes = self._encode_fakes(name, made[name])
                terms[f"exp_{name}"] = exp_elbo(fakes.error, fakes.kl, game, model.scale)
                metrics[f"encoder_kl_{name}"] = fakes.kl.detach()
        kept = Normal(posterior.loc.detach(), posterior.scale.detach(), validate_args=False)
        self._left.append(Drawn(x.detach(), prior, z.detach(), kept))
        return Losses(self._filled(_ENCODER, terms, plays), metrics)

    @torch.no_grad()
    def _draw_sample(self, prior: Tensor) -> Tensor:
        return self.model.of("sample").decode(prior)

    def _encode_fakes(self, name: str, made: Tensor) -> Fakes:
        """In the encoder's turn."""
        model = self.model.of(name)
        posterior = model.encode(made.detach())
        again = self._draw_again(name, self.sample(posterior), frozen=True)
        target = made if self.game.attached_target else made.detach()
        return Fakes(made, model.kl(posterior), again, model.error(target, again))

    def _draw_again(self, name: str, z: Tensor, frozen: bool) -> Tensor:
        return self.model.of(name).decode(z, frozen) if self.target is None else self.target(z).float()

    def _decoder_losses(self, drawn: Drawn, plays: bool) -> Losses:
        model, game = self.model, self.game
        prior, z = drawn.prior, drawn.latent
        if game.redraw == "everything":
            with torch.no_grad():
                z = self.sample(model.encode(drawn.x))
                prior = model.of("sample").draw_prior(len(z), self.sample)
        elif game.redraw == "noise":
            z = self.sample(drawn.posterior)
        made = {"sample": model.of("sample").decode(prior)} if plays and "sample" in self._faked() else {}
        made["reconstruction"] = model.decode(z)
        terms = {"decoder_reconstruction": model.error(drawn.x, made["reconstruction"])}
        if plays:
            for name in self._faked():
                posterior = model.of(name).encode(made[name], frozen=True)
                terms[f"kl_{name}"] = model.of(name).kl(posterior)
                if game.cycle:
                    terms[f"cycle_{name}"] = self._cycle(name, made[name], posterior)
        return Losses(self._filled(_DECODER, terms, plays), {})

    def _cycle(self, name: str, made: Tensor, posterior: Normal) -> Float[Tensor, " B"]:
        """Error of drawing a fake again; with a target decoder, the decoder learns through the fake itself."""
        if self.target is None:
            return self.model.error(
                made.detach(), self._draw_again(name, self.sample(posterior).detach(), False)
            )
        return self.model.error(made, self._draw_again(name, self.sample(posterior), False))

    def _faked(self) -> tuple[str, ...]:
        return {
            "both": ("reconstruction", "sample"),
            "samples": ("sample",),
            "reconstructions": ("reconstruction",),
            "none": (),
        }[self.game.fakes]

    def _filled(self, names: tuple[str, ...], terms: dict[str, Tensor], plays: bool) -> dict[str, Tensor]:
        """Zero for terms that this step does without; as published, the warm-up is not scaled."""
        first = next(iter(terms.values()))
        factor = 1 / self.model.scale if self.game.unscaled_warm_up and not plays else 1.0
        return {name: factor * terms[name] if name in terms else torch.zeros_like(first) for name in names}


def exp_elbo(
    error: Float[Tensor, " B"], kl: Float[Tensor, " B"], game: GameConfig, scale: float
) -> Float[Tensor, " B"]:
    """exp(-2 s (reconstruction * error + negative * KL)), in (0, 1]: what the encoder lowers of fakes."""
    return (-2 * scale * (game.reconstruction * error + game.negative * kl)).exp()


def game_weights(game: GameConfig, scale: float) -> dict[str, dict[str, float]]:
    """Of the terms of both turns. With fakes of one sort, that one counts twice."""
    share = {"both": (0.5, 0.5), "samples": (0.0, 1.0), "reconstructions": (1.0, 0.0), "none": (0.0, 0.0)}
    of_reconstructions, of_samples = share[game.fakes]
    cycle = scale * game.cycle * game.reconstruction
    return {
        "encoder": {
            "reconstruction": scale * game.reconstruction,
            "kl": scale * game.kl,
            "exp_reconstruction": 0.5 * of_reconstructions,
            "exp_sample": 0.5 * of_samples,
        },
        "decoder": {
            "decoder_reconstruction": scale * game.reconstruction,
            "kl_reconstruction": of_reconstructions * scale * game.kl,
            "kl_sample": of_samples * scale * game.kl,
            "cycle_reconstruction": of_reconstructions * cycle,
            "cycle_sample": of_samples * cycle,
        },
    }
