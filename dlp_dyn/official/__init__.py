"""Official checkpoints to ours and back: DLPv2 and DDLP (taldatech/ddlp), DLPv3 and LPWM (taldatech/lpwm).

`convert` also takes those of DLPv1 (taldatech/deep-latent-particles-pytorch) and of Soft-IntroVAE
(taldatech/soft-intro-vae-pytorch).

Axes and channels are permuted here once, and nothing else knows of the official order.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dlp_dyn.checkpoint import save as save_checkpoint
from dlp_dyn.config import DataConfig, TrainConfig
from dlp_dyn.config import save as save_config
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.config import LossWeights
from dlp_dyn.official import ddlp, dlpv1, dlpv2, dlpv3, lpwm, soft_intro
from dlp_dyn.particles import logit
from dlp_dyn.settings import parse_json, to_yaml
from dlp_dyn.video import VideoConfig, VideoModel

_STYLES = {"dlpv2": dlpv2, "dlpv3": dlpv3}


def _module(hparams: Mapping[str, Any], with_dynamics: bool) -> ModuleType:
    if "pint_enc_layers" in hparams:
        return lpwm if hparams.get("timestep_horizon", 1) > 1 else dlpv3
    if "enc_channels" in hparams:
        return ddlp if with_dynamics else dlpv2
    raise InputError(
        "hparams: neither `enc_channels` (DLPv2, DDLP) nor `pint_enc_layers` (DLPv3): is this the right file?"
    )


def config(
    hparams: Mapping[str, Any], with_dynamics: bool = False
) -> tuple[DLPConfig | VideoConfig, dict[str, float]]:
    """The model settings and loss weights that official hyper-parameters stand for.

    with_dynamics: DDLP, whose files look like DLPv2's, which also name its transformer.
    Raises InputError when the hyper-parameters are incomplete or of another model.
    """
    try:
        return _module(hparams, with_dynamics).config(hparams)
    except KeyError as error:
        raise InputError(
            f"hparams: {error} is missing: give the hparams.json that came with the checkpoint"
        ) from error


def _module_of(model: DLP | VideoModel) -> ModuleType:
    """Which official model this is. Raises InputError where it is none."""
    style = (model.image if isinstance(model, VideoModel) else model).cfg.networks.style
    if isinstance(model, DLP) and style in _STYLES:
        return _STYLES[style]
    if isinstance(model, VideoModel):
        for module in (ddlp, lpwm):
            if module.official(model):
                return module
    raise InputError(
        "this model has no official counterpart: only networks.style=dlpv2 and dlpv3 go back; of video models the "
        "dlpv2 tracker with joint transformer dynamics and no actions, and the dlpv3 grid with latent actions"
    )


def load(
    state_dict: Mapping[str, Tensor], hparams: Mapping[str, Any]
) -> tuple[DLP | VideoModel, dict[str, float]]:
    """The model with official weights, and its loss weights.

    Raises InputError naming the first tensor that is missing or of the wrong shape.
    """
    cfg, weights = config(hparams, any(key.startswith("dyn_module.particle_") for key in state_dict))
    model = VideoModel(cfg) if isinstance(cfg, VideoConfig) else DLP(cfg)
    expected = model.state_dict()
    converted = {name: x for name, x in model.named_buffers() if name in expected}
    module = _module_of(model)
    rules = list(module.rules(model))
    read = {key for rule in rules for key in rule.theirs}
    for key in state_dict:
        if key.startswith(getattr(module, "STEERING", ())) and key not in read:
            raise InputError(
                f"checkpoint: tensor {key} is of a model with another condition than the hparams name: does the "
                "hparams file belong to it?"
            )
    for rule in rules:
        for key in rule.theirs:
            if key not in state_dict:
                raise InputError(f"checkpoint: tensor {key} is missing: does the hparams file belong to it?")
        try:
            tensor = rule.load([state_dict[key].float() for key in rule.theirs])
        except RuntimeError:  # it takes a shape that this tensor does not have
            tensor = state_dict[rule.theirs[0]]
        if tensor.shape != expected[rule.ours].shape:
            raise InputError(
                f"checkpoint: {rule.theirs[0]} gives {list(tensor.shape)}, expected "
                f"{list(expected[rule.ours].shape)}: does the hparams file belong to it?"
            )
        converted[rule.ours] = tensor
    model.load_state_dict(converted)
    return model.eval(), weights


def export(model: DLP | VideoModel) -> dict[str, Tensor]:
    """The official `state_dict` of a model in an official style, aliases and buffers included.

    Raises InputError for the lean style, which has no official counterpart.
    """
    module, own = _module_of(model), model.state_dict()
    out: dict[str, Tensor] = {}
    for rule in module.rules(model):
        out.update(zip(rule.theirs, rule.save(own[rule.ours]), strict=True))
    if isinstance(model, VideoModel):
        out |= module.buffers(model)
    for original, alias in module.ALIASES:
        copies = {alias + k.removeprefix(original): v for k, v in out.items() if k.startswith(original)}
        out.update(copies)
    return out | _buffers((model.image if isinstance(model, VideoModel) else model).cfg)


def _buffers(cfg: DLPConfig) -> dict[str, Tensor]:
    a, b = cfg.prior.transparency
    return {
        "logvar_kp": torch.tensor(0.0),
        "mu_scale_prior": torch.tensor(logit(0.75 * cfg.glimpse_fraction, 1e-5), dtype=torch.float64),
        "logvar_scale_p": torch.tensor(2 * math.log(cfg.prior.scale_std)),
        "logvar_offset_p": torch.tensor(2 * math.log(cfg.prior.offset_std)),
        "obj_on_a_p": torch.tensor(a),
        "obj_on_b_p": torch.tensor(b),
    }


def convert(checkpoint: Path, hparams: Path, out: Path) -> None:
    """Read an official checkpoint with its hyper-parameters and write a run folder.

    Raises InputError when a file is missing or is not what it should be.
    """
    for path in (checkpoint, hparams):
        if not path.is_file():
            raise InputError(f"{path}: no such file")
    try:
        settings = parse_json(hparams.read_text())
    except ValueError as error:
        raise InputError(f"{hparams}: not a JSON file ({error})") from error
    if not isinstance(settings, Mapping):
        raise InputError(f"{hparams}: no settings by their names ({type(settings).__name__})")
    try:
        state_dict = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle reports a broken file in many ways
        raise InputError(f"{checkpoint}: not a PyTorch state_dict ({type(error).__name__})") from error
    if not isinstance(state_dict, Mapping):
        raise InputError(f"{checkpoint}: not a PyTorch state_dict ({type(state_dict).__name__})")
    if out.exists():
        raise InputError(f"{out}: exists already; choose another folder")
    run = TrainConfig(data=DataConfig(path="unknown"), out=str(out))
    state_dict = soft_intro.flat(state_dict)
    if soft_intro.variant(state_dict) is not None:
        model = soft_intro.load(state_dict, settings)
        run = replace(run, soft_intro=model.cfg)
    elif "dec_bone" in settings:
        model = dlpv1.load(state_dict, settings)
        run = replace(run, keypoint_vae=model.cfg)
    else:
        model, weights = load(state_dict, settings)
        run = replace(run, weights=LossWeights(**weights))
        if isinstance(model, VideoModel):
            cfg = model.cfg
            run = replace(run, model=cfg.image, tracking=cfg.tracking, dynamics=cfg.dynamics)
        else:
            run = replace(run, model=model.cfg)
    out.mkdir(parents=True)
    save_config(run, out / "config.yaml")
    save_checkpoint(out / "checkpoints" / "best", model.state_dict(), to_yaml(run))
