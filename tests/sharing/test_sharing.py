"""Models as folders to give away, on the disk and as the Hub would get them."""

import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from safetensors.torch import load, load_file
from video_runs import write_image_run, write_run

from dlp_dyn import checkpoint
from dlp_dyn.bundled import BALLS, MODELS
from dlp_dyn.cli import main
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.model import DLP
from dlp_dyn.sharing.locate import resolve
from dlp_dyn.sharing.mixin import SharedModel
from dlp_dyn.video import VideoModel


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video run with a log, an environment and pictures."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "mine")
    rows = [{"step": 1, "train/loss": 2.0}, {"step": 1, "validation/rollout_error": 0.125}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    session = {
        "started": "2026-01-01T00:00:00+0000", "command": ["/home/me/bin/dlp-dyn", "train", "out=/home/me/x"],
        "gpu": None, "cpu": "x86_64", "threads": 1, "platform": "Linux-of-me",
        "versions": {"dlp_dyn": "0.1.0", "torch": "2"}, "earlier": [{"command": ["/home/me/a"]}],
    }  # fmt: skip
    (folder / "environment.json").write_text(json.dumps(session))
    (folder / "samples").mkdir()
    for step in (1, 2):
        (folder / "samples" / f"step_000{step}.png").write_bytes(b"picture %d" % step)
    file = folder / "checkpoints" / "best" / "config.yaml"
    raw = yaml.safe_load(file.read_text())
    raw |= {"image": "/home/me/runs/balls", "out": "/home/me/runs/mine"}
    raw["data"]["path"] = "/home/me/balls.h5"
    file.write_text(yaml.safe_dump(raw))
    return folder


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)


def same_weights(a: bytes, b: bytes) -> bool:
    x, y = load(a), load(b)
    return x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)


@pytest.mark.parametrize(("kind", "write"), [(VideoModel, write_run), (DLP, write_image_run)])
def test_saved_and_loaded_is_the_same_model(kind: type[SharedModel], write: Any, tmp_path: Path) -> None:
    model = kind.from_pretrained(write(tmp_path / "run"))
    assert model.save_pretrained(tmp_path / "shared") is None
    again = kind.from_pretrained(tmp_path / "shared")
    assert same(model, again)
    assert model.sections() == again.sections()  # dataclasses, their tuples included
    assert not again.training
    assert checkpoint.content_hash(tmp_path / "shared") == checkpoint.content_hash(tmp_path / "run")


def test_the_functions_of_checkpoint_load_the_same(run: Path) -> None:
    assert same(checkpoint.load_video_model(run), VideoModel.from_pretrained(run))
    assert same(checkpoint.load_model(run), VideoModel.from_pretrained(run).image)
    assert same(DLP.from_pretrained(run), VideoModel.from_pretrained(run).image)


def test_a_model_without_a_run_can_be_shared(tmp_path: Path) -> None:
    model = DLP(DLPConfig(image_size=32, n_particles=3))
    model.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "config.yaml", "model.safetensors"]
    assert same(model, DLP.from_pretrained(tmp_path))
    assert "## Training" not in (tmp_path / "README.md").read_text()


def test_the_image_model_of_a_video_run_does_not_pass_for_the_run(run: Path, tmp_path: Path) -> None:
    DLP.from_pretrained(run).save_pretrained(tmp_path)
    assert not checkpoint.has_dynamics(tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_half_precision_halves_the_file_and_loads_as_single(run: Path, tmp_path: Path) -> None:
    model = VideoModel.from_pretrained(run)
    model.save_pretrained(tmp_path, dtype=torch.float16)
    stored = load_file(tmp_path / "model.safetensors")
    assert {w.dtype for w in stored.values() if w.is_floating_point()} == {torch.float16}
    for name, weight in VideoModel.from_pretrained(tmp_path).state_dict().items():
        assert weight.dtype == model.state_dict()[name].dtype
        assert torch.equal(weight, stored[name].to(weight.dtype))


def test_what_is_shared_names_nothing_of_this_machine(run: Path, tmp_path: Path) -> None:
    VideoModel.from_pretrained(run).save_pretrained(tmp_path)
    texts = {
        p.name: p.read_text() for p in tmp_path.iterdir() if p.suffix in (".md", ".yaml", ".json", ".jsonl")
    }
    assert texts.keys() == {"README.md", "config.yaml", "environment.json", "metrics.jsonl"}
    for name, text in texts.items():
        assert "/home" not in text, name
        assert "Linux-of-me" not in text, name
    assert json.loads(texts["environment.json"])["command"] == ["dlp-dyn", "train", "out=x"]
    assert texts["metrics.jsonl"] == (run / "metrics.jsonl").read_text()
    assert (tmp_path / "sample.png").read_bytes() == b"picture 2"


def test_the_card_tells_of_data_figures_and_use(run: Path, tmp_path: Path) -> None:
    VideoModel.from_pretrained(run).save_pretrained(tmp_path / "shared")
    card = huggingface_hub.ModelCard.load(tmp_path / "shared" / "README.md")
    assert card.data.to_dict()["library_name"] == "dlp_dyn"
    assert 'VideoModel.from_pretrained("shared")' in card.text
    assert "| data | balls.h5, clips of 1 frames, stride 1 |" in card.text
    assert "| 1 | 0.125 |" in card.text
    assert "![shared: pictures of held-out data](sample.png)" in card.text


def test_sharing_what_was_shared_keeps_it(run: Path, tmp_path: Path) -> None:
    VideoModel.from_pretrained(run).save_pretrained(tmp_path / "a")
    VideoModel.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        if file.name not in ("README.md", "model.safetensors"):  # the folder's name; a header in random order
            assert (tmp_path / "b" / file.name).read_bytes() == file.read_bytes(), file.name
    assert same(VideoModel.from_pretrained(tmp_path / "a"), VideoModel.from_pretrained(tmp_path / "b"))


def test_push_uploads_what_save_writes(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def create(_: Any, **kwargs: Any) -> huggingface_hub.RepoUrl:
        calls.append(kwargs)
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{kwargs['repo_id']}")

    def upload(_: Any, **kwargs: Any) -> str:
        calls.append(kwargs | {"files": {p.name: p.read_bytes() for p in kwargs["folder_path"].iterdir()}})
        return "https://huggingface.co/me/balls/commit/1"

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    model = VideoModel.from_pretrained(run)
    assert model.push_to_hub("me/balls", private=True) == "https://huggingface.co/me/balls/commit/1"
    created, uploaded = calls
    assert (created["repo_id"], created["private"]) == ("me/balls", True)
    assert (uploaded["repo_id"], uploaded["repo_type"]) == ("me/balls", "model")

    model.save_pretrained(tmp_path, model_card_kwargs={"name": "me/balls"})
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert same_weights(uploaded["files"].pop("model.safetensors"), files.pop("model.safetensors"))
    assert uploaded["files"] == files
    assert b'from_pretrained("me/balls")' in uploaded["files"]["README.md"]
    calls.clear()
    model.save_pretrained(tmp_path, push_to_hub=True, repo_id="me/balls")
    assert [call["repo_id"] for call in calls] == ["me/balls", "me/balls"]


def test_a_hub_id_stands_for_a_run(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def fetch(name: str, **kwargs: Any) -> str:
        asked.append((name, kwargs.get("revision")))
        return str(run / "checkpoints" / "best")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert checkpoint.has_dynamics("me/balls")
    VideoModel.from_pretrained("me/balls", revision="v1")
    assert asked == [("me/balls", None), ("me/balls", "v1")]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(InputError, match=r"a Hugging Face model without model\.safetensors"):
        resolve("me/other")


def test_dynamics_train_on_an_image_model_of_the_hub(
    balls_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = write_image_run(tmp_path / "elsewhere") / "checkpoints" / "best"
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(image))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    settings = ["steps=1", "batch_size=2", "eval_frames=1", "dynamics.window=3", "dynamics.rollout_steps=2"]
    words = ["balls_video", "image=me/balls", f"data.path={balls_file}", "device=cpu", "out=run", *settings]
    assert main(["train", *words]) == 0
    assert [p.name for p in Path().iterdir()] == ["run"]  # no folder "me" for encoded particles
    assert same(checkpoint.load_model("run"), checkpoint.load_model(image))


def test_an_unknown_hub_id_is_one_line_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    begun = time.monotonic()
    for verb in (["evaluate"], ["predict", "--out", "x.gif"], ["demo"]):
        assert main([verb[0], "nobody/nothing", "--data", "x.h5", *verb[1:]]) == 2
        line = capsys.readouterr().err
        assert line.startswith(
            "dlp-dyn: error: nobody/nothing: no such run folder or checkpoint, nor could a Hugging"
        )
        assert line.count("\n") == 1
    assert time.monotonic() - begun < 15


def test_a_path_under_a_folder_that_is_here_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(InputError, match=r"^runs/bals: no such run folder or checkpoint$"):
        resolve("runs/bals")


def test_a_folder_that_cannot_be_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        VideoModel.from_pretrained(run).save_pretrained(tmp_path / "file")


def test_a_run_without_dynamics_is_no_video_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a model of single images, it has no dynamics"):
        VideoModel.from_pretrained(write_image_run(tmp_path))


@pytest.mark.parametrize("name", MODELS)
def test_a_bundled_model_is_small_and_names_no_place(name: str) -> None:
    folder = resolve(name)
    assert (folder / "model.safetensors").stat().st_size < 3e6
    assert sum(p.stat().st_size for p in folder.iterdir()) < 5e6
    for file in folder.iterdir():
        if file.suffix in (".md", ".yaml", ".json", ".jsonl"):
            assert "/tmp" not in file.read_text()
            assert "/home" not in file.read_text()


def test_a_folder_comes_before_the_bundled_model_of_its_name(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("balls") == BALLS
    shutil.copytree(run, "balls")
    assert resolve("balls").is_relative_to("balls")
    with pytest.raises(
        InputError, match=r"^bals: no such run folder or checkpoint, nor a model that comes along \(balls, "
    ):
        resolve("bals")


def test_what_a_kill_damaged_is_left_out_of_what_is_shared(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as log:
        log.write('{"step": 2, "valid')
    (tmp_path / "run" / "environment.json").write_text('{"started": "20')
    VideoModel.from_pretrained(tmp_path / "run").save_pretrained(tmp_path / "shared")
    assert (tmp_path / "shared" / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
    assert not (tmp_path / "shared" / "environment.json").exists()
    assert capsys.readouterr().err.count("left out") == 2
