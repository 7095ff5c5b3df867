"""Soft-IntroVAE: networks, both turns at the stored weights, gradients, one iteration of learning, and metrics."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from bundles import Bundle
from torch import Tensor
from torch.distributions import Distribution

from dlp_dyn.evaluation import densities
from dlp_dyn.evaluation.frechet import frechet_distance
from dlp_dyn.evaluation.point_clouds import occupancy_jsd
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.particle_player import ParticlePlayer
from dlp_dyn.objectives.soft_intro import SoftIntro
from dlp_dyn.official import soft_intro as official
from dlp_dyn.soft_intro.model import IntroVAE
from dlp_dyn.soft_intro.point_clouds import chamfer

LEFT_OUT = {"data/*": "random draws: compared by total variation in tests/data/test_densities.py"}
VARIANTS = ("images", "bootstrap", "densities_2d", "point_clouds")
TERMS = {
    "encoder": {"rec_real": "reconstruction", "kl_real": "kl", "expelbo_rec": "exp_reconstruction",
                "expelbo_fake": "exp_sample"},
    "decoder": {"rec_real": "decoder_reconstruction", "kl_rec": "kl_reconstruction", "kl_fake": "kl_sample",
                "rec_rec": "cycle_reconstruction", "rec_fake": "cycle_sample"},
}  # fmt: skip


def holds(bundle: Bundle) -> bool:
    return "beta_neg" in bundle.hparams and official.variant(bundle.state_dict) in VARIANTS


class Draws:
    """The official noise, in the order in which we draw."""

    def __init__(self, bundle: Bundle) -> None:
        eps = {k.removeprefix("eps/"): v for k, v in bundle.inputs.items() if k.startswith("eps/")}
        decoder = [eps[k] for k in ("d_real", "d_rec", "d_fake") if k in eps]
        self.eps = [bundle.inputs["noise"], eps["e_real"], eps["e_rec"], eps["e_fake"], *decoder]
        self.next = 0

    def __call__(self, distribution: Distribution) -> Tensor:
        eps = self.eps[self.next]
        self.next += 1
        return distribution.mean + distribution.stddev * eps


class Recorded:
    """What the model gives in a turn, in the order of calls."""

    def __init__(self, model: IntroVAE, objective: SoftIntro) -> None:
        self.encoded: list[Any] = []
        self.drawn: list[Tensor] = []
        self.errors: list[Tensor] = []
        encode, decode, again, error = model.encode, model.decode, objective._draw_again, model.error

        def keep(calls: list[Any], made: Any) -> Any:
            calls.append(made)
            return made

        model.encode = lambda *a, **k: keep(self.encoded, encode(*a, **k))
        model.decode = lambda *a, **k: keep(self.drawn, decode(*a, **k))
        recorded: Any = model  # of several families, whose errors take other arguments
        recorded.error = lambda *a: keep(self.errors, error(*a))
        if objective.target is not None:
            objective._draw_again = lambda *a, **k: keep(self.drawn, again(*a, **k))


def build(bundle: Bundle) -> tuple[IntroVAE, SoftIntro]:
    model = official.load(bundle.state_dict, bundle.hparams).to(torch.get_default_dtype()).train()
    objective = SoftIntro(model, Draws(bundle))
    if objective.target is not None:
        objective.target.load_state_dict(official.target(model, bundle.state_dict))
    return model, objective


def outputs(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    yield from evaluated(bundle)
    yield from turns(bundle)
    yield from learned(bundle)
    yield from warm_up(bundle)
    yield from judged(bundle)


@torch.no_grad()
def evaluated(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    """In eval mode; a bootstrap model draws with its target decoder by default."""
    model, objective = build(bundle)
    model.eval()
    x, noise = bundle.inputs["x"], bundle.inputs["noise"]
    posterior = model.encode(x)
    yield "eval/mu", posterior.loc
    yield "eval/logvar", 2 * posterior.scale.log()
    if objective.target is not None:
        objective.target.eval()
        yield "eval/rec", objective.target(posterior.loc)
        yield "eval/rec_online", model.decode(posterior.loc)
    else:
        yield "eval/rec", model.decode(posterior.loc)
    yield "eval/sample", model.decode(model.prior_std * noise)


def turns(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    """Both turns at the stored weights."""
    model, objective = build(bundle)
    seen = Recorded(model, objective)
    x = bundle.inputs["x"]
    encoder, grads = loss(objective, x, "encoder")
    yield from pictures(seen, objective)
    yield from named(bundle, encoder, seen, "loss/e", "encoder")
    yield from ((f"grad_norm/e/{k}", v) for k, v in grads.items())
    for calls in (seen.encoded, seen.drawn, seen.errors):
        calls.clear()
    decoder, grads = loss(objective, x, "decoder")
    yield from named(bundle, decoder, seen, "loss/d", "decoder")
    yield from ((f"grad_norm/d/{k}", v) for k, v in grads.items())
    if "d/rec_rec" in bundle.outputs:
        yield "d/rec_rec", seen.drawn[2]
        yield "d/rec_fake", seen.drawn[3]
    yield from buffers(bundle, model, objective)


def loss(objective: SoftIntro, x: Tensor, update: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Terms of a turn with their weighted sum as `total`, and norms of gradients under official names."""
    objective.zero_grad(set_to_none=True)
    terms = objective(x, update, 1).terms
    total, _ = weighted_sum(terms, objective.weights(None)[update])
    total.backward()
    assert not isinstance(objective.model, ParticlePlayer)
    theirs = dict(official.names(objective.model))
    moved = {f"{update}.{k}": p for k, p in getattr(objective.model, update).named_parameters()}
    return terms | {"total": total}, {theirs[k]: p.grad.norm() for k, p in moved.items()}


def named(
    bundle: Bundle, terms: dict[str, Tensor], seen: Recorded, prefix: str, update: str
) -> Iterator[tuple[str, Tensor]]:
    yield f"{prefix}/total", terms["total"]
    for theirs, ours in TERMS[update].items():
        yield f"{prefix}/{theirs}", terms[ours].mean()
    if update == "encoder":
        model_kl = [_kl(bundle, posterior) for posterior in seen.encoded]
        yield f"{prefix}/kl_rec", model_kl[1]
        yield f"{prefix}/kl_fake", model_kl[2]
        yield f"{prefix}/rec_rec", seen.errors[1]
        yield f"{prefix}/rec_fake", seen.errors[2]
        name = f"{prefix}/rec_real_deterministic"
        if name in bundle.outputs:
            model = official.load(bundle.state_dict, bundle.hparams).to(torch.get_default_dtype())
            x = bundle.inputs["x"]
            yield name, model.error(x, model.decode(seen.encoded[0].loc)).mean()


def _kl(bundle: Bundle, posterior: Any) -> Tensor:
    """The published formula."""
    std = bundle.hparams.get("prior_std", 1.0)
    variance = (posterior.scale / std).square()
    return -0.5 * (1 + variance.log() - variance - (posterior.loc / std).square()).sum(-1)


def pictures(seen: Recorded, objective: SoftIntro) -> Iterator[tuple[str, Tensor]]:
    assert not isinstance(objective.model, ParticlePlayer)
    if objective.model.cfg.point_clouds is not None:
        return
    yield "e/fake", seen.drawn[0]
    yield "e/rec", seen.drawn[1]
    if objective.model.cfg.images is None:
        return
    yield "e/rec_rec", seen.drawn[2]
    yield "e/rec_fake", seen.drawn[3]
    for name, posterior in zip(("real", "rec", "fake"), seen.encoded, strict=True):
        yield f"e/mu_{name}", posterior.loc
        yield f"e/logvar_{name}", 2 * posterior.scale.log()


def buffers(bundle: Bundle, model: IntroVAE, objective: SoftIntro) -> Iterator[tuple[str, Tensor]]:
    theirs = dict(official.names(model))
    for name, x in model.named_buffers():
        if f"buffer/{theirs.get(name)}" in bundle.outputs:
            yield f"buffer/{theirs[name]}", x
    if objective.target is not None:
        for name, x in objective.target.named_buffers():
            yield f"buffer/target_{theirs[f'decoder.{name}']}", x


def learned(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    """One iteration: the decoder's turn sees the encoder that has just moved."""
    model, objective = build(bundle)
    theirs = dict(official.names(model))
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    adam = bundle.hparams.get("adam", {"betas": (0.9, 0.999), "eps": 1e-8})
    for update in objective.updates():
        seen = Recorded(model, objective)
        terms, _ = loss(objective, bundle.inputs["x"], update.name)
        prefix = f"learning/loss/{update.name[0]}"
        for name, x in named(bundle, terms, seen, prefix, update.name):
            if name in bundle.outputs:
                yield name, x
        lr = bundle.hparams["lr_learning"]
        torch.optim.Adam(update.parameters, lr, tuple(adam["betas"]), adam["eps"]).step()
    for name, p in model.named_parameters():
        yield f"learning/change/{theirs[name]}", (p.detach() - before[name]).norm()
    for name in bundle.outputs:
        if name.startswith("learning/change/target_decoder"):
            yield name, torch.zeros(())  # no optimiser has it
    if "learning/change/decoder.loggamma" in bundle.outputs:
        yield "learning/change/decoder.loggamma", torch.zeros(())


def warm_up(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    """Not scaled. The published bootstrap warms up with its target decoder, so that its decoder learns nothing."""
    model, objective = build(bundle)
    model.cfg = replace(model.cfg, game=replace(model.cfg.game, warm_up_steps=1))
    if objective.target is not None:
        objective.model.decoder.load_state_dict(objective.target.state_dict())
    encoder, encoder_norms = loss(objective, bundle.inputs["x"], "encoder")
    _, decoder_norms = loss(objective, bundle.inputs["x"], "decoder")
    s = bundle.hparams["scale"]
    yield "loss/vae/rec", s * encoder["reconstruction"].mean()
    yield "loss/vae/kl", s * encoder["kl"].mean()
    yield "loss/vae/total", encoder["total"]
    for name, norm in (
        encoder_norms if objective.target is not None else encoder_norms | decoder_norms
    ).items():
        if f"grad_norm/vae/{name}" in bundle.outputs:
            yield f"grad_norm/vae/{name}", norm


def judged(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    if "fid/features_1" in bundle.inputs:
        a, b = (bundle.inputs[f"fid/features_{i}"].numpy() for i in (1, 2))
        yield "fid", torch.tensor(frechet_distance(a, b))
    if "metrics/clouds_1" in bundle.inputs:
        a, b = (bundle.inputs[f"metrics/clouds_{i}"] for i in (1, 2))
        yield "metrics/chamfer", chamfer(a, b[: len(a)])
        for cells in (8, 28):
            yield f"metrics/jsd_{cells}", torch.tensor(occupancy_jsd(a.numpy(), b.numpy(), cells))
    if "metrics/fake" in bundle.inputs:
        model, _ = build(bundle)
        grid = densities.negative_elbo_grid(model, 4.0, 32)
        yield "metrics/elbo_grid", grid
        of_points = model.negative_elbo(bundle.inputs["metrics/evaluation_points"])
        yield "metrics/gnelbo", torch.tensor(densities.grid_normalised_elbo(of_points, grid, repeats=2))
        real, fake = (bundle.inputs[f"metrics/{name}"].numpy() for name in ("real", "fake"))
        for bins in (10, 100):
            yield f"metrics/kl_{bins}_bins", torch.tensor(densities.published_kl(real, fake, 4.0, bins))
            yield f"metrics/jsd_{bins}_bins", torch.tensor(densities.published_jsd(real, fake, 4.0, bins))
