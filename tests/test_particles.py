"""Particles, scenes and their distributions behave alike in every field."""

from dataclasses import fields

import pytest
import torch
from torch.distributions import Beta, Normal, kl_divergence
from torch.testing import assert_close

from dlp_dyn.particles import (
    ParticleDistribution,
    ParticleLayout,
    Particles,
    Scene,
    SceneDistribution,
    beta,
    logit,
    mean,
    normal,
    rsample,
)
from dlp_dyn.tree import cat

WIDTHS = {"position": 2, "scale": 2, "depth": 1, "transparency": 1, "features": 3}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def particles(*batch):
    return Particles(**{name: torch.randn(*batch, width) for name, width in WIDTHS.items()})


def scene(batch=4, n=5):
    return Scene(particles(batch, n), torch.randn(batch, 2))


def distribution(batch=4, n=5, requires_grad=False):
    def gaussian(width, *shape):
        return normal(
            torch.randn(*shape, width, requires_grad=requires_grad),
            torch.randn(*shape, width, requires_grad=requires_grad),
        )

    fields = {name: gaussian(width, batch, n) for name, width in WIDTHS.items() if name != "transparency"}
    a, b = (torch.rand(batch, n, 1, requires_grad=requires_grad) for _ in range(2))
    particle = ParticleDistribution(transparency=beta(a + 0.1, b + 0.1), **fields)
    return SceneDistribution(particle, gaussian(2, batch))


def test_map_reaches_every_field():
    before = scene()
    after = before.map(lambda x: x + 1)
    assert isinstance(after, Scene)
    assert isinstance(after.particles, Particles)
    for x, y in zip(before, after, strict=True):
        assert_close(y, x + 1)


def test_iteration_follows_the_fields():
    s = scene()
    names = [f.name for f in fields(Particles)]
    assert [id(x) for x in s] == [*(id(getattr(s.particles, name)) for name in names), id(s.background)]


def test_index_takes_leading_axes():
    s = scene()
    part = s[1:3]
    assert_close(part.background, s.background[1:3])
    assert_close(part.particles.features, s.particles.features[1:3])
    assert_close(s.particles[torch.tensor([2, 0])].depth, s.particles.depth[[2, 0]])


def test_cat_undoes_index():
    s = scene()
    assert_close(list(cat([s[:1], s[1:]], 0)), list(s))
    p = particles(2, 3)
    assert cat([p, p], 1).position.shape == (2, 6, 2)


def test_to_and_detach():
    s = scene().map(lambda x: x.requires_grad_())
    assert all(not x.requires_grad for x in s.detach())
    assert all(x.dtype == torch.float64 for x in s.to(torch.float64))


def test_size_is_the_fraction_that_the_logit_stands_for():
    p = particles(2)
    p = Particles(p.position, torch.full((2, 2), logit(0.25)), p.depth, p.transparency, p.features)
    assert_close(p.size, torch.full((2, 2), 0.25))


def test_official_scale_priors():
    assert logit(0.75 * 0.25, 1e-5) == pytest.approx(-1.4663493764, abs=1e-9)
    assert logit(0.75 * 0.125, 1e-5) == pytest.approx(-2.2686945757, abs=1e-9)
    assert logit(0.25, 1e-5) == pytest.approx(-1.0986256, abs=1e-6)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_packing_is_undone_by_unpacking(batch):
    layout, p = ParticleLayout(feature_dim=3), particles(*batch, 5)
    packed = layout.pack(p)
    assert packed.shape == (*batch, 5, layout.dim)
    assert len(layout.columns) == len(set(layout.columns)) == layout.dim
    assert_close(list(layout.unpack(packed)), list(p))


def test_columns_name_what_is_packed():
    layout, p = ParticleLayout(feature_dim=3), particles(5)
    column = dict(zip(layout.columns, layout.pack(p).unbind(-1), strict=True))
    assert_close(column["x"], p.position[:, 0])
    assert_close(column["scale_y"], p.scale[:, 1])
    assert_close(column["depth"], p.depth[:, 0])
    assert_close(column["transparency"], p.transparency[:, 0])
    assert_close(column["feature_2"], p.features[:, 2])


def test_packing_refuses_another_width():
    with pytest.raises(AssertionError, match="expected 10"):
        ParticleLayout(feature_dim=4).pack(particles(5))


def test_mean_is_that_of_every_distribution():
    q = distribution()
    p = q.mean.particles
    assert_close(p.position, q.particles.position.loc)
    t = q.particles.transparency
    assert_close(p.transparency, t.concentration1 / (t.concentration1 + t.concentration0))
    assert_close(q.mean.background, q.background.loc)
    assert_close(list(q.draw(mean)), list(q.mean))


def test_a_sample_depends_on_its_generator_alone():
    q = distribution()
    draws = []
    for other in (1, 2):
        torch.manual_seed(other)
        draws.append(list(q.sample(torch.Generator().manual_seed(7))))
    assert_close(draws[0], draws[1], rtol=0, atol=0)
    another = list(q.sample(torch.Generator().manual_seed(8)))
    assert all((x != y).any() for x, y in zip(draws[0], another, strict=True))
    assert not any(x.requires_grad for x in distribution(requires_grad=True).sample())


@pytest.mark.parametrize("how", ["sample", "rsample"])
def test_samples_have_the_moments_of_the_distribution(how):
    q = distribution(1, 2).map(lambda x: x.expand(40_000, *x.shape[1:]))
    drawn = list(q.sample(torch.Generator().manual_seed(0)) if how == "sample" else q.rsample())
    spread = list(q.draw(lambda d: d.stddev))
    for x, expected, std in zip(drawn, q.mean, spread, strict=True):
        assert_close(x.mean(0), expected[0], atol=0.03 * float(std.max()), rtol=0)
        assert_close(x.std(0), std[0], atol=0.03 * float(std.max()), rtol=0)


def test_reparameterised_samples_carry_gradients():
    one = torch.ones(4, 5, 1, requires_grad=True)
    for d in (normal(one, one), beta(one, 2 * one)):
        (gradient,) = torch.autograd.grad(rsample(d).sum(), one)
        assert gradient.abs().min() > 0
    q = distribution(requires_grad=True)
    assert all(x.requires_grad for x in q.rsample())
    assert not any(x.requires_grad for x in q.detach().rsample())


def test_indexing_and_mapping_a_distribution():
    q = distribution()
    assert_close(list(q[1:2].mean), list(q.mean[1:2]))
    wider = q.map(lambda x: x[:, None])
    assert wider.background.loc.shape == (4, 1, 2)
    assert isinstance(wider.particles.transparency, Beta)


def test_distributions_are_float32_whatever_they_are_given():
    half = torch.zeros(3, 2, dtype=torch.bfloat16)
    assert normal(half, half).loc.dtype == torch.float32
    assert beta(half + 1, half + 1).concentration1.dtype == torch.float32


def test_normal_takes_the_logarithm_of_the_variance():
    assert_close(normal(torch.zeros(1), torch.tensor([4.0]).log()).scale, torch.tensor([2.0]))


def test_divergence_between_scenes_is_torchs():
    q, p = distribution(), distribution()
    ours = kl_divergence(q.particles.position, p.particles.position)
    again = kl_divergence(
        Normal(q.particles.position.loc, q.particles.position.scale),
        Normal(p.particles.position.loc, p.particles.position.scale),
    )
    assert_close(ours, again)
