"""DLPv1: weights there and back, its Chamfer term by sampling, its masks, its warps, one step of its objective."""

import json

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from dlp_dyn import geometry, official
from dlp_dyn.clip import Clip
from dlp_dyn.errors import InputError
from dlp_dyn.image.keypoint_vae.config import KeypointVAEConfig
from dlp_dyn.image.keypoint_vae.encoder import exclusive, occupy
from dlp_dyn.image.keypoint_vae.model import KeypointVAE
from dlp_dyn.image.keypoint_vae.networks import PointNet
from dlp_dyn.objectives.config import ScheduleConfig
from dlp_dyn.objectives.dlpv1 import KeypointElbo, chamfer, warped_pair
from dlp_dyn.official import dlpv1

SMALL = {
    "image_size": 32, "n_particles": 3, "n_proposals": 5, "feature_dim": 2, "encoder_channels": [8, 8, 8],
    "proposal_channels": [4, 8],
}  # fmt: skip
OBJECT = KeypointVAEConfig(decoder="object", glimpse_fraction=0.5, **SMALL)
MASKED = KeypointVAEConfig(decoder="masked", glimpse_fraction=0.25, **SMALL)
HPARAMS = {
    "dec_bone": "gauss_pointnetpp", "image_size": 32, "patch_size": 8, "n_kp_enc": 3, "n_kp_prior": 5,
    "learned_feature_dim": 2, "anchor_s": 0.5, "enc_channels": [8, 8, 8], "prior_channels": [4, 8],
}  # fmt: skip


@pytest.fixture(params=[OBJECT, MASKED], ids=["object", "masked"])
def model(request):
    torch.manual_seed(0)
    model = KeypointVAE(request.param)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def test_there_and_back(model, tmp_path):
    hparams = HPARAMS
    if model.cfg.decoder == "masked":
        hparams = HPARAMS | {"dec_bone": "gauss_pointnetpp_feat", "anchor_s": 0.25}
    torch.save(dlpv1.export(model), tmp_path / "official.pth")
    (tmp_path / "hparams.json").write_text(json.dumps(hparams))
    official.convert(tmp_path / "official.pth", tmp_path / "hparams.json", tmp_path / "run")
    again = KeypointVAE.from_pretrained(tmp_path / "run")
    assert again.cfg == model.cfg
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_files_that_do_not_fit():
    state = dlpv1.export(KeypointVAE(OBJECT))
    with pytest.raises(InputError, match="'anchor_s' is missing"):
        dlpv1.load(state, {k: v for k, v in HPARAMS.items() if k != "anchor_s"})
    with pytest.raises(InputError, match="do the hparams"):
        dlpv1.load(state, HPARAMS | {"learned_feature_dim": 4})
    with pytest.raises(InputError, match="learn_order"):
        dlpv1.load(state, HPARAMS | {"learn_order": True})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_size": 30}, "patch_size"),
        ({"encoder_channels": [8, 8]}, ""),
        ({"encoder_channels": [8, 8, 8, 8]}, "encoder_channels"),
        ({"glimpse_fraction": 0.3}, "glimpses of 9 pixels"),
    ],
)
def test_sizes_that_do_not_fit(changed, message):
    cfg = KeypointVAEConfig(**{**vars(OBJECT), **changed})
    if not message:
        KeypointVAE(cfg)
        return
    with pytest.raises(InputError, match=message):
        KeypointVAE(cfg)


def test_chamfer_is_that_of_all_pairs():
    posterior = Normal(torch.randn(2, 4, 2), torch.rand(2, 4, 2) + 0.1)
    proposals = torch.randn(2, 5, 2)
    for counted, n in ((True, 4), (False, 3)):
        expected = []
        for b in range(2):
            pairs = torch.tensor(
                [
                    [
                        float(
                            kl_divergence(
                                Normal(posterior.loc[b, i], posterior.scale[b, i]), Normal(kp, 0.1)
                            ).sum()
                        )
                        for kp in proposals[b]
                    ]
                    for i in range(n)
                ]
            )
            expected.append(pairs.amin(0).sum() + pairs.amin(1).sum())
        torch.testing.assert_close(chamfer(posterior, proposals, 0.1, counted), torch.stack(expected))


def test_a_pointnet_does_not_see_the_order_of_particles():
    torch.manual_seed(0)
    net = PointNet(4, 3, 16).eval()
    position, features, order = torch.randn(2, 12, 2), torch.randn(2, 12, 3), torch.randperm(12)
    torch.testing.assert_close(net(position, features), net(position[:, order], features[:, order]))


def test_occupied_pixels_are_shared_in_order():
    shares = torch.rand(2, 5, 3, 3)
    given = occupy(shares)
    assert (given.sum(1) <= 1 + 1e-6).all()
    assert torch.equal(given[:, 0], shares[:, 0])
    full = exclusive(torch.ones(1, 2, 3, 3), torch.tensor([[[1.0], [1.0]]]))
    assert torch.equal(full[0, 0], torch.ones(3, 3))
    assert torch.equal(full[0, 1], torch.zeros(3, 3))


def test_boxes_add_up_to_their_cover():
    position, whole = torch.rand(2, 3, 2) * 2 - 1, torch.ones(2, 3, 1)
    for corners in (True, False):
        boxes = geometry.boxes(position, 6, 20, align_corners=corners)
        cover = geometry.box_cover(position, whole, 6, 20, align_corners=corners)
        assert torch.equal(boxes.sum(1, keepdim=True).clamp(0, 1), cover)


def test_a_warp_without_strength_changes_nothing_and_shifts_shift():
    images = torch.rand(2, 3, 21, 21)
    weights = geometry.random_warps(2, 0.0, 0.0)
    torch.testing.assert_close(geometry.warp(images, weights), images, atol=1e-5, rtol=1e-5)
    weights[:, 100] += torch.tensor([0.1, 0.0])  # a pixel to the right of 21
    torch.testing.assert_close(
        geometry.warp(images, weights)[..., :-1], images[..., 1:], atol=1e-5, rtol=1e-5
    )


def test_views_of_a_pair_differ_and_have_256_levels():
    torch.manual_seed(0)
    view, other = warped_pair(torch.rand(2, 3, 40, 40))
    assert (view - other).abs().mean() > 0.01
    torch.testing.assert_close(view * 255, (view * 255).round(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("cfg", [OBJECT, MASKED], ids=["object", "masked"])
def test_every_phase_gives_gradients(cfg, step):
    """In the warm-up none reach the background's decoder, later all parameters have one."""
    torch.manual_seed(0)
    cfg = KeypointVAEConfig(
        **{**vars(cfg), "exclusive_patches": cfg.decoder == "object", "warped_pairs": True}
    )
    objective = KeypointElbo(KeypointVAE(cfg), ScheduleConfig(warm_up_steps=1, noisy_steps=1))
    side = 40  # a quarter more than the model sees
    losses = objective(Clip(torch.randint(256, (4, 1, side, side, 3), dtype=torch.uint8)), step=step)
    assert {k: v.shape for k, v in losses.terms.items()} == dict.fromkeys(losses.terms, (4,))
    torch.stack([v.mean() for v in losses.terms.values()]).sum().backward()
    without = {n for n, p in objective.model.named_parameters() if p.grad is None}
    if cfg.decoder == "object" and step == 1:
        assert without
        assert all(n.startswith(("image_decoder", "pointnet", "encoder.transparency")) for n in without)
    elif cfg.decoder == "object" and step == 2:
        assert all(n.startswith("encoder.transparency") for n in without)
    else:
        assert not without
