"""Diffusion over clips: its limits in closed form, what is given stays, frames do not see later ones."""

from dataclasses import replace

import pytest
import torch

from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.errors import InputError
from dlp_dyn.generation.config import DiffusionConfig
from dlp_dyn.generation.diffusion import ClipDiffusion
from dlp_dyn.generation.model import VideoGenerator, in_order_of
from dlp_dyn.generation.motion import straight
from dlp_dyn.generation.packing import Normalizer, ScenePacking
from dlp_dyn.generation.schedule import CosineSchedule
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.objectives.denoising import denoising_error, levels
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.video import VideoConfig

CFG = DiffusionConfig(frames=3, steps=10, dim=16, n_layers=1, n_heads=2, dropout=0.0)
PACKING = ScenePacking(feature_dim=2, background_dim=5)
IMAGE = DLPConfig(n_particles=3, feature_dim=2, background_dim=5)


def scenes(*shape, n=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    parts = [torch.randn(*shape, n, width, generator=g) for width in (2, 2, 1, 1, 2)]
    return Scene(Particles(*parts), torch.randn(*shape, 5, generator=g))


def small(causal=True, attention="joint", **settings):
    torch.manual_seed(0)
    model = ClipDiffusion(replace(CFG, causal=causal, attention=attention, **settings), 4, PACKING)
    for parameter in model.denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.normalizer.fit(scenes(50, 3))
    return model.eval()


def test_packing_there_and_back_whichever_row_is_longer():
    for packing in (PACKING, ScenePacking(2, 1)):
        scene = scenes(2, 3)
        scene = Scene(scene.particles, scene.background[..., : packing.background_dim])
        again = packing.unpack(packing.pack(scene))
        assert all(torch.equal(a, b) for a, b in zip(again, scene, strict=True))
        n_values = 4 * packing.particle_width + 2 + packing.background_dim
        assert packing.mask(4).sum() == n_values


def test_particles_that_are_off_are_all_alike():
    scene, packing = scenes(2, 3), ScenePacking(2, 5, hide_off=True)
    scene.particles.transparency.copy_(torch.tensor([0.9, 0.1, 0.8, 0.0])[:, None])
    rows, plain = packing.pack(scene), PACKING.pack(scene)
    assert not rows[..., [1, 3], :].any()
    assert torch.equal(rows[..., [0, 2, 4], :], plain[..., [0, 2, 4], :])
    assert not packing.unpack(rows).particles.visible[..., [1, 3]].any()


def test_limits_become_one_and_padding_stays():
    scene, normalizer = scenes(200), Normalizer(PACKING)
    normalizer.fit(scene)
    rows = normalizer(PACKING.pack(scene))
    particles = rows[..., :-1, :]
    torch.testing.assert_close(particles.amax((0, 1)), torch.ones(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(particles.amin((0, 1)), -torch.ones(8), atol=1e-4, rtol=0)
    assert torch.equal(rows[..., -1, :2], torch.zeros(200, 2))
    assert torch.equal(rows[..., -1, 7:], torch.zeros(200, 1))
    torch.testing.assert_close(normalizer.inverse(rows), PACKING.pack(scene))


def test_quantiles_leave_outliers_out():
    scene, normalizer = scenes(1000), Normalizer(PACKING)
    scene.particles.depth[0, 0] = 1e6
    normalizer.fit(scene, quantile=0.001)
    assert normalizer(PACKING.pack(scene))[1:, :-1, 4].std() > 0.1
    with pytest.raises(InputError, match="below one half"):
        normalizer.fit(scene, quantile=0.5)


def test_standard_scores():
    scene, normalizer = scenes(500), Normalizer(PACKING)
    normalizer.fit(scene, "std")
    rows = normalizer(PACKING.pack(scene))[..., :-1, :].flatten(0, 1)
    torch.testing.assert_close(rows.std(0), torch.ones(8), atol=1e-3, rtol=0)


def test_little_is_left_after_the_last_step():
    kept = CosineSchedule(1000).kept
    assert kept[0] > 0.9999
    assert kept[-1] < 1e-6
    assert (kept.diff() < 0).all()


def test_steps_back_keep_the_distribution():
    """Of a clip that is known, steps of any length give what adding noise to it gives: mean and deviation."""
    schedule, g = CosineSchedule(100), torch.Generator().manual_seed(0)
    x_0 = torch.full((20_000, 1, 1, 1), 0.5)
    for eta in (0.0, 0.5, 1.0):
        t, to = (torch.full((20_000,), step) for step in (80, 30))
        x_t = schedule.add_noise(x_0, torch.randn(x_0.shape, generator=g), t)
        x = schedule.step(x_t, x_0, t, to, torch.randn(x_0.shape, generator=g), eta)
        kept = schedule.kept[30]
        assert abs(float(x.mean()) - 0.5 * float(kept.sqrt())) < 0.02
        assert abs(float(x.std()) - float((1 - kept).sqrt())) < 0.02
        again = schedule.renoise(x, torch.randn(x_0.shape, generator=g), to, t)
        assert abs(float(again.std()) - float((1 - schedule.kept[80]).sqrt())) < 0.02


def test_a_velocity_tells_the_clip_and_the_network_is_asked_for_it():
    """At any step; where there is no noise the clip stays what it is, whatever the network says."""
    schedule, t = CosineSchedule(100), torch.tensor([[50, 3], [-1, 99]])
    x, noise = torch.randn(2, 2, 4, 8), torch.randn(2, 2, 4, 8)
    velocity = schedule.velocity(x, noise, t)
    torch.testing.assert_close(
        schedule.against(schedule.add_noise(x, noise, t), velocity, t), x, atol=2e-4, rtol=1e-3
    )
    model = small(causal=False, attention="factorised")
    model.cfg = replace(model.cfg, predicts="velocity")
    rows, steps = model.rows(scenes(1, 3)).clamp(-1, 1), torch.tensor([[-1, 5, -1]])
    noise = torch.randn_like(rows)
    noisy = model.schedule.add_noise(rows, noise, steps)
    found = model.clean(noisy, steps)
    assert torch.equal(found[:, [0, 2]], rows[:, [0, 2]])
    gap = model.denoiser(noisy, steps) - model.schedule.velocity(rows, noise, steps)
    expected = (gap[:, 1].abs() * model.packing.mask(4)).sum() / gap.numel()
    torch.testing.assert_close(denoising_error(model, rows, noise, steps)[0], expected)


def test_the_last_step_gives_the_clip_itself():
    schedule, x = CosineSchedule(10), torch.randn(2, 1, 1, 1)
    t = torch.zeros(2, dtype=torch.long)
    torch.testing.assert_close(schedule.step(torch.randn(2, 1, 1, 1), x, t, t - 1, torch.zeros_like(x)), x)


def test_times_end_at_no_noise():
    schedule = CosineSchedule(1000)
    assert schedule.times(1000)[:2] == [999, 998]
    assert schedule.times(5)[0] == 999
    assert schedule.times(5)[-2:] == [0, -1]
    assert len(schedule.times(5)) == 6


@pytest.mark.parametrize("attention", ["joint", "factorised"])
@pytest.mark.parametrize("causal", [True, False])
def test_frames_see_later_ones_only_where_they_may(causal, attention):
    model, x = small(causal, attention).denoiser, torch.randn(1, 3, 5, 8)
    changed = x.clone()
    changed[:, 2] += 1
    t = torch.tensor([4])
    before, after = model(x, t), model(changed, t)
    assert torch.equal(before[:, :2], after[:, :2]) == causal


def test_rows_hold_all_their_frames_and_know_which_are_given():
    model, x = small(False, "rows").denoiser, torch.randn(1, 3, 5, 8)
    changed = x.clone()
    changed[:, 2, 1] += 1
    whole = model(x, torch.tensor([4]))
    assert (
        (model(changed, torch.tensor([4])) != whole).flatten(2).any(-1).all()
    )  # every frame sees the last one
    assert torch.equal(model(x, torch.tensor([[4, 4, 4]])), whole)
    gaps = [model(x, torch.tensor([levels])) for levels in ([-1, 4, 4], [-1, 4, -1], [4, 4, -1])]
    assert len({float(found.detach().sum()) for found in (whole, *gaps)}) == 4
    with pytest.raises(InputError, match="attention=rows"):
        replace(CFG, attention="rows").check()


def test_what_is_given_stays_and_the_rest_is_drawn():
    model, scene = small(), scenes(2, 3)
    given = torch.ones(2, 3, 5)
    given[:, 1, :2] = 0
    g = torch.Generator().manual_seed(0)
    found = model.complete(scene, given, rounds=2, generator=g)
    kept, drawn = found.particles[:, [0, 2]], found.particles[:, 1].position[:, :2]
    torch.testing.assert_close(kept.position, scene.particles[:, [0, 2]].position, atol=1e-4, rtol=1e-4)
    assert (drawn - scene.particles[:, 1].position[:, :2]).abs().max() > 0.01


def test_samples_depend_on_their_generator_alone():
    model = small()
    draws = [model.sample(2, 5, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(draws[0].background, draws[1].background)
    assert not torch.equal(draws[0].background, draws[2].background)


def test_generated_clips_begin_with_diffusion_and_go_on_with_dynamics():
    torch.manual_seed(0)
    model = VideoGenerator(VideoConfig(IMAGE, dynamics=DynamicsConfig(kind="graph")), CFG).eval()
    clips = model.generate(2, 6, steps=3, generator=torch.Generator().manual_seed(0))
    start = model.diffusion.sample(2, 3, generator=torch.Generator().manual_seed(0))
    assert clips.background.shape == (2, 6, 5)
    torch.testing.assert_close(clips.particles.position[:, :3], start.particles.position)
    assert model.generate(1, 2, steps=2).background.shape == (1, 2, 5)
    with pytest.raises(InputError, match="1 or more"):
        model.generate(0, 6)


def test_video_models_with_actions_are_refused():
    with pytest.raises(InputError, match="actions"):
        VideoGenerator(VideoConfig(IMAGE, dynamics=DynamicsConfig(kind="graph", action_dim=2)), CFG)


def test_a_gap_is_filled_between_frames_that_are_seen():
    torch.manual_seed(0)
    model = VideoGenerator(VideoConfig(IMAGE, dynamics=DynamicsConfig(kind="graph")), CFG).eval()
    video = torch.rand(2, 3, 3, IMAGE.image_size, IMAGE.image_size)
    found = model.complete(video, [1], steps=3, generator=torch.Generator().manual_seed(0))
    around = model.around(video, [1])
    torch.testing.assert_close(
        found.background[:, [0, 2]], around.background[:, [0, 2]], atol=1e-4, rtol=1e-4
    )
    assert not torch.allclose(found.background[:, 1], around.background[:, 1])
    other = video.clone()
    other[:, 1] = 0
    assert torch.equal(model.around(other, [1]).particles.position, around.particles.position)
    with pytest.raises(InputError, match="first frame is missing"):
        model.complete(video, [0])
    with pytest.raises(InputError, match="clips of 2 frames"):
        model.complete(video[:, :2], [1])


def test_particles_after_a_gap_take_the_rows_that_they_had():
    scene = scenes(2, 3)
    scene.particles.transparency.fill_(0.9)
    turned = scene.particles.map(lambda x: x.roll(1, 2))
    again = in_order_of(scene.particles[:, 0], Scene(turned, scene.background))
    torch.testing.assert_close(again.particles.position, scene.particles.position)
    assert again.background is scene.background


def test_every_second_clip_has_a_gap_between_frames_without_noise():
    model = small(causal=False)
    assert levels(model, 7).shape == (7,)
    model.cfg = replace(model.cfg, causal=False, gaps=True, frames=6)
    t = levels(model, 400)
    whole, gaps = t[::2], t[1::2]
    assert (whole == whole[:, :1]).all()
    assert (whole >= 0).all()
    assert (gaps[:, [0, -1]] == -1).all()
    noisy = gaps >= 0
    assert (noisy.int().diff(dim=1) == 1).sum(1).eq(1).all()  # one gap each
    assert noisy[:, 1:-1].any(0).all()
    assert set(noisy.sum(1).tolist()) == {1, 2, 3, 4}
    with pytest.raises(InputError, match="causal=false"):
        replace(CFG, gaps=True).check()


def test_frames_around_a_gap_are_shown_without_noise_to_a_model_that_knows_gaps():
    scene, seen = scenes(2, 3), []
    given = torch.ones(2, 3, 5)
    given[:, 1] = 0
    for gaps in (False, True):
        model = small(causal=False, gaps=gaps)
        model.denoiser.register_forward_pre_hook(lambda _module, args: seen.append(args))
        rows = model.rows(scene)
        seen.clear()
        model.complete(scene, given, steps=4, generator=torch.Generator().manual_seed(0))
        shown = [torch.equal(x[:, [0, 2], :, :8], rows[:, [0, 2]]) for x, _ in seen]
        assert shown == [gaps] * 4
        if gaps:
            assert all((t[:, [0, 2]] == -1).all() and (t[:, 1] >= 0).all() for _, t in seen)
            half_way = (rows[:, 0] + rows[:, 2]) / 2
            assert all(torch.allclose(x[:, 1, :, 8:], half_way) for x, _ in seen)
    given[:, 1, :2] = 1  # one row of a frame cannot be told from the others: it replaces what is drawn
    seen.clear()
    model.complete(scene, given, steps=4)
    assert all(t.ndim == 1 for _, t in seen)


MOVING = ScenePacking(feature_dim=2, background_dim=5, hide_off=True, motion=True)


def moving(n_frames=6):
    """Balls that go straight, at sizes of steps that are small beside positions; the last one comes in later."""
    scene = scenes(3, n_frames)
    at = torch.arange(n_frames)[:, None, None]
    velocity = 0.05 * torch.randn(3, 1, 4, 2, generator=torch.Generator().manual_seed(1))
    scene.particles.position.copy_(scene.particles.position[:, :1] + at * velocity)
    scene.particles.transparency.fill_(0.9)
    scene.particles.transparency[:, :2, 3] = 0.0
    return scene


def with_motion(**settings):
    model = ClipDiffusion(replace(CFG, frames=6, hide_off=True, motion=True, **settings), 4, MOVING)
    model.normalizer.fit(moving())
    return model.eval()


def test_motion_there_and_back():
    scene, model = moving(), with_motion()
    rows, raw = model.rows(scene), MOVING.pack(scene)
    step, position = raw[..., :-1, MOVING.steps], scene.particles.position
    torch.testing.assert_close(step[:, 1:, :3], position.diff(dim=1)[:, :, :3])
    assert not step[:, 0].any()
    assert not step[:, :3, 3].any()  # off until the third frame, from where it moves in the fourth
    assert step[:, 3:, 3].all()
    assert rows[..., :-1, MOVING.steps].abs().max() == pytest.approx(1, abs=1e-3)  # a range of its own
    again = model.scenes(rows).particles
    shown = scene.particles.visible
    torch.testing.assert_close(again.position[shown], position[shown], atol=1e-5, rtol=0)
    assert torch.equal(again.visible, shown)


def test_steps_tell_where_positions_are_uncertain():
    """Positions that are off by chance, steps that are right: a line comes out, in the place of all of them."""
    scene, model = moving(), with_motion()
    rows = model.rows(scene)
    noise = 0.1 * torch.randn(3, 6, 3, 2, generator=torch.Generator().manual_seed(2))
    noisy = rows.clone()
    noisy[..., :3, :2] += noise
    found, truth = (model.scenes(x).particles.position[:, :, :3] for x in (noisy, rows))
    wrong = found - truth
    middle = (noise * model.normalizer.particle_scale[:2]).mean(1, keepdim=True)
    assert (wrong - middle).abs().max() < 0.1 * noise.abs().max()
    assert wrong.diff(dim=1).abs().max() < 0.02 * noise.diff(dim=1).abs().max()


def test_frames_that_are_given_hold_and_a_gap_joins_them():
    scene, model = moving(), with_motion()
    given, truth = torch.ones(3, 6, 5), scene.particles.position[:, :, :3]
    given[:, 2:5] = 0
    rows = model.rows(scene)
    rows[:, 2:5, :3, :2] += 0.1 * torch.randn(3, 3, 3, 2, generator=torch.Generator().manual_seed(3))
    found = model.scenes(rows, given).particles.position[:, :, :3]
    torch.testing.assert_close(found[:, [0, 1, 5]], truth[:, [0, 1, 5]], atol=1e-5, rtol=0)
    assert (found - truth).abs().max() < 0.01 * model.normalizer.particle_scale[:2].max()
    rows[:, 2:, :3, MOVING.steps] += (
        1  # each step too long: their sum is given, and so each gets what it should
    )
    again = model.scenes(rows, given).particles.position[:, :, :3]
    torch.testing.assert_close(again, found, atol=1e-3, rtol=0)


def test_a_step_has_the_noise_of_both_frames():
    model = with_motion(causal=False, gaps=True, attention="factorised")
    t = torch.tensor([[-1, 4, 7, -1, -1, -1]])
    entries = model.levels(t)
    assert (entries[..., :-1, :8] == t[..., None, None]).all()
    assert (entries[..., -1, :] == t[..., None]).all()
    assert (entries[..., :-1, MOVING.steps] == torch.tensor([-1, 4, 7, 7, -1, -1])[:, None, None]).all()
    seen, given = [], torch.ones(3, 6, 5)
    given[:, 1:3] = 0
    scene = moving()
    model.denoiser.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    model.complete(scene, given, steps=3, generator=torch.Generator().manual_seed(0))
    rows = model.rows(scene)
    for x in seen:  # the step into the first frame after the gap is not known
        shown = x[..., :10] == rows
        assert shown[:, [0, 4, 5]].all()
        assert shown[:, 3, :, :8].all()
        assert not shown[:, 3, :-1, MOVING.steps].any()


@pytest.mark.parametrize("settings", [{"predicts": "clip"}, {"predicts": "velocity"}])
def test_a_network_that_says_nothing_fills_gaps_with_straight_lines(settings):
    model = with_motion(causal=False, gaps=True, attention="rows", **settings)
    for parameter in model.denoiser.write.parameters():
        torch.nn.init.zeros_(parameter)
    scene, t = moving(), torch.tensor([[-1, -1, 9, 9, 9, -1]]).expand(3, 6)
    scene.particles.transparency.fill_(0.9)
    rows = model.rows(scene)
    noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))
    noisy = model.schedule.add_noise(rows, noise, model.levels(t))
    found = model.network(noisy, t)
    if settings["predicts"] == "velocity":
        found = model.schedule.against(0 * noisy, found, model.levels(t)) / (1 - model.schedule.kept[9])
    torch.testing.assert_close(found[:, 2:5, :3, :2], rows[:, 2:5, :3, :2], atol=1e-4, rtol=1e-4)
    whole = straight(rows, torch.zeros(3, 6, dtype=torch.bool))
    assert not whole.any()  # nothing is given
    ends = torch.tensor([False, True, False, True, False, False]).expand(3, 6)
    line = straight(rows, ends)
    torch.testing.assert_close(line[:, 2], (rows[:, 1] + rows[:, 3]) / 2)
    assert torch.equal(line[:, [1, 3]], rows[:, [1, 3]])
    assert not line[:, [0, 4, 5]].any()
