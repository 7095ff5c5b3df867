"""Laws of the dynamics models."""

import pytest
import torch
from torch.testing import assert_close

from benchmarks import plain_rollout
from dlp_dyn.dynamics.base import NOTHING, Conditions
from dlp_dyn.dynamics.blocks import Block
from dlp_dyn.dynamics.config import DynamicsConfig, GraphConfig, TransformerConfig
from dlp_dyn.dynamics.graph import GraphDynamics
from dlp_dyn.dynamics.packed import PackedLinear, linear
from dlp_dyn.dynamics.rollout import futures, rollout, unroll
from dlp_dyn.dynamics.transformer import TransformerDynamics
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.particles import Particles, Scene, sampler
from dlp_dyn.tree import cat
from dlp_dyn.video import VideoConfig, VideoModel

N, WINDOW, FEATURES, BACKGROUND = 4, 5, 3, 2
SMALL = TransformerConfig(dim=32, n_layers=2, n_heads=4)
FACTORISED = TransformerConfig(attention="factorised", dim=32, n_layers=2, n_heads=4)


def build(kind, action_dim=0, **graph):
    torch.manual_seed(0)
    if kind == "graph":
        cfg = DynamicsConfig("graph", WINDOW, action_dim, graph=GraphConfig(hidden_dim=32, **graph))
        model = GraphDynamics(cfg, FEATURES, BACKGROUND)
    else:
        transformer = SMALL if kind == "joint" else FACTORISED
        cfg = DynamicsConfig("transformer", WINDOW, action_dim, transformer=transformer)
        model = TransformerDynamics(cfg, N, FEATURES, BACKGROUND)
    with torch.no_grad():  # away from zeros, where everything is equivariant
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def scenes(batch=2, frames=WINDOW, n=N, seed=1):
    torch.manual_seed(seed)
    shape = batch, frames, n
    particles = Particles(
        0.5 * torch.randn(*shape, 2), torch.randn(*shape, 2), torch.randn(*shape, 1), torch.rand(*shape, 1),
        torch.randn(*shape, FEATURES),
    )  # fmt: skip
    return Scene(particles, torch.randn(batch, frames, BACKGROUND))


def expected(model, history):
    """Of frames 1 .. T given 0 .. T - 1; a frame that nobody looks at ends the clip."""
    return model(cat([history, history[:, -1:]], 1)).scenes


def step(model, history):
    return model.step(history, NOTHING, model.start(history))


def parameters(distribution):
    found = []
    distribution.map(lambda x: found.append(x) or x)
    return found


@pytest.fixture(params=["graph", "joint", "factorised"])
def dynamics(request):
    return build(request.param)


@pytest.mark.parametrize("options", [{}, {"neighbours": 2}, {"radius": 0.5}])
def test_graph_ignores_particle_order(options):
    model, history = build("graph", **options), scenes()
    order = torch.randperm(N)
    shuffled = Scene(history.particles.map(lambda x: x[..., order, :]), history.background)
    before, after = expected(model, shuffled), expected(model, history)
    assert_close(
        list(before.particles.mean),
        list(after.particles.mean.map(lambda x: x[..., order, :])),
        rtol=1e-4,
        atol=1e-5,
    )
    assert_close(before.background.loc, after.background.loc, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"neighbours": 2}])
def test_graph_switched_off_particles_do_not_matter(options):
    model, history = build("graph", **options), scenes()
    p = history.particles
    p.transparency[..., -1, :] = 0
    p.transparency[..., :-1, :] = 1
    elsewhere = Particles(*(x.clone() for x in p))
    for field in (elsewhere.position, elsewhere.features, elsewhere.depth, elsewhere.scale):
        field[..., -1, :] += 1.0
    with torch.no_grad():
        a, b = expected(model, history), expected(model, Scene(elsewhere, history.background))
        alone = expected(model, Scene(p.map(lambda x: x[..., :-1, :]), history.background))
    for x, y, z in zip(a.particles.mean, b.particles.mean, alone.particles.mean, strict=True):
        assert_close(x[..., :-1, :], y[..., :-1, :], rtol=1e-4, atol=1e-5)
        assert_close(x[..., :-1, :], z, rtol=1e-4, atol=1e-5)


def test_graph_takes_more_particles_than_it_was_made_with():
    assert expected(build("graph"), scenes(n=9)).particles.position.loc.shape == (2, WINDOW, 9, 2)


def test_transformer_says_how_many_particles_it_takes():
    with pytest.raises(InputError, match="made for 4"):
        expected(build("joint"), scenes(n=9))


def test_graph_starts_as_constant_velocity():
    model = GraphDynamics(DynamicsConfig("graph", WINDOW), FEATURES, BACKGROUND)
    history = scenes()
    predicted = step(model, history).scenes.mean.particles
    p = history.particles
    assert_close(predicted.position, 2 * p.position[:, -1] - p.position[:, -2], rtol=1e-4, atol=1e-5)
    assert_close(predicted.features, p.features[:, -1])


def test_no_frame_sees_a_later_one(dynamics):
    history = scenes()
    changed = history.map(lambda x: torch.cat([x[:, :3], x[:, 3:] + 0.3], 1))
    with torch.no_grad():
        before, after = expected(dynamics, history), expected(dynamics, changed)
    for x, y in zip(parameters(before), parameters(after), strict=True):
        assert_close(x[:, :3], y[:, :3], rtol=1e-4, atol=1e-5)
    assert (before.particles.position.loc[:, 3] - after.particles.position.loc[:, 3]).abs().max() > 1e-3


@pytest.mark.parametrize("frames", [1, 2, WINDOW])
def test_step_is_the_last_of_forward(dynamics, frames):
    history = scenes(frames=frames)
    with torch.no_grad():
        forced, found = expected(dynamics, history)[:, -1], step(dynamics, history).scenes
    for x, y in zip(parameters(forced), parameters(found), strict=True):
        assert_close(x, y, rtol=1e-4, atol=1e-5)


def test_first_rollout_step_is_the_teacher_forced_last(dynamics):
    history = scenes()
    with torch.no_grad():
        forced = expected(dynamics, history)[:, -1].mean
    found = rollout(dynamics, history, 1)[:, -1]
    assert_close(list(found), list(forced), rtol=1e-4, atol=1e-5)


def test_a_rollout_depends_on_its_window_only(dynamics):
    history = scenes(frames=WINDOW + 3)
    whole = rollout(dynamics, history, 8)
    tail = rollout(dynamics, history[:, 3:], 8)
    assert whole.background.shape[1] == WINDOW + 11
    assert_close(list(whole[:, -8:]), list(tail[:, -8:]))


@pytest.mark.parametrize("action_dim", [0, 2])
@pytest.mark.parametrize("context", [1, 3, WINDOW, WINDOW + 2])
@pytest.mark.parametrize("kind", ["graph", "joint", "factorised"])
def test_rollouts_are_the_plain_ones(kind, context, action_dim):
    """What is remembered while the window grows, and after it slides, is what the whole window gives anew."""
    model, history = build(kind, action_dim), scenes(frames=context)
    horizon = 2 * WINDOW
    actions = torch.randn(2, context + horizon - 1, action_dim) if action_dim else None
    found, plain = (f(model, history, horizon, Conditions(actions)) for f in (rollout, plain_rollout.rollout))
    assert_close(list(found), list(plain), rtol=1e-5, atol=1e-5)
    assert not found.background.is_inference()


@pytest.mark.parametrize("kind", ["joint", "factorised"])
def test_remembering_keeps_gradients(kind):
    model, history = build(kind), scenes(frames=2)
    gradients = []
    for remember in (True, False):
        model.zero_grad()
        if remember:
            *_, end = unroll(model, history, WINDOW + 2)
            last = end.drawn
        else:
            window, last = history, history[:, -1]
            for _ in range(WINDOW + 2):
                last = step(model, window[:, -WINDOW:]).drawn
                window = cat([window, last.map(lambda x: x[:, None])], 1)
        last.particles.position.square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert_close(*gradients, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("kind", "first_layer_forgets"), [("joint", False), ("factorised", True)])
def test_keys_are_made_once_while_they_are_exact(kind, first_layer_forgets):
    """Frames that the key layers read: one a step while the window grows; all once it slides, where they changed."""
    model = build(kind)
    blocks = [model.get_submodule(f"trunk.{'blocks' if kind == 'joint' else 'time'}.{i}") for i in range(2)]
    read = [[], []]
    for block, rows in zip(blocks, read, strict=True):
        assert isinstance(block, Block)
        block.key.register_forward_hook(
            lambda _, x, __, rows=rows: rows.append(x[0].numel() // 32 // 2 // (N + 1))
        )
    for _ in unroll(model, scenes(frames=2), WINDOW + 1):  # with gradient: nothing is packed
        pass
    growing = [2] + [1] * (WINDOW - 2)
    assert read[1] == growing + [WINDOW] * (WINDOW + 1 - len(growing))
    assert read[0] == (read[1] if first_layer_forgets else growing + [1] * (WINDOW + 1 - len(growing)))


@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_layers_are_the_layers(activation, bias):
    torch.manual_seed(0)
    layer, packed = torch.nn.Linear(32, 96, bias=bias), PackedLinear()
    for rows in (70, 7):
        x = torch.randn(2, rows, 32)
        with torch.no_grad():
            assert_close(packed(layer, x, activation), linear(layer, x, activation), rtol=1e-5, atol=1e-6)
        assert packed(layer, x, activation).requires_grad  # training goes through the layer itself


def test_stochastic_rollouts_follow_their_generator(dynamics):
    def sample(seed):
        return rollout(dynamics, scenes(), 3, sample=sampler(torch.Generator().manual_seed(seed)))

    torch.manual_seed(0)
    state = torch.get_rng_state()
    a, b, c = sample(1), sample(1), sample(2)
    assert_close(list(a), list(b))
    assert (a.particles.position - c.particles.position)[:, -1].abs().max() > 0
    torch.manual_seed(0)
    assert torch.equal(state, torch.get_rng_state())
    assert ((a.particles.transparency >= 0) & (a.particles.transparency <= 1)).all()


@pytest.mark.parametrize("kind", ["graph", "joint", "factorised"])
def test_an_action_changes_what_follows_it_and_nothing_before(kind):
    model, history = build(kind, action_dim=2), scenes()
    actions = torch.zeros(2, WINDOW + 3, 2)
    other = actions.clone()
    other[:, WINDOW] = 1
    a, b = (rollout(model, history, 3, Conditions(x)).particles.position for x in (actions, other))
    assert_close(a[:, : WINDOW + 1], b[:, : WINDOW + 1])
    assert (a[:, WINDOW + 1] - b[:, WINDOW + 1]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["graph", "joint", "factorised"])
def test_candidates_are_rollouts_of_their_own(kind):
    """Each is what its actions alone would give, and gradients reach its own actions and no other's."""
    model, history = build(kind, action_dim=2), scenes(frames=3)
    past, candidates = torch.randn(2, 2, 2), torch.randn(2, 4, 6, 2, requires_grad=True)
    found = futures(model, history, candidates, Conditions(past))
    assert found.particles.position.shape == (2, 4, 6, N, 2)
    for s in range(4):
        actions = torch.cat([past, candidates[:, s].detach()], 1)
        alone = rollout(model, history, 6, Conditions(actions))[:, 3:]
        assert_close(list(found[:, s].detach()), list(alone), rtol=1e-4, atol=1e-5)
    found.particles.position[1, 2, -1].sum().backward()
    assert candidates.grad is not None
    reached = candidates.grad.abs().sum((2, 3)) > 0
    assert reached.tolist() == [[False] * 4, [False, False, True, False]]


def test_the_unit_of_actions_does_not_matter():
    """After `fit`, pixels and metres give the same numbers."""
    model, history = build("graph", action_dim=2), scenes()
    metres = torch.rand(2, WINDOW + 3, 2)
    predicted = []
    for actions in (metres, 500 * metres + 30):
        model.fit_actions(actions.flatten(0, 1))
        predicted.append(rollout(model, history, 3, Conditions(actions)).particles.position)
    assert_close(*predicted)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", ["graph", "joint", "factorised"])
def test_learns_one_clip(kind):
    """Particles on circles: the loss of a rollout falls to a small part of what it was."""
    model = build(kind)  # in evaluation mode: without dropout
    time = torch.arange(WINDOW + 4) * 0.4
    phase = torch.arange(N) * 1.5
    angle = (time[:, None] + phase)[None]
    p = scenes(1, WINDOW + 4).particles.map(lambda x: x[:, :1].expand_as(x))
    position = 0.5 * torch.stack([angle.cos(), angle.sin()], -1)
    clip = Scene(Particles(position, *list(p)[1:]), torch.zeros(1, WINDOW + 4, BACKGROUND))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(150):
        steps = unroll(model, clip[:, :WINDOW], 4)
        predicted = torch.stack([s.drawn.particles.position for s in steps], 1)
        loss = (predicted - clip.particles.position[:, WINDOW:]).square().mean((0, 2, 3)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.02 * losses[0]


def test_unknown_settings():
    for cfg, match in [
        (DynamicsConfig("graph", window=1), "dynamics.window is 1"),
        (DynamicsConfig("graph", rollout_steps=0), "rollout_steps is 0"),
        (DynamicsConfig("transformer", transformer=TransformerConfig(dim=30)), "not a multiple"),
        (DynamicsConfig("none"), "kind=none"),
    ]:
        with pytest.raises(InputError, match=match):
            VideoModel(VideoConfig(DLPConfig(), dynamics=cfg))
