"""Motion beside positions: the steps between frames, the positions that fit both best, straight lines through gaps."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def step_between(position: Float[Tensor, "*B T M 2"], linked: Bool[Tensor, "*B T M"]) -> Tensor:
    """From each frame's predecessor to it; 0 where they are not linked, as in the first frame."""
    step = position.diff(dim=-3, prepend=position[..., :1, :, :])
    return step * linked[..., None]


def in_both(visible: Bool[Tensor, "*B T M"]) -> Bool[Tensor, "*B T M"]:
    """Visible in a frame and in the one before it."""
    before = torch.cat([torch.zeros_like(visible[..., :1, :]), visible[..., :-1, :]], -2)
    return visible & before


def fitted(
    position: Float[Tensor, "*B T M 2"],
    step: Float[Tensor, "*B T M 2"],
    linked: Bool[Tensor, "*B T M"],
    stiffness: Float[Tensor, " 2"],
    held: Bool[Tensor, "*B T M"] | None = None,
) -> Float[Tensor, "*B T M 2"]:
    """The positions with the least squared distance to `position`, and of their steps to `step` where linked.

    stiffness: what an error of a step counts, one of a position counts 1. held: positions that stay as they are.
    Least squares, which leave positions whose steps are `step` alone.
    """
    x, s, spring = (
        y.expand_as(position).movedim(-3, -1) for y in (position, step, linked[..., None] * stiffness)
    )
    one = torch.eye(x.shape[-1], device=x.device, dtype=x.dtype)
    differences = torch.cat([torch.zeros_like(one[:1]), one.diff(dim=0)])
    normal = one + differences.T @ (spring[..., None] * differences)
    right = x + (spring * s) @ differences
    if held is not None:
        fast = held.movedim(-2, -1)[..., None, :]
        normal, right = torch.where(fast[..., None], one, normal), torch.where(fast, x, right)
    return torch.linalg.solve(normal, right).movedim(-1, -3)


def straight(x: Float[Tensor, "B T M C"], given: Bool[Tensor, "B T"]) -> Float[Tensor, "B T M C"]:
    """Straight lines between the frames that are given; 0 in those that have none before or none after them."""
    n_frames = x.shape[1]
    frame = torch.arange(n_frames, device=x.device).expand_as(given)
    before = torch.where(given, frame, -1).cummax(1).values
    after = torch.where(given, frame, n_frames).flip(1).cummin(1).values.flip(1)
    a, b = before.clamp_min(0), after.clamp_max(n_frames - 1)
    share = ((frame - a) / (b - a).clamp_min(1))[..., None, None].to(x.dtype)
    first, last = (x.gather(1, i[..., None, None].expand_as(x)) for i in (a, b))
    line = torch.lerp(first, last, share)
    return line * ((before >= 0) & (after < n_frames))[..., None, None]
