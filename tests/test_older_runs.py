"""Run folders of earlier versions: `older_runs/` has a config.yaml as version 1 of checkpoints wrote it."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dlp_dyn import checkpoint, config
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.settings import read_section
from dlp_dyn.tracking.config import TrackingConfig, read_tracking
from dlp_dyn.video import VideoModel

VERSION_1 = {"format": "dlp_dyn checkpoint", "version": "1"}
# As the version that wrote the config computed it, of the weights below.
HASH = "ab2e42ceb74eeced84c57b8116b4773926ca506e3abbdd12a5ee2e9761cb97bb"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(Path(__file__).parent / "older_runs" / "balls_joint.yaml", folder / "config.yaml")
    save_file({"weight": torch.zeros(2)}, folder / checkpoint.WEIGHTS, VERSION_1)
    return folder


def test_settings_go_by_their_names_of_today(run: Path) -> None:
    file = run / "config.yaml"
    cfg = config.read(file)
    assert cfg.tracking == read_tracking(file) == TrackingConfig(static_frames=2)
    assert cfg.model == read_section(file, "model", DLPConfig)
    assert cfg.model.encoder.min_separation == 0.75
    (told,) = config.notes(file)
    assert "identity is tracking" in told
    assert "model.encoder.apart is model.encoder.min_separation" in told
    config.save(cfg, file)
    assert config.notes(file) == []
    assert config.read(file) == cfg


@pytest.mark.parametrize("key", ["identity.kind", "model.encoder.apart"])
def test_typed_under_an_earlier_name_they_are_refused_with_that_of_today(key: str) -> None:
    with pytest.raises(InputError, match=r"is called '(tracking|model\.encoder\.min_separation)' now"):
        config.load("balls_joint", ["data.path=x", f"{key}=1"])


def test_agents_know_their_encoder_again(run: Path) -> None:
    assert checkpoint.content_hash(run) == HASH


def test_models_open_and_are_given_away_as_the_same(run: Path, tmp_path: Path) -> None:
    state = VideoModel.from_config(run / "config.yaml").state_dict()
    weights = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(weights, run / checkpoint.WEIGHTS, VERSION_1)
    model = checkpoint.load_video_model(run)
    torch.testing.assert_close(dict(model.state_dict()), dict(weights), rtol=0, atol=0)
    model.save_pretrained(tmp_path / "shared")
    assert checkpoint.load_video_model(tmp_path / "shared").cfg == model.cfg
    assert checkpoint.content_hash(tmp_path / "shared") == checkpoint.content_hash(run)
