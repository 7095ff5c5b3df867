"""Sampling maths against closed forms, the official numbers, and the plain implementation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from benchmarks import plain
from dlp_dyn import geometry

ALIGN = pytest.mark.parametrize("align_corners", [True, False])


def uniform(*shape, low=0.0, high=1.0):
    return (low + (high - low) * torch.rand(*shape)).requires_grad_()


def scene(batch=2, n=5, side=8, reach=1.3, smallest=0.05, largest=0.5):
    """Glimpses, position, size, transparency and depth of a random scene."""
    return (
        uniform(batch, n, 4, side, side),
        uniform(batch, n, 2, low=-reach, high=reach),
        uniform(batch, n, 2, low=smallest, high=largest),
        uniform(batch, n, 1),
        uniform(batch, n, 1, low=-2, high=2),
    )


def gradients(outputs, inputs):
    """Of a fixed random projection of the outputs."""
    generator = torch.Generator().manual_seed(1)
    weights = [torch.rand(x.shape, generator=generator) for x in outputs]
    return torch.autograd.grad(outputs, inputs, weights)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_pixels_and_units_are_inverse():
    position = torch.tensor([-1.0, 1.0, 0.3])
    assert_close(geometry.to_pixel(position, 64), torch.tensor([0.0, 63.0, 40.95]))
    assert_close(geometry.to_unit(geometry.to_pixel(position, 64), 64), position)


def test_patches_are_row_major():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert_close(geometry.patches(image, 2)[0, 1, 0], torch.tensor([[2.0, 3.0], [6.0, 7.0]]))


def test_patch_centres_are_the_official_ones():
    centre = geometry.patch_to_image(torch.zeros(1, 64, 2), 8, 64)[0]
    assert_close(centre[0], torch.full((2,), -0.8888889))
    assert_close(centre[1], torch.tensor([-0.6349206, -0.8888889]))
    assert_close(centre[8], torch.tensor([-0.8888889, -0.6349206]))


def test_patch_corners_are_pixels():
    corner = geometry.patch_to_image(torch.full((1, 4, 2), -1.0), 2, 4)
    assert_close(geometry.to_pixel(corner, 4)[0], torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2]]))


def test_spatial_softmax_gives_the_official_numbers():
    mean, moments = geometry.spatial_softmax((torch.arange(16.0) / 4).reshape(1, 4, 4))
    assert_close(mean, torch.tensor([[0.2047301, 0.6617684]]))
    assert_close(moments, torch.tensor([[0.5271773, 0.2740384, 0.0]]))


@pytest.mark.parametrize(("side", "variance"), [(4, 5 / 9), (2, 1.0)])
def test_spatial_softmax_of_a_flat_map(side, variance):
    mean, moments = geometry.spatial_softmax(torch.zeros(3, side, side))
    assert_close(mean, torch.zeros(3, 2))
    assert_close(moments, torch.tensor([variance, variance, 0.0]).expand(3, 3))


def test_spatial_softmax_sees_x_along_columns():
    heat = torch.zeros(1, 3, 5)
    heat[0, 2, 1] = 50.0
    mean, moments = geometry.spatial_softmax(heat)
    assert_close(mean, torch.tensor([[-0.5, 1.0]]))
    assert_close(moments, torch.tensor([[1e-6, 1e-6, 0.0]]))


def test_spatial_softmax_covariance():
    heat = torch.full((1, 3, 3), -50.0)
    heat[0, 0, 0] = heat[0, 2, 2] = 0.0
    assert_close(geometry.spatial_softmax(heat)[1], torch.ones(1, 3))


def test_crop_of_everything_is_the_image():
    images = torch.rand(2, 3, 16, 16)
    whole = geometry.crop_glimpses(images, torch.zeros(2, 1, 2), torch.ones(2, 1, 2), 16)
    assert_close(whole[:, 0], images)


@ALIGN
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_crop_is_the_plain_crop(padding, align_corners):
    images = uniform(2, 3, 24, 24)
    where = (uniform(2, 7, 2, low=-1.2, high=1.2), uniform(2, 7, 2, low=0.02, high=1.2))
    options = {"padding": padding, "align_corners": align_corners}
    ours = geometry.crop_glimpses(images, *where, 8, **options)
    oracle = plain.crop_glimpses(images, *where, 8, **options)
    assert_close(ours, oracle, atol=1e-5, rtol=1e-5)
    inputs = (images, *where)
    assert_close(gradients([ours], inputs), gradients([oracle], inputs), atol=2e-3, rtol=1e-4)


def test_half_precision_is_cropped_at_exact_places():
    """In bfloat16, 0.999 and 1.0 are one place."""
    features = torch.rand(1, 2, 64, 64).bfloat16()
    position, size = torch.tensor([[[0.401, 0.999]]]), torch.tensor([[[0.25, 0.25]]])
    with torch.autocast("cpu", torch.bfloat16):
        half = geometry.crop_features(features, position, size, 8, 64)
    assert_close(half, geometry.crop_features(features.float(), position, size, 8, 64), rtol=0, atol=0)


def test_crop_gradients_are_those_of_differences():
    images = torch.rand(1, 2, 9, 9, dtype=torch.float64)
    # Away from pixel centres, where bilinear sampling has a kink.
    position = torch.tensor([[[0.11, -0.23]]], dtype=torch.float64, requires_grad=True)
    size = torch.tensor([[[0.31, 0.43]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, s: geometry.crop_glimpses(images, p, s, 4), (position, size))


@ALIGN
def test_placing_is_the_plain_placing(align_corners):
    glimpses, position, size = scene()[:3]
    ours = geometry.place_glimpses(glimpses, position, size, 20, align_corners=align_corners)
    assert_close(
        ours,
        plain.place_glimpses(glimpses, position, size, 20, align_corners=align_corners),
        atol=1e-4,
        rtol=1e-4,
    )


@ALIGN
def test_crop_after_place_gives_the_glimpse_back(align_corners):
    """Where the samples of the glimpse fall on pixels of the canvas."""
    glimpses = torch.rand(1, 2, 3, 8, 8)
    side = 31 if align_corners else 32
    pixel = torch.tensor([[[10.5, 14.5], [25.5, 17.5]]])
    position = 2 * pixel / 31 - 1 if align_corners else (2 * pixel + 1) / 32 - 1
    size = torch.full((1, 2, 2), (7 if align_corners else 8) / side)
    placed = geometry.place_glimpses(glimpses, position, size, 32, align_corners=align_corners)
    for i in range(2):
        back = geometry.crop_glimpses(
            placed[:, i], position[:, i : i + 1], size[:, i : i + 1], 8, align_corners=align_corners
        )
        assert_close(back[:, 0], glimpses[:, i], atol=1e-4, rtol=1e-4)
        corner = placed[0, i, :, int(pixel[0, i, 1] - 3.5), int(pixel[0, i, 0] - 3.5)]
        assert_close(corner, glimpses[0, i, :, 0, 0], atol=1e-4, rtol=1e-4)


def test_composite_gives_the_official_numbers():
    side = 4
    glimpses = torch.zeros(1, 2, 4, side, side)
    glimpses[:, 0, 0], glimpses[:, 1, 1] = 1.0, 1.0
    glimpses[:, 0, 3], glimpses[:, 1, 3] = 0.8, 0.5
    transparency, depth = torch.tensor([[[0.9], [0.4]]]), torch.tensor([[[0.5], [-1.0]]])
    foreground, background_weight = geometry.composite(
        glimpses, torch.zeros(1, 2, 2), torch.full((1, 2, 2), 0.9), transparency, depth, 9
    )
    assert_close(foreground[0, :, 4, 4], torch.tensor([0.4681655, 0.0699492, 0.0]))
    assert_close(background_weight[0, :, 4, 4], torch.tensor([0.4618853]))


@ALIGN
@pytest.mark.parametrize("reach", [0.8, 1.6])
def test_windowed_composite_is_the_full_and_the_plain_one(align_corners, reach):
    """In values and in all five gradients, with glimpses inside, across and outside the border."""
    inputs = scene(reach=reach, n=8)
    windowed = geometry.composite(*inputs, 40, align_corners=align_corners)
    full = geometry.composite(*inputs, 40, window=40, align_corners=align_corners)
    oracle = plain.composite(*inputs, 40, align_corners=align_corners)
    assert geometry.covering_window(inputs[2], 8, 40) < 40
    wanted = gradients(oracle, inputs)
    for ours in (windowed, full):
        assert_close(ours, oracle, atol=2e-5, rtol=1e-4)
        for got, want in zip(gradients(ours, inputs), wanted, strict=True):
            assert_close(got, want, atol=2e-4 * float(want.abs().max()), rtol=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    canvas=st.integers(8, 40),
    side=st.integers(2, 12),
    size=st.lists(st.floats(0.005, 0.99), min_size=2, max_size=2),
    position=st.lists(st.floats(-1.7, 1.7), min_size=4, max_size=4),
    align_corners=st.booleans(),
)
def test_the_window_covers(canvas, side, size, position, align_corners):
    glimpses = torch.ones(1, 2, 4, side, side)  # opaque up to the border, where a short window would show
    where = torch.tensor(position).reshape(1, 2, 2)
    sizes = torch.tensor(size).expand(1, 2, 2)
    attributes = (where, sizes, torch.ones(1, 2, 1), torch.zeros(1, 2, 1))
    windowed = geometry.composite(glimpses, *attributes, canvas, align_corners=align_corners)
    full = geometry.composite(glimpses, *attributes, canvas, window=canvas, align_corners=align_corners)
    assert_close(windowed, full, atol=1e-5, rtol=1e-5)


def test_the_window_depends_on_the_largest_glimpse():
    sizes = torch.full((1, 3, 2), 0.1)
    small = geometry.covering_window(sizes, 16, 128)
    sizes[0, 1, 0] = 0.4
    large = geometry.covering_window(sizes, 16, 128)
    assert 0.1 * 128 < small < 0.4 * 128 < large < 128
    assert geometry.covering_window(torch.ones(1, 1, 2), 16, 128) == 128


def test_composite_ignores_the_order_of_particles():
    inputs = scene()
    order = torch.randperm(5)
    before = geometry.composite(*inputs, 24)
    after = geometry.composite(*[x[:, order] for x in inputs], canvas=24)
    assert_close(before, after)


def test_composite_of_one_image_is_that_of_the_batch():
    inputs = scene(batch=3)
    together = geometry.composite(*inputs, 24)
    alone = [geometry.composite(*[x[i : i + 1] for x in inputs], canvas=24) for i in range(3)]
    assert_close(
        together, tuple(torch.cat(parts) for parts in zip(*alone, strict=True)), atol=1e-5, rtol=1e-5
    )


def test_a_glimpse_outside_the_canvas_draws_nothing():
    glimpses, position, size, transparency, depth = scene(n=2, largest=0.3)
    far = torch.full_like(position, 1.9)
    foreground, background_weight = geometry.composite(glimpses, far, size, transparency, depth, 24)
    assert foreground.abs().max() == 0
    assert (background_weight == 1).all()


def test_a_transparent_particle_draws_nothing():
    glimpses, position, size, transparency, depth = scene()
    transparency = transparency.detach().clone()
    transparency[:, 2] = 0
    kept = [0, 1, 3, 4]
    inputs = (glimpses, position, size, transparency, depth)
    assert_close(
        geometry.composite(*inputs, 24), geometry.composite(*[x[:, kept] for x in inputs], canvas=24)
    )


def test_the_nearer_particle_hides_the_farther():
    glimpses = torch.zeros(1, 2, 4, 8, 8)
    glimpses[:, 0, 0], glimpses[:, 1, 1], glimpses[:, :, 3] = 1.0, 1.0, 1.0
    depth = torch.tensor([[[-12.0], [12.0]]])
    foreground, background_weight = geometry.composite(
        glimpses, torch.zeros(1, 2, 2), torch.full((1, 2, 2), 0.5), torch.ones(1, 2, 1), depth, 17
    )
    assert_close(foreground[0, :, 8, 8], torch.tensor([1.0, 0.0, 0.0]), atol=1e-4, rtol=0)
    assert_close(background_weight[0, :, 8, 8], torch.tensor([0.0]), atol=1e-4, rtol=0)


def test_alpha_noise_is_the_plain_one():
    inputs = scene()
    torch.manual_seed(3)
    ours = geometry.composite(*inputs, 24, alpha_noise=0.1)
    torch.manual_seed(3)
    oracle = plain.composite(*inputs, 24, alpha_noise=0.1)
    assert_close(ours, oracle, atol=1e-4, rtol=1e-4)
    for got, want in zip(gradients(ours, inputs), gradients(oracle, inputs), strict=True):
        assert_close(got, want, atol=2e-4 * float(want.abs().max()), rtol=1e-3)


def test_half_precision_glimpses_are_blended_in_float32():
    inputs = scene()
    foreground, weight = geometry.composite(inputs[0].bfloat16(), *inputs[1:], 24)
    assert foreground.dtype == weight.dtype == torch.float32


@ALIGN
def test_masks_and_background_share_every_pixel(align_corners):
    inputs = scene()
    masks = geometry.particle_masks(*inputs, 24, align_corners=align_corners)
    weight = geometry.composite(*inputs, 24, align_corners=align_corners)[1]
    assert masks.min() >= 0
    assert_close(masks.sum(1, keepdim=True) + weight, torch.ones_like(weight), atol=1e-5, rtol=0)


def test_box_covers_the_official_pixels():
    position, on = torch.tensor([[[0.0, 0.0]]]), torch.ones(1, 1, 1)
    cover = geometry.box_cover(position, on, 16, 64)[0, 0]
    assert cover.sum() == 16 * 16
    assert cover[24:40, 24:40].min() == 1
    corner = geometry.box_cover(torch.full((1, 1, 2), 0.98), on, 16, 64)[0, 0]
    assert corner.sum() == 9 * 9
    assert corner[55:, 55:].min() == 1
    left = geometry.box_cover(torch.tensor([[[-0.98, 0.0]]]), on, 16, 64)[0, 0]
    assert left.sum(1).nonzero().flatten().tolist() == list(range(24, 40)), "y is the row"


@ALIGN
@pytest.mark.parametrize(("side", "canvas"), [(16, 64), (7, 32), (5, 31)])
def test_box_cover_is_the_plain_one(side, canvas, align_corners):
    position, weight = torch.rand(3, 40, 2) * 3 - 1.5, torch.rand(3, 40, 1) * 0.3
    ours = geometry.box_cover(position, weight, side, canvas, align_corners=align_corners)
    oracle = plain.box_cover(position, weight, side, canvas, align_corners=align_corners)
    assert_close(ours, oracle, atol=1e-5, rtol=0)


def test_box_cover_is_clamped_and_has_no_gradient():
    position = torch.zeros(1, 3, 2, requires_grad=True)
    cover = geometry.box_cover(position, torch.ones(1, 3, 1), 4, 8)
    assert cover.max() == 1
    assert not cover.requires_grad


def test_features_are_cropped_where_the_image_is():
    """The cells of a map know the mean x of their pixels; a crop of them is centred on the same x."""
    ramp = torch.linspace(-1, 1, 24).expand(1, 1, 24, 24)
    cells = torch.nn.functional.avg_pool2d(ramp, 4)
    position, size = torch.tensor([[[0.2, -0.1]]]), torch.full((1, 1, 2), 0.3)
    crop = geometry.crop_features(cells, position, size, 4, 24)
    assert crop.shape == (1, 1, 1, 4, 4)
    assert_close(crop.mean(), torch.tensor(0.2))


def test_a_crop_spans_its_size():
    ramp = torch.linspace(-1, 1, 33).expand(1, 1, 33, 33)
    crop = geometry.crop_glimpses(ramp, torch.tensor([[[0.1, 0.0]]]), torch.tensor([[[0.5, 0.25]]]), 5)
    assert_close(crop[0, 0, 0], (0.1 + 0.5 * torch.linspace(-1, 1, 5)).expand(5, 5))
