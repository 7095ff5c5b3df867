"""DLPv1 and generators through the real `train`, from data to pictures, and `generate` on what comes out."""

import shutil

import imageio.v3 as iio
import pytest

from dlp_dyn import config
from dlp_dyn.cli import main
from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.faces import write_faces
from dlp_dyn.data.shapes import write_shapes
from dlp_dyn.errors import InputError
from dlp_dyn.generation.model import VideoGenerator
from dlp_dyn.image.keypoint_vae.model import KeypointVAE
from dlp_dyn.training.loop import train

SMALL = ["steps=3", "batch_size=4", "eval_frames=4", "device=cpu"]
NETWORKS = [
    "keypoint_vae.encoder_channels=[8,8,8]", "keypoint_vae.proposal_channels=[4,8]", "keypoint_vae.n_particles=4",
]  # fmt: skip


def run(name, tmp_path, *overrides):
    return train(config.load(name, [*SMALL, f"out={tmp_path / 'run'}", *overrides]))


def test_faces_in_warped_pairs(tmp_path):
    write_faces(tmp_path / "faces.h5", (12, 4, 4), image_size=40)
    folder = run(
        "dlpv1_faces", tmp_path, f"data.path={tmp_path / 'faces.h5'}", "keypoint_vae.image_size=32", *NETWORKS
    )
    assert KeypointVAE.from_pretrained(folder).cfg.image_size == 32
    assert list((folder / "samples").glob("*.png"))


def test_shapes_through_all_phases(tmp_path):
    write_shapes(tmp_path / "shapes.h5", (12, 4, 4))
    folder = run(
        "dlpv1_shapes", tmp_path, f"data.path={tmp_path / 'shapes.h5'}", "phases.warm_up_steps=1",
        "phases.noisy_steps=1", *NETWORKS,
    )  # fmt: skip
    assert KeypointVAE.from_pretrained(folder).cfg.exclusive_patches


def test_a_generator_on_the_bundled_model(tmp_path):
    write_balls(tmp_path / "balls.h5", (2, 2, 1), 12)
    video = shutil.copytree(
        "dlp_dyn/bundled/balls", tmp_path / "video"
    )  # encoded particles are kept beside it
    folder = run(
        "balls_generation", tmp_path, f"data.path={tmp_path / 'balls.h5'}", f"image={video}",
        "generation.dim=8", "generation.n_layers=1", "generation.steps=5",
    )  # fmt: skip
    model = VideoGenerator.from_pretrained(folder)
    assert (model.diffusion.normalizer.particle_scale != 1).all()
    out = tmp_path / "made_up.gif"
    assert main(["generate", str(folder), "--out", str(out), "--n", "2", "--frames", "5"]) == 0
    assert out.stat().st_size > 1000


def test_gaps_are_filled_from_the_command_line(tmp_path, capsys):
    data = tmp_path / "balls.h5"
    write_balls(data, (2, 2, 1), 12)
    video = shutil.copytree("dlp_dyn/bundled/balls", tmp_path / "video")
    folder = run(
        "balls_gaps", tmp_path, f"data.path={data}", f"image={video}", "generation.dim=8", "generation.n_layers=1",
        "generation.steps=5", "generation.frames=6",
    )  # fmt: skip
    out, fill = (
        tmp_path / "gap.gif",
        ["generate", str(folder), "--out", str(tmp_path / "gap.gif"), "--fill", str(data)],
    )
    assert main([*fill, "--n", "1", "--missing", "2:4"]) == 0
    assert len(iio.imread(out)) == 6
    for words, complaint in (
        ([], "belong together"), (["--missing", "0:4"], "begins at 1"), (["--missing", "4:6"], "before 6")
    ):  # fmt: skip
        assert main([*fill, *words]) == 2
        assert complaint in capsys.readouterr().err


def test_a_generator_needs_a_video_model():
    with pytest.raises(InputError, match="image=RUN"):
        train(config.load("balls_generation", SMALL))


def test_other_runs_generate_nothing(tmp_path, capsys):
    code = main(["generate", "dlp_dyn/bundled/balls", "--out", str(tmp_path / "x.gif")])
    assert code == 2
    assert "generates nothing" in capsys.readouterr().err
