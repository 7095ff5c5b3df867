"""Weights of the official Soft-IntroVAE (taldatech/soft-intro-vae-pytorch): settings and names."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Literal

from torch import Tensor

from dlp_dyn.errors import InputError
from dlp_dyn.soft_intro.config import (
    DensityConfig,
    GameConfig,
    ImageConfig,
    PointCloudConfig,
    SoftIntroConfig,
    StyleConfig,
)
from dlp_dyn.soft_intro.families import build
from dlp_dyn.soft_intro.model import IntroVAE
from dlp_dyn.soft_intro.style import StyleVAE
from dlp_dyn.soft_intro.style_layers import ScaledConv, ScaledLinear

_GROWTH = ("encoder.blend", "decoder.blend", "decoder.level")  # no weights
_BLOCK = (
    ("skip", "conv_expand"), ("conv1", "conv1"), ("norm1", "bn1"), ("conv2", "conv2"), ("norm2", "bn2"),
)  # fmt: skip
_SECTIONS = {
    "discriminator": "encoder", "generator": "decoder", "mapping_tl": "mapping_tl", "mapping_fl": "mapping_fl",
    "dlatent_avg": "dlatent_avg",
}  # fmt: skip
_SIGNS = (
    ("mapping_fl.", "style"), ("target_decoder.", "bootstrap"), ("encoder.mu_layer.", "point_clouds"),
    ("encoder.main.input.", "densities_2d"), ("encoder.main.0.", "images"),
)  # fmt: skip


def variant(weights: Iterable[str]) -> str | None:
    """Which of the five variants, told from the names of its weights; None for other models."""
    names = list(weights)
    return next((found for sign, found in _SIGNS if any(name.startswith(sign) for name in names)), None)


def config(weights: Collection[str], h: Mapping[str, Any]) -> SoftIntroConfig:
    """From the names of weights and the hyper-parameters."""
    kind = variant(weights)
    redraw: dict[str | None, Literal["noise", "everything"]] = {
        "point_clouds": "noise",
        "style": "everything",
    }
    game = GameConfig(
        reconstruction=h["beta_rec"],
        kl=h["beta_kl"],
        negative=h["beta_neg"],
        cycle=h["gamma_r"],
        scale=h["scale"],
        attached_target=kind != "point_clouds",
        redraw=redraw.get(kind, "nothing"),
        target_every=1 if kind == "bootstrap" else 0,
        unscaled_warm_up=True,
    )
    if kind == "densities_2d":
        return SoftIntroConfig(
            densities=DensityConfig(h["hidden"], h["hidden_layers"], h["z_dim"]), game=game
        )
    if kind == "point_clouds":
        own = PointCloudConfig(
            h["n_points"], list(h["encoder_widths"]), h["fc"], list(h["decoder_widths"]), h["z_dim"],
            h["prior_std"], "batch",
        )  # fmt: skip
        return SoftIntroConfig(point_clouds=own, game=game)
    if kind == "style":
        style = StyleConfig(
            h["resolution"], h["latent"], h["start_channels"], h["max_channels"], h["mapping_layers"],
            h["mapping_to_latent_layers"],
        )  # fmt: skip
        return SoftIntroConfig(style=style, game=game)
    widths, side = list(h["network_channels"]), h["image_size"]
    # Older code compared widths by identity, which for equal ones says no or yes as Python pleases.
    convolved = any(
        a == b and f"encoder.main.res_in_{side // 2 ** (i + 1)}.conv_expand.weight" in weights
        for i, (a, b) in enumerate(pairwise(widths))
    )
    images = ImageConfig(side, h["channels"], widths, h["z_dim"], "batch", convolved_skips=convolved)
    return SoftIntroConfig(images=images, game=game)


def flat(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights of an official file by name: it may hold them under `model`, or, of the style variant, a section for
    each network."""
    if isinstance(checkpoint.get("model"), Mapping):
        return checkpoint["model"]
    sections = checkpoint.get("models", checkpoint)
    if not isinstance(sections, Mapping) or not all(
        isinstance(sections.get(name), Mapping) for name in _SECTIONS
    ):
        return checkpoint
    return {f"{ours}.{name}": x for theirs, ours in _SECTIONS.items() for name, x in sections[theirs].items()}


def load(state_dict: Mapping[str, Tensor], h: Mapping[str, Any]) -> IntroVAE:
    """The model with official weights, in eval mode. A target decoder's are read by `target`.

    Raises InputError where hyper-parameters or weights are missing, and for weights of other shapes.
    """
    try:
        model = build(config(state_dict, h))
    except KeyError as error:
        raise InputError(
            f"hparams: {error} is missing: see docs/checkpoints.md for those of Soft-IntroVAE"
        ) from error
    pace, expected = factors(model), model.state_dict()
    for ours, theirs in names(model):
        found = list(state_dict[theirs].shape) if theirs in state_dict else "missing"
        if found != list(expected[ours].shape):
            raise InputError(
                f"checkpoint: tensor {theirs} is {found}, expected {list(expected[ours].shape)}: does the hparams file "
                "belong to it?"
            )
    weights = {ours: state_dict[theirs] / pace.get(ours, 1.0) for ours, theirs in names(model)}
    if isinstance(model, StyleVAE):
        weights |= {name: x for name, x in model.named_buffers() if name not in weights and name != "steps"}
    model.load_state_dict(weights)
    return model.eval()


def factors(model: IntroVAE) -> dict[str, float]:
    """Theirs over ours, where that is not 1: the official style networks store weights with their constants."""
    found = {}
    for prefix, module in model.named_modules():
        if isinstance(module, ScaledLinear | ScaledConv):
            found[f"{prefix}.weight"] = module.scale
        if isinstance(module, ScaledLinear):
            found[f"{prefix}.bias"] = module.pace
    return found


def target(model: IntroVAE, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the target decoder of a bootstrap model."""
    return {
        ours.removeprefix("decoder."): state_dict["target_" + theirs]
        for ours, theirs in names(model)
        if ours.startswith("decoder.")
    }


def names(model: IntroVAE) -> Iterator[tuple[str, str]]:
    """Names of all weights and buffers, (ours, theirs)."""
    prefixes = list(_prefixes(model))
    for ours in model.state_dict():
        if ours not in _GROWTH:
            prefix, theirs = next(pair for pair in prefixes if f"{ours}.".startswith(f"{pair[0]}."))
            yield ours, theirs + ours.removeprefix(prefix)


def _prefixes(model: IntroVAE) -> Iterator[tuple[str, str]]:
    cfg = model.cfg
    if cfg.densities is not None:
        yield from _perceptron("encoder.layers", "encoder.main", cfg.densities.n_hidden)
        yield from _perceptron("decoder", "decoder.main", cfg.densities.n_hidden)
    if cfg.point_clouds is not None:
        yield "encoder.points", "encoder.conv"
        yield "encoder.hidden", "encoder.fc.0"
        yield "encoder.mean", "encoder.mu_layer"
        yield "encoder.log_variance", "encoder.std_layer"
        yield "decoder.layers", "decoder.model"
    if cfg.images is not None:
        yield from _convolutions(cfg.images)
    if cfg.style is not None:
        yield from _styles(cfg.style)


def _styles(cfg: StyleConfig) -> Iterator[tuple[str, str]]:
    yield "decoder.start", "decoder.const"
    yield "decoder.mean_style", "dlatent_avg.buff"
    for i in range(cfg.n_levels):
        for layer in (1, 2):
            for name in ("noise_weight", "bias", "style"):
                ours = f"decoder.blocks.{i}.dressing_{layer}.{name}"
                yield ours, f"decoder.decode_block.{i}.{name}_{layer}"
        yield f"encoder.blocks.{i}", f"encoder.encode_block.{i}"
        yield f"decoder.blocks.{i}", f"decoder.decode_block.{i}"
        yield f"encoder.from_rgb.{i}", f"encoder.from_rgb.{i}.from_rgb"
        yield f"decoder.to_rgb.{i}", f"decoder.to_rgb.{i}.to_rgb"
    for part, theirs, n in (("encoder", "tl", cfg.n_encoder_mapping), ("decoder", "fl", cfg.n_mapping)):
        for i in range(n):
            yield f"{part}.mapping.{i}", f"mapping_{theirs}.map_blocks.{i}.fc"


def _perceptron(ours: str, theirs: str, n_hidden: int) -> Iterator[tuple[str, str]]:
    for i, name in enumerate(["input", *(f"hidden_{j + 1}" for j in range(n_hidden)), "output"]):
        yield f"{ours}.{2 * i}", f"{theirs}.{name}"


def _convolutions(cfg: ImageConfig) -> Iterator[tuple[str, str]]:
    """The encoder's blocks are named after the side that they see, the decoder's as if the first side were 4."""
    yield "encoder.stem", "encoder.main.0"
    yield "encoder.stem_norm", "encoder.main.1"
    yield "encoder.head", "encoder.fc"
    yield "decoder.seed", "decoder.fc.0"
    yield "decoder.out", "decoder.main.predict"
    n = len(cfg.channels)
    for part, n_blocks in (("encoder", n - 1), ("decoder", n)):
        for i in range(n_blocks + 1):
            side = cfg.image_size // 2 ** (i + 1) if part == "encoder" else 4 * 2**i
            block = "last" if i == n_blocks else f"blocks.{i}"
            for ours, theirs in _BLOCK:
                yield f"{part}.{block}.{ours}", f"{part}.main.res_in_{side}.{theirs}"
