"""Judging video models: models whose figures are known, actions, files without ground truth."""

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close
from video_runs import IMAGE, dynamics, write_actions, write_run

from dlp_dyn import metrics
from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Episode
from dlp_dyn.evaluation.video import derangement, evaluate_clips, evaluate_video
from dlp_dyn.evaluation.video_report import report
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.video import VideoConfig, VideoModel

CONTEXT, HORIZON, SIDE = 4, 12, 32
SCORES = {"psnr": metrics.psnr}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "balls.h5"
    write_balls(path, (2, 2, 3), CONTEXT + HORIZON, image_size=SIDE, n_balls=2, radius=4.0, speed=1.5)
    return path


@pytest.fixture(scope="module")
def episodes(data):
    rollouts = Rollouts(data)
    return [rollouts.episode(int(i)) for i in rollouts.part("test")]


def known(episodes, name):
    return np.stack([episode.states[name] for episode in episodes])


def positions(episodes):
    return torch.from_numpy(known(episodes, "position")).float()


def scene(position, on=1.0):
    """Particles at positions over (B, T, N, 2), all alike."""
    one = torch.ones(*position.shape[:-1], 1)
    particles = Particles(
        position, 0 * position, one, on * one, one.expand(*position.shape[:-1], IMAGE.feature_dim)
    )
    return Scene(particles, torch.zeros(*position.shape[:2], IMAGE.background_dim))


class Knowing(VideoModel):
    """Sees where things are, in another order, and predicts what it is told to."""

    def __init__(self, known, predicted, action_dim=0, on=1.0):
        torch.manual_seed(0)
        super().__init__(VideoConfig(IMAGE, dynamics=dynamics(action_dim)))
        self.known, self.predicted, self.on = known.flip(2), predicted, on

    def encode(self, video, state: Any = None, draw=None, options=None) -> Any:
        assert draw is None
        assert options is None
        begin = state or 0
        seen = scene(self.known[:, begin : begin + video.shape[1]], self.on)
        return SimpleNamespace(scene=seen), begin + video.shape[1]

    def predict(self, video, horizon, actions=None, samples=0, generator=None):  # pyright: ignore
        assert samples == 0
        assert generator is None
        n = video.shape[1]
        seen = self.known[:, :n]
        return scene(torch.cat([seen, self.predicted(seen, horizon, actions).float()], 1), self.on)


def fly(seen, horizon, actions):
    assert actions is None
    step = torch.arange(1, horizon + 1)[:, None, None]
    return seen[:, -1:] + step * (seen[:, -1:] - seen[:, -2:-1])


def test_errors_have_the_known_answer(episodes):
    truth = positions(episodes)
    figures = evaluate_clips(Knowing(truth, fly), episodes, CONTEXT, SCORES).figures
    truth = truth.numpy()
    ahead = np.arange(1, HORIZON + 1)[:, None, None]

    def error(velocity):
        straight = truth[:, CONTEXT - 1, None] + ahead * velocity[:, None]
        return np.linalg.norm(straight - truth[:, CONTEXT:], axis=-1).mean(-1) * (31 / 64)

    motion = truth[:, CONTEXT - 1] - truth[:, CONTEXT - 2]
    velocity = known(episodes, "velocity")[:, CONTEXT - 1]
    for method, expected in [
        ("model", error(motion)),
        ("constant velocity", error(motion)),
        ("true constant velocity", error(velocity)),
        ("last frame", error(0 * velocity)),
        ("tracking", np.zeros((3, HORIZON))),
    ]:
        assert_allclose(figures[method]["error"], expected, rtol=1e-3, atol=1e-5)


def test_a_model_that_knows_the_future_is_right_and_moves_as_things_do(episodes):
    truth = positions(episodes)
    model = Knowing(truth, lambda seen, *_: truth.flip(2)[:, seen.shape[1] :])
    evaluated = evaluate_clips(model, episodes, CONTEXT, SCORES)
    told = report([evaluated], CONTEXT, SIDE)
    assert told.overall["model"]["med_10"] == pytest.approx(0, abs=1e-6)
    assert told.overall["model"]["lost"] == 0
    assert told.reference == "truth"
    assert (told.context, told.horizon, told.episodes) == (CONTEXT, HORIZON, 3)
    assert told.motion["truth"]["speed_distance"] == 0
    assert told.motion["truth"]["overlaps"] == 0
    for method in ("model", "tracking"):
        assert told.motion[method] == pytest.approx(told.motion["truth"], abs=1e-5)
    halves = [
        evaluate_clips(Knowing(truth[a], fly), episodes[a], CONTEXT, SCORES) for a in (slice(1), slice(1, 3))
    ]
    parts, whole = (
        report(halves, CONTEXT, SIDE),
        report([evaluate_clips(Knowing(truth, fly), episodes, CONTEXT, SCORES)], CONTEXT, SIDE),
    )
    assert parts.overall["model"] == pytest.approx(whole.overall["model"])
    assert parts.motion["model"] == pytest.approx(whole.motion["model"])


def test_a_model_that_sees_nothing_has_lost_everything_and_no_error(episodes):
    told = report(
        [evaluate_clips(Knowing(positions(episodes), fly, on=0.0), episodes, CONTEXT, SCORES)], CONTEXT, SIDE
    )
    assert told.overall["model"]["lost"] == 1
    assert not {"error", "med_10", "error_step_10"} & told.overall["model"].keys()
    assert told.per_step["model"]["error"] == [None] * HORIZON
    assert told.motion["model"]["objects"] == 0
    json.dumps(told.per_step, allow_nan=False)


def test_med_10_needs_ten_steps(episodes):
    short = [Episode(e.frames[:13], states={k: v[:13] for k, v in e.states.items()}) for e in episodes]
    told = report([evaluate_clips(Knowing(positions(short), fly), short, CONTEXT, SCORES)], CONTEXT, SIDE)
    assert "error" in told.overall["model"]
    assert "med_10" not in told.overall["model"]


def test_moving_pixels_are_those_that_differ_from_the_last_frame():
    rng = torch.Generator().manual_seed(0)
    before = torch.rand(3, 3, 8, 8, generator=rng)
    target, image = before.clone(), before.clone()
    target[0, :, :4] = (before[0, :, :4] + 0.3) % 1  # half of the first picture moves
    target[1, 0, 0, 0] = before[1, 0, 0, 0] + 0.04  # noise does not
    image[0, :, :4] = target[0, :, :4] + 0.1
    image[0, :, 4:] = 0  # and what stands still may be as wrong as it likes
    found = metrics.psnr_moving(target, image, before)
    assert_close(found[0], torch.tensor(20.0), rtol=1e-4, atol=0)
    assert found[1:].isnan().all()
    assert_close(metrics.psnr_moving(target, target, before)[0], torch.tensor(100.0))


def test_everybody_gets_the_actions_of_somebody_else():
    for n in range(2, 30):
        order = derangement(n, n)
        assert sorted(order) == list(range(n))
        assert (order != np.arange(n)).all()
    assert (derangement(20, 1) == derangement(20, 1)).all()
    assert (derangement(20, 1) != derangement(20, 2)).any()


def pushed(width=2):
    """Things go where the actions send them, and pictures show them as the model draws them."""
    rng = np.random.default_rng(0)
    actions = rng.normal(0, 0.2, (6, CONTEXT + HORIZON, width)).astype(np.float32)
    moved = np.concatenate([np.zeros((6, 1, width)), actions[:, :-1].cumsum(1)], 1)[:, :, None]
    position = torch.from_numpy(np.concatenate([moved - 0.3, moved + 0.3], 2)).float()

    def follow(seen, horizon, given):
        now = given[:, seen.shape[1] - 1 : seen.shape[1] - 1 + horizon].cumsum(1)
        return seen[:, -1:] + now[:, :, None]

    model = Knowing(position, follow, action_dim=width)
    frames = (model.images(scene(position)).clamp(0, 1) * 255).round().byte().movedim(2, -1).numpy()
    return model, [Episode(f, a) for f, a in zip(frames, actions, strict=True)]


def test_true_actions_beat_shuffled_ones_and_the_last_frame_where_actions_matter():
    model, clips = pushed()
    others = [clips[i] for i in derangement(len(clips), 0)]
    evaluated = evaluate_clips(model, clips, CONTEXT, SCORES, others)
    told = report([evaluated], CONTEXT, SIDE)
    assert told.reference == "tracking"
    assert "true constant velocity" not in told.overall
    assert told.overall["model"]["error"] == pytest.approx(0, abs=1e-6)
    assert told.overall["model"]["psnr_moving"] > 40
    for method in ("shuffled actions", "last frame"):
        assert told.overall[method]["error"] > 0.05
        assert told.overall[method]["psnr_moving"] < told.overall["model"]["psnr_moving"] - 10


def test_actions_that_led_to_the_context_stay_as_they_were():
    model, clips = pushed()
    got = []
    model.predicted = lambda seen, horizon, given: (
        got.append(given) or seen[:, -1:].expand(-1, horizon, -1, -1)
    )
    evaluate_clips(model, clips, CONTEXT, SCORES, clips[1:] + clips[:1])
    true, shuffled = got
    assert_close(true[:, : CONTEXT - 1], shuffled[:, : CONTEXT - 1])
    assert_close(true.roll(-1, 0)[:, CONTEXT - 1 :], shuffled[:, CONTEXT - 1 :])


def test_shuffled_actions_are_true_ones_to_a_model_that_ignores_them(tmp_path):
    run, file = write_run(tmp_path / "run", action_dim=2), write_actions(tmp_path / "acts.h5")
    ignoring = VideoModel.predict

    def predict(self, video, horizon, _):
        return ignoring(self, video, horizon, torch.zeros(len(video), 20, 2))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoModel, "predict", predict)
        told = evaluate_video(run, file, context=CONTEXT)
    assert told.reference == "tracking"
    assert set(told.motion) == {"tracking", "model"}
    assert told.per_step["shuffled actions"] == told.per_step["model"]
    alone = evaluate_video(run, file, context=CONTEXT, max_episodes=1)
    assert "shuffled actions" not in alone.overall


@pytest.mark.parametrize("kind", ["match", "tracker"])
@pytest.mark.parametrize("n_balls", [5, 8])
def test_more_objects_than_it_was_trained_on_and_than_it_has_slots(tmp_path, kind, n_balls):
    run = write_run(tmp_path / "run", image=dataclasses.replace(IMAGE, n_particles=6), kind=kind)
    file = tmp_path / "many.h5"
    write_balls(file, (0, 0, 2), CONTEXT + 10, image_size=SIDE, n_balls=n_balls, radius=3.0, speed=1.5)
    told = evaluate_video(run, file, context=CONTEXT)
    assert told.motion["truth"]["objects"] == pytest.approx(n_balls, abs=0.5)
    assert told.motion["model"]["objects"] <= 6
    if n_balls > 6:
        assert min(v for v in told.per_step["tracking"]["lost"] if v is not None) >= 2 / 8 - 1e-6


def test_every_second_frame_for_a_model_that_was_trained_on_those(data, tmp_path):
    """Ground truth, velocity too, is that of the frames which are seen."""
    thin = evaluate_video(write_run(tmp_path / "run", stride=2), data, context=CONTEXT)
    assert (thin.context, thin.horizon) == (CONTEXT, HORIZON // 2 - CONTEXT // 2)
    rollouts = Rollouts(data)
    episodes = [rollouts.episode(int(i)) for i in rollouts.part("test")]
    last, velocity = (known(episodes, k)[:, 2 * (CONTEXT - 1)] for k in ("position", "velocity"))
    first = known(episodes, "position")[:, 2 * CONTEXT]
    gap = np.linalg.norm(last + 2 * velocity - first, axis=-1).mean() * 31 / 64
    assert thin.per_step["true constant velocity"]["error"][0] == pytest.approx(gap, rel=1e-4)


def test_what_has_seen_the_future_stands_apart(data, tmp_path):
    """With the heads of latent actions at zero, as they start, those of the future are the policy's."""
    told = evaluate_video(write_run(tmp_path / "run", family="latent_graph"), data, context=CONTEXT)
    assert told.per_step["told the future"] == told.per_step["model"]
    assert told.per_step["one sample"] != told.per_step["model"]
    again = evaluate_video(tmp_path / "run", data, context=CONTEXT)
    assert again.per_step["one sample"] == told.per_step["one sample"]
    plain = evaluate_video(write_run(tmp_path / "plain"), data, context=CONTEXT)
    assert not {"told the future", "one sample"} & plain.overall.keys()
