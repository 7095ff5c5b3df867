"""The video model: joint loss, second stage, prediction; through the real training loop."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from dlp_dyn import checkpoint, config
from dlp_dyn.clip import Clip, SceneClip
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.synthetic import cache_folder
from dlp_dyn.data.writer import Episode, RolloutWriter
from dlp_dyn.dynamics.config import DynamicsConfig, GraphConfig, TransformerConfig
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.video import evaluate_video
from dlp_dyn.image.config import DLPConfig, NetworkConfig
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.clip_elbo import ClipElbo
from dlp_dyn.objectives.config import ScheduleConfig
from dlp_dyn.objectives.image_elbo import image_terms
from dlp_dyn.objectives.reconstruction import squared_error
from dlp_dyn.objectives.rollout import RolloutError, _without_idle
from dlp_dyn.particles import Scene
from dlp_dyn.tracking.config import TrackingConfig
from dlp_dyn.training.loop import train
from dlp_dyn.training.particle_clips import encode_episode, encode_part
from dlp_dyn.video import VideoConfig, VideoModel

NETWORKS = NetworkConfig(
    proposal_channels=[8, 16], glimpse_channels=[8, 16], background_channels=[8, 16], stem_channels=8,
    map_channels=8, hidden_dim=32,
)  # fmt: skip
IMAGE = DLPConfig(image_size=32, n_particles=4, networks=NETWORKS)
GRAPH = DynamicsConfig("graph", window=3, rollout_steps=2, graph=GraphConfig(hidden_dim=16))
FACTORISED = TransformerConfig(attention="factorised", dim=32, n_layers=1, n_heads=4)
TRANSFORMER = DynamicsConfig("transformer", window=3, rollout_steps=2, transformer=FACTORISED)


def build(kind: Any = "match", dynamics=GRAPH, **tracking):
    torch.manual_seed(0)
    return VideoModel(VideoConfig(IMAGE, TrackingConfig(kind, **{"static_frames": 2, **tracking}), dynamics))


def clip(frames=4, actions=None):
    torch.manual_seed(1)
    return Clip(torch.randint(0, 256, (2, frames, 32, 32, 3), dtype=torch.uint8), actions)


@pytest.mark.parametrize("kind", ["match", "grid", "tracker"])
@pytest.mark.parametrize("dynamics", [GRAPH, TRANSFORMER], ids=["graph", "transformer"])
def test_joint_loss_has_its_terms_and_reaches_everything(kind, dynamics):
    model = build(kind, dynamics).train()
    objective = ClipElbo(model)
    terms, metrics = objective(clip())
    assert tuple(terms) == objective.terms("model")
    assert all(term.shape == (2,) for term in terms.values())
    total, _ = weighted_sum(terms, dict.fromkeys(terms, 1.0))
    total.backward()
    assert torch.isfinite(total)
    assert not metrics["psnr"].requires_grad
    for part in (model.image.encoder, model.image.decoder, model.dynamics):
        assert sum(p.grad.abs().sum() for p in part.parameters() if p.grad is not None) > 0


def test_later_frames_come_to_count_one_after_the_other():
    model = build().eval()
    video = clip(5).video
    with torch.no_grad():
        encoding, _ = model.encode(video)

        objective = ClipElbo(model, ScheduleConfig(later_frames_steps=10))

        def term(later):
            ramp = objective.ramp(5, 10 * later + 1)
            return objective.clip_terms(video, encoding, ramp=ramp)[0]["reconstruction_dynamic"]

        scene = encoding.scene.map(lambda x: x.flatten(0, 1))
        error = squared_error(video.flatten(0, 1), model.decode(scene).image).view(2, 5)[:, 2:]
        for later, weights in [(0, [0, 0, 0]), (1, [1, 1 / 2, 1 / 3]), (2, [1, 1, 2 / 3]), (9, [1, 1, 1])]:
            assert_close(term(later), (error * torch.tensor(weights)).sum(1) / 5)


def test_static_terms_are_the_image_models():
    model = build("match", static_frames=4).eval()
    video = clip(5).video
    with torch.no_grad():
        encoding, _ = model.encode(video)
        terms, _ = ClipElbo(model).clip_terms(video, encoding)
        flat = encoding.map(lambda x: x[:, :4].flatten(0, 1))
        images = video[:, :4].flatten(0, 1)
        alone = image_terms(model.image, images, flat, model.image.decode(flat.scene))
    for name, value in alone.items():
        assert_close(terms[name], value.view(2, 4).sum(1) / 5)


def test_second_stage_trains_dynamics_alone():
    objective = RolloutError(build(), ScheduleConfig(longer_rollouts_steps=5)).train()
    model = objective.model
    assert not model.image.training
    assert model.dynamics.training
    scene = model.encode(clip(5).video)[0].scene
    terms, _ = objective(SceneClip(scene), step=6)
    assert tuple(terms) == objective.terms("dynamics")
    weighted_sum(terms, dict.fromkeys(terms, 1.0))[0].backward()
    assert all(p.grad is None for p in model.image.parameters())
    (update,) = objective.updates()
    assert {id(p) for p in update.parameters} == {id(p) for p in model.dynamics.parameters()}
    short, _ = objective(SceneClip(scene), step=5)
    first, _ = objective(SceneClip(scene[:, :4]), step=6)
    assert_close(short["rollout_position"], first["rollout_position"])


def test_second_stage_leaves_out_what_is_off():
    """Whatever else such particles hold, and however many there are: one is enough."""
    objective = RolloutError(build()).train()
    video = clip(5).video
    scene = objective.model.encode(video)[0].scene
    on = torch.zeros_like(scene.particles.transparency)
    on[0, :, [1, 2]], on[1, :3, 0], on[1, 3:, 3] = 0.99, 0.99, 0.99
    known = SceneClip(Scene(dataclasses.replace(scene.particles, transparency=on), scene.background))
    left = _without_idle(known, 3).scene.particles
    assert left.position.shape[2] == 2
    assert_close(left.position[0], scene.particles.position[0][:, [1, 2]])
    assert_close(left.position[1, :, 0], scene.particles.position[1, :, 0])
    assert not left.visible[1, :, 1].all()  # what comes on later was not there to be moved
    objective.train()(known)


def test_prediction_goes_on_from_the_context():
    model = build().eval()
    video = clip(6).video
    scene = model.predict(video, 5)
    assert scene.background.shape[:2] == (2, 11)
    assert_close(list(scene[:, :6]), list(model.encode(video)[0].scene))
    many = model.predict(video, 5, samples=3, generator=torch.Generator().manual_seed(0))
    again = model.predict(video, 5, samples=3, generator=torch.Generator().manual_seed(0))
    assert many.background.shape[:2] == (6, 11)
    assert_close(list(many), list(again))
    assert_close(model.images(scene)[:, :4], model.images(scene[:, :4]))


def test_prediction_of_a_batch_is_that_of_each_clip():
    model = build().eval()
    video = clip(6).video
    whole, second = model.predict(video, 4), model.predict(video[1:], 4)
    assert_close(list(whole[1:]), list(second), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"horizon": 0}, "horizon 0"),
        ({"actions": None}, "width 2, and there are none"),
        ({"actions": torch.zeros(2, 20, 3)}, "actions of width 3"),
        ({"actions": torch.zeros(2, 5, 2)}, "5 actions, 7 are needed"),
        ({"video": torch.full((2, 4, 3, 32, 32), torch.nan)}, "NaN"),
    ],
)
def test_bad_input_of_predict(change, match):
    model = build(dynamics=dataclasses.replace(GRAPH, action_dim=2)).eval()
    given = {"video": clip(4).video, "horizon": 4, "actions": torch.zeros(2, 20, 2)}
    with pytest.raises(InputError, match=match):
        model.predict(**(given | change))


def test_clips_have_to_be_longer_than_the_static_frames():
    with pytest.raises(InputError, match="clips of 2 frames"):
        ClipElbo(build())(clip(2))


JOINT = {
    "dynamics.kind": "graph",
    "dynamics.window": 3,
    "dynamics.graph.hidden_dim": 16,
    "data.clip_length": 4,
}
SECOND = {**JOINT, "stage": "dynamics", "dynamics.rollout_steps": 2, "eval_frames": 4}


@pytest.fixture(scope="module")
def video_file(tmp_path_factory):
    from dlp_dyn.data.balls import write_balls

    path = tmp_path_factory.mktemp("data") / "balls.h5"
    write_balls(path, (6, 3, 3), 20, image_size=32, n_balls=2, radius=4.0, speed=1.5)
    return path


def overridden(tiny, video_file, settings):
    """The tiny config with other settings."""
    return tiny(**{"data.path": video_file, "steps": 3, **settings})


def test_joint_training_runs(tiny, video_file, tmp_path):
    settings = {**JOINT, "tracking.static_frames": 2, "out": tmp_path / "joint"}
    settings["model.networks.hidden_dim"] = 32  # some particles of these random weights are on
    cfg = overridden(tiny, video_file, settings)
    run = train(cfg)
    assert checkpoint.has_dynamics(run)
    assert checkpoint.load_model(run).cfg == cfg.model
    report = evaluate_video(run, video_file, context=5)
    assert {"model", "last frame", "constant velocity", "true constant velocity"} <= report.overall.keys()
    assert len(report.per_step["model"]["psnr"]) == 15
    assert report.overall["model"]["med_10"] >= 0
    json.dumps(dataclasses.asdict(report))


@pytest.fixture
def second(tiny, video_file, tmp_path):
    """A second stage on a fresh image run."""
    image = train(
        dataclasses.replace(tiny(**{"data.path": video_file, "steps": 1}), out=str(tmp_path / "image"))
    )
    settings = {**SECOND, "image": image, "out": tmp_path / "second"}
    return overridden(tiny, video_file, settings)


def test_second_stage_runs_and_encodes_once(second, tmp_path):
    run = train(second)
    assert not (tmp_path / "image" / "particles").exists()
    assert {p.suffix for p in (cache_folder() / "particles").iterdir()} == {".safetensors"}
    image = checkpoint.load_model(tmp_path / "image").state_dict()
    trained = checkpoint.load_video_model(run).image.state_dict()
    assert all(torch.equal(image[name], trained[name]) for name in image)
    assert list((run / "samples").glob("*.gif"))


def test_cached_particles_are_those_of_the_model(second, video_file, tmp_path):
    from dlp_dyn.data.rollouts import Rollouts

    model = checkpoint.load_video_model(train(second))
    rollouts = Rollouts(video_file)
    first, cached = (encode_part(model, rollouts, "test", tmp_path / "cache") for _ in range(2))
    assert_close(list(first), list(cached))
    frames = rollouts.episode(int(rollouts.part("test")[0])).frames
    assert_close(list(encode_episode(model, frames)), list(first[: len(frames)]))


def test_stages_that_do_not_fit(tiny, second):
    for cfg, match in [
        (tiny(**{"stage": "dynamics"}), "dynamics.kind is none"),
        (tiny(**SECOND), "image=RUN"),
        (dataclasses.replace(second, image="nowhere"), "nowhere: no such run"),
        (tiny(**{**JOINT, "dynamics.kind": "transformer", "data.clip_length": 9}), "clip_length is 9"),
        (tiny(**{**JOINT, "data.clip_length": 2}), "clip_length is 2"),
        (
            dataclasses.replace(second, dynamics=dataclasses.replace(second.dynamics, action_dim=2)),
            "actions of width 0",
        ),
    ]:
        with pytest.raises(InputError, match=match):
            train(cfg)


def test_a_run_without_dynamics(tiny):
    run = train(tiny(steps=1))
    assert not checkpoint.has_dynamics(run)
    with pytest.raises(InputError, match="no dynamics"):
        checkpoint.load_video_model(run)


def test_video_configs_load():
    for name in ("balls_video", "balls_video_transformer", "balls_ddlp"):
        cfg = config.load(name, ["data.path=x.h5"])
        assert cfg.dynamics.kind in ("graph", "transformer")


def test_second_stage_with_actions(tiny, tmp_path):
    """A clip's actions reach the dynamics, and a prediction with other actions is another one."""
    path = tmp_path / "acts.h5"
    rng = np.random.default_rng(0)
    with RolloutWriter(path) as writer:
        for part in ("train", "train", "validation", "test"):
            frames = rng.integers(0, 255, (9, 32, 32, 3), np.uint8)
            writer.append(Episode(frames, actions=rng.normal(size=(9, 2)).astype(np.float32)), part)
    image = train(dataclasses.replace(tiny(**{"data.path": path, "steps": 1}), out=str(tmp_path / "image")))
    settings = {**SECOND, "dynamics.action_dim": 2, "image": image, "out": tmp_path / "second"}
    run = train(overridden(tiny, path, {**settings, "eval_frames": 1}))
    model = checkpoint.load_video_model(run)
    assert model.dynamics.action is not None
    action: Any = model.dynamics.action
    weight = action.linear.weight
    taken = Rollouts(path).column("actions")[:18].reshape(2, 9, 2)[:, :-1].reshape(-1, 2)
    assert_close(action.mean, torch.from_numpy(taken).mean(0))
    assert weight.abs().max() > 0
    with torch.no_grad():
        weight.add_(0.1)
    video = clip(4).video
    actions = torch.zeros(2, 20, 2)
    a, b = (model.predict(video, 3, x).particles.position for x in (actions, actions + 1))
    assert (a - b).abs().max() > 0
