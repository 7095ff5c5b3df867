"""Models that compare pictures with a reference: the background, the evidence, and particles that meet."""

from dataclasses import replace

import pytest
import torch

from dlp_dyn.errors import InputError
from dlp_dyn.image.attributes import Attributes
from dlp_dyn.image.config import DLPConfig, EncoderConfig, NetworkConfig
from dlp_dyn.image.model import DLP
from dlp_dyn.image.proposals import select_late
from dlp_dyn.image.reference import meet, merge_met
from dlp_dyn.objectives.image_elbo import missed, off_centre, spill
from dlp_dyn.particles import gate_of, gated_beta, normal

SMALL = DLPConfig(
    image_size=32,
    n_particles=4,
    reference="median",
    networks=NetworkConfig(
        proposal_channels=[4, 4],
        glimpse_channels=[4, 4],
        background_channels=[4, 4],
        map_channels=4,
        hidden_dim=16,
    ),
    encoder=EncoderConfig(merge=0.15),
)


def test_an_untrained_background_is_the_median_frame():
    torch.manual_seed(0)
    model, picture = DLP(SMALL), torch.rand(3, 32, 32) * 0.9 + 0.05
    model.start_from(picture, torch.tensor([0.2, 0.5, 0.8]))
    decoded = model.decode(model.encode(torch.rand(2, 3, 32, 32)).mean)
    torch.testing.assert_close(decoded.background, picture.expand(2, -1, -1, -1), atol=1e-5, rtol=0)
    glimpse = decoded.glimpses[:, :, :3].mean((0, 1, 3, 4))
    torch.testing.assert_close(glimpse, torch.tensor([0.2, 0.5, 0.8]), atol=0.1, rtol=0)


def test_particles_are_sought_where_something_moves():
    torch.manual_seed(0)
    model = DLP(replace(SMALL, n_particles=1))
    model.start_from(torch.full((3, 32, 32), 0.5), torch.tensor([0.5, 0.5, 0.5]))
    images = torch.full((1, 3, 32, 32), 0.5)
    images[:, :, 20:28, 4:12] = 0.9
    x, y = model.encode(images).mean.particles.position[0, 0]
    assert abs((x + 1) * 15.5 - 7.5) < 6
    assert abs((y + 1) * 15.5 - 23.5) < 6


def test_of_particles_that_meet_the_first_stays():
    n = 3
    at = torch.tensor([[[0.0, 0.0], [0.01, 0.0], [0.5, 0.5]]])
    on = gated_beta(torch.full((1, n, 1), 3.0))
    still = Attributes(normal(torch.zeros(1, n, 2), torch.zeros(1, n, 2)), normal(at, at), on, None)
    kept = merge_met(at, still, 0.1).transparency.mean.flatten() > 0.5
    assert kept.tolist() == [True, False, True]
    off = replace(still, transparency=gated_beta(torch.tensor([[[-3.0], [3.0], [3.0]]])))
    assert (merge_met(at, off, 0.1).transparency.mean.flatten() > 0.5).tolist() == [False, True, True]


def test_the_gate_of_a_transparency_is_what_it_was_made_of():
    gate = torch.tensor([[-5.0], [0.0], [2.0]])
    torch.testing.assert_close(gate_of(gated_beta(gate)), gate, atol=1e-3, rtol=0)


def test_what_does_not_fit_a_reference_is_refused():
    with pytest.raises(InputError, match="reference"):
        DLP(replace(SMALL, encoder=EncoderConfig("random")))


def test_particles_are_no_larger_than_allowed():
    torch.manual_seed(0)
    bound = replace(SMALL, largest_fraction=0.3)
    for cfg, holds in ((SMALL, False), (bound, True)):
        model = DLP(cfg)
        for heads in (model.encoder.attributes, model.encoder.refine):
            assert heads is not None
            torch.nn.init.constant_(heads.get_parameter("heads.scale.0.bias"), 3.0)
        size = model.encode(torch.rand(2, 3, 32, 32)).mean.particles.size
        assert bool((size < 0.3).all()) == holds
    at_rest = DLP(bound).encode(torch.rand(2, 3, 32, 32)).mean.particles.size
    torch.testing.assert_close(at_rest, torch.full_like(at_rest, 0.25), atol=0.03, rtol=0)


def test_spill_is_what_is_drawn_on_pixels_that_stand_still():
    torch.manual_seed(0)
    model = DLP(SMALL)
    model.start_from(torch.full((3, 32, 32), 0.5), torch.tensor([0.5, 0.5, 0.5]))
    images = torch.full((1, 3, 32, 32), 0.5)
    decoded = model.decode(model.encode(images).mean)
    covered = (1 - decoded.background_weight).sum() / SMALL.glimpse_size**2
    torch.testing.assert_close(spill(model, images, decoded, 0.05), covered[None])
    assert covered > 0.1
    assert spill(model, images + 0.2, decoded, 0.05) == 0
    none = DLP(replace(SMALL, reference="none", encoder=EncoderConfig()))
    assert spill(none, images, decoded, 0.05) == 0


def test_a_small_thing_of_another_colour_at_a_large_one_is_a_thing_of_its_own():
    cfg = replace(SMALL, encoder=replace(SMALL.encoder, other_colour=0.3))
    reference = DLP(cfg).encoder.reference
    assert reference is not None
    reference.picture.fill_(0.5)
    images = torch.full((1, 3, 32, 32), 0.5)
    images[:, 0, 8:16, 8:16] = 1.0
    images[:, 2, 10:14, 16:20] = 1.0  # touches its right side
    at = torch.tensor([[[11.5, 11.5], [10.5, 12.5], [17.5, 11.5], [4.5, 27.5]]]) / 15.5 - 1
    evidence, colour = (read(reference(images), at) for read in (reference.evidence, reference.colour))
    torch.testing.assert_close(colour[0, 0], torch.tensor([1.0, 0.5, 0.5]), atol=1e-3, rtol=0)
    assert evidence[0].argsort(descending=True).tolist()[-1] == 3
    for weight, chosen in ((0.0, {0, 3}), (cfg.colour_distance, {0, 2})):
        index = select_late(-evidence, torch.cat([at, colour * weight], -1), 2, 8 / 15.5)
        assert set(index[0].tolist()) == chosen
    with pytest.raises(InputError, match="other_colour"):
        replace(SMALL, reference="none", encoder=EncoderConfig(other_colour=0.3)).check()


def test_proposals_shift_to_the_middle_of_what_has_their_colour():
    """A large red thing, a small blue one that touches it, and nothing."""
    cfg = replace(SMALL, encoder=replace(SMALL.encoder, other_colour=0.3, mean_shift=0.1))
    reference = DLP(cfg).encoder.reference
    assert reference is not None
    reference.picture.fill_(0.5)
    images = torch.full((1, 3, 32, 32), 0.5)
    images[:, 0, 8:17, 8:17] = 1.0  # its middle is (12, 12)
    images[:, 2, 11:14, 17:20] = 1.0  # (18, 12)
    at = torch.tensor([[[9.0, 10.0], [15.0, 15.0], [18.5, 13.5], [4.0, 27.0]]]) / 15.5 - 1
    seen = reference(images)
    middle, colour = reference.mean_shift(seen, at, reference.colour(seen, at), 0.1, 16)
    expected = torch.tensor([[[12.0, 12.0], [12.0, 12.0], [18.0, 12.0], [4.0, 27.0]]])
    torch.testing.assert_close(15.5 * (middle + 1), expected, atol=0.3, rtol=0)  # pixels
    red, blue = torch.tensor([1.0, 0.5, 0.5]), torch.tensor([0.5, 0.5, 1.0])
    torch.testing.assert_close(colour[0, :3], torch.stack([red, red, blue]), atol=0.03, rtol=0)
    with pytest.raises(InputError, match="mean_shift"):
        replace(SMALL, reference="none", encoder=EncoderConfig(mean_shift=0.1)).check()


def test_ground_that_is_drawn_does_not_bring_a_particle_to_the_middle():
    """A thing at the left of a glimpse all of which is drawn is off the middle."""
    torch.manual_seed(0)
    model = DLP(SMALL)
    model.start_from(torch.full((3, 32, 32), 0.5), torch.tensor([0.5, 0.5, 0.5]))
    encoding = model.encoder(torch.full((1, 3, 32, 32), 0.5))
    decoded = model.decoder(encoding.scene)
    decoded = replace(
        decoded,
        glimpses=torch.ones_like(decoded.glimpses),
        transparency=torch.ones_like(decoded.transparency),
    )
    assert off_centre(model, encoding, decoded).item() == pytest.approx(0, abs=1e-6)
    side, glimpses = SMALL.glimpse_size, encoding.glimpses.clone()
    glimpses[..., 3:, :, : side // 2] = 0.5
    left = off_centre(model, replace(encoding, glimpses=glimpses), decoded).item()
    assert left == pytest.approx(0.25 * SMALL.n_particles, rel=0.15)


def test_of_a_grid_those_with_glimpses_can_be_off_the_middle():
    """A particle that is not looked at closely has no glimpse to be in the middle of."""
    torch.manual_seed(0)
    model = DLP(replace(SMALL, encoder=replace(SMALL.encoder, grid=True)))
    model.start_from(torch.full((3, 32, 32), 0.5), torch.tensor([0.5, 0.5, 0.5]))
    encoding = model.encoder(torch.full((1, 3, 32, 32), 0.5))
    assert encoding.visible_index is not None
    decoded = model.decoder(encoding.scene)
    assert decoded.glimpses.shape[1] > SMALL.n_particles
    ones = torch.ones_like(decoded.glimpses)
    decoded = replace(decoded, glimpses=ones, transparency=torch.ones_like(decoded.transparency))
    side, glimpses = SMALL.glimpse_size, encoding.glimpses.clone()
    glimpses[..., 3:, :, : side // 2] = 0.5
    left = off_centre(model, replace(encoding, glimpses=glimpses), decoded).item()
    assert left == pytest.approx(0.25 * SMALL.n_particles, rel=0.15)


def test_parts_of_one_thing_have_its_colour_and_share_its_box():
    """A large thing (0), a part inside (1), one of another colour inside (2), one that overlaps by a quarter (3)."""
    position = torch.tensor([[[0.0, 0.0], [0.1, 0.1], [0.1, 0.1], [0.3, 0.2]]])
    size = torch.tensor([[[0.2, 0.2], [0.1, 0.1], [0.1, 0.1], [0.2, 0.2]]])
    colour = torch.tensor([[[0.5, 0.0, 0.0], [0.5, 0.0, 0.1], [0.5, 0.0, 0.3], [0.5, 0.0, 0.0]]])
    one = meet(position, size, colour, 0.15, 0.5)[0] & ~torch.eye(4, dtype=torch.bool)
    assert one.nonzero().tolist() == [[0, 1], [1, 0]]  # 3 has (.4 - .3) (.4 - .2) of .16 in common with 0
    assert meet(position, size, colour, 0.15, 0.12)[0, 0].tolist() == [True, True, False, True]


def test_particles_that_draw_parts_of_one_thing_are_merged_only_when_asked():
    at = torch.tensor([[[0.0, 0.0], [0.3, 0.0]]])
    on = gated_beta(torch.full((1, 2, 1), 3.0))
    still = Attributes(normal(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)), normal(at, at), on, None)
    for parts in (True, False):
        also = torch.full((1, 2, 2), parts)
        assert (merge_met(at, still, 0.1, also).transparency.mean.flatten() > 0.5).tolist() == [
            True,
            not parts,
        ]


def test_an_object_is_missed_until_it_is_drawn():
    """What is missed opens the gate of the particle that is there, and of no other."""
    torch.manual_seed(0)
    model = DLP(SMALL)
    model.start_from(torch.full((3, 32, 32), 0.5), torch.tensor([0.5, 0.5, 0.5]))
    images = torch.full((1, 3, 32, 32), 0.5)
    images[:, :, 12:20, 12:20] = 1.0
    encoding = model.encoder(images)
    decoded = model.decode(encoding.scene)
    gate = torch.tensor([[[-4.0], [-4.0], [-4.0], [4.0]]], requires_grad=True)
    at = torch.tensor([[[0.0, 0.0], [0.7, 0.7], [-0.7, 0.0], [0.0, 0.0]]])
    particles = replace(encoding.scene.particles, position=at)
    posterior = replace(encoding.posterior.particles, transparency=gated_beta(gate))
    encoding = replace(
        encoding,
        scene=replace(encoding.scene, particles=particles),
        posterior=replace(encoding.posterior, particles=posterior),
    )
    energy = 8 * 8 * 3 * 0.5**2
    nothing = replace(decoded, image=torch.full_like(images, 0.5))
    loss = missed(model, images, encoding, nothing, energy)
    (gradient,) = torch.autograd.grad(loss.sum(), gate)
    expected = torch.tensor([-torch.tensor(4.0).sigmoid(), 0.0, 0.0, -torch.tensor(-4.0).sigmoid()])
    torch.testing.assert_close(gradient.flatten(), expected, atol=1e-3, rtol=0)
    window = 7**2 / 8**2  # of the object's energy
    part = missed(model, images, encoding, nothing, energy * 4 * window / 1.25)
    torch.testing.assert_close(part, loss / 4)
    dim = replace(
        decoded, image=0.5 + (images - 0.5) * (1 - 0.75**0.5)
    )  # three quarters of the energy are left
    torch.testing.assert_close(missed(model, images, encoding, dim, energy), loss / 2)
    assert missed(model, images, encoding, replace(decoded, image=images), energy) == 0
    assert missed(model, images, encoding, nothing, 0.0) == 0
