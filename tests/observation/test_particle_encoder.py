from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import SIDE, write_run

from dlp_dyn import checkpoint, config
from dlp_dyn.bundled import PUSH
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.observation.encoder import ParticleEncoder, fit_normalizer, load_encoder, recorded
from dlp_dyn.observation.normalizer import Normalizer
from dlp_dyn.observation.traced import Traced
from dlp_dyn.soft_intro import families
from dlp_dyn.viewer.run_data import CLIPS

GRID = ["model.encoder.grid=true", "model.encoder.interaction=true"]
# DLPv2's parts: particles that do not see the background.
ALONE = [
    "model.encoder.interaction=false",
    "model.encoder.selection=variance",
    "model.encoder.transparency=free",
]


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE, 3), np.uint8)


def rewrite(run: Path, part: str, value: float | None = None) -> None:
    """Other weights for a part of a run: a constant, or moved a little."""
    folder = checkpoint.resolve(run)
    weights = checkpoint.load_weights(folder)
    for name in weights:
        if name.startswith(part):
            old = weights[name]
            weights[name] = old + 0.1 if value is None else torch.full_like(old, value)
    checkpoint.save(folder, weights, (folder / "config.yaml").read_text())


def test_a_model_of_the_preset_image_observes() -> None:
    frames = Rollouts(PUSH / CLIPS).episode(0).frames[:3]
    encoder = ParticleEncoder("push")
    rows = encoder(frames)
    at = encoder.layout.columns.index("transparency")
    assert (rows[..., at] > 0.5).sum(1).tolist() == [4, 4, 4]  # three squares and the disc


def test_of_a_grid_agents_see_the_most_visible_particles(tmp_path: Path) -> None:
    run = write_run(tmp_path, *GRID)
    model, frames = checkpoint.load_model(run), pictures(3)
    with torch.no_grad():
        scene = model.encoder(torch.from_numpy(frames).movedim(-1, 1) / 255).scene
    encoder = ParticleEncoder(run)
    packed = encoder(frames)
    n = model.cfg.n_particles
    assert packed.shape[1] == encoder.n_particles == n < scene.particles.position.shape[1]
    np.testing.assert_array_equal(packed, encoder.layout.pack(model.drawn(scene).particles).numpy())


def write_vae(folder: Path, *overrides: str, name: str = "soft_intro_images") -> Path:
    cfg = config.load(name, ["data.path=none", *overrides])
    torch.manual_seed(0)
    assert cfg.soft_intro is not None
    weights = families.build(cfg.soft_intro).state_dict()
    checkpoint.save(folder / "checkpoints" / "best", weights, config.to_yaml(cfg))
    return folder


def test_of_a_vae_agents_see_the_code_of_the_picture_as_one_particle(tmp_path: Path) -> None:
    small = ["soft_intro.images.channels=[4,4]", "soft_intro.images.latent_dim=5"]
    run = write_vae(tmp_path / "a", *small)
    encoder, frames = ParticleEncoder(run), pictures(4)
    packed = encoder(frames)
    assert packed.shape == (4, 1, encoder.layout.dim) == (4, 1, 11)
    with torch.no_grad():
        code = families.load(run).encoder(torch.from_numpy(frames).movedim(-1, 1) / 255)[0]
    np.testing.assert_allclose(packed[:, 0, 6:], code, atol=1e-6)
    assert (packed[:, 0, encoder.layout.columns.index("transparency")] == 1).all()
    scaled = ParticleEncoder(run, normalizer=Normalizer.fit(packed, encoder.layout, encoder.hash))(frames)
    np.testing.assert_allclose(scaled[:, 0, 6:].std(0), 1, atol=0.01)
    assert (scaled[:, 0, :5] == 0).all()  # what never changes says nothing
    norm = write_vae(tmp_path / "b", *small, "soft_intro.images.norm=group", "soft_intro.images.error=l1")
    assert ParticleEncoder(norm).hash != encoder.hash
    plane = write_vae(tmp_path / "c", name="soft_intro_2d")
    with pytest.raises(InputError, match=r"no encoder of pictures; give one of soft_intro.images"):
        ParticleEncoder(plane)


@pytest.mark.parametrize("settings", [[], ALONE], ids=["interaction", "alone"])
def test_particles_are_the_means_of_the_whole_posterior(tmp_path: Path, settings: list[str]) -> None:
    run = write_run(tmp_path, *settings)
    frames = pictures(3)
    model = checkpoint.load_model(run)
    with torch.no_grad():
        whole = model.encode(torch.from_numpy(frames).movedim(-1, 1) / 255).mean.particles
    encoder = ParticleEncoder(run)
    packed = encoder(frames)
    assert packed.dtype == np.float32
    np.testing.assert_array_equal(packed, encoder.layout.pack(whole).numpy())


def test_particles_that_do_not_see_the_background_are_encoded_without_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, *ALONE)
    before = ParticleEncoder(run)(pictures(2))
    rewrite(run, "encoder.background.", 1e6)
    np.testing.assert_array_equal(ParticleEncoder(run)(pictures(2)), before)


def test_with_interaction_the_background_is_a_part_of_what_particles_are(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    rewrite(run, "encoder.interaction.")  # at initialisation, nothing comes out of it
    before = ParticleEncoder(run)(pictures(2))
    rewrite(run, "encoder.background.")
    after = ParticleEncoder(run)(pictures(2))
    depth = ParticleEncoder(run).layout.columns.index("depth")
    assert (after != before)[..., depth].any(1).all()  # in every picture
    np.testing.assert_array_equal(after[..., :2], before[..., :2])


def test_nothing_is_drawn_from_global_generators(run: Path) -> None:
    encoder = ParticleEncoder(run)

    def seed(number: int) -> None:
        torch.manual_seed(number)
        np.random.seed(number)

    seed(1)
    expected = torch.rand(3), np.random.rand(3)
    seed(1)
    first = encoder(pictures(2))
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])
    seed(2)
    np.testing.assert_array_equal(encoder(pictures(2)), first)


@pytest.mark.parametrize("settings", [[], ALONE], ids=["interaction", "alone"])
def test_the_hundredth_call_gives_what_the_first_one_gave(tmp_path: Path, settings: list[str]) -> None:
    encoder = ParticleEncoder(write_run(tmp_path, *settings))
    pairs = [pictures(2, seed) for seed in range(100)]
    first = [ParticleEncoder(tmp_path)(pair) for pair in pairs[:1]] + [encoder(pair) for pair in pairs[1:10]]
    for pair in pairs:
        encoder(pair)
    assert isinstance(encoder._fields, Traced)
    assert list(encoder._fields.traces) == [(2, 3, SIDE, SIDE)]
    for pair, packed in zip(pairs, first, strict=False):
        np.testing.assert_array_equal(encoder(pair), packed)
    np.testing.assert_array_equal(encoder(pairs[0][:1]), ParticleEncoder(tmp_path)(pairs[0][:1]))


def test_a_batch_gives_what_single_frames_give(run: Path) -> None:
    encoder, frames = ParticleEncoder(run), pictures(8)
    alone = np.concatenate([encoder(frame[None]) for frame in frames])
    np.testing.assert_allclose(encoder(frames), alone, atol=1e-5)
    assert encoder(frames[:0]).shape == (0, encoder.n_particles, encoder.layout.dim)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (pictures(1)[:, :16], r"uint8 of shape \(16, 32, 3\), .* reads uint8 of \(32, 32, 3\)"),
        (pictures(1)[..., :1], r"shape \(32, 32, 1\)"),
        (np.full((1, SIDE, SIDE, 3), np.nan), "frames are float64"),
    ],
)
def test_other_frames_are_refused(run: Path, frames: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ParticleEncoder(run)(frames)


def test_a_model_without_numbers_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    rewrite(run, "encoder.attributes.", np.nan)
    with pytest.raises(InputError, match="holds NaN or infinity"):
        ParticleEncoder(run)(pictures(1))


def test_a_model_of_several_views_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, "model.encoder.grid=true", "model.encoder.views=2")
    with pytest.raises(InputError, match="sees 2 views of each scene together"):
        ParticleEncoder(run)


def test_a_random_choice_of_particles_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, *ALONE, "model.encoder.selection=random")
    with pytest.raises(InputError, match="chooses its particles at random"):
        ParticleEncoder(run)


def test_names_of_hugging_face_are_fetched(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        InputError, match=r"^nobody/nothing: no such run folder or checkpoint, nor could"
    ) as error:
        ParticleEncoder("nobody/nothing")
    assert "\n" not in str(error.value)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(checkpoint.resolve(run)))
    encoder = ParticleEncoder("somebody/balls")
    assert (encoder.run, encoder.hash) == ("somebody/balls", ParticleEncoder(run).hash)


def test_what_is_recorded_gives_the_same_encoder_from_any_folder(
    run: Path, balls_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    encoder = ParticleEncoder(run.name)
    fit_normalizer(encoder, balls_file, 10).save(run.parent / "scale.json")
    encoder = load_encoder(run.name, normalizer="scale.json")
    arguments = recorded(encoder, "scale.json")
    monkeypatch.chdir(tmp_path)
    again = load_encoder(**arguments)
    np.testing.assert_array_equal(again(pictures(2)), encoder(pictures(2)))


def test_another_encoder_than_the_recorded_one_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    arguments = recorded(ParticleEncoder(run), None)
    write_run(run, seed=1)
    with pytest.raises(InputError, match=r"another encoder than the one that was recorded \(hash"):
        load_encoder(**arguments)
    run.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="run: no such run folder or checkpoint"):
        load_encoder(**arguments)


def test_fitting_reads_the_part_that_it_is_told_of(run: Path, balls_file: Path) -> None:
    encoder = ParticleEncoder(run)
    whole = fit_normalizer(encoder, balls_file)
    frames = Rollouts(balls_file).frames(np.arange(36))  # six episodes of six frames are for training
    np.testing.assert_allclose(whole.mean, Normalizer.fit(encoder(frames), encoder.layout).mean, atol=1e-5)
    assert whole.encoder == encoder.hash
    np.testing.assert_allclose(whole.mean, fit_normalizer(encoder, balls_file, chunk=7).mean, atol=1e-5)
    assert not np.allclose(whole.mean, fit_normalizer(encoder, balls_file, part="test").mean, atol=1e-4)
