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


@pytest.fixture
def fails(capsys):
    """The line that a command ends with."""

    def run(*command):
        capsys.readouterr()
        assert cli.main([str(word) for word in command]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert sum(line.startswith("dlp-dyn: error: ") for line in lines) == 1
        return lines[-1]

    return run


def test_training_reads_goals_and_texts_and_goes_on_with_no_others(data, tmp_path, monkeypatch, fails):
    texts, run = tmp_path / "texts.npy", tmp_path / "run"
    np.save(texts, np.random.default_rng(0).normal(size=(4, 3, 6)).astype(np.float32))
    words = ["train", "balls_lpwm", f"data.path={data}", *SMALL]
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, "data.texts=texts.npy", f"out={run}"]) == 0
    assert (run / "checkpoints" / "last").is_dir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cli.main(["train", "--resume", str(run), "steps=3"]) == 0

    words.append(f"out={tmp_path / 'other'}")
    go_on = ["train", "--resume", run, "steps=4"]
    assert "set data.texts to the npy file" in fails(*words)
    assert "set data.texts to the npy file" in fails(*go_on, "data.texts=null")
    assert "checkpoints/last: weight 'dynamics.context." in fails(
        *go_on, "dynamics.latent_actions.goal=false"
    )
    np.save(texts, np.zeros((3, 3, 6), np.float32))
    assert "3 texts for the 4 episodes" in fails(*go_on)
    np.save(texts, np.zeros((4, 4, 6), np.float32))
    assert "4 tokens of width 6" in fails(*go_on)
    assert "4 tokens of width 6" in fails(*words, f"data.texts={texts}")


def test_texts_and_goals_that_nothing_would_read_are_refused(data, tmp_path, fails):
    words = ["train", "balls_lpwm", f"data.path={data}", f"out={tmp_path / 'run'}", *SMALL]
    without = "dynamics.latent_actions.language_dim=0"
    assert "the model takes no texts" in fails(*words, without, "data.texts=texts.npy")
    tracked = ["dynamics.kind=graph", "tracking.kind=match", "model.encoder.grid=false"]
    assert "goal=True steers dynamics.kind=latent_actions" in fails(*words, *tracked)


def test_a_run_with_actions_goes_on_with_actions_alone(data, tmp_path, fails):
    told, run = tmp_path / "actions.h5", tmp_path / "run"
    with RolloutWriter(told) as writer:
        for part in ("train", "validation"):
            writer.append(Episode(np.zeros((6, 32, 32, 3), np.uint8), np.ones((6, 2), np.float32)), part)
    words = [word for word in SMALL if "goal" not in word and "language" not in word]
    settings = [f"data.path={told}", f"out={run}", "dynamics.action_dim=2"]
    assert cli.main(["train", "balls_lpwm", *words, *settings]) == 0
    go_on = ["train", "--resume", run, "steps=4"]
    assert "actions of width 0 (stride 1), dynamics.action_dim is 2" in fails(*go_on, f"data.path={data}")
    assert "weight 'dynamics.context.action" in fails(*go_on, "dynamics.action_dim=0")
