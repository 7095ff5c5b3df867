"""Introspective particles: who moves in which turn, what is told apart, and that places stay."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dlp_dyn import checkpoint, config
from dlp_dyn.clip import Clip
from dlp_dyn.errors import InputError
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.introspective import IntrospectiveElbo
from dlp_dyn.objectives.particle_player import FuturePlayer
from dlp_dyn.particles import mean
from dlp_dyn.soft_intro.config import GameConfig
from dlp_dyn.training.loop import resume, train
from dlp_dyn.video import VideoConfig, VideoModel

GAME = GameConfig(reconstruction=1.0, kl=0.01, negative=50.0, cycle=0.0)


def objective(game: GameConfig = GAME) -> IntrospectiveElbo:
    torch.manual_seed(0)
    return IntrospectiveElbo(DLP(config.load("tiny", ["data.path=none"]).model), game)


def looks(played: IntrospectiveElbo) -> DLP:
    """The model that plays."""
    assert isinstance(played.model, DLP)
    return played.model


def pictures(n: int = 3) -> Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def turn(played: IntrospectiveElbo, update: str) -> float:
    played.zero_grad(set_to_none=True)
    terms = played(pictures(), update, 1).terms
    loss, _ = weighted_sum(terms, played.weights(None)[update])
    loss.backward()
    return float(loss)


def test_the_encoder_is_told_data_from_fakes_and_the_decoder_answers() -> None:
    played = objective()
    turn(played, "encoder")
    encoder = looks(played).encoder
    assert all(p.grad is not None for p in encoder.appearance.parameters())
    turn(played, "decoder")
    assert all(p.grad is not None for p in looks(played).decoder.glimpses.parameters())


def test_updates_move_looks_alone() -> None:
    played = objective()
    moved = {id(p) for update in played.updates() for p in update.parameters}
    rests = [
        p
        for part in (looks(played).encoder.proposals, looks(played).encoder.attributes)
        for p in part.parameters()
    ]
    assert rests
    assert not moved & {id(p) for p in rests}


def test_the_decoder_plays_against_the_kl_of_its_drawings() -> None:
    """Its gradient of the KL of samples goes through the pictures into the encoder, and is not zero."""
    played = objective()
    played(pictures(), "encoder", 1)
    played.zero_grad(set_to_none=True)
    played(pictures(), "decoder", 1).terms["kl_sample"].sum().backward()
    assert any(
        p.grad is not None and p.grad.abs().max() > 0 for p in looks(played).decoder.glimpses.parameters()
    )


def test_pictures_keep_their_places_when_they_are_looked_at_again() -> None:
    model, x = looks(objective()).eval(), pictures()
    encoder = model.encoder
    placed = encoder.place(x, encoder.locate(x))
    again, first = encoder.look_again(x, placed), encoder.describe(x, placed)
    torch.testing.assert_close(again.posterior.particles.features.loc, first.posterior.particles.features.loc)
    other = encoder.look_again(1 - x, placed)
    assert torch.equal(other.scene.particles.position, first.scene.particles.position)
    assert not torch.allclose(other.posterior.particles.features.loc, first.posterior.particles.features.loc)


def test_reconstruction_is_that_of_the_model() -> None:
    played, x = objective(), pictures()
    played._played[0].sample = mean
    term = played(x, "encoder", 1).terms["reconstruction"]
    encoding = looks(played).encoder(x)
    drawn = looks(played).decoder(encoding.scene).image
    torch.testing.assert_close(term, (x - drawn).square().sum((1, 2, 3)), rtol=1e-4, atol=1e-3)


def test_it_goes_on_from_a_trained_model(balls_file: Path, tmp_path: Path) -> None:
    common = [f"data.path={balls_file}", "device=cpu", "batch_size=4", "eval_frames=4", "log_every=1"]
    image = train(config.load("tiny", [*common, f"out={tmp_path / 'image'}", "steps=1"]))
    with pytest.raises(InputError, match="introspection needs a trained image model; add image=RUN"):
        train(config.load("introspective", [*common, f"out={tmp_path / 'no'}"]))
    run = train(
        config.load("introspective", [*common, f"image={image}", f"out={tmp_path / 'run'}", "steps=2"])
    )
    before, after = (checkpoint.load_weights(r / "checkpoints" / "last") for r in (image, run))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("encoder.appearance") for name in changed)
    assert any(name.startswith("decoder.glimpses") for name in changed)
    assert not any(
        name.startswith(("encoder.proposals", "encoder.attributes", "encoder.refine")) for name in changed
    )


@pytest.mark.parametrize(
    ("setting", "told"), [("accumulate=2", "in one part"), ("dynamics.kind=graph", "has no dynamics")]
)
def test_it_is_for_single_images_in_one_part(setting: str, told: str) -> None:
    with pytest.raises(InputError, match=f"introspection .*{told}"):
        config.load("introspective", ["data.path=none", setting])


def video_model() -> VideoModel:
    torch.manual_seed(0)
    cfg = config.load("tiny", ["data.path=none", "dynamics.kind=graph", "dynamics.window=2"])
    return VideoModel(VideoConfig(cfg.model, cfg.tracking, cfg.dynamics)).eval()


def clip(n_frames: int = 4) -> Clip:
    g = torch.Generator().manual_seed(1)
    return Clip(torch.randint(0, 256, (3, n_frames, 32, 32, 3), dtype=torch.uint8, generator=g))


def test_fakes_of_a_video_model_are_the_scenes_that_it_predicts() -> None:
    model = video_model()
    player = FuturePlayer(model, GAME)
    last = player.foresee(clip())
    torch.testing.assert_close(player.shown(last), clip().video[:, -1])
    expected = model.predict(clip().video[:, :2], horizon=2)[:, -1]
    sample = player.of("sample")
    drawn = sample.decode(sample.draw_prior(3, mean))
    torch.testing.assert_close(drawn, model.decode(expected).image, rtol=1e-4, atol=1e-5)
    as_predicted = sample._prior(3)
    assert float(sample.kl(as_predicted).detach().abs().max()) < 1e-4
    assert player.of("reconstruction") is player


def test_the_decoder_learns_from_predictions_and_the_dynamics_rest() -> None:
    played = IntrospectiveElbo(video_model(), GAME)
    moved = {id(p) for update in played.updates() for p in update.parameters}
    assert isinstance(played.model, VideoModel)
    assert not moved & {id(p) for p in played.model.dynamics.parameters()}
    model = played.model
    played(clip(), "encoder", 1)
    played.zero_grad(set_to_none=True)
    played(clip(), "decoder", 1).terms["kl_sample"].sum().backward()
    grads = [p.grad for p in model.image.decoder.glimpses.parameters()]
    assert any(g is not None and g.abs().max() > 0 for g in grads)
    assert all(p.grad is None for p in played.model.dynamics.parameters())


def test_a_video_model_plays_with_its_predictions(balls_file: Path, tmp_path: Path) -> None:
    common = [f"data.path={balls_file}", "device=cpu", "batch_size=4", "eval_frames=4", "log_every=1"]
    graph = ["dynamics.kind=graph", "dynamics.window=2", "data.clip_length=6"]
    video = train(config.load("tiny", [*common, *graph, f"out={tmp_path / 'video'}", "steps=1"]))
    play = [*common, f"image={video}", "introspection.negative=50"]
    with pytest.raises(InputError, match=r"data\.clip_length is 2, of which the dynamics see 2"):
        train(config.load("introspective", [*play, f"out={tmp_path / 'no'}", "data.clip_length=2"]))
    whole = train(
        config.load("introspective", [*play, f"out={tmp_path / 'run'}", "data.clip_length=4", "steps=2"])
    )
    half = train(
        config.load("introspective", [*play, f"out={tmp_path / 'half'}", "data.clip_length=4", "steps=1"])
    )
    resume(half, ["steps=2"])
    before, after, again = (checkpoint.load_weights(r / "checkpoints" / "last") for r in (video, whole, half))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("image.decoder.glimpses") for name in changed)
    assert not any(name.startswith("dynamics") for name in changed)
    assert all(torch.equal(after[name], again[name]) for name in after)
    assert checkpoint.load_video_model(whole).predict(clip().video[:, :2], horizon=1).background.shape[1] == 3
