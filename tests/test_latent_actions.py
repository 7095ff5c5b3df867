"""LPWM's laws: what depends on what, rollouts with and without memory, conditions in any combination, the objective."""

import dataclasses

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from dlp_dyn.clip import Clip
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.dynamics.config import DynamicsConfig, LatentActionConfig
from dlp_dyn.dynamics.latent_actions import LatentActionDynamics
from dlp_dyn.dynamics.rollout import rollout, unroll
from dlp_dyn.errors import InputError
from dlp_dyn.geometry import patch_centres
from dlp_dyn.image.config import DLPConfig, EncoderConfig, NetworkConfig
from dlp_dyn.objectives.config import ScheduleConfig
from dlp_dyn.objectives.lpwm import LatentActionElbo
from dlp_dyn.particles import Particles, Scene, mean, sampler
from dlp_dyn.tracking.config import TrackingConfig
from dlp_dyn.tree import cat
from dlp_dyn.video import VideoConfig, VideoModel

WINDOW, SIDE, WORD = 4, 16, 6
SMALL = LatentActionConfig(
    dim=16, latent_dim=3, context_layers=2, context_heads=2, dynamics_layers=2, dynamics_heads=2, dropout=0.0
)


def build(action_dim=0, n_views=1, **settings):
    """A model whose gates are open: they start closed, and hide all that the trunks do."""
    torch.manual_seed(0)
    centres = patch_centres(SIDE, 8)
    cfg = dataclasses.replace(SMALL, **settings)
    model = LatentActionDynamics(cfg, 2, 1, centres, WINDOW, 0.25, action_dim, n_views).eval()
    open_gates(model)
    return model


@torch.no_grad()
def open_gates(model):
    for name, x in model.named_parameters():
        if "modulation" in name or "heads" in name:
            x.normal_(0, 0.3)


def scenes(n_frames, n=2, seed=0):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(n, n_frames, *shape, generator=g)

    particles = Particles(2 * draw(4, 2) - 1, draw(4, 2), draw(4, 1), draw(4, 1), draw(4, 2))
    return Scene(particles, draw(1))


def changed(a, b):
    return [not torch.allclose(x, y, atol=1e-5) for x, y in zip(a.unbind(1), b.unbind(1), strict=True)]


def test_posterior_and_policy_see_no_later_frame():
    model, scene = build(), scenes(WINDOW + 1)
    other = scene.map(lambda x: torch.cat([x[:, :3], x[:, 3:] + 0.3], 1))
    for one, two in zip(model.context(scene), model.context(other), strict=True):
        assert changed(one.loc, two.loc) == [False, False, False, True, True]


def test_a_latent_action_moves_the_frames_after_it():
    model, scene = build(), scenes(WINDOW)
    latent = torch.zeros(2, WINDOW, 5, 3)
    other = latent.clone()
    other[:, 2] = 1.0
    one, two = (model.dynamics(scene, z).particles.position.loc for z in (latent, other))
    assert changed(one, two) == [False, False, True, True]


def test_predictions_start_at_the_patches():
    torch.manual_seed(0)
    model = LatentActionDynamics(SMALL, 2, 1, patch_centres(SIDE, 8), WINDOW, 0.25).eval()
    p = model.dynamics(scenes(3), torch.randn(2, 3, 5, 3)).particles
    assert_close(p.position.loc, patch_centres(SIDE, 8).expand(2, 3, 4, 2))
    assert_close(p.position.scale, torch.full((2, 3, 4, 2), 0.1))
    assert_close(p.scale.loc.sigmoid(), torch.full((2, 3, 4, 2), 0.75 * 0.25), rtol=1e-4, atol=1e-4)


def test_invisible_particles_show_nothing_but_that():
    model, scene = build(), scenes(2)
    off = dataclasses.replace(scene.particles, transparency=torch.full((2, 2, 4, 1), 0.1))
    moved = dataclasses.replace(off, position=off.position + 0.5, features=off.features + 1)
    one, two = (model.context(Scene(p, scene.background))[0].loc for p in (off, moved))
    assert_close(one, two)


@pytest.mark.parametrize("n_context", [1, 3, WINDOW, WINDOW + 3])
def test_rollouts_with_and_without_memory_are_the_same(n_context):
    """While the window grows, keys and values are reused; when it slides, all but tokens is computed anew."""
    model, context = build(action_dim=2), scenes(n_context)
    actions = torch.randn(2, n_context + 5, 2)
    found = rollout(model, context, 5, Conditions(actions))

    history, latent = context, model.infer(context, Conditions(actions[:, :n_context]))
    for end in range(n_context, n_context + 5):
        window = slice(max(end - WINDOW, 0), end)
        seen, past = history[:, window], Conditions(actions[:, window])
        latent = torch.cat([latent, model.context(seen, past)[1].mean[:, -1:]], 1)
        after = model.dynamics(seen, latent[:, window])[:, -1:].mean
        history = cat([history, after], 1)
    for one, two in zip(found, history, strict=True):
        assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_given_latent_actions_are_followed_then_the_policy():
    model, context = build(), scenes(2)
    free = model.start(context)
    steps = [step.drawn for step in unroll(model, context, 3, state=free)]
    known = free.latent
    again = rollout(model, context, 3, state=model.start(context, latent=known[:, :2]))
    assert_close(again.background[:, -1], steps[-1].background)
    other = rollout(model, context, 3, state=model.start(context, latent=known + 1))
    assert not torch.allclose(other.particles.position[:, 2], steps[0].particles.position)
    with pytest.raises(InputError, match="between them"):
        model.start(context, latent=known[:, :0])


def test_samples_are_random_and_repeat_with_their_seed():
    model, context = build(), scenes(2)

    def future(seed):
        draw = sampler(torch.Generator().manual_seed(seed))
        return rollout(model, context, 3, sample=draw).particles.position

    assert torch.equal(future(0), future(0))
    assert not torch.allclose(future(0)[:, 2:], future(1)[:, 2:])
    assert torch.equal(future(0)[:, :2], future(1)[:, :2])


@torch.no_grad()
@pytest.mark.parametrize("action", [False, True])
@pytest.mark.parametrize("goal", [False, True])
@pytest.mark.parametrize("words", [0, 2, 3])
@pytest.mark.parametrize("views", [1, 2])
def test_conditions_work_in_any_combination(action, goal, words, views):
    """Among them language with actions or a goal, and texts shorter than the longest."""
    model = build(2 if action else 0, views, goal=goal, language_dim=WORD if words else 0, language_length=3)
    scene = scenes(3)
    conditions = Conditions(
        torch.randn(2, 3, 2) if action else None,
        scenes(1, seed=1)[:, 0] if goal else None,
        torch.randn(2 // views, words, WORD) if words else None,
    )
    posterior, policy = model.context(scene, conditions)
    assert posterior.loc.shape == policy.loc.shape == (2, 3, 5, 3)
    if action:
        assert conditions.actions is not None
        other = dataclasses.replace(
            conditions, actions=conditions.actions.index_fill(1, torch.tensor(1), 3.0)
        )
        assert changed(policy.loc, model.context(scene, other)[1].loc) == [False, True, True]
    if goal:
        other = dataclasses.replace(conditions, goal=scenes(1, seed=2)[:, 0])
        assert all(changed(policy.loc, model.context(scene, other)[1].loc))
    if words:
        assert conditions.language is not None
        other = dataclasses.replace(conditions, language=conditions.language + 1)
        assert all(changed(policy.loc, model.context(scene, other)[1].loc))


def test_unknown_actions_are_the_learned_one():
    model, scene = build(2, null_action=True), scenes(3)
    actions = torch.randn(2, 3, 2)
    actions[:, 1] = torch.nan
    known = actions.clone()
    assert model.context.no_action is not None
    known[:, 1] = model.context.no_action.detach()
    one, two = (model.context(scene, Conditions(a))[1].loc for a in (actions, known))
    assert_close(one, two)


def test_conditions_that_do_not_fit_are_named():
    plain, scene = build(), scenes(2)
    told = build(goal=True, language_dim=WORD, language_length=3)
    goal, words = scene[:, 0], torch.zeros(2, 3, WORD)
    with pytest.raises(InputError, match="trained without"):
        plain.context(scene, Conditions(goal=goal))
    with pytest.raises(InputError, match="trained without"):
        plain.context(scene, Conditions(language=words))
    with pytest.raises(InputError, match="trained with goals"):
        told.context(scene, Conditions(language=words))
    with pytest.raises(InputError, match="trained with texts"):
        told.context(scene, Conditions(goal=goal))
    with pytest.raises(InputError, match="4 tokens of width 6, the model takes 3"):
        told.context(scene, Conditions(goal=goal, language=torch.zeros(2, 4, WORD)))


def test_latent_actions_of_long_clips_are_those_of_their_windows():
    model, scene = build(), scenes(WINDOW + 4)
    latent = model.infer(scene)
    assert latent.shape == (2, WINDOW + 3, 5, 3)
    for t in (0, WINDOW, WINDOW + 2):
        window = scene[:, max(t + 1 - WINDOW, 0) : t + 2]
        assert_close(latent[:, t], model.context(window)[0].mean[:, -1], rtol=1e-4, atol=1e-5)


def video_model():
    image = DLPConfig(
        image_size=SIDE,
        n_particles=2,
        glimpse_fraction=0.5,
        feature_dim=2,
        background_dim=1,
        networks=NetworkConfig(
            proposal_channels=[8, 8], glimpse_channels=[8], background_channels=[8, 8],
            hidden_dim=16, glimpse_start=4,
        ),
        encoder=EncoderConfig(grid=True, passes=1, min_separation=0.0),
    )  # fmt: skip
    dynamics = DynamicsConfig(kind="latent_actions", window=WINDOW, latent_actions=SMALL)
    torch.manual_seed(0)
    model = VideoModel(VideoConfig(image, TrackingConfig(kind="grid", static_frames=1), dynamics))
    open_gates(model.dynamics)
    return model


def test_the_objective_reaches_every_part():
    model = video_model()
    assert isinstance(model.dynamics, LatentActionDynamics)
    frames = torch.randint(0, 256, (2, WINDOW + 1, SIDE, SIDE, 3), dtype=torch.uint8)
    terms, _ = LatentActionElbo(model)(Clip(frames))
    assert terms["dynamic_latent"].shape == (2,)
    torch.stack([x.mean() for x in terms.values()]).sum().backward()
    context, following = model.dynamics.context, model.dynamics.dynamics
    for part in (model.image.encoder, context.posterior, context.policy, following.latent, following.heads):
        assert sum(p.grad.abs().sum() for p in part.parameters() if p.grad is not None) > 0


def test_the_latent_term_is_the_divergence_from_the_policy():
    model = video_model().eval()
    assert isinstance(model.dynamics, LatentActionDynamics)
    frames = torch.randint(0, 256, (2, 4, SIDE, SIDE, 3), dtype=torch.uint8)
    with torch.no_grad():
        terms, _ = LatentActionElbo(model, sample=mean)(Clip(frames))
        posterior, policy = model.dynamics.context(model.encode(Clip(frames).video)[0].scene)
    divergence = kl_divergence(posterior, policy.expand((2, 4, 5, 3)))  # of the same frame: not what is asked
    p, q = posterior.loc[:, 1:], policy.loc[:, :-1]
    s, r = posterior.scale[:, 1:], policy.scale[:, :-1]
    expected = ((r / s).log() + (s**2 + (p - q) ** 2) / (2 * r**2) - 0.5).sum((1, 2, 3)) / 4
    assert_close(terms["dynamic_latent"], expected)
    assert not torch.allclose(expected, divergence.sum((1, 2, 3)) / 4)


def test_warm_up_leaves_the_last_two_frames_to_the_dynamics():
    objective = LatentActionElbo(video_model(), ScheduleConfig(static_steps=3))
    assert [objective.static_frames(5, step) for step in (1, 3, 4)] == [3, 3, 1]


def test_frames_beyond_an_episode_do_not_count():
    model = video_model().eval()
    frames = torch.randint(0, 256, (1, 5, SIDE, SIDE, 3), dtype=torch.uint8)
    alive = torch.tensor([[True, True, True, False, False]])
    with torch.no_grad():
        objective = LatentActionElbo(model, sample=mean)
        masked, _ = objective(Clip(frames, alive=alive))
        short, _ = objective(Clip(frames[:, :3]))
    for name, term in short.items():
        assert_close(masked[name], term, rtol=1e-4, atol=1e-5)


def test_a_clip_is_replayed_on_another_scene():
    model = video_model().eval()
    one, two = torch.rand(2, 1, 5, 3, SIDE, SIDE)
    latent = model.latent_actions(one)
    assert latent.shape == (1, 4, 5, 3)
    first = model.predict(two[:, :1], 4, latent=latent)
    again = model.predict(two[:, :1], 4, latent=latent)
    assert torch.equal(first.background, again.background)
    assert first.background.shape == (1, 5, 1)
    drawn = model.predict(two[:, :1], 2, samples=3, generator=torch.Generator().manual_seed(0))
    assert drawn.background.shape == (3, 3, 1)
    with pytest.raises(InputError, match="trained without"):
        model.predict(two[:, :1], 2, goal=two[:, 0])


def told_to_move(kind, n=32, seed=0):
    """Scenes of a red and a blue particle, in either order. A goal shows one elsewhere; a text names it and a way."""
    g = torch.Generator().manual_seed(seed)
    which, way, red_first = (torch.randint(0, 2, (n,), generator=g) for _ in range(3))
    position = patch_centres(SIDE, 8).expand(n, 4, 2).clone()
    moves = torch.stack([which == 0, which == 1], 1)
    moved = position.clone()
    moved[:, :2, 0] += 0.4 * (2 * way[:, None] - 1) * moves
    on = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 4, 1).expand(n, 4, 1)
    still, colour = torch.zeros(n, 4, 2), torch.zeros(n, 4, 2)
    colour[:, :2] = torch.eye(2)[torch.stack([1 - red_first, red_first], 1)]  # red is (1, 0), blue (0, 1)

    def scene(place):
        return Scene(Particles(place, still, still[..., :1], on, colour), torch.zeros(n, 1))

    named = torch.where(which == 0, 1 - red_first, red_first)  # 0 is red, 1 blue
    words = torch.eye(4)[torch.stack([named, 2 + way], 1)]  # "red left"
    conditions = Conditions(language=words) if kind == "language" else Conditions(goal=scene(moved))
    return scene(position), scene(moved), conditions


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", ["language", "goal"])
def test_particles_go_where_a_text_or_a_goal_says(kind):
    """From the policy, which sees no future frame."""
    torch.manual_seed(0)
    settings = {"language_dim": 4, "language_length": 2} if kind == "language" else {"goal": True}
    cfg = dataclasses.replace(SMALL, dim=64, **settings)
    model = LatentActionDynamics(cfg, 2, 1, patch_centres(SIDE, 8), 1, 0.25)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for step in range(400):
        before, after, conditions = told_to_move(kind, seed=step)
        both = cat([x.map(lambda y: y[:, None]) for x in (before, after)], 1)
        predicted = model(both, conditions)
        latent = predicted.latent
        error = (predicted.scenes.particles.position.loc[:, 0, :2] - after.particles.position[:, :2]).square()
        divergence = kl_divergence(
            Normal(latent.posterior.loc[:, 0], latent.posterior.scale[:, 0]),
            Normal(latent.policy.loc[:, 0], latent.policy.scale[:, 0]),
        )
        loss = 50 * error.sum((1, 2)).mean() + 0.1 * divergence.sum((1, 2)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    before, after, conditions = told_to_move(kind, seed=1000)
    context = before.map(lambda x: x[:, None])
    future = rollout(model, context, 1, conditions)
    start, end, goal = (x.particles.position[:, :2, 0] for x in (before, future[:, 1], after))
    assert (end - goal).abs().mean() < 0.1 * 0.4, (end - start, goal - start)
