"""Introspective particles: who moves in which turn, what is told apart, and that places stay."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dlp_dyn import checkpoint, config
from dlp_dyn.errors import InputError
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.introspective import IntrospectiveElbo
from dlp_dyn.particles import mean
from dlp_dyn.soft_intro.config import GameConfig
from dlp_dyn.training.loop import train

GAME = GameConfig(reconstruction=1.0, kl=0.01, negative=50.0, cycle=0.0)


def objective(game: GameConfig = GAME) -> IntrospectiveElbo:
    torch.manual_seed(0)
    return IntrospectiveElbo(DLP(config.load("tiny", ["data.path=none"]).model), game)


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
    encoder = played.model.encoder
    assert all(p.grad is not None for p in encoder.appearance.parameters())
    turn(played, "decoder")
    assert all(p.grad is not None for p in played.model.decoder.glimpses.parameters())


def test_updates_move_looks_alone() -> None:
    played = objective()
    moved = {id(p) for update in played.updates() for p in update.parameters}
    rests = [
        p
        for part in (played.model.encoder.proposals, played.model.encoder.attributes)
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
        p.grad is not None and p.grad.abs().max() > 0 for p in played.model.decoder.glimpses.parameters()
    )


def test_pictures_keep_their_places_when_they_are_looked_at_again() -> None:
    model, x = objective().model.eval(), pictures()
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
    encoding = played.model.encoder(x)
    drawn = played.model.decoder(encoding.scene).image
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


@pytest.mark.parametrize("settings", [["accumulate=2"], ["dynamics.kind=graph"]])
def test_it_is_for_single_images_in_one_part(settings: list[str]) -> None:
    with pytest.raises(InputError, match="introspection is for image models"):
        config.load("introspective", ["data.path=none", *settings])
