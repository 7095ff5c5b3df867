"""The game of encoder and decoder: closed forms, which gradients exist, and what its settings change."""

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch.distributions import Normal

from dlp_dyn.errors import InputError
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.soft_intro import SoftIntro, exp_elbo, game_weights
from dlp_dyn.particles import mean, rsample
from dlp_dyn.soft_intro.config import (
    DensityConfig,
    GameConfig,
    ImageConfig,
    PointCloudConfig,
    SoftIntroConfig,
)
from dlp_dyn.soft_intro.families import build
from dlp_dyn.soft_intro.images import pixel_error
from dlp_dyn.soft_intro.point_clouds import chamfer

MICRO = GameConfig(reconstruction=1.0, kl=0.5, negative=2.0, cycle=1e-8, scale=0.25)
SMALL = DensityConfig(hidden_dim=16, n_hidden=1)


def game(**settings: Any) -> GameConfig:
    defaults: dict[str, Any] = {"reconstruction": 0.2, "kl": 0.3, "negative": 0.9}
    return GameConfig(**(defaults | settings))


def play(cfg, x, seed=0, sample=rsample, step=1):
    """The model, and both turns' gradients, at random weights."""
    torch.manual_seed(0)
    model = build(cfg)
    objective = SoftIntro(model, sample)
    torch.manual_seed(seed)
    grads, totals = {}, {}
    for update in objective.updates():
        model.zero_grad(set_to_none=True)
        totals[update.name], _ = weighted_sum(
            objective(x, update.name, step).terms, objective.weights(None)[update.name]
        )
        totals[update.name].backward()
        grads[update.name] = {k: p.grad for k, p in model.named_parameters()}
    return model, grads, totals


def flat(grads, part):
    return torch.cat([g.flatten() for k, g in grads[part].items() if k.startswith(f"{part}.")])


def points(n=32):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(1))


def test_micro_vectors_of_both_turns():
    rho_r, kl_r = torch.tensor([1.0, 0.2], requires_grad=True), torch.tensor([0.3, 1.5], requires_grad=True)
    rho_f, kl_f = torch.tensor([2.0, 0.7], requires_grad=True), torch.tensor([0.9, 0.1], requires_grad=True)
    weights = game_weights(MICRO, 0.25)
    terms = {
        "reconstruction": torch.tensor([0.6]),
        "kl": torch.tensor([0.8]),
        "exp_reconstruction": exp_elbo(rho_r, kl_r, MICRO, 0.25),
        "exp_sample": exp_elbo(rho_f, kl_f, MICRO, 0.25),
    }
    loss, _ = weighted_sum(terms, weights["encoder"])
    loss.backward()
    torch.testing.assert_close(terms["exp_reconstruction"], torch.tensor([0.449328959, 0.201896518]))
    torch.testing.assert_close(terms["exp_sample"], torch.tensor([0.149568617, 0.637628138]))
    torch.testing.assert_close(loss, torch.tensor(0.429802775))
    torch.testing.assert_close(rho_r.grad, torch.tensor([-0.0280830599, -0.0126185324]))
    torch.testing.assert_close(kl_r.grad, torch.tensor([-0.0561661199, -0.0252370648]))
    torch.testing.assert_close(rho_f.grad, torch.tensor([-0.00934803858, -0.0398517586]))
    torch.testing.assert_close(kl_f.grad, torch.tensor([-0.0186960772, -0.0797035173]))

    decoder = {
        "decoder_reconstruction": torch.tensor([0.6]),
        "kl_reconstruction": kl_r,
        "kl_sample": kl_f,
        "cycle_reconstruction": rho_r,
        "cycle_sample": rho_f,
    }
    for cycle, expected in ((1e-8, 0.237500012), (1.0, 0.481250018)):
        loss, _ = weighted_sum(decoder, game_weights(replace(MICRO, cycle=cycle), 0.25)["decoder"])
        torch.testing.assert_close(loss, torch.tensor(expected))


def test_micro_vectors_of_divergences_and_errors():
    model = build(SoftIntroConfig(densities=DensityConfig(8, 1, latent_dim=3)))
    loc = torch.tensor([[0.5, -1, 0], [2, 0.1, -0.3]])
    log_variance = torch.tensor([[0.0, -2, 1], [-1, 0.5, 0]])
    posterior = Normal(loc, (log_variance / 2).exp())
    torch.testing.assert_close(model.kl(posterior), torch.tensor([1.5518086, 2.3083005]))
    model.prior_std = 0.2
    torch.testing.assert_close(model.kl(posterior), torch.tensor([57.9669037, 82.8791962]))
    x = torch.tensor([[0.0, 1, 0.5, 0.25], [1, 1, 0, 0]])
    drawn = torch.tensor([[0.1, 0.8, 0.5, 0.75], [0.4, 0.9, 0.3, 0]])
    torch.testing.assert_close(pixel_error("mse", x, drawn).sum(1), torch.tensor([0.30, 0.46]))
    torch.testing.assert_close(pixel_error("l1", x, drawn).mean(), torch.tensor(0.225))
    torch.testing.assert_close(pixel_error("bce", x, drawn).mean(), torch.tensor(0.438952357))


def test_repulsion_per_fake_has_its_closed_form():
    kl = torch.tensor([0.4, 3.0, 20.0], requires_grad=True)
    e = exp_elbo(torch.ones(3), kl, MICRO, 0.1)
    (0.25 * e.mean()).backward()
    assert ((e > 0) & (e <= 1)).all()
    torch.testing.assert_close(kl.grad, -0.5 * 0.1 * MICRO.negative * e.detach() / 3)


def test_repulsion_fades_where_the_closed_rule_says():
    cfg = GameConfig(kl=1.0, negative=256.0)
    scale = 1 / 3072
    fading = cfg.fading_kl(scale)
    assert fading == pytest.approx(29.1, abs=0.1)  # nats: CIFAR-10
    kl = torch.tensor([fading], requires_grad=True)
    (0.25 * exp_elbo(torch.zeros(1), kl, cfg, scale)).backward()
    # Half of what attracts data, since half of the fakes are of the other sort.
    torch.testing.assert_close(kl.grad, torch.tensor([-scale * cfg.kl]))
    assert GameConfig(kl=1.0, negative=1.5).fading_kl(scale) < 0


def test_each_turn_moves_its_own_half_and_the_game_is_on():
    cfg = SoftIntroConfig(densities=SMALL, game=game())
    _, grads, _ = play(cfg, points())
    assert all(g is None for k, g in grads["encoder"].items() if k.startswith("decoder."))
    assert all(g is None for k, g in grads["decoder"].items() if k.startswith("encoder."))
    # The KL of fakes reaches the decoder through the frozen encoder: without its weight the gradient is another.
    without = play(SoftIntroConfig(densities=SMALL, game=game(fakes="none")), points())[1]
    assert not torch.allclose(flat(grads, "decoder"), flat(without, "decoder"))


def test_without_fakes_both_turns_are_the_elbo():
    cfg = SoftIntroConfig(densities=SMALL, game=game(fakes="none"))
    model, grads, _ = play(cfg, points(), sample=mean)
    model.zero_grad()
    posterior = model.encode(points())
    elbo = 0.2 * model.error(points(), model.decode(posterior.loc)) + 0.3 * model.kl(posterior)
    (0.5 * elbo.mean()).backward()
    for part in ("encoder", "decoder"):
        own = torch.cat([p.grad.flatten() for p in getattr(model, part).parameters()])
        torch.testing.assert_close(flat(grads, part), own)


def test_warm_up_is_the_plain_vae():
    warm = play(SoftIntroConfig(densities=SMALL, game=game(warm_up_steps=3)), points(), sample=mean, step=3)[
        1
    ]
    plain = play(SoftIntroConfig(densities=SMALL, game=game(fakes="none")), points(), sample=mean)[1]
    unscaled = game(warm_up_steps=3, unscaled_warm_up=True)
    loud = play(SoftIntroConfig(densities=SMALL, game=unscaled), points(), sample=mean, step=3)[1]
    for part in ("encoder", "decoder"):
        assert torch.equal(flat(warm, part), flat(plain, part))
        torch.testing.assert_close(flat(loud, part), 2 * flat(plain, part))  # scale is 1/2


def test_endless_repulsion_and_no_kl_are_the_vae_turns():
    plain = play(SoftIntroConfig(densities=SMALL, game=game(fakes="none")), points(), sample=mean)[1]
    faded = play(SoftIntroConfig(densities=SMALL, game=game(negative=1e9)), points(), sample=mean)[1]
    torch.testing.assert_close(flat(faded, "encoder"), flat(plain, "encoder"))
    kind = game(kl=0.0, cycle=0.0)
    no_kl = play(SoftIntroConfig(densities=SMALL, game=kind), points(), sample=mean)[1]
    torch.testing.assert_close(flat(no_kl, "decoder"), flat(plain, "decoder"))


def test_attaching_the_target_changes_the_gradient_and_not_the_loss():
    cfg = SoftIntroConfig(densities=SMALL, game=game())
    _, attached, loss = play(cfg, points())
    detached_cfg = replace(cfg, game=replace(cfg.game, attached_target=False))
    _, detached, same = play(detached_cfg, points())
    torch.testing.assert_close(loss["encoder"], same["encoder"])
    assert not torch.allclose(flat(attached, "encoder"), flat(detached, "encoder"), rtol=1e-3)


def test_the_published_cycle_weight_is_nothing():
    with_cycle = play(SoftIntroConfig(densities=SMALL, game=game(cycle=1e-8)), points(), sample=mean)[1]
    without = play(SoftIntroConfig(densities=SMALL, game=game(cycle=0.0)), points(), sample=mean)[1]
    torch.testing.assert_close(flat(with_cycle, "decoder"), flat(without, "decoder"), rtol=1e-5, atol=1e-7)


def test_the_target_decoder_is_copied_every_n_steps():
    torch.manual_seed(0)
    objective = SoftIntro(build(SoftIntroConfig(densities=SMALL, game=game(cycle=1.0, target_every=3))))
    target = objective.target
    assert target is not None

    def equal():
        pairs = zip(target.parameters(), objective.model.decoder.parameters(), strict=True)
        return all(torch.equal(a, b) for a, b in pairs)

    copied = []
    for step in range(1, 8):
        with torch.no_grad():
            next(objective.model.decoder.parameters()).add_(1)
        objective(points(), "encoder", step)
        copied.append(equal())
        objective(points(), "decoder", step)
    assert copied == [False, False, False, True, False, False, True]
    loss = objective(points(), "encoder", 8), objective(points(), "decoder", 8).terms["cycle_sample"].mean()
    loss[1].backward()
    assert all(p.grad is None for p in target.parameters())
    assert all(p.grad is not None for p in objective.model.decoder.parameters())
    assert objective.state().keys() == {f"target.{k}" for k in target.state_dict()}


@pytest.mark.parametrize("fakes", ["samples", "reconstructions"])
def test_one_sort_of_fakes_takes_the_whole_weight(fakes):
    weights = game_weights(game(fakes=fakes), 0.5)
    name, other = ("sample", "reconstruction") if fakes == "samples" else ("reconstruction", "sample")
    assert weights["encoder"][f"exp_{name}"] == 0.5
    assert weights["encoder"][f"exp_{other}"] == weights["decoder"][f"kl_{other}"] == 0.0
    _, grads, _ = play(SoftIntroConfig(densities=SMALL, game=game(fakes=fakes)), points())
    assert flat(grads, "encoder").isfinite().all()


def test_a_turn_of_its_own_samples_tells_nothing_apart():
    """Fed with its own samples as data, KL and error of data and of fakes are those of one distribution."""
    images = ImageConfig(image_size=8, channels=[8], latent_dim=4)
    torch.manual_seed(0)
    model = build(SoftIntroConfig(images=images, game=game()))
    real, fake = model.sample(2000), model.sample(2000)

    def error(x):
        return model.error(x, model.reconstruct(x))

    for figure in (lambda x: model.kl(model.encode(x)), error):
        with torch.no_grad():
            a, b = figure(real), figure(fake)
        noise = (a.var() / len(a) + b.var() / len(b)).sqrt()
        assert abs(a.mean() - b.mean()) < 4 * noise
    wider = fake.mean() + 1.5 * (fake - fake.mean())
    assert abs(error(real).mean() - error(wider).mean()) > 8 * noise  # and it would be seen


def test_huge_log_variances_stay_finite():
    cfg = SoftIntroConfig(densities=SMALL, game=game())
    torch.manual_seed(0)
    model = build(cfg)
    with torch.no_grad():
        model.get_parameter(f"encoder.layers.{len(cast(Any, model.encoder).layers) - 1}.bias")[2:] = 100.0
    objective = SoftIntro(model)
    loss, _ = weighted_sum(objective(points(), "encoder", 1).terms, objective.weights(None)["encoder"])
    loss.backward()
    gradients = [p.grad for p in model.encoder.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)


def test_accumulated_parts_keep_their_own_draws():
    torch.manual_seed(0)
    objective = SoftIntro(build(SoftIntroConfig(densities=SMALL, game=game())))
    parts = points(8), points(16)[8:] * 2
    for part in parts:
        objective(part, "encoder", 1)
    for part in parts:
        with torch.no_grad():
            z = objective._left[0].latent
            expected = objective.model.error(part, objective.model.decode(z))
        terms = objective(part, "decoder", 1).terms
        torch.testing.assert_close(terms["decoder_reconstruction"], expected)
    assert not objective._left


def test_chamfer_is_a_distance_of_sets():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 20, 3, generator=g), torch.randn(2, 30, 3, generator=g)
    torch.testing.assert_close(chamfer(a, b), chamfer(b, a))
    shuffled = a[:, torch.randperm(20, generator=g)]
    assert chamfer(a, shuffled).abs().max() < 1e-4
    torch.testing.assert_close(chamfer(a + 1, b + 1), chamfer(a, b), rtol=1e-4, atol=1e-4)
    direct = (a[:, :, None] - b[:, None]).square().sum(-1)
    torch.testing.assert_close(chamfer(a, b), direct.amin(1).sum(1) + direct.amin(2).sum(1))


def test_a_cloud_is_encoded_in_any_order():
    torch.manual_seed(0)
    cfg = PointCloudConfig(30, [8, 8], 8, [8], 4)
    model = build(SoftIntroConfig(point_clouds=cfg)).eval()
    x = torch.randn(3, 30, 3)
    torch.testing.assert_close(model.encode(x).loc, model.encode(x[:, torch.randperm(30)]).loc)
    assert model.sample(2).shape == (2, 30, 3)
    assert model.interpolate(x[:1], x[1:2], 5).shape == (1, 5, 30, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of the sections"),
        ({"densities": SMALL, "images": ImageConfig()}, "exactly one of the sections"),
    ],
)
def test_one_family_at_a_time(settings, message):
    with pytest.raises(InputError, match=message):
        SoftIntroConfig(**settings)


def test_settings_that_cannot_be():
    with pytest.raises(InputError, match="halved 3 times"):
        ImageConfig(image_size=20)


def test_points_are_drawn_and_read_finer_than_half_precision_tells_apart():
    torch.manual_seed(0)
    model = build(SoftIntroConfig(densities=DensityConfig(hidden_dim=64, n_hidden=1)))
    z, x = torch.randn(500, 2), points(500)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        drawn = model.decode(z)
        apart = model.encode(x).loc - model.encode(x + 3e-4).loc
    assert (drawn != drawn.bfloat16().float()).float().mean() > 0.9
    assert (apart != 0).any(-1).float().mean() > 0.8  # of networks all in bf16 it is 0.3
