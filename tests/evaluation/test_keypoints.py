"""Key points: what linear regression finds, errors in units of the eyes' distance, folders that are no MAFL."""

import numpy as np
import pytest
import torch

from dlp_dyn.data.faces import LANDMARKS, draw_faces, write_faces
from dlp_dyn.data.mafl import Mafl
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation import keypoints
from dlp_dyn.evaluation.keypoints import ParticleRows
from dlp_dyn.image.keypoint_vae.config import KeypointVAEConfig
from dlp_dyn.image.keypoint_vae.model import KeypointVAE


def rows(n, generator, k=6):
    position, spread = (torch.randn(n, k, 2, generator=generator) for _ in range(2))
    features, feature_spread = (torch.randn(n, k, 3, generator=generator) for _ in range(2))
    return ParticleRows(position, spread, features, feature_spread)


def test_landmarks_that_are_linear_in_positions_are_found():
    g = torch.Generator().manual_seed(0)
    train, test = rows(80, g), rows(20, g)
    mix = torch.randn(12, 10, generator=g).double().numpy()
    truth = [(x.design("position") @ mix).reshape(-1, 5, 2) for x in (train, test)]
    errors = keypoints.landmark_errors(train, truth[0], test, truth[1], n_chosen=2)
    assert errors["position"] < 1e-6
    assert errors["spread"] < 1e-6
    assert errors["most_certain"] > 1


def test_a_constant_is_found_only_with_the_background_s_spread():
    """DLPv1's quirk: no column of ones, but the background's constant log-variance with the others."""
    g = torch.Generator().manual_seed(1)
    train, test = rows(60, g), rows(20, g)
    for part in (train, test):
        part.position[:, -1], part.position_spread[:, -1] = 0, np.log(0.01)
    truth = [np.full((n, 5, 2), 0.3) + np.arange(5)[:, None] for n in (60, 20)]
    predicted = {
        what: keypoints.regress(train.design(what), truth[0], test.design(what))
        for what in ("position", "spread")
    }
    assert np.abs(predicted["spread"] - truth[1]).max() < 1e-6
    assert np.abs(predicted["position"] - truth[1]).max() > 0.1


def test_error_is_in_per_cent_of_the_eyes_distance():
    truth = np.zeros((2, 5, 2))
    truth[:, 1, 0] = [10, 20]
    found = truth + np.array([0, 1])
    assert keypoints.eye_distance_error(found, truth) == pytest.approx(100 * (1 / 10 + 1 / 20) / 2)
    assert keypoints.pixel_error(found, truth, side=65) == pytest.approx(32)


def test_certain_particles_come_first():
    part = rows(5, torch.Generator().manual_seed(2), k=3)
    spread = torch.tensor([0.0, -5.0, 3.0])[:, None].expand(5, 3, 2)
    part = ParticleRows(part.position, spread, part.features, part.features_spread)
    assert part.ranked().tolist() == [1, 0, 2]


def test_centres_do_not_depend_on_the_order_of_particles():
    """A particle beside each object, in any row, all off by the same: regression takes that away."""
    rng = np.random.default_rng(0)

    def frames(n):
        centres = np.stack([rng.permutation(np.linspace(-0.8, 0.8, 4)) for _ in range(2 * n)]).reshape(
            n, 2, 4
        )
        centres = centres.transpose(0, 2, 1)
        order = np.stack([rng.permutation(4) for _ in range(n)])
        seen = np.take_along_axis(centres, order[..., None], 1) + 0.05
        one = torch.ones(n, 4, 1)
        return ParticleRows(torch.from_numpy(seen), torch.zeros(n, 4, 2), one, one), centres

    (train, labelled), (test, truth) = frames(30), frames(10)
    visible = [np.ones(x.shape[:2], bool) for x in (labelled, truth)]
    error = keypoints.centre_error(train, (labelled, visible[0]), test, (truth, visible[1]), 64, "position")
    assert error < 1e-6


def test_a_model_s_rows_have_the_background_last():
    cfg = KeypointVAEConfig(
        image_size=32, n_particles=3, n_proposals=4, feature_dim=2, glimpse_fraction=0.5,
        encoder_channels=[8, 8, 8], proposal_channels=[8, 8],
    )  # fmt: skip
    images, _ = draw_faces(np.random.default_rng(0), 5, 32)
    found = keypoints.read_particles(KeypointVAE(cfg), images)
    assert found.position.shape == (5, 4, 2)
    assert torch.equal(found.position[:, -1], torch.zeros(5, 2))
    torch.testing.assert_close(found.position_spread[:, -1], torch.full((5, 2), float(np.log(0.01))))


def test_faces_lie_in_the_frame_and_come_with_landmarks(tmp_path):
    write_faces(tmp_path / "faces.h5", (4, 2, 2), image_size=40)
    rollouts = Rollouts(tmp_path / "faces.h5")
    assert rollouts.image_size == (40, 40)
    points = rollouts.column("states/position")
    assert points.shape == (8, len(LANDMARKS), 2)
    assert np.abs(points).max() < 0.9
    left, right = points[:, 0], points[:, 1]
    assert (left[:, 0] < right[:, 0]).all()


def test_landmarks_lie_where_the_picture_shows_them():
    """The white of the eyes is the brightest spot of dark faces' heads: it lies at the landmarks."""
    images, points = draw_faces(np.random.default_rng(3), 40, 80)
    pixel = np.rint((points[:, :2] + 1) / 2 * 79).astype(int)
    reach = np.arange(-3, 4)
    window = images[
        np.arange(40)[:, None, None, None],
        (pixel[:, :, 1, None] + reach)[..., None],
        (pixel[:, :, 0, None] + reach)[:, :, None],
    ]
    assert (window.min(-1).max((2, 3)) > 200).mean() > 0.95


def test_another_folder_is_no_mafl(tmp_path):
    (tmp_path / "MAFL").mkdir()
    (tmp_path / "MAFL" / "training.txt").write_text("000001.jpg\n")
    with pytest.raises(InputError) as error:
        Mafl(tmp_path)
    text = str(error.value)
    assert "\n" not in text
    assert "Anno/list_landmarks_align_celeba.txt" in text
    assert "MAFL/training.txt" not in text


def test_a_small_mafl(tmp_path):
    iio = pytest.importorskip("imageio.v3")
    for folder in ("Img/img_align_celeba", "Anno", "Eval", "MAFL"):
        (tmp_path / folder).mkdir(parents=True)
    names = [f"{i:06d}.png" for i in range(1, 5)]
    picture = np.zeros((218, 178, 3), np.uint8)
    picture[30 + 89, 89] = 255
    for name in names:
        iio.imwrite(tmp_path / "Img/img_align_celeba" / name, picture)
    points = "89 119 " * 5
    (tmp_path / "Anno/list_landmarks_align_celeba.txt").write_text(
        "4\nlefteye_x ...\n" + "".join(f"{n} {points}\n" for n in names)
    )
    (tmp_path / "Eval/list_eval_partition.txt").write_text(
        "".join(f"{n} {p}\n" for n, p in zip(names, (0, 0, 0, 2), strict=True))
    )
    (tmp_path / "MAFL/training.txt").write_text(names[1] + "\n")
    (tmp_path / "MAFL/testing.txt").write_text(names[3] + "\n")
    data = Mafl(tmp_path)
    assert data.unlabelled == [names[0], names[2]]
    frame = data.frame(names[0])
    assert frame.shape == (160, 160, 3)
    brightest = np.argwhere(frame[..., 0] == frame[..., 0].max())[0]
    seen = (data.points(names[0])[0] + 1) / 2 * 159
    assert np.abs(brightest - seen[::-1]).max() < 1
