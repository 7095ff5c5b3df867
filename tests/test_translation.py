"""A code for what the frames of a clip have in common, and one for the rest."""

import torch
from torch import Tensor
from torch.testing import assert_close

from dlp_dyn import config
from dlp_dyn.objectives.soft_intro import SoftIntro
from dlp_dyn.particles import rsample
from dlp_dyn.soft_intro import families
from dlp_dyn.soft_intro.config import GameConfig, SoftIntroConfig, TranslationConfig
from dlp_dyn.soft_intro.translation import TranslationVAE
from dlp_dyn.training.optimization import optimizers
from dlp_dyn.training.setup import resolve_config
from dlp_dyn.training.step import TrainingStep

FRAMES, CONTENT, CLASS = 3, 4, 2
COLOURS = 0.3 + 0.7 * torch.eye(3)


def build(**game: object) -> TranslationVAE:
    torch.manual_seed(0)
    own = TranslationConfig(
        image_size=8, channels=[8, 16], latent_dim=CONTENT, class_dim=CLASS, frames=FRAMES
    )
    model = families.build(SoftIntroConfig(translation=own, game=GameConfig(**game)))  # type: ignore[arg-type]
    assert isinstance(model, TranslationVAE)
    return model


def blobs(colour: Tensor, place: Tensor) -> Tensor:
    """Soft spots of one of three colours on pictures of 8 pixels, where they are in pixels."""
    grid = torch.arange(8.0)
    away = (grid[:, None] - place[:, :1, None]).square() + (grid - place[:, 1:, None]).square()
    return COLOURS[colour][:, :, None, None] * (-away / 4).exp()[:, None]


def test_a_frames_class_is_told_by_the_others_of_its_clip() -> None:
    model = build()
    x = torch.rand(2 * FRAMES, 3, 8, 8, requires_grad=True)
    code = model.encode(x).loc
    (content,) = torch.autograd.grad(code[0, :CONTENT].sum(), x, retain_graph=True)
    (kind,) = torch.autograd.grad(code[0, CONTENT:].sum(), x)
    seen = [set(grad.flatten(1).abs().sum(1).nonzero().flatten().tolist()) for grad in (content, kind)]
    assert seen == [{0}, set(range(1, FRAMES))]
    model.eval()
    assert_close(model.encode(x[:1]).loc, model.encode(x).loc[:1])  # frames that belong to no clip


def test_samples_of_training_are_clips_of_one_class_and_its_kl_is_shared() -> None:
    model = build()
    z = model.draw_prior(2 * FRAMES, rsample).unflatten(0, (2, FRAMES))
    kind = z[..., CONTENT:]
    assert torch.equal(kind, kind[:, :1].expand_as(kind))
    assert not torch.equal(kind[0], kind[1])
    assert (z[:, 0, :CONTENT] != z[:, 1, :CONTENT]).all()

    loc = torch.zeros(1, CONTENT + CLASS)
    loc[:, CONTENT:] = 3.0
    posterior = torch.distributions.Normal(loc, torch.ones_like(loc))
    assert_close(model.kl(posterior), torch.tensor([CLASS * 4.5 / FRAMES]))


def test_content_and_class_of_one_picture_are_its_reconstruction() -> None:
    model = build().eval()
    a, b = torch.rand(2, 4, 3, 8, 8)
    assert_close(model.translate(a, a), model.reconstruct(a))
    assert not torch.allclose(model.translate(a, b), model.reconstruct(a), atol=1e-3)


def test_clips_are_as_long_as_the_model_wants_them() -> None:
    cfg = config.load("soft_intro_translation", ["data.path=file.h5", "soft_intro.translation.frames=6"])
    assert resolve_config(cfg).data.clip_length == 6


def test_spots_are_drawn_where_one_is_in_the_colour_of_another() -> None:
    model = build(kl=0.05, negative=40.0, cycle=0.0, warm_up_steps=200)
    objective = SoftIntro(model)
    cfg = config.load("soft_intro_translation", ["data.path=file.h5", "lr=5e-3"])
    step = TrainingStep(objective, optimizers(cfg, objective.updates()))
    for i in range(1, 221):
        colour = torch.randint(3, (8,)).repeat_interleave(FRAMES)
        step([blobs(colour, 1 + 5 * torch.rand(len(colour), 2))], objective.weights(None), i)
    assert model.plays
    model.eval()
    colour, place = torch.arange(60) % 3, 1 + 5 * torch.rand(60, 2)
    contents, classes = blobs(colour, place), blobs((colour + 1) % 3, place.flip(0))
    true = blobs((colour + 1) % 3, place)
    wrong = (model.translate(contents, classes) - true).square().mean()
    assert wrong < 0.5 * (contents - true).square().mean()
    assert wrong < 0.5 * (classes - true).square().mean()
