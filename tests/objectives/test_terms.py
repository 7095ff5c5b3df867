"""Loss terms against the official numbers, closed forms and sampling."""

import math

import pytest
import torch
from torch.distributions import Beta, Normal, kl_divergence
from torch.testing import assert_close

from dlp_dyn import metrics
from dlp_dyn.objectives import reconstruction, terms
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.particles import beta, normal


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def betas(a, b, a_prior, b_prior):
    return (
        beta(torch.tensor([a]), torch.tensor([b])),
        beta(torch.tensor([a_prior]), torch.tensor([b_prior])),
    )


OFFICIAL_BETA = [
    ((2.0, 3.0, 1.0, 1.5), 0.1211042),
    ((2.0, 3.0, 0.1, 0.1), 1.7161274),
    ((0.5, 0.5, 0.1, 0.1), 0.7274998),
    ((5.0, 0.2, 0.2, 0.1), 0.5706912),
]


@pytest.mark.parametrize(("parameters", "official"), OFFICIAL_BETA)
def test_beta_divergence_gives_the_official_numbers(parameters, official):
    compatible = terms.kl_beta(*betas(*parameters), eps=1e-5)
    assert_close(compatible, torch.tensor(official), atol=2e-6, rtol=1e-6)
    exact = terms.kl_beta(*betas(*parameters))
    assert_close(exact, compatible, atol=0, rtol=1e-3)


def test_exact_beta_divergence_is_torchs_and_that_of_samples():
    q, p = betas(2.0, 3.0, 0.5, 0.7)
    exact = terms.kl_beta(q, p)
    assert_close(exact, kl_divergence(q, p).sum(-1))
    x = q.sample(torch.Size([100_000]))
    assert_close((q.log_prob(x) - p.log_prob(x)).mean(), exact, atol=0.01, rtol=0)


def test_the_official_epsilon_bounds_the_divergence_of_tiny_concentrations():
    tiny = betas(1e-5, 1e-5, 0.1, 0.1)
    assert float(terms.kl_beta(*tiny, eps=1e-5)) == pytest.approx(3324.8, rel=1e-3)
    assert float(terms.kl_beta(*tiny)) == pytest.approx(9989.8, rel=1e-3)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_beta_divergence_to_itself_is_nothing(eps):
    q, p = betas(0.3, 0.01, 0.3, 0.01)
    assert_close(terms.kl_beta(q, p, eps), torch.tensor(0.0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_beta_divergence_is_finite_where_concentrations_are_extreme(eps):
    a = torch.tensor([[1e-5], [1e-4], [100.0], [4.8e8]], requires_grad=True)
    value = terms.kl_beta(beta(a, a.flip(0)), Beta(torch.tensor(0.01), torch.tensor(0.01)), eps)
    (gradient,) = torch.autograd.grad(value.sum(), a)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


def test_normal_divergence_gives_the_official_number():
    q = normal(torch.tensor([0.3]), torch.tensor([-1.0]))
    p = normal(torch.tensor([-1.46635]), torch.tensor([0.09]).log())
    assert_close(terms.kl_normal(q, p), torch.tensor(18.1730804), atol=2e-4, rtol=0)


def test_normal_divergence_sums_the_last_axis_and_is_that_of_samples():
    q, p = (
        Normal(torch.randn(3, 2), torch.rand(3, 2) + 0.5),
        Normal(torch.randn(3, 2), torch.rand(3, 2) + 0.5),
    )
    exact = terms.kl_normal(q, p)
    assert exact.shape == (3,)
    x = q.sample(torch.Size([100_000]))
    assert_close((q.log_prob(x) - p.log_prob(x)).sum(-1).mean(0), exact, atol=0.05, rtol=0.02)


def test_chamfer_of_two_points_by_hand():
    posterior, prior = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]]), torch.tensor([[[0.0, 1.0]]])
    # Of pairs: 1/2 and (9 + 9) / 2; both pay for the one prior point, which pays for the nearer of them.
    assert_close(terms.chamfer_kl(posterior, prior), torch.tensor([0.5 + 9.0 + 0.5]))


def test_chamfer_is_the_divergence_of_unit_normals():
    posterior, prior = torch.randn(2, 4, 2), torch.randn(2, 6, 2)
    one = torch.ones(())
    pairwise = kl_divergence(Normal(posterior[:, :, None], one), Normal(prior[:, None], one)).sum(-1)
    expected = pairwise.min(1).values.sum(1) + pairwise.min(2).values.sum(1)
    assert_close(terms.chamfer_kl(posterior, prior), expected)
    assert_close(terms.chamfer_kl(prior, posterior), expected)


def test_chamfer_of_a_set_and_its_permutation_is_nothing():
    points = torch.randn(2, 7, 2)
    assert_close(terms.chamfer_kl(points, points[:, torch.randperm(7)]), torch.zeros(2))


def test_total_weighs_the_means():
    terms = {"near": torch.tensor([1.0, 3.0], requires_grad=True), "far": torch.tensor([10.0, 30.0])}
    loss, means = weighted_sum(terms, {"far": 0.1, "near": 2.0})
    assert_close(loss, torch.tensor(2.0 * 2 + 0.1 * 20))
    assert {k: float(v) for k, v in means.items()} == {"loss/near": 2.0, "loss/far": 20.0}
    assert loss.requires_grad
    assert not any(value.requires_grad for value in means.values())


@pytest.mark.parametrize("weights", [{}, {"a": 1.0, "b": 1.0}, {"b": 1.0}])
def test_total_refuses_other_keys(weights):
    with pytest.raises(AssertionError, match="terms"):
        weighted_sum({"a": torch.ones(2)}, weights)


def test_squared_error_sums_each_image():
    target, image = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    image[1] *= 2
    assert_close(reconstruction.squared_error(target, image), torch.tensor([48.0, 192.0]))


def test_psnr_is_that_of_the_mean_squared_error():
    target = torch.zeros(3, 3, 4, 4)
    image = target.clone()
    image[1:] += torch.tensor([0.1, 0.01])[:, None, None, None]
    assert_close(metrics.psnr(target, image), torch.tensor([100.0, 20.0, 40.0]))
    assert math.isclose(float(metrics.psnr(target, target + 1)[0]), 0.0, abs_tol=1e-6)
