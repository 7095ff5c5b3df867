"""Coordinates, cropping, placing and compositing: the only package with sampling maths.

Positions are (x, y) in [-1, 1], where -1 and 1 are the centres of the first and last pixel (`align_corners=True`).
`align_corners=False` is offered to reproduce the official DLPv3, whose samplers use the pixel borders instead.
"""

from dlp_dyn.geometry.compositing import composite, covering_window
from dlp_dyn.geometry.coordinates import (
    patch_centres,
    patch_to_image,
    patches,
    spatial_softmax,
    to_pixel,
    to_unit,
)
from dlp_dyn.geometry.cropping import correlation_map, crop_features, crop_glimpses
from dlp_dyn.geometry.placing import box_cover, boxes, particle_masks, place_glimpses
from dlp_dyn.geometry.warping import random_warps, warp, warp_grid

__all__ = [
    "box_cover",
    "boxes",
    "composite",
    "correlation_map",
    "covering_window",
    "crop_features",
    "crop_glimpses",
    "particle_masks",
    "patch_centres",
    "patch_to_image",
    "patches",
    "place_glimpses",
    "random_warps",
    "spatial_softmax",
    "to_pixel",
    "to_unit",
    "warp",
    "warp_grid",
]
