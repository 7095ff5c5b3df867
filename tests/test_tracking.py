"""Identity over time: a clip frame by frame is the clip, and particles keep their slots."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from benchmarks import plain
from dlp_dyn import geometry
from dlp_dyn.data.balls import BallsConfig, simulate, to_position
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig, EncoderConfig, NetworkConfig
from dlp_dyn.image.encoder import STANDARD, SceneEncoder
from dlp_dyn.image.model import DLP
from dlp_dyn.image.networks import build_networks
from dlp_dyn.particles import Particles, Scene, mean
from dlp_dyn.tracking.build import build_tracking
from dlp_dyn.tracking.config import TrackingConfig
from dlp_dyn.tracking.matching import Matcher

NETWORKS = NetworkConfig(
    proposal_channels=[8, 16], glimpse_channels=[8, 16], background_channels=[8, 16], stem_channels=8,
    map_channels=8, hidden_dim=32,
)  # fmt: skip
LEAN = DLPConfig(image_size=32, n_particles=4, networks=NETWORKS)
TRACKED = DLPConfig(
    image_size=32,
    n_particles=4,
    n_proposals=8,
    glimpse_fraction=0.5,
    networks=replace(NETWORKS, style="dlpv2", map_channels=32, background_channels=[8, 16, 32]),
    encoder=EncoderConfig(
        selection="variance", passes=2, transparency="free", interaction=False, correlation=True
    ),
)
CASES = [("tracker", TRACKED), ("tracker", LEAN), ("match", LEAN), ("grid", LEAN)]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1].networks.style}")
def case(request):
    torch.manual_seed(0)
    kind, cfg = request.param
    return build_tracking(TrackingConfig(kind=kind, static_frames=2), cfg), DLP(cfg).eval().encoder


def test_frame_by_frame_is_the_clip(case):
    strategy, encoder = case
    video = torch.rand(2, 4, 3, 32, 32)
    with torch.no_grad():
        whole, _ = strategy.encode(encoder, video)
        state, pieces = None, []
        for t in range(4):
            piece, state = strategy.encode(encoder, video[:, t : t + 1], state=state)
            pieces.append(piece.scene)
    for t, piece in enumerate(pieces):
        for ours, expected in zip(piece, whole.scene[:, t : t + 1], strict=True):
            assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "cfg"), [("tracker", TRACKED), ("match", LEAN)])
def test_every_frame_gets_a_gradient_of_its_own_particles_alone(kind, cfg):
    torch.manual_seed(0)
    encoder = DLP(cfg).encoder
    video = torch.rand(1, 2, 3, 32, 32, requires_grad=True)
    encoding, _ = build_tracking(TrackingConfig(kind=kind), cfg).encode(encoder, video)
    encoding.scene.particles.position[:, 1].sum().backward()
    assert video.grad is not None
    assert video.grad[:, 0].abs().max() == 0
    assert video.grad[:, 1].abs().max() > 0


def test_grid_looks_closely_at_the_surest_only():
    torch.manual_seed(0)
    encoder = DLP(LEAN).encoder
    seen = []
    encoder.appearance.register_forward_hook(lambda *call: seen.append(call[1][0].shape[1]))
    encoding, _ = build_tracking(TrackingConfig(kind="grid"), LEAN).encode(
        encoder, torch.rand(2, 3, 3, 32, 32)
    )
    assert encoding.anchors.shape[2] == LEAN.n_patches
    assert seen == [LEAN.n_particles]


def test_grid_needs_late_selection():
    with pytest.raises(InputError, match="selection=confidence"):
        build_tracking(TrackingConfig(kind="grid"), TRACKED)


def test_correlation_finds_a_shift():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 40, 40)
    centre, size = torch.zeros(1, 1, 2), torch.full((1, 1, 2), 15 / 39)
    template = geometry.crop_glimpses(image, centre, size, 16)
    moved = geometry.crop_glimpses(
        image, centre + 2 * 2 / 39, size, 16
    )  # the object is 2 pixels to the upper left
    found = geometry.correlation_map(moved, template)[0, 0, 0]
    still = geometry.correlation_map(template, template)[0, 0, 0]
    assert divmod(int(still.argmax()), 16) == (7, 7)
    assert divmod(int(found.argmax()), 16) == (5, 5)


def test_correlation_is_the_plain_one():
    torch.manual_seed(0)
    glimpses, templates = torch.rand(2, 3, 3, 16, 16), torch.rand(2, 3, 3, 16, 16)
    ours = geometry.correlation_map(glimpses, templates)
    assert_close(ours, plain.correlation_map(glimpses, templates), rtol=1e-4, atol=1e-5)


class _FromTruth(SceneEncoder):
    """Puts true positions into slots in a random order, and now and then misses a ball."""

    def __init__(self, position, missing):
        super().__init__(LEAN, build_networks(LEAN))
        self.position, self.missing = position, missing

    def forward(self, images, draw=mean, options=STANDARD):
        n, balls = self.position.shape[:2]
        order = torch.stack([torch.randperm(balls + 1) for _ in range(n)])
        position = torch.cat([self.position, torch.full((n, 1, 2), 0.9)], 1)
        on = torch.cat([1 - self.missing.float(), torch.zeros(n, 1)], 1)[..., None]
        particles = Particles(position, torch.zeros(n, balls + 1, 2), torch.zeros_like(on), on, on)
        particles = particles.map(lambda x: x.take_along_dim(order[..., None], 1))
        with torch.no_grad():
            real = super().forward(images[:n], draw, options)
        return replace(real, scene=Scene(particles, torch.zeros(n, 1)))


def test_match_follows_balls_through_shuffled_slots_and_gaps():
    torch.manual_seed(0)
    cfg = BallsConfig(n_balls=3)
    pixels, _ = simulate(np.random.default_rng(3), 1, 60, cfg)
    position = torch.from_numpy(to_position(pixels[0], 64)).float()
    missing = torch.rand(60, 3) < 0.05
    missing[0] = False
    encoder = _FromTruth(position, missing)
    encoding, _ = Matcher().encode(encoder, torch.rand(1, 60, 3, 32, 32))
    tracked = encoding.scene.particles.position[0]
    first = torch.cdist(position[0], tracked[0]).argmin(1)
    gap = (tracked[:, first] - position).norm(dim=-1)
    assert gap[~missing].max() < 1e-5
    assert gap.max() < 0.25  # a ball that hits something while unseen goes on straight in memory
