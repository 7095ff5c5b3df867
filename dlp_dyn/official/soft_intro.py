"""Weights of the official Soft-IntroVAE (taldatech/soft-intro-vae-pytorch): settings and names."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from torch import Tensor

from dlp_dyn.soft_intro.config import (
    DensityConfig,
    GameConfig,
    ImageConfig,
    PointCloudConfig,
    SoftIntroConfig,
)
from dlp_dyn.soft_intro.families import build
from dlp_dyn.soft_intro.model import IntroVAE

_BLOCK = (
    ("skip", "conv_expand"), ("conv1", "conv1"), ("norm1", "bn1"), ("conv2", "conv2"), ("norm2", "bn2"),
)  # fmt: skip


def config(h: Mapping[str, Any]) -> SoftIntroConfig:
    """Of the hyper-parameters of a bundle."""
    redraw: dict[str, Literal["noise", "everything"]] = {"point_clouds": "noise", "style": "everything"}
    game = GameConfig(
        reconstruction=h["beta_rec"],
        kl=h["beta_kl"],
        negative=h["beta_neg"],
        cycle=h["gamma_r"],
        scale=h["scale"],
        attached_target=h["variant"] != "point_clouds",
        redraw=redraw.get(h["variant"], "nothing"),
        target_every=1 if h["variant"] == "bootstrap" else 0,
        unscaled_warm_up=True,
    )
    if h["variant"] == "densities_2d":
        return SoftIntroConfig(
            densities=DensityConfig(h["hidden"], h["hidden_layers"], h["z_dim"]), game=game
        )
    if h["variant"] == "point_clouds":
        own = PointCloudConfig(
            h["n_points"], list(h["encoder_widths"]), h["fc"], list(h["decoder_widths"]), h["z_dim"],
            h["prior_std"], "batch",
        )  # fmt: skip
        return SoftIntroConfig(point_clouds=own, game=game)
    images = ImageConfig(h["image_size"], h["channels"], list(h["network_channels"]), h["z_dim"], "batch")
    return SoftIntroConfig(images=images, game=game)


def load(state_dict: Mapping[str, Tensor], h: Mapping[str, Any]) -> IntroVAE:
    """The model with official weights, in eval mode. A target decoder's are read by `target`."""
    model = build(config(h))
    model.load_state_dict({ours: state_dict[theirs] for ours, theirs in names(model)})
    return model.eval()


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
        prefix, theirs = next(pair for pair in prefixes if ours.startswith(f"{pair[0]}."))
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
