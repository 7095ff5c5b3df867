"""Official checkpoints become runs of ours, and go back as they came."""

import json

import pytest
import torch
from bundles import GOLDEN, PATHS, kind_of, read
from kinds import lpwm

from dlp_dyn import checkpoint, cli, official
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


def test_hparams_of_another_condition_are_one_line(tmp_path, capsys):
    """A checkpoint of LPWM with the hyper-parameters of each other one: actions, texts, goals, views, or none."""
    bundles = [bundle for bundle in map(read, CONVERTED) if lpwm.holds(bundle)]
    if len(bundles) < 2:
        pytest.skip(f"no golden bundles of LPWM with several conditions in {GOLDEN}")
    words = ["--hparams", str(tmp_path / "hparams.json"), "--out", str(tmp_path / "run")]
    for one in bundles:
        torch.save(one.state_dict, tmp_path / "official.pth")
        for other in bundles:
            if other is not one:
                (tmp_path / "hparams.json").write_text(json.dumps(other.hparams))
                assert cli.main(["convert", str(tmp_path / "official.pth"), *words]) == 2
                error = capsys.readouterr().err
                assert "does the hparams file belong to it?" in error
                assert len(error.strip().splitlines()) == 1
                assert not (tmp_path / "run").exists()


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
