"""Goals and texts of clips, and training that reads them."""

import numpy as np
import pytest
import torch

from dlp_dyn import cli
from dlp_dyn.data.clips import ClipDataset
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.steering import SteeredClips
from dlp_dyn.data.writer import Episode, RolloutWriter
from dlp_dyn.errors import InputError

LENGTHS = (5, 7, 6, 6)


@pytest.fixture
def data(tmp_path):
    """Frame t of episode e shows e in red and t in green."""
    path = tmp_path / "told.h5"
    with RolloutWriter(path) as writer:
        for e, (part, length) in enumerate(
            zip(("train", "train", "validation", "test"), LENGTHS, strict=True)
        ):
            frames = np.zeros((length, 32, 32, 3), np.uint8)
            frames[..., 0], frames[..., 1] = e, np.arange(length)[:, None, None]
            writer.append(Episode(frames), part)
    return path


def test_a_clip_has_the_goal_and_the_text_of_its_episode(data):
    texts = np.arange(4.0)[:, None, None] * np.ones((4, 3, 2))
    clips = SteeredClips(ClipDataset(data, "train", 3), True, texts)
    (batch,) = clips.__getitems__(range(len(clips)))
    episode = batch.frames[:, 0, 0, 0, 0].long()
    assert episode.tolist() == [0] * 3 + [1] * 5
    assert batch.goal is not None
    assert batch.language is not None
    assert torch.equal(batch.goal[:, 0, 0, 0].long(), episode)
    assert torch.equal(batch.goal[:, 0, 0, 1].long(), torch.tensor(LENGTHS)[episode] - 1)
    assert torch.equal(batch.language[:, 0, 0], episode.float())


def test_texts_are_one_for_each_episode(data):
    with pytest.raises(InputError, match="3 texts for the 4 episodes"):
        SteeredClips(ClipDataset(Rollouts(data), "train", 3), texts=np.zeros((3, 2, 2)))


SMALL = [
    *(
        "steps=2",
        "batch_size=2",
        "eval_frames=2",
        "eval_every=2",
        "save_every=2",
        "sample_every=2",
        "log_every=1",
    ),
    *("data.clip_length=4", "model.image_size=32", "model.networks.hidden_dim=16", "dynamics.window=3"),
    *(
        f"dynamics.latent_actions.{setting}"
        for setting in (
            *("dim=16", "context_layers=1", "dynamics_layers=1", "goal=true"),
            *("language_dim=6", "language_length=3"),
        )
    ),
]


def test_training_reads_goals_and_texts(data, tmp_path, capsys):
    texts = tmp_path / "texts.npy"
    np.save(texts, np.random.default_rng(0).normal(size=(4, 3, 6)).astype(np.float32))
    words = ["train", "balls_lpwm", f"data.path={data}", *SMALL]
    assert cli.main([*words, f"data.texts={texts}", f"out={tmp_path / 'run'}"]) == 0
    assert (tmp_path / "run" / "checkpoints" / "last").is_dir()
    capsys.readouterr()
    words.append(f"out={tmp_path / 'other'}")
    assert cli.main(words) == 2
    assert "data.texts" in capsys.readouterr().err
    np.save(texts, np.zeros((4, 4, 6), np.float32))
    assert cli.main([*words, f"data.texts={texts}"]) == 2
    assert "4 tokens of width 6" in capsys.readouterr().err
