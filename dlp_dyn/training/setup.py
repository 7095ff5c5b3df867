"""From a config to what the loop runs: what follows from other settings, the model, its objective, its task."""

from dataclasses import replace

import torch

from dlp_dyn import checkpoint
from dlp_dyn.config import DataConfig, TrainConfig
from dlp_dyn.data.inspection import Inspection
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.images import check_frames, check_size
from dlp_dyn.generation.config import DiffusionConfig
from dlp_dyn.generation.model import VideoGenerator
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.keypoint_vae.model import KeypointVAE
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.base import Objective
from dlp_dyn.objectives.clip_elbo import ClipElbo
from dlp_dyn.objectives.denoising import DenoisingError
from dlp_dyn.objectives.dlpv1 import KeypointElbo
from dlp_dyn.objectives.image_elbo import ImageElbo
from dlp_dyn.objectives.introspective import IntrospectiveElbo
from dlp_dyn.objectives.latent_rollout import LatentRolloutError
from dlp_dyn.objectives.lpwm import LatentActionElbo
from dlp_dyn.objectives.rollout import RolloutError
from dlp_dyn.objectives.soft_intro import SoftIntro
from dlp_dyn.particles import Draw, rsample
from dlp_dyn.settings import read_section
from dlp_dyn.soft_intro import families
from dlp_dyn.soft_intro.model import IntroVAE
from dlp_dyn.training.tasks.base import Task
from dlp_dyn.training.tasks.clips import ClipTask
from dlp_dyn.training.tasks.generation import GenerationTask
from dlp_dyn.training.tasks.images import ImageTask
from dlp_dyn.training.tasks.keypoints import KeypointTask
from dlp_dyn.training.tasks.particles import ParticleTask
from dlp_dyn.training.tasks.soft_intro import CloudTask, DensityTask, PictureTask
from dlp_dyn.video import VideoConfig, VideoModel

Model = DLP | VideoModel | KeypointVAE | VideoGenerator | IntroVAE


def resolve_config(cfg: TrainConfig) -> TrainConfig:
    """The config with what follows from other parts of it: the image run's model, the length of clips.

    Raises InputError for parts that do not fit each other.
    """
    if cfg.generation is not None:
        return _resolve_generation(cfg, cfg.generation)
    if cfg.soft_intro is not None and cfg.soft_intro.translation is not None:
        return replace(cfg, data=replace(cfg.data, clip_length=cfg.soft_intro.translation.frames))
    if cfg.keypoint_vae is not None or cfg.soft_intro is not None:
        return cfg
    if cfg.introspection is not None and cfg.image is None:
        raise InputError("config: introspection needs a trained image model; add image=RUN to the command")
    if cfg.introspection is not None and cfg.data.clip_length > 1:
        return _resolve_futures(cfg)
    if cfg.stage == "dynamics" and cfg.dynamics.kind == "none":
        raise InputError(
            "config: stage=dynamics trains dynamics, and dynamics.kind is none: use graph or transformer"
        )
    if cfg.stage == "dynamics" and cfg.dynamics.kind == "latent_actions":
        raise InputError(
            "config: dynamics.kind=latent_actions is trained on clips: set stage=joint; image=RUN starts from an "
            "image model"
        )
    if cfg.stage == "dynamics" and cfg.image is None:
        raise InputError(
            "config: stage=dynamics needs the run of an image model; add image=RUN to the command"
        )
    if cfg.image is not None:
        model = read_section(checkpoint.resolve(cfg.image) / checkpoint.CONFIG, "model", DLPConfig)
        cfg = replace(cfg, model=model, data=_seen_alike(cfg))
    if cfg.model.encoder.views > 1:
        raise InputError(
            f"config: model.encoder.views is {cfg.model.encoder.views}, training reads one camera at a time: set it to "
            "1; data.view=NAME chooses another camera than the first"
        )
    d, length = cfg.dynamics, cfg.data.clip_length
    if cfg.data.texts is not None and not d.latent_actions.language_dim:
        raise InputError(
            "config: data.texts is given, and the model takes no texts: set dynamics.latent_actions.language_dim to "
            "the width of their tokens, with dynamics.kind=latent_actions, or leave data.texts out"
        )
    if cfg.stage == "dynamics":
        length = d.window + d.rollout_steps
    elif d.kind in ("transformer", "latent_actions") and length > d.window + 1:
        raise InputError(
            f"config: data.clip_length is {length}, the {d.kind} model sees dynamics.window={d.window} frames and "
            f"predicts one more: use {d.window + 1} or less"
        )
    elif d.kind != "none" and length <= cfg.tracking.static_frames:
        raise InputError(
            f"config: data.clip_length is {length}, of which the first tracking.static_frames="
            f"{cfg.tracking.static_frames} have no prior from dynamics: use a larger clip_length"
        )
    return replace(cfg, data=replace(cfg.data, clip_length=length))


def _resolve_generation(cfg: TrainConfig, generation: DiffusionConfig) -> TrainConfig:
    """The video run's model, and clips as long as are generated."""
    if cfg.image is None:
        raise InputError("config: generation needs the run of a video model; add image=RUN to the command")
    cfg = _of_video_run(cfg, cfg.image)
    return replace(cfg, data=replace(cfg.data, clip_length=generation.frames))


def _resolve_futures(cfg: TrainConfig) -> TrainConfig:
    """The video run's model; clips are as long as was said."""
    cfg = _of_video_run(cfg, cfg.image or "")
    if cfg.data.clip_length <= cfg.dynamics.window:
        raise InputError(
            f"config: data.clip_length is {cfg.data.clip_length}, of which the dynamics see "
            f"{cfg.dynamics.window}: use more, for frames to predict"
        )
    return cfg


def _of_video_run(cfg: TrainConfig, run: str) -> TrainConfig:
    video = VideoModel.from_config(checkpoint.resolve(run) / checkpoint.CONFIG).cfg
    data = replace(_seen_alike(cfg), stride=video.stride)
    return replace(cfg, data=data, model=video.image, tracking=video.tracking, dynamics=video.dynamics)


def _seen_alike(cfg: TrainConfig) -> DataConfig:
    """Seen by the camera of the run `image`, unless another one is named."""
    return replace(cfg.data, view=cfg.data.view or checkpoint.view_of(cfg.image or ""))


def build_model(cfg: TrainConfig, found: Inspection | None = None) -> Model:
    """The model that a resolved config describes, with random weights or those of the image run.

    found: in the data; a model with a reference starts from it.
    """
    if cfg.keypoint_vae is not None:
        return KeypointVAE(cfg.keypoint_vae)
    if cfg.soft_intro is not None:
        return families.build(cfg.soft_intro)
    if cfg.generation is not None:
        model = VideoGenerator(
            VideoConfig(cfg.model, cfg.tracking, cfg.dynamics, cfg.data.stride), cfg.generation
        )
        model.video.load_state_dict(checkpoint.load_video_model(cfg.image or "").state_dict())
        return model
    image = None if cfg.image is None else checkpoint.load_model(cfg.image)
    if cfg.dynamics.kind == "none":
        return image.train() if image is not None else _started(DLP(cfg.model), found)
    model = VideoModel(VideoConfig(cfg.model, cfg.tracking, cfg.dynamics, cfg.data.stride))
    if cfg.introspection is not None:
        model.load_state_dict(checkpoint.load_video_model(cfg.image or "").state_dict())
    elif image is not None:
        model.image.load_state_dict(image.state_dict())
    else:
        _started(model.image, found)
    return model


def _started(model: DLP, found: Inspection | None) -> DLP:
    if found is not None:
        picture = torch.from_numpy(found.reference).permute(2, 0, 1)
        model.start_from(picture, torch.tensor(found.colour))
    return model


def build_objective(cfg: TrainConfig, model: Model, sample: Draw = rsample) -> Objective:
    """What a resolved config minimises. sample: how latents are drawn; `mean` trains without noise."""
    if isinstance(model, KeypointVAE):
        return KeypointElbo(model, cfg.phases, sample)
    if isinstance(model, VideoGenerator):
        return DenoisingError(model)
    if isinstance(model, IntroVAE):
        return SoftIntro(model, sample)
    if cfg.introspection is not None:
        return IntrospectiveElbo(model, cfg.introspection, sample)
    if isinstance(model, DLP):
        return ImageElbo(model, cfg.phases, sample, cfg.prices)
    if cfg.stage == "dynamics":
        latent = cfg.dynamics.kind == "latent_graph"
        return (LatentRolloutError if latent else RolloutError)(model, cfg.phases)
    latent = cfg.dynamics.kind in ("latent_actions", "latent_graph")
    return (LatentActionElbo if latent else ClipElbo)(model, cfg.phases, sample)


def build_task(cfg: TrainConfig, model: Model, rollouts: Rollouts | None) -> Task:
    """Data, evaluation and pictures for a resolved config. Raises InputError for data that does not fit.

    rollouts: None where `data.path` is of something else.
    """
    if isinstance(model, IntroVAE) and rollouts is None:
        return _points_task(cfg, model)
    assert rollouts is not None
    if isinstance(model, IntroVAE):
        check_frames(cfg.frame_size, rollouts)
        return PictureTask(cfg, rollouts)
    if isinstance(model, KeypointVAE):
        check_frames(cfg.frame_size, rollouts)
        return KeypointTask(cfg, rollouts)
    if isinstance(model, VideoGenerator):
        check_size(model.video.image, rollouts)
        return GenerationTask(cfg, model, rollouts)
    if isinstance(model, DLP):
        check_size(model, rollouts)
        return ImageTask(cfg, rollouts)
    check_size(model.image, rollouts)
    _check_actions(cfg, rollouts)
    return (ParticleTask if cfg.stage == "dynamics" else ClipTask)(cfg, model, rollouts)


def _points_task(cfg: TrainConfig, model: IntroVAE) -> Task:
    own = model.cfg.point_clouds
    return DensityTask(cfg) if own is None else CloudTask(cfg, own.n_points)


def _check_actions(cfg: TrainConfig, rollouts: Rollouts) -> None:
    width = rollouts.action_dim * cfg.data.stride
    if cfg.dynamics.action_dim not in (0, width):
        remedy = f"set it to {width}, or to 0 for a model without"
        raise InputError(
            f"{rollouts.path}: actions of width {width} (stride {cfg.data.stride}), dynamics.action_dim is "
            f"{cfg.dynamics.action_dim}: " + (remedy if width else "use data with actions, or set it to 0")
        )
