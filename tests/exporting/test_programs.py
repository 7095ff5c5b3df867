"""Exported files give what the model gives, for batches of any size, and are not written where they do not."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from video_runs import write_image_run, write_latent_run, write_run

from dlp_dyn import checkpoint
from dlp_dyn.cli import main
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.errors import InputError
from dlp_dyn.exporting import programs
from dlp_dyn.particles import Scene
from dlp_dyn.video import VideoModel


def test_the_programs_are_the_encoder_and_the_step_of_a_rollout(tmp_path: Path) -> None:
    model = checkpoint.load(write_run(tmp_path, action_dim=2))
    assert isinstance(model, VideoModel)
    encoder, step = programs.programs(model)
    video, actions = torch.rand(3, 4, 3, 32, 32), torch.rand(3, 4, 2)
    first = programs.scene_of(encoder.module(video[:, 0]))
    torch.testing.assert_close(first, model.image.encode(video[:, 0]).mean)
    scenes = model.encode(video)[0].scene
    assert step.inputs == (*programs.SCENE, "actions")
    following = programs.scene_of(step.module(*programs.flat(scenes), actions))
    torch.testing.assert_close(following, model.predict(video, 1, actions)[:, -1])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_programs_of_torch_are_as_exact_as_the_model(tmp_path: Path) -> None:
    for written in programs.export(write_latent_run(tmp_path / "run"), tmp_path, "torch"):
        assert written.difference < 1e-5
        assert written.file.stat().st_size == written.n_bytes


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_step_with_latent_actions_of_tracked_particles_takes_any_batch(tmp_path: Path) -> None:
    model = checkpoint.load(write_run(tmp_path / "run", family="latent_graph"))
    assert isinstance(model, VideoModel)
    step = programs.programs(model)[1]
    assert programs.largest_difference(programs.serialised(step, "torch"), "torch", step) < 1e-5


def test_latent_actions_take_goals_and_texts(tmp_path: Path) -> None:
    model = checkpoint.load(write_latent_run(tmp_path, goal=True, language_dim=4))
    assert isinstance(model, VideoModel)
    _, step = programs.programs(model)
    assert step.inputs[-2:] == ("goal_background", "language")
    given = dict(zip(step.inputs, step.example, strict=True))

    def scene(prefix: str) -> Scene:
        return programs.scene_of([given[prefix + name] for name in programs.SCENE])

    conditions = Conditions(goal=scene("goal_"), language=given["language"])
    state = model.dynamics.start(scene(""), conditions)
    expected = model.dynamics.step(scene(""), conditions, state).drawn
    torch.testing.assert_close(programs.scene_of(step.module(*step.example)), expected)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_writes_onnx_that_onnx_runtime_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    run, out = write_run(tmp_path / "run"), tmp_path / "out"
    assert main(["export", str(run), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "difference" in shown
    session = onnxruntime.InferenceSession(out / "encoder.onnx", providers=["CPUExecutionProvider"])
    images = torch.rand(5, 3, 32, 32)
    found = session.run(list(programs.SCENE), {"images": images.numpy()})
    expected = checkpoint.load_model(run).encode(images).mean
    for one, right in zip(found, programs.flat(expected), strict=True):
        torch.testing.assert_close(torch.as_tensor(one), right, atol=1e-4, rtol=0)
    assert {p.name for p in out.iterdir()} == {"encoder.onnx", "step.onnx"}


class Unsteady(nn.Module):
    """Another function once it is a program: what is read from the flag is fixed there."""

    scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_what_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = programs.Program("half", Unsteady(), (torch.ones(2, 3),), ("x",), ("y",))
    made = programs.serialised(program, "torch")
    monkeypatch.setattr(programs, "serialised", lambda *_: made)
    assert programs.write(program, tmp_path / "same.pt2", "torch").difference == 0
    Unsteady.scale = 1.01
    with pytest.raises(InputError, match=r"differs from the model by 9.9e-03"):
        programs.write(program, tmp_path / "x.pt2", "torch")
    assert not (tmp_path / "x.pt2").exists()
    Unsteady.scale = 1.0


def test_other_runs_give_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["export", str(tmp_path / "empty"), "--out", str(tmp_path)]) == 2
    assert "holds no checkpoint" in capsys.readouterr().err
    image = checkpoint.load(write_image_run(tmp_path / "image"))
    assert [p.name for p in programs.programs(image)] == ["encoder"]
