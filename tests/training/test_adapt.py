"""The generic preset takes its sizes and prices from any rollout file, unless they are given."""

import numpy as np
import pytest
import torch

from dlp_dyn import config
from dlp_dyn.checkpoint import load_training_state
from dlp_dyn.data.writer import Episode, RolloutWriter
from dlp_dyn.errors import InputError
from dlp_dyn.sharing.weights import load_weights
from dlp_dyn.training.loop import resume, train


def film(path, side, episodes, moving=True, actions=False, length=8):
    rng = np.random.default_rng(0)
    with RolloutWriter(path) as writer:
        for i in range(episodes):
            frames = np.full((length, side, side, 3), 60, np.uint8)
            for frame in frames if moving else []:
                x, y = rng.integers(0, side - 8, 2)
                frame[y : y + 8, x : x + 8] = (220, 180, 30)
            part = "train" if i % 3 == 0 else ("validation" if i % 3 == 1 else "test")
            writer.append(Episode(frames, np.zeros((length, 2), np.float32) if actions else None), part)
    return path


def asked(path, out, *more):
    few = ["steps=3", "eval_every=3", "save_every=3", "sample_every=3", "eval_frames=4", "batch_size=2"]
    return config.load("image", [f"data.path={path}", f"out={out}", *few, *more])


@pytest.mark.parametrize(("side", "episodes", "actions"), [(48, 3, False), (64, 20, True), (96, 3, True)])
def test_any_size_trains_without_another_setting(tmp_path, side, episodes, actions):
    run = train(asked(film(tmp_path / "f.h5", side, episodes, actions=actions), tmp_path / "run"))
    stored = config.read(run / "config.yaml")
    assert stored.auto == []
    assert stored.model.image_size == side
    assert stored.model.reference == "median"
    assert stored.model.glimpse_size == 8
    assert stored.data.clip_length == 2


@pytest.mark.parametrize("actions", [False, True])
def test_dynamics_take_the_actions_of_the_file(tmp_path, actions):
    path = film(tmp_path / "f.h5", 48, 3, actions=actions, length=20)
    image = train(asked(path, tmp_path / "image"))
    few = ["steps=3", "batch_size=2", "eval_frames=4", "eval_every=3"]
    cfg = config.load("video", [f"image={image}", f"data.path={path}", f"out={tmp_path / 'video'}", *few])
    assert config.read(train(cfg) / "config.yaml").dynamics.action_dim == (2 if actions else 0)


def test_what_is_given_takes_the_place_of_what_is_measured(tmp_path):
    path = film(tmp_path / "f.h5", 48, 3)
    cfg = asked(path, tmp_path / "run", "model.n_particles=5", "weights.reconstruction=0.25")
    assert "model.n_particles" not in cfg.auto
    stored = config.read(train(cfg) / "config.yaml")
    assert stored.model.n_particles == 5
    assert stored.weights.reconstruction == 0.25


def test_single_frames_have_no_partners(tmp_path):
    stored = config.read(
        train(asked(film(tmp_path / "f.h5", 48, 9, length=3), tmp_path / "run")) / "config.yaml"
    )
    assert stored.data.clip_length == 1


def test_nothing_moves(tmp_path):
    with pytest.raises(InputError, match="nothing moves"):
        train(asked(film(tmp_path / "f.h5", 48, 3, moving=False), tmp_path / "run"))


def test_resume_is_exact_with_prices(tmp_path):
    path, few = film(tmp_path / "f.h5", 48, 3), ("save_every=2", "optimizer.schedule=constant")
    whole = train(asked(path, tmp_path / "whole", "steps=4", *few))
    cut = train(asked(path, tmp_path / "cut", "steps=2", *few))
    resume(cut, ["steps=4"])
    ours, theirs = (load_weights(run / "checkpoints" / "last") for run in (cut, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    states = [load_training_state(run / "checkpoints" / "last")["objective"] for run in (cut, whole)]
    assert states[0]["prices.price"] == states[1]["prices.price"] != 0.02
