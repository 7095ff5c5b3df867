"""Soft-IntroVAE's style variant: networks at every side, truncation, both turns, one iteration, fused blocks."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from bundles import Bundle
from kinds.soft_intro import Draws, Recorded, named
from torch import Tensor

from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.particle_player import ParticlePlayer
from dlp_dyn.objectives.soft_intro import SoftIntro
from dlp_dyn.official import soft_intro as official
from dlp_dyn.soft_intro.style import DrawBlock, EncodeBlock, StyleVAE

E = ("e_prior", "e_prior_mixed", "e_real", "e_rec", "e_fake")
_FUSED_LEVEL = 5  # the first one that is fused by default: 128 pixels
D = ("d_real", "d_prior", "d_prior_mixed", "d_rec", "d_fake")


def holds(bundle: Bundle) -> bool:
    return "beta_neg" in bundle.hparams and official.variant(bundle.state_dict) == "style"


def build(bundle: Bundle, turns: tuple[str, ...] = E + D) -> tuple[StyleVAE, SoftIntro]:
    model = official.load(bundle.state_dict, bundle.hparams).to(torch.get_default_dtype()).train()
    assert isinstance(model, StyleVAE)
    given: Any = model
    given.finer_from = lambda: bundle.hparams["mixing_cutoff"]
    given.decoder.noise = lambda n, side: bundle.inputs[f"noise/{side}"][:, :n]
    draws = Draws.__new__(Draws)
    draws.eps, draws.next = [bundle.inputs[f"eps/{name}"] for name in turns], 0
    return model, SoftIntro(model, draws)


def pictures(bundle: Bundle) -> Tensor:
    return (bundle.inputs["x"] + 1) / 2


def official_picture(x: Tensor) -> Tensor:
    return 2 * x - 1


def outputs(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    yield from evaluated(bundle)
    yield from turns(bundle, "", 1.0)
    yield from turns(bundle, "blend/", bundle.hparams["blend"])
    yield from learned(bundle)
    yield from warm_up(bundle)
    yield from fused(bundle)


@torch.no_grad()
def evaluated(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    h = bundle.hparams
    for level in range(h["layer_count"]):
        model, _ = build(bundle)
        model.grow(level, 1.0)
        x, prefix = model.shown(pictures(bundle)), f"eval/{4 * 2**level}"
        posterior = model.encode(x)
        yield f"{prefix}/mu", posterior.loc
        yield f"{prefix}/logvar", 2 * posterior.scale.log()
        yield f"{prefix}/rec_noise", official_picture(model.decode(posterior.loc))
        model.eval()
        yield f"{prefix}/rec", official_picture(model.decode(posterior.loc))
    model, _ = build(bundle)
    model.eval()
    z = bundle.inputs["eps/e_prior"]
    yield "eval/styles", model.decoder.styles(model.encode(pictures(bundle)).loc)
    yield "eval/untruncated", official_picture(model.decode(z))
    model.train().decode(z)  # officially every call moves the mean style, ours do in training
    truncated = model.eval().sample_truncated(z, h["truncation_psi"], h["truncation_cutoff"])
    yield "eval/truncated", official_picture(truncated)


def turns(bundle: Bundle, prefix: str, blend: float) -> Iterator[tuple[str, Tensor]]:
    model, objective = build(bundle)
    model.grow(bundle.hparams["lod"], blend)
    seen = Recorded(model, objective)
    shown: Any = model
    shown.shown = lambda x: x  # blended before, by the training loop
    for update in ("encoder", "decoder"):
        for calls in (seen.encoded, seen.drawn, seen.errors):
            calls.clear()
        letter = update[0]
        terms, grads = loss(objective, pictures(bundle), update)
        for name, x in named(bundle, terms, seen, f"{prefix}loss/{letter}", update):
            if name in bundle.outputs:
                yield name, x
        for i, name in enumerate(("fake", "rec")):
            if f"{prefix}{letter}/{name}" in bundle.outputs:
                yield f"{prefix}{letter}/{name}", official_picture(seen.drawn[i])
        if update == "encoder":
            for name, posterior in zip(("real", "rec", "fake"), seen.encoded, strict=True):
                if prefix and name != "real":
                    continue
                yield f"{prefix}e/mu_{name}", posterior.loc
                yield f"{prefix}e/logvar_{name}", 2 * posterior.scale.log()
        if not prefix:
            yield f"{letter}/dlatent_avg", model.decoder.mean_style.clone()
            yield from ((f"grad_norm/{letter}/{k}", v) for k, v in grads.items())


def loss(objective: SoftIntro, x: Tensor, update: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Terms of a turn with their weighted sum as `total`, and norms of gradients by official weights."""
    objective.zero_grad(set_to_none=True)
    terms = objective(x, update, 1).terms
    total, _ = weighted_sum(terms, objective.weights(None)[update])
    total.backward()
    model = objective.model
    assert not isinstance(model, ParticlePlayer)
    theirs, factor = dict(official.names(model)), official.factors(model)
    moved = {f"{update}.{k}": p for k, p in getattr(model, update).named_parameters() if p.grad is not None}
    return terms | {"total": total}, {theirs[k]: p.grad.norm() / factor.get(k, 1) for k, p in moved.items()}


def learned(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    """One iteration, with the official optimiser on the official weights."""
    model, objective = build(bundle)
    theirs, factor = dict(official.names(model)), official.factors(model)
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    adam, lr = bundle.hparams["adam"], bundle.hparams["lr_learning"]
    for update in objective.updates():
        seen = Recorded(model, objective)
        terms, _ = loss(objective, pictures(bundle), update.name)
        prefix = f"learning/loss/{update.name[0]}"
        for name, x in named(bundle, terms, seen, prefix, update.name):
            if name in bundle.outputs:
                yield name, x
        rest = 1 - adam["betas"][1]
        for name, p in model.named_parameters():
            if p.grad is not None and name.startswith(update.name):
                grad = p.grad / factor.get(name, 1)
                p.data -= lr * rest**0.5 * grad / ((rest * grad.square()).sqrt() + adam["eps"])
    for name, p in model.named_parameters():
        yield f"learning/change/{theirs[name]}", (p.detach() - before[name]).norm() * factor.get(name, 1)


def warm_up(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    model, objective = build(bundle)
    given: Any = model
    given.cfg = replace(model.cfg, game=replace(model.cfg.game, warm_up_steps=1))
    terms, _ = loss(objective, pictures(bundle), "encoder")
    s = bundle.hparams["scale"]
    yield "loss/vae/rec", s * terms["reconstruction"].mean()
    yield "loss/vae/kl", s * terms["kl"].mean()
    yield "loss/vae/total", terms["total"]


@torch.no_grad()
def fused(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    def part(name: str, block: Any, scale: dict[str, float]) -> Any:
        prefix = f"fused/{name}/"
        found = {k.removeprefix(prefix): v for k, v in bundle.state_dict.items() if k.startswith(prefix)}
        if name == "decode":
            found = {
                re.sub(r"^(noise_weight|bias|style)_(\d)", r"dressing_\2.\1", k): v for k, v in found.items()
            }
        block.load_state_dict(
            {k: v / scale.get(k, 1.0) for k, v in found.items() if not k.startswith("blur")}
        )
        return block.to(torch.get_default_dtype())

    def scales(block: torch.nn.Module) -> dict[str, float]:
        return {
            f"{k}.weight": float(vars(m)["scale"]) for k, m in block.named_modules() if "scale" in vars(m)
        }

    x = bundle.inputs["fused/encode"]
    encode = EncodeBlock(
        x.shape[1],
        bundle.outputs["fused/encode"].shape[1],
        bundle.outputs["fused/encode_style_1"].shape[1],
        fused=True,
    )
    styles: list[Tensor] = []
    loaded = part("encode", encode, scales(encode))
    for i in (1, 2):
        getattr(loaded, f"style_{i}").register_forward_hook(lambda _, __, made: styles.append(made))
    made, _ = loaded(x)
    yield "fused/encode", made
    for i in (1, 2):
        yield f"fused/encode_style_{i}", styles[i - 1]
    x = bundle.inputs["fused/decode"]
    dressed = torch.stack([bundle.inputs[f"fused/style_{i}"] for i in (1, 2)], 1)
    decode = DrawBlock(
        x.shape[1], bundle.outputs["fused/decode"].shape[1], dressed.shape[2], _FUSED_LEVEL, fused=True
    )
    yield "fused/decode", part("decode", decode, scales(decode))(x, dressed, None)
