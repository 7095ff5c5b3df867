"""Divergences and prices that objectives are made of."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Beta, Normal


def kl_normal(posterior: Normal, prior: Normal) -> Float[Tensor, "*B"]:
    """KL divergence summed over the last axis."""
    # Written out, because a compiler cannot look into the dispatch of `torch.distributions.kl_divergence`.
    ratio = (posterior.scale / prior.scale).square()
    distance = ((posterior.loc - prior.loc) / prior.scale).square()
    return 0.5 * (ratio + distance - 1 - ratio.log()).sum(-1)


def kl_beta(posterior: Beta, prior: Beta, eps: float = 0.0) -> Float[Tensor, "*B"]:
    """KL divergence of Beta distributions summed over the last axis.

    `eps` is added inside every lgamma and digamma, as the official code does with 1e-5: it also bounds the
    gradient at tiny concentrations. With 0 this is the exact divergence.
    """
    a, b = posterior.concentration1, posterior.concentration0
    a_prior, b_prior = prior.concentration1, prior.concentration0

    def log_beta(x: Tensor, y: Tensor) -> Tensor:
        return (x + eps).lgamma() + (y + eps).lgamma() - (x + y + eps).lgamma()

    kl = log_beta(a_prior, b_prior) - log_beta(a, b)
    kl = kl + (a - a_prior) * (a + eps).digamma() + (b - b_prior) * (b + eps).digamma()
    return (kl + (a_prior - a + b_prior - b) * (a + b + eps).digamma()).sum(-1)


def chamfer_kl(posterior: Float[Tensor, "B N D"], prior: Float[Tensor, "B M D"]) -> Float[Tensor, " B"]:
    """Chamfer sum of KL divergences between two sets of normals of unit variance (DLP, arXiv 2205.15821).

    The pairwise divergence is half the squared distance; every member of each set pays for its nearest in the other.
    """
    pairwise = 0.5 * (posterior[:, :, None] - prior[:, None]).square().sum(-1)
    return pairwise.amin(1).sum(-1) + pairwise.amin(2).sum(-1)


def off_centre(alpha: Float[Tensor, "B N S S"], transparency: Float[Tensor, "B N"]) -> Float[Tensor, " B"]:
    """Squared distance from the middle of a glimpse to its alpha's centre of mass, summed over visible particles.

    In units of half a glimpse. Without it a decoder may draw every object off centre and positions are shifted as
    much: nothing else ties a particle's position to the middle of what it draws.
    """
    u = torch.linspace(-1, 1, alpha.shape[-1], device=alpha.device)
    mass = alpha.sum((2, 3)) + 1e-3
    x, y = (alpha.sum(2) @ u) / mass, (alpha.sum(3) @ u) / mass
    return ((x.square() + y.square()) * transparency.detach()).sum(1)
