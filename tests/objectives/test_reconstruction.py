"""Perceptual errors against their definition, on a VGG16 of random weights in the place of the pretrained one."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import vgg

from dlp_dyn.errors import InputError
from dlp_dyn.objectives import reconstruction
from dlp_dyn.objectives.reconstruction import squared_error

DEPTHS = (64, 128, 256, 512, 512)  # channels of relu1_2, relu2_2, relu3_2, relu4_3 and pool5
STRIDES = (1, 2, 4, 8, 32)


@pytest.fixture
def forget() -> Iterator[None]:
    """Networks are cached for each device: none of a test's outlives it."""
    caches = reconstruction._vgg16, reconstruction._lpips
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def network(forget: None, monkeypatch: pytest.MonkeyPatch) -> nn.Sequential:  # noqa: ARG001
    torch.manual_seed(0)
    untrained = nn.Module()
    untrained.features = layers = vgg.make_layers(vgg.cfgs["D"])  # without the large classifier
    monkeypatch.setattr("torchvision.models.vgg16", lambda **_: untrained)
    return layers


def pair(side: int = 32, n: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.rand(n, 3, side, side), torch.rand(n, 3, side, side)


def features(network: nn.Sequential, images: Tensor) -> list[Tensor]:
    """By the names of the layers: after the second ReLU of block 1, and so on, and after the last pooling."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x, block, relus, found = (images - mean.view(3, 1, 1)) / std.view(3, 1, 1), 1, 0, {}
    for layer in network:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            relus += 1
            found[f"relu{block}_{relus}"] = x.clone()
        elif isinstance(layer, nn.MaxPool2d):
            found[f"pool{block}"] = x
            block, relus = block + 1, 0
    return [found[name] for name in ("relu1_2", "relu2_2", "relu3_2", "relu4_3", "pool5")]


def test_features_are_taken_after_their_relu(network: nn.Sequential) -> None:
    target, _ = pair(64)
    with torch.no_grad():
        taps = reconstruction._vgg16(target.device)(target)
        expected = features(network, target)
    for tap, same, depth, stride in zip(taps, expected, DEPTHS, STRIDES, strict=True):
        assert tap.shape == (2, depth, 64 // stride, 64 // stride)
        assert tap.min() == 0
        assert tap.max() > 0
        torch.testing.assert_close(tap, same)


def test_vgg_error_is_squared_error_and_weighted_distances_of_each_image(network: nn.Sequential) -> None:
    target, image = pair()
    with torch.no_grad():
        distance = torch.zeros(2)
        for a, b in zip(features(network, target), features(network, image), strict=True):
            distance += (a - b).square().flatten(1).sum(1)
        torch.testing.assert_close(reconstruction.vgg_distance(target, image), distance)
        error = reconstruction.reconstruction_error("vgg", target, image)
        torch.testing.assert_close(error, squared_error(target, image) + 0.12151 * distance)
        alone = reconstruction.reconstruction_error("vgg", target[1:], image[1:])
        torch.testing.assert_close(alone, error[1:])


def test_only_the_image_gets_a_gradient(network: nn.Sequential) -> None:
    target, image = (x.requires_grad_() for x in pair())
    reconstruction.vgg_distance(target, image).sum().backward()
    assert target.grad is None
    assert image.grad is not None
    assert image.grad.abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())


def test_half_precision_changes_little(network: nn.Sequential) -> None:  # noqa: ARG001
    """Features in bfloat16, sums in float32: a distance of thousands is not rounded to eight bits."""
    target, image = pair(64)
    with torch.no_grad():
        exact = reconstruction.vgg_distance(target, image)
        with torch.autocast("cpu", torch.bfloat16):
            half = reconstruction.vgg_distance(target, image)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0.01, atol=0)
    assert not torch.equal(half, exact)


def test_small_glimpses_are_enlarged_to_32(network: nn.Sequential) -> None:  # noqa: ARG001
    glimpses = [x.unflatten(0, (2, 3)) for x in pair(16, n=6)]
    large = [F.interpolate(x.flatten(0, 1), (32, 32), mode="bilinear", align_corners=False) for x in glimpses]
    with torch.no_grad():
        error = reconstruction.glimpse_error("vgg", *glimpses)
        expected = reconstruction.reconstruction_error("vgg", *large).view(2, 3).mean(1)
    torch.testing.assert_close(error, expected)
    plain = squared_error(*(x.flatten(0, 1) for x in glimpses)).view(2, 3).mean(1)
    torch.testing.assert_close(reconstruction.glimpse_error("mse", *glimpses), plain)


def test_lpips_counts_a_tenth_of_every_value(forget: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """A mean absolute difference in the place of LPIPS shows its scale, and that it is given [-1, 1]."""

    class Difference(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            assert a.min() < -0.5
            return (a - b).abs().mean((1, 2, 3), keepdim=True)

    monkeypatch.setattr("dlp_dyn.nn.pretrained.lpips", lambda *_: Difference())
    target, image = pair()
    error = reconstruction.reconstruction_error("lpips", target, image)
    distance = 2 * (target - image).abs().sum((1, 2, 3))
    torch.testing.assert_close(error, squared_error(target, image) + 0.1 * distance)


@pytest.mark.parametrize("kind", ["vgg", "lpips"])
def test_without_weights_it_says_what_to_do(
    kind: str,
    forget: None,  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path_factory.mktemp("hub")
    monkeypatch.setenv("TORCH_HOME", str(cache))

    def offline(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(InputError, match=r"VGG16 .* \(network is unreachable\); train with recon") as e:
        reconstruction.reconstruction_error(kind, *pair())
    assert f"put vgg16-397923af.pth into {cache}/hub/checkpoints" in str(e.value)
    assert "\n" not in str(e.value)
