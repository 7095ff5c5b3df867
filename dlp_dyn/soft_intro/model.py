"""What all families share: an encoder, a decoder and a prior; and what can be done with them."""

import math
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call

from dlp_dyn.errors import InputError
from dlp_dyn.particles import normal
from dlp_dyn.settings import has_section, read_section
from dlp_dyn.sharing.mixin import SharedModel
from dlp_dyn.soft_intro.config import SoftIntroConfig

_AT_ONCE = 256  # samples

M = TypeVar("M", bound="IntroVAE")


def read_config(file: Path) -> SoftIntroConfig:
    """The section of a run's config. Raises InputError for a run of another kind of model."""
    if not has_section(file, "soft_intro"):
        raise InputError(f"{file.parent}: no Soft-IntroVAE; train one with dlp-dyn train soft_intro_2d")
    return read_section(file, "soft_intro", SoftIntroConfig)


class IntroVAE(SharedModel):
    """A VAE. An encoder gives mean and log-variance of a latent, a decoder draws it.

    A family is a subclass, which gives both, and `error`; `families.load` finds that of a run.
    latent_dim, n_values: numbers of a latent, and of what is drawn.
    """

    def __init__(
        self,
        cfg: SoftIntroConfig,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        n_values: int,
        prior_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.cfg, self.encoder, self.decoder = cfg, encoder, decoder
        self.latent_dim, self.n_values, self.prior_std = latent_dim, n_values, prior_std
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.long), persistent=False)

    @classmethod
    def build(cls: type[M], cfg: SoftIntroConfig) -> M:
        """A model of this family with random weights. Raises InputError for the config of another family."""
        raise NotImplementedError

    @classmethod
    def from_config(cls: type[M], file: Path) -> M:
        """Raises InputError for the config of another kind of model, and of another family."""
        return cls.build(read_config(file))

    def sections(self) -> dict[str, object]:
        return {"soft_intro": self.cfg}

    @property
    def scale(self) -> float:
        """Of the objective: 1 over what is summed in `error`, unless set."""
        return self.cfg.game.scale or 1 / self.n_values

    @property
    def plays(self) -> bool:
        """Whether the last training step was one of the game: fakes are told from data, and the warm-up is over."""
        return self.cfg.game.fakes != "none" and int(self.steps) > self.cfg.game.warm_up_steps

    def at_step(self, step: int) -> None:
        """Told before every training step, counted from 1; models that grow do so."""
        self.steps.fill_(step)

    def shown(self, x: Tensor) -> Tensor:
        """Data as the model takes them at this step."""
        return x

    def of(self, fakes: str) -> "IntroVAE":  # noqa: ARG002 - all alike
        """What draws and judges fakes of a sort."""
        return self

    def prior(self, n: int) -> Normal:
        """Of n latents."""
        zero = torch.zeros(n, self.latent_dim, device=next(self.parameters()).device)
        return Normal(zero, torch.full_like(zero, self.prior_std), validate_args=False)

    def draw_prior(self, n: int, draw: Any) -> Tensor:
        """n latents as the decoder takes them."""
        return draw(self.prior(n))

    def encode(self, x: Tensor, frozen: bool = False) -> Normal:
        """The posterior. frozen: gradients reach x and not the encoder."""
        return normal(*(_frozen(self.encoder, x) if frozen else self.encoder(x)))

    def decode(self, z: Tensor, frozen: bool = False) -> Tensor:
        """What a latent stands for. frozen: gradients reach z and not the decoder."""
        return (_frozen(self.decoder, z) if frozen else self.decoder(z)).float()

    def kl(self, posterior: Normal) -> Float[Tensor, " B"]:
        """To the prior, in nats."""
        return self.kls(posterior).sum(-1)

    def kls(self, posterior: Normal) -> Float[Tensor, "B Z"]:
        """To the prior, of every number of a latent."""
        return kl_divergence(posterior, self.prior(len(posterior.loc)).expand(posterior.loc.shape))

    def error(self, x: Tensor, drawn: Tensor) -> Float[Tensor, " B"]:
        """Of what is drawn: summed squared differences."""
        return (x - drawn).square().flatten(1).sum(1)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n samples from the prior. Raises InputError for none."""
        if n < 1:
            raise InputError(f"{n} samples: give 1 or more")
        prior = self.prior(n)
        z = self.prior_std * torch.randn(prior.loc.shape, generator=generator, device=prior.loc.device)
        return torch.cat([self.decode(part) for part in z.split(_AT_ONCE)])

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """What the posterior's mean stands for."""
        return torch.cat([self.decode(self.encode(part).loc) for part in x.split(_AT_ONCE)])

    @torch.no_grad()
    def interpolate(self, a: Tensor, b: Tensor, n: int) -> Float[Tensor, "B n *S"]:
        """n drawings on the way between the means of a and of b, ends included. Raises InputError for fewer than 2."""
        if n < 2:
            raise InputError(f"{n} drawings between two: give 2 or more")
        share = torch.linspace(0, 1, n, device=a.device)[:, None]
        start, end = self.encode(a).loc, self.encode(b).loc
        z = start[:, None] + share * (end - start)[:, None]
        return self.decode(z.flatten(0, 1)).unflatten(0, (len(a), n))

    @torch.no_grad()
    def negative_elbo(self, x: Tensor) -> Float[Tensor, " B"]:
        """Error of the posterior's mean and KL, of unit weights: low where data are."""
        parts = []
        for part in x.split(_AT_ONCE):
            posterior = self.encode(part)
            parts.append(self.kl(posterior) + self.error(part, self.decode(posterior.loc)))
        return torch.cat(parts)

    @torch.no_grad()
    def novelty(
        self, x: Tensor, n_samples: int = 32, generator: torch.Generator | None = None
    ) -> Float[Tensor, " B"]:
        """How unlike the training data: minus the log-likelihood by importance-weighted sampling, up to a constant.

        The likelihood of an error is exp(-game.reconstruction * error). Raises InputError for no samples.
        """
        if n_samples < 1:
            raise InputError(f"{n_samples} samples of each latent: give 1 or more")
        posterior = self.encode(x)
        prior = self.prior(len(x))
        logs = []
        for _ in range(n_samples):
            noise = torch.randn(posterior.loc.shape, generator=generator, device=x.device)
            z = posterior.loc + posterior.scale * noise
            ratio = (prior.log_prob(z) - posterior.log_prob(z)).sum(-1)
            logs.append(ratio - self.cfg.game.reconstruction * self.error(x, self.decode(z)))
        return math.log(n_samples) - torch.stack(logs).logsumexp(0)


def _frozen(module: nn.Module, x: Tensor) -> Any:
    """A module's outputs as if its weights were constants; its buffers move as ever."""
    constants = {name: p.detach() for name, p in module.named_parameters()}
    return functional_call(module, constants, (x,))
