"""Whether the game of Soft-IntroVAE goes on: KL of data and fakes, and what is wrong with them."""

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.objectives.soft_intro import exp_elbo
from dlp_dyn.soft_intro.model import IntroVAE

_COLLAPSED = 0.05  # nats
_RUNAWAY = 10.0  # times the KL of data
_FADED = 1e-6  # of a repulsion of 1 at most


@torch.no_grad()
def game_figures(model: IntroVAE, x: Float[Tensor, "B ..."]) -> dict[str, float]:
    """Means over data, their reconstructions and as many samples; repulsion: exp(2 s ELBO) of samples, 0 to 1."""
    posterior = model.encode(x)
    drawn = model.decode(posterior.loc)
    sample = model.sample(len(x), torch.Generator(x.device).manual_seed(0))
    fake = model.encode(sample)
    kl_sample = model.kl(fake)
    again = model.error(sample, model.decode(fake.loc))
    figures = {
        "error": model.error(x, drawn),
        "kl_real": model.kl(posterior),
        "kl_reconstruction": model.kl(model.encode(drawn)),
        "kl_sample": kl_sample,
        "repulsion": exp_elbo(again, kl_sample, model.cfg.game, model.scale),
    }
    return {name: float(values.mean()) for name, values in figures.items()}


def game_warnings(figures: dict[str, float], plays: bool) -> list[str]:
    """What is wrong, in a line each, with its remedy."""
    told = []
    real, fake = figures["kl_real"], figures["kl_sample"]
    if real < _COLLAPSED:
        told.append(
            f"the KL of data is {real:.2g} nats: latents say nothing; lower soft_intro.game.kl, or raise "
            "soft_intro.game.reconstruction"
        )
    if plays and figures["repulsion"] < _FADED and fake > _RUNAWAY * real:
        told.append(
            f"the KL of samples has run away ({fake:.3g} nats, of data {real:.3g}) and nothing repels them any more: "
            "go back to an earlier checkpoint and lower lr, or raise soft_intro.game.kl"
        )
    elif plays and figures["repulsion"] < _FADED:
        told.append(
            f"samples are not repelled any more (KL {fake:.3g} nats): it trains like a plain VAE until their KL has "
            "come down; if it lasts, lower soft_intro.game.negative"
        )
    return told


def behind(figures: dict[str, float]) -> bool:
    """Whether the encoder takes samples for more typical than data."""
    return figures["kl_sample"] < figures["kl_real"]
