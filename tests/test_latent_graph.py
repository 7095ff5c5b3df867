"""Laws of latent actions on tracked particles: what depends on what, given and drawn ones, a fork that is learned."""

import dataclasses

import pytest
import torch
from torch.distributions import kl_divergence
from torch.testing import assert_close

from dlp_dyn.clip import SceneClip
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.dynamics.config import DynamicsConfig, GraphConfig, LatentActionConfig
from dlp_dyn.dynamics.latent_graph import LatentGraphDynamics
from dlp_dyn.dynamics.rollout import rollout, unroll
from dlp_dyn.errors import InputError
from dlp_dyn.objectives.latent_rollout import latent_rollout_terms
from dlp_dyn.particles import Particles, Scene, sampler
from dlp_dyn.tracking.looks import alike, carried
from dlp_dyn.tree import tree_map

N, WINDOW, FEATURES, BACKGROUND, LATENT = 4, 4, 3, 2, 3


def config(action_dim=0, **graph):
    return DynamicsConfig(
        "latent_graph",
        WINDOW,
        action_dim,
        graph=GraphConfig(**{"hidden_dim": 16, **graph}),
        latent_actions=LatentActionConfig(latent_dim=LATENT),
    )


def build(action_dim=0, **graph):
    torch.manual_seed(0)
    model = LatentGraphDynamics(config(action_dim, **graph), FEATURES, BACKGROUND)
    with torch.no_grad():  # away from zeros, where all latent actions are alike
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def scenes(frames=6, batch=2, seed=1):
    torch.manual_seed(seed)
    shape = batch, frames, N
    particles = Particles(
        0.5 * torch.randn(*shape, 2), torch.randn(*shape, 2), torch.randn(*shape, 1), torch.rand(*shape, 1),
        torch.randn(*shape, FEATURES),
    )  # fmt: skip
    return Scene(particles, torch.randn(batch, frames, BACKGROUND))


def changed(a, b):
    return [not torch.allclose(x, y, atol=1e-6) for x, y in zip(a.unbind(1), b.unbind(1), strict=True)]


def test_the_order_of_particles_does_not_matter():
    model, scene, order = build(), scenes(), torch.randperm(N)
    shuffled = Scene(scene.particles.map(lambda x: x[..., order, :]), scene.background)
    both = torch.cat([order, torch.tensor([N])])
    for one, two in zip(model.heads(scene), model.heads(shuffled), strict=True):
        assert_close(two.loc, one.loc[:, :, both], rtol=1e-4, atol=1e-5)
    latent = torch.randn(2, 5, N + 1, LATENT)
    found = rollout(model, scene, 0 + 2, state=model.start(scene, latent=torch.cat([latent, latent], 1)))
    again = torch.cat([latent, latent], 1)[:, :, both]
    other = rollout(model, shuffled, 2, state=model.start(shuffled, latent=again))
    assert_close(other.particles.position, found.particles.position[:, :, order], rtol=1e-4, atol=1e-5)


def test_posterior_and_policy_see_no_later_frame():
    model, scene = build(), scenes()
    other = scene.map(lambda x: torch.cat([x[:, :3], x[:, 3:] + 0.3], 1))
    for one, two in zip(model.heads(scene), model.heads(other), strict=True):
        assert changed(one.loc, two.loc) == [False, False, False, True, True, True]


def test_actions_steer_the_policy_and_move_particles_from_their_frame_on():
    model, scene = build(action_dim=2), scenes()
    actions = torch.randn(2, 5, 2)
    other = actions.index_fill(1, torch.tensor(2), 3.0)
    one, two = (model.heads(scene, Conditions(a))[1].loc for a in (actions, other))
    assert changed(one, two) == [False, False, True, False, False, False]
    latent = torch.zeros(2, 5, N + 1, LATENT)
    with_one, with_other = (
        rollout(model, scene[:, :1], 5, Conditions(a), state=model.start(scene[:, :1], Conditions(a), latent))
        for a in (actions, other)
    )
    places = (scene.particles.position for scene in (with_one, with_other))
    assert changed(*places) == [False, False, False, True, True, True]


@pytest.mark.parametrize("action_dim", [0, 2])
def test_teacher_forcing_and_steps_are_the_same(action_dim):
    """Each step of a rollout that follows latent actions is that of the clip it goes on from."""
    model, scene = build(action_dim), scenes()
    actions = torch.randn(2, 5, 2) if action_dim else None
    forced = model(scene, Conditions(actions), lambda d: d.mean)
    assert forced.latent is not None
    latent = forced.latent.drawn
    for t in range(scene.background.shape[1] - 1):
        seen, told = scene[:, : t + 1], Conditions(actions)
        (step,) = unroll(model, seen, 1, told, state=model.start(seen, told, latent))
        assert_close(
            step.scenes.particles.position.loc,
            forced.scenes.particles.position.loc[:, t],
            rtol=1e-4,
            atol=1e-5,
        )
    assert_close(model.infer(scene, Conditions(actions)), latent)


def test_latent_actions_that_are_not_known_are_the_policys():
    model, scene = build(), scenes(3)
    free = next(iter(unroll(model, scene, 1)))
    known = torch.full((2, 3, N + 1, LATENT), torch.nan)
    asked = next(iter(unroll(model, scene, 1, state=model.start(scene, latent=known))))
    assert_close(asked.drawn.particles.position, free.drawn.particles.position)
    known[:, 2, 1] = 5.0
    told = next(iter(unroll(model, scene, 1, state=model.start(scene, latent=known))))
    assert free.latent is not None
    assert told.latent is not None
    assert (told.latent.drawn[:, 0, 1] == 5).all()
    assert_close(told.latent.drawn[:, 0, 2:], free.latent.drawn[:, 0, 2:])
    assert not torch.allclose(told.drawn.particles.position[:, 1], free.drawn.particles.position[:, 1])


def test_samples_are_random_and_repeat_with_their_seed():
    model, scene = build(), scenes(2)

    def future(seed):
        draw = sampler(torch.Generator().manual_seed(seed))
        return rollout(model, scene, 3, sample=draw).particles.position

    assert torch.equal(future(0), future(0))
    assert not torch.allclose(future(0)[:, 2:], future(1)[:, 2:])


def test_what_does_not_fit_is_named():
    model, scene = build(), scenes(3)
    with pytest.raises(InputError, match="a goal steers"):
        model.start(scene, Conditions(goal=scene[:, 0]))
    with pytest.raises(InputError, match="give the 2 between them"):
        model.start(scene, latent=torch.zeros(2, 1, N + 1, LATENT))


def test_the_latent_term_is_the_divergence_from_the_policy_where_the_rollout_is():
    """Of the transitions that a rollout follows, particles as they are visible, the background beside them.

    In true scenes the policy would know what the rollout was never told, and a turn could be told late for nothing.
    """
    model, scene = build(), scenes(6)
    torch.manual_seed(7)
    terms = latent_rollout_terms(model, SceneClip(scene), 3, 2, 0.1)
    posterior, in_true_scenes = model.heads(scene)
    torch.manual_seed(7)
    drawn = tree_map(lambda x: x[:, 3:5], posterior).rsample()
    seen = scene[:, :3]
    latent = torch.cat([model.infer(seen), drawn], 1)
    rolled = rollout(model, seen, 2, state=model.start(seen, latent=latent))
    policy = model.heads(rolled)[1]
    assert not torch.allclose(policy.loc[:, 3], in_true_scenes.loc[:, 3], atol=1e-3)
    expected = torch.zeros(2)
    for t in (2, 3):  # from frame t to t + 1
        p, q = tree_map(lambda x, t=t: x[:, t + 1], posterior), tree_map(lambda x, t=t: x[:, t], policy)
        kl = kl_divergence(p, q).sum(-1)
        visible = scene.particles.transparency[:, t + 1, :, 0]
        expected += ((visible * kl[:, :-1]).sum(1) / visible.sum(1).clamp_min(1) + kl[:, -1]) / 2
    assert_close(terms["rollout_latent"], expected, rtol=1e-4, atol=1e-5)


def forked(n=32, seed=0):
    """Particles that rest, and then go left or right by 0.3."""
    g = torch.Generator().manual_seed(seed)
    side = 2.0 * torch.randint(0, 2, (n, 2, 1), generator=g) - 1
    start = torch.tensor([[-0.4, 0.0], [0.4, 0.0]]).expand(n, 2, 2)
    gone = start + 0.3 * torch.cat([side, torch.zeros_like(side)], -1)
    still = torch.zeros(n, 3, 2, 2)
    particles = Particles(
        torch.stack([start, start, gone], 1), still, still[..., :1], torch.ones_like(still[..., :1]), still
    )
    return Scene(particles, torch.zeros(n, 3, 1))


@pytest.mark.usefixtures("unchecked")
def test_both_branches_of_a_fork_are_drawn_and_nothing_between():
    torch.manual_seed(0)
    cfg = dataclasses.replace(config(hidden_dim=32), window=2)
    model = LatentGraphDynamics(cfg, 2, 1)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(150):
        terms = latent_rollout_terms(model, SceneClip(forked(seed=step)), 2, 1, 0.1)
        loss = (terms["rollout_position"] + 0.1 * terms["rollout_latent"]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    seen = forked(100, seed=1000)[:, :2]
    draw = sampler(torch.Generator().manual_seed(0))
    after = rollout(model, seen, 1, sample=draw).particles.position[:, 2]
    moved = (after - seen.particles.position[:, 1])[..., 0]
    left, right = ((moved + 0.3 * s).abs().lt(0.1).float().mean() for s in (1, -1))
    assert left > 0.25, (left, right)
    assert right > 0.25, (left, right)
    assert left + right > 0.8, (left, right)


def test_particles_are_paired_by_their_looks_and_latent_actions_carried_along():
    scene = scenes(2)
    on = torch.ones_like(scene.particles.transparency)
    on[:, :, 0] = 0.1
    source = dataclasses.replace(scene, particles=dataclasses.replace(scene.particles, transparency=on))
    first = source[:, :1]
    order = torch.tensor([2, 0, 3, 1])
    target = Scene(first.particles.map(lambda x: x[:, :, order]), first.background)
    pairs = alike(source, target)
    assert pairs.tolist() == [[2, -1, 3, 1]] * 2
    latent = torch.randn(2, 3, N + 1, LATENT)
    there = carried(latent, pairs)
    assert torch.equal(there[:, :, 2], latent[:, :, 3])
    assert torch.equal(there[:, :, -1], latent[:, :, -1])
    assert there[:, :, 1].isnan().all()
