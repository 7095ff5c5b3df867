"""Official checkpoints become runs of ours, and go back as they came."""

import json

import pytest
import torch
from bundles import GOLDEN, PATHS, kind_of, read

from dlp_dyn import checkpoint, official
from dlp_dyn.video import VideoModel

CONVERTED = [path for path in PATHS if getattr(kind_of(read(path)), "CONVERTS", False)]


@pytest.fixture(params=CONVERTED or [None], ids=lambda p: str(p.relative_to(GOLDEN)) if p else "none")
def bundle(request):
    if request.param is None:
        pytest.skip(f"no golden bundles in {GOLDEN}")
    return read(request.param)


def test_weights_go_back_as_they_came(bundle):
    model, _ = official.load(bundle.state_dict, bundle.hparams)
    exported = official.export(model)
    assert exported.keys() <= bundle.state_dict.keys()  # DLPv3 keeps constants that its hyper-parameters give
    for name, tensor in exported.items():
        assert torch.equal(tensor.float(), bundle.state_dict[name].float()), name


def test_a_converted_run_is_the_model(bundle, tmp_path):
    torch.save(bundle.state_dict, tmp_path / "official.pth")
    (tmp_path / "hparams.json").write_text(json.dumps(bundle.hparams))
    official.convert(tmp_path / "official.pth", tmp_path / "hparams.json", tmp_path / "run")
    model, _ = official.load(bundle.state_dict, bundle.hparams)
    video = isinstance(model, VideoModel)
    assert checkpoint.has_dynamics(tmp_path / "run") == video
    loaded = (checkpoint.load_video_model if video else checkpoint.load_model)(tmp_path / "run")
    assert loaded.cfg == model.cfg
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
