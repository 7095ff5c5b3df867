"""Appearances swap between the frames of a pair, and between partners alone."""

import torch

from dlp_dyn.objectives.exchange import exchange
from dlp_dyn.particles import Particles, Scene


def pair(positions, on, looks):
    """A scene of two frames, each with the given particles."""
    position = torch.tensor(positions)
    shape = position.shape[:2]
    p = Particles(
        position,
        torch.zeros(*shape, 2),
        torch.zeros(*shape, 1),
        torch.tensor(on)[..., None],
        torch.tensor(looks),
    )
    return Scene(p, torch.zeros(2, 1))


def test_partners_swap_whatever_their_slots():
    scene = pair(
        [[[0.0, 0.0], [0.8, 0.8]], [[0.75, 0.8], [0.05, 0.0]]],
        [[1.0, 1.0], [1.0, 1.0]],
        [[[1.0], [2.0]], [[2.5], [1.5]]],
    )
    swapped = exchange(scene, 1.0).particles
    assert swapped.features[..., 0].tolist() == [[1.5, 2.5], [2.0, 1.0]]
    assert torch.equal(swapped.position, scene.particles.position)


def test_hidden_far_and_unchosen_ones_keep_their_looks():
    scene = pair(
        [[[0.0, 0.0], [0.8, 0.8]], [[0.0, 0.0], [-0.8, -0.8]]],
        [[0.0, 1.0], [1.0, 1.0]],
        [[[1.0], [2.0]], [[3.0], [4.0]]],
    )
    assert torch.equal(exchange(scene, 1.0).particles.features, scene.particles.features)
    near = pair([[[0.0, 0.0]], [[0.0, 0.0]]], [[1.0], [1.0]], [[[1.0]], [[2.0]]])
    assert torch.equal(exchange(near, 0.0).particles.features, near.particles.features)


def test_gradients_reach_the_frame_that_the_looks_came_from():
    scene = pair([[[0.0, 0.0]], [[0.0, 0.0]]], [[1.0], [1.0]], [[[1.0]], [[2.0]]])
    features = scene.particles.features.requires_grad_()
    exchange(scene, 1.0).particles.features[0].sum().backward()
    assert features.grad is not None
    assert features.grad.flatten().tolist() == [0.0, 1.0]
