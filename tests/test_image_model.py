"""The image model in every published and lean form: where gradients go, and that it learns."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from benchmarks.plain import PlainImageElbo, plain_model
from dlp_dyn import metrics
from dlp_dyn.clip import Clip
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig, EncoderConfig, NetworkConfig, PriorConfig
from dlp_dyn.image.model import DLP
from dlp_dyn.nn import Stack
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.config import STEADY, ScheduleConfig
from dlp_dyn.objectives.image_elbo import ImageElbo, image_terms
from dlp_dyn.objectives.schedules import NOISY, NORMAL, WARM_UP, phase_at
from dlp_dyn.particles import gated_beta, logit

LEAN = DLPConfig(
    image_size=32,
    n_particles=4,
    glimpse_fraction=0.25,
    networks=NetworkConfig(
        proposal_channels=[8, 16],
        glimpse_channels=[8, 16],
        background_channels=[8, 16],
        map_channels=8,
        hidden_dim=32,
    ),
)
DLPV3 = replace(
    LEAN,
    networks=NetworkConfig(
        style="dlpv3",
        proposal_channels=[8, 16],
        glimpse_channels=[8, 16],
        background_channels=[8, 8, 16],
        stem_channels=8,
        map_channels=8,
        hidden_dim=64,
    ),
    encoder=EncoderConfig(passes=1, min_separation=0.0),
)
DLPV2 = replace(
    LEAN,
    glimpse_fraction=0.5,
    background_dim=4,
    mask_kl=False,
    networks=NetworkConfig(style="dlpv2", proposal_channels=[8, 8, 16], background_channels=[8, 8, 16]),
    encoder=EncoderConfig(
        selection="variance",
        passes=2,
        transparency="free",
        interaction=False,
        hard_background_mask=False,
        glimpse_padding="zeros",
    ),
    prior=PriorConfig(transparency=[0.1, 0.1]),
)


def selecting(how):
    return replace(DLPV2, encoder=replace(DLPV2.encoder, selection=how))


MODELS = {
    "lean": LEAN,
    "dlpv3": DLPV3,
    "dlpv2": DLPV2,
    "dlpv2_distance": selecting("distance"),
    "dlpv2_random": selecting("random"),
    "dlpv2_mixer": selecting("mixer"),
}
STYLES = ("lean", "dlpv3", "dlpv2")


def build(name, seed=0):
    torch.manual_seed(seed)
    return DLP(MODELS[name])


def clip(batch=3, length=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (batch, length, 4, 4, 3), dtype=torch.uint8, generator=generator)
    return Clip(frames.repeat_interleave(8, 2).repeat_interleave(8, 3))


def images(batch=3):
    return clip(batch).video[:, 0]


def reached(model, value):
    """Names of the parameters that a value has a gradient for."""
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
    return {
        name for name, g in zip(parameters, gradients, strict=True) if g is not None and g.abs().sum() > 0
    }


def parts(names):
    return {".".join(name.split(".")[:2]) for name in names}


@pytest.mark.parametrize("phase", [NORMAL, NOISY, WARM_UP], ids=["normal", "noisy", "warm_up"])
@pytest.mark.parametrize("name", MODELS)
def test_loss_has_its_terms_for_every_image(name, phase):
    model = build(name)
    terms, shown = ImageElbo(model).losses(clip(2, 3), phase)
    assert tuple(terms) == ImageElbo(model).terms("model")
    for key, value in (terms | shown).items():
        assert value.shape == (6,), key
        assert value.isfinite().all(), key
    assert not any(value.requires_grad for value in shown.values())
    assert all(terms[key].min() > -1e-3 for key in terms), "divergences and errors are not negative"


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns(name):
    model = build(name)
    with (
        torch.no_grad()
    ):  # away from the zeros of the last layers, behind which nothing learns at the first step
        for p in model.parameters():
            p += 0.02 * torch.randn_like(p)
    terms, _ = ImageElbo(model)(clip())
    loss, _ = weighted_sum(terms, dict.fromkeys(terms, 1.0))
    loss.backward()
    bias = [key for key, _ in model.named_parameters() if key.startswith("encoder.proposals.")][-1]
    for key, p in model.named_parameters():
        assert p.grad is not None, key
        assert p.grad.isfinite().all(), key
        # Constants of hidden particles may meet none, and a softmax does not see the bias of its logits.
        if not key.startswith("encoder.interaction.hidden") and key != bias:
            assert p.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", STYLES)
def test_the_model_on_plain_geometry_is_the_same(name):
    ours, plain = build(name), plain_model(MODELS[name])
    plain.load_state_dict(ours.state_dict())
    results = []
    for model, objective in ((ours, ImageElbo(ours)), (plain, PlainImageElbo(plain))):
        torch.manual_seed(5)
        terms, _ = objective(clip())
        loss, _ = weighted_sum(terms, dict.fromkeys(terms, 1.0))
        loss.backward()
        results.append(
            (terms, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        )
    for key in results[0][0]:
        assert_close(results[0][0][key], results[1][0][key], rtol=1e-3, atol=1e-3)
    assert_close(results[0][1], results[1][1], rtol=0, atol=2e-3 * float(results[1][1].abs().max()))


@pytest.mark.parametrize("name", ["lean", "dlpv3", "dlpv2", "dlpv2_distance", "dlpv2_mixer"])
def test_an_image_is_encoded_and_decoded_as_if_it_were_alone(name):
    model, batch = build(name).eval(), images()
    with torch.no_grad():
        together = model.encode(batch).mean
        for i in range(3):
            alone = model.encode(batch[i : i + 1]).mean
            for x, y in zip(together[i : i + 1], alone, strict=True):
                assert_close(x, y, atol=1e-4, rtol=1e-3)
            assert_close(
                model.decode(together).image[i : i + 1], model.decode(alone).image, atol=1e-4, rtol=1e-3
            )


@pytest.mark.parametrize("name", STYLES)
def test_frames_count_as_images(name):
    model, video = build(name), clip(2, 3)
    flat = Clip(video.frames.flatten(0, 1)[:, None])
    results = []
    for one in (video, flat):
        torch.manual_seed(0)
        results.append(ImageElbo(model)(one).terms)
    for key in results[0]:
        assert_close(results[0][key], results[1][key])


@pytest.mark.parametrize("name", STYLES)
def test_a_decoded_scene_adds_up(name):
    model = build(name)
    with torch.no_grad():
        scene = model.encode(images()).mean
        decoded = model.decode(scene)
        masks = model.masks(scene, decoded)
    side = model.cfg.glimpse_size * (model.cfg.networks.draw_factor if name == "lean" else 1)
    assert decoded.glimpses.shape == (3, 4, 4, side, side)
    assert 0 <= decoded.glimpses.min() <= decoded.glimpses.max() <= 1
    assert_close(decoded.image, decoded.foreground + decoded.background_weight * decoded.background)
    assert -1e-5 <= decoded.image.min() <= decoded.image.max() <= 1 + 1e-5
    whole = masks.sum(1, keepdim=True) + decoded.background_weight
    assert_close(whole, torch.ones_like(whole), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", STYLES)
def test_a_scene_does_not_depend_on_the_order_of_its_particles(name):
    model = build(name)
    with torch.no_grad():
        scene = model.encode(images()).mean
        shuffled = replace(scene, particles=scene.particles.map(lambda x: x[:, [2, 0, 3, 1]]))
        assert_close(model.decode(shuffled).image, model.decode(scene).image, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", STYLES)
def test_proposals_lie_in_their_patches(name):
    model = build(name)
    found = model.proposals(images())
    row, column = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    first = torch.stack([column, row], -1).reshape(-1, 2) * 8
    pixel = (found + 1) / 2 * 31
    assert ((pixel >= first - 1e-4) & (pixel <= first + 7 + 1e-4)).all()


def test_warm_up_draws_with_the_features_alone():
    """Rendering gradients reach the features' encoder and the glimpses' decoder, and nothing else."""
    model = build("dlpv2")
    terms, _ = ImageElbo(model).losses(clip(), WARM_UP)
    assert parts(reached(model, terms["reconstruction"].sum())) == {"encoder.appearance", "decoder.glimpses"}


def test_adam_counts_the_warm_up_of_weights_that_learn_nothing_in_it():
    """As in the official code, where the first steps after it are therefore larger for the background."""
    model = build("dlpv2")
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    terms, _ = ImageElbo(model).losses(clip(), WARM_UP)
    torch.stack([term.mean() for term in terms.values()]).sum().backward()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer.step()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert float(optimizer.state[weight]["step"]) == 1
        if name.startswith("decoder.background"):
            assert not weight.grad.any()
            torch.testing.assert_close(weight, before[name] * (1 - 1e-4 * 1e-2))  # AdamW's weight decay alone


def test_the_noisy_phase_fixes_sizes_but_not_places():
    model = build("dlpv2")
    terms, _ = ImageElbo(model).losses(clip(), NOISY)
    names = reached(model, terms["reconstruction"].sum())
    assert {"decoder.background", "encoder.background", "encoder.proposals"} <= parts(names)
    assert not any("heads.scale" in name for name in names)
    assert any("heads.offset" in name for name in names)
    torch.manual_seed(0)
    size = model.encoder(images(), lambda d: d.sample(), NOISY.encode).scene.particles.scale
    assert abs(float(size.mean()) - logit(0.5, 1e-5)) < 0.1


def test_published_phases_follow_each_other():
    schedule = ScheduleConfig(warm_up_steps=2, noisy_steps=3)
    phases = [phase_at(schedule, step) for step in range(1, 7)]
    assert phases == [WARM_UP, WARM_UP, NOISY, NOISY, NOISY, NORMAL]
    assert phase_at(STEADY, 1) == NORMAL


def test_first_phases_have_tight_priors():
    model = build("dlpv2")
    encoding = model.encoder(images())
    for phase, std, a, b in ((NORMAL, 0.3, 0.1, 0.1), (NOISY, 0.1, 0.2, 0.1), (WARM_UP, 0.1, 0.2, 0.1)):
        prior = model.prior(encoding.anchors, phase.tight_priors).particles
        assert_close(prior.scale.scale, torch.tensor(std))
        assert_close(prior.scale.loc, torch.tensor(logit(0.75 * 0.5, 1e-5)))
        assert_close(prior.transparency.concentration1, torch.tensor(a))
        assert_close(prior.transparency.concentration0, torch.tensor(b))


@pytest.mark.parametrize("name", STYLES)
def test_proposals_do_not_follow_the_anchors(name):
    """The Chamfer term moves anchors to proposals, which it sees without gradient."""
    model = build(name)
    encoding = model.encoder(images())
    anchors, proposals = (
        x.detach().clone().requires_grad_() for x in (encoding.anchors + 0.1, encoding.proposals)
    )
    freed = replace(encoding, anchors=anchors, proposals=proposals)
    terms = image_terms(model, images(), freed, model.decode(encoding.scene))
    to_anchors, to_proposals = torch.autograd.grad(
        terms["kl_anchor"].sum(), (anchors, proposals), allow_unused=True
    )
    assert to_anchors.abs().min() > 0
    assert to_proposals is None or to_proposals.abs().max() == 0


def test_places_of_attribute_crops_have_no_gradient_in_dlpv2():
    model = build("dlpv2")
    assert "encoder.proposals" not in parts(reached(model, model.encode(images()).particles.scale.loc.sum()))
    assert "encoder.proposals" in parts(reached(model, model.encode(images()).particles.position.loc.sum()))


def test_invisible_particles_cost_nothing_where_divergences_are_masked():
    model = build("dlpv3")
    encoding = model.encoder(images())
    decoded = model.decode(encoding.scene)
    hidden = replace(
        encoding.scene,
        particles=replace(
            encoding.scene.particles, transparency=torch.zeros_like(encoding.scene.particles.transparency)
        ),
    )
    terms = image_terms(model, images(), replace(encoding, scene=hidden), decoded)
    for key in ("kl_position", "kl_scale", "kl_depth", "kl_features", "transparency_sum"):
        assert (terms[key] == 0).all(), key
    visible = image_terms(model, images(), encoding, decoded)
    assert all((visible[key] > 0).all() for key in ("kl_position", "kl_scale", "kl_depth", "kl_features"))


def test_gated_transparency_keeps_the_product_of_its_parameters():
    gate = torch.linspace(-40, 40, 41)[:, None]
    d = gated_beta(gate)
    assert_close(d.concentration1 * d.concentration0, torch.full_like(gate, 0.01))
    assert_close(d.concentration1[20], torch.tensor([0.1]))
    assert_close(d.concentration1[[0, -1]], torch.tensor([[1e-4], [100.0]]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", STYLES)
def test_a_loss_depends_on_the_seed_alone(name):
    model = build(name)
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(ImageElbo(model)(clip())[0]["reconstruction"])
    assert_close(values[0], values[1], rtol=0, atol=0)
    assert (values[0] != values[2]).all()


@pytest.mark.parametrize("name", STYLES)
def test_broken_weights_give_a_loss_that_is_not_a_number(name):
    """So that training can name the term and stop, where an index out of range would tell nothing."""
    model = build(name)
    with torch.no_grad():
        for p in model.encoder.attributes.parameters():
            p.fill_(torch.nan)
    assert ImageElbo(model)(clip())[0]["kl_position"].isnan().all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"image_size": 30}, "patch_size"),
        ({"n_particles": 17}, "n_particles"),
        ({"n_proposals": 17}, "n_proposals"),
        ({"n_particles": 5, "n_proposals": 4}, "n_particles"),
    ],
)
def test_settings_that_make_no_model_are_refused_in_one_line(changes, named):
    with pytest.raises(InputError) as refused:
        DLP(replace(LEAN, **changes))
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_lean_model_learns_an_image():
    """Two discs on a plain ground, to 25 dB in seconds."""
    grid = torch.arange(32.0)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    picture = torch.full((32, 32, 3), 40.0)
    for cx, cy, colour in ((9, 11, (220.0, 60.0, 50.0)), (23, 20, (60.0, 200.0, 230.0))):
        picture[(x - cx) ** 2 + (y - cy) ** 2 < 20] = torch.tensor(colour)
    one = Clip(picture.to(torch.uint8).expand(4, 1, 32, 32, 3))
    model = build("lean")
    weights = dict.fromkeys(ImageElbo(model).terms("model"), 1e-3) | {"reconstruction": 1.0}
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(300):
        terms, shown = ImageElbo(model)(one)
        if shown["psnr"].mean() > 26:
            break
        optimizer.zero_grad(set_to_none=True)
        weighted_sum(terms, weights)[0].backward()
        optimizer.step()
    with torch.no_grad():
        video = one.video[:, 0]
        assert metrics.psnr(video, model.decode(model.encode(video).mean).image).min() > 25


@pytest.mark.parametrize("name", STYLES)
def test_recomputing_changes_no_gradient(name):
    model = build(name)
    gradients = []
    for recompute in (False, True):
        for layers in model.modules():
            if isinstance(layers, Stack):
                layers.recompute = recompute
        model.zero_grad()
        torch.manual_seed(0)
        terms, _ = ImageElbo(model)(clip())
        torch.stack([term.sum() for term in terms.values()]).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert_close(gradients[1], gradients[0])
