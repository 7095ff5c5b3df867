"""Pictures of any kind -> uint8 RGB of one size."""

from typing import Literal

import cv2
import gymnasium as gym
import numpy as np
from jaxtyping import Shaped, UInt8, UInt16

from dlp_dyn.errors import InputError

Crop = Literal["square"] | tuple[int, int, int, int]
IMAGE_KEYS = ("pixels", "image", "rgb", "observation")
MIN_SIDE = 16  # below that an "image" is a grid of codes, such as MiniGrid's 7 x 7


def as_rgb(
    image: Shaped[np.ndarray, "..."], name: str, *, bits: int | None = None, alpha: bool = False
) -> UInt8[np.ndarray, "H W 3"]:
    """Grey, RGB or RGBA (laid over black) of any dtype -> uint8 RGB.

    Floats have to be in [0, 1].
    bits: how many of 16 the camera uses; without them, pixels that could be of 10 to 15 bits are refused.
    alpha: the source says that a fourth channel is alpha. Otherwise it has to be opaque: four grey steps, as Atari's
    wrappers stack them, look the same.

    Raises InputError, which begins with `name`, for anything else.
    """
    if image.ndim == 3 and image.shape[-1] not in (1, 3, 4) and image.shape[0] in (1, 3, 4):
        image = np.moveaxis(image, 0, -1)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
        raise InputError(
            f"{name}: shape {image.shape} is not an image; (H, W), (H, W, 3) or (H, W, 4) is expected"
        )
    image = _as_uint8(image, name, bits)
    if image.shape[-1] == 4:
        opacity = image[..., 3:].astype(np.uint16)
        if not alpha and opacity.min() < 255:
            raise InputError(
                f"{name}: four channels that are not opaque RGBA, stacked grey steps perhaps; keep one step, or "
                "three channels"
            )
        image = ((image[..., :3] * opacity + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def _as_uint8(image: np.ndarray, name: str, bits: int | None) -> UInt8[np.ndarray, "H W C"]:
    if image.dtype == np.uint8:
        return image
    if image.dtype == bool:
        return image.astype(np.uint8) * 255
    if image.dtype == np.uint16:
        return _of_bits(image, name, bits)
    if np.issubdtype(image.dtype, np.floating):
        if not np.isfinite(image).all():
            raise InputError(f"{name}: has NaN or infinite pixels; repair or leave out this frame")
        low, high = image.min(), image.max()
        if low < 0 or high > 1:
            raise InputError(
                f"{name}: float pixels from {low:g} to {high:g}; scale them to [0, 1] or store uint8"
            )
        return (image * 255 + 0.5).astype(np.uint8)
    raise InputError(f"{name}: pixels are {image.dtype}; use uint8, uint16, bool or floats in [0, 1]")


def _of_bits(image: UInt16[np.ndarray, "H W C"], name: str, bits: int | None) -> UInt8[np.ndarray, "H W C"]:
    """The upper eight of the bits that the camera uses."""
    brightest = int(image.max(initial=0))
    if bits is None and 0 < brightest < 1 << 15:
        raise InputError(
            f"{name}: 16-bit pixels up to {brightest}, of a camera of {max(brightest.bit_length(), 8)} bits perhaps; "
            "give bits (10, 12, 14 or 16)"
        )
    bits = bits or 16
    if brightest >= 1 << bits:
        raise InputError(f"{name}: pixels up to {brightest}, more than {bits} bits hold; give more bits")
    return (image >> (bits - 8)).astype(np.uint8)


def as_mask(image: Shaped[np.ndarray, "..."], name: str) -> UInt8[np.ndarray, "H W"]:
    """The number of the thing in each pixel, 0 for none, from whole numbers up to 255 or from True and False.

    Raises InputError, which begins with `name`, for colours and larger numbers.
    """
    if image.ndim == 3 and (image == image[..., :1]).all():
        image = image[..., 0]
    if image.ndim != 2 or image.dtype.kind not in "uib":
        raise InputError(
            f"{name}: {image.dtype} of shape {image.shape} is no mask; one whole number a pixel is expected"
        )
    if image.size and not 0 <= int(image.min()) <= int(image.max()) <= 255:
        raise InputError(
            f"{name}: numbers from {image.min()} to {image.max()}; masks have those from 0 to 255"
        )
    return image.astype(np.uint8)


def fit(
    image: UInt8[np.ndarray, "H W ..."],
    image_size: int | None,
    crop: Crop | None,
    name: str,
    *,
    nearest: bool = False,
) -> UInt8[np.ndarray, "h w ..."]:
    """Crops, then resizes to a square of `image_size` pixels (None: as it is); shrinking averages over areas.

    `crop`: "square" is the largest one in the middle, four numbers are (left, top, right, bottom) in pixels.
    nearest: no mean of pixels, for those that are numbers of things.
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size {image_size}: must be 1 or more")
    height, width = image.shape[:2]
    if crop == "square":
        side = min(height, width)
        crop = ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2)
    if crop is not None:
        left, top, right, bottom = crop
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise InputError(
                f"{name}: crop {crop} (left, top, right, bottom) does not lie inside the image of {width} x "
                f"{height} pixels"
            )
        image = image[top:bottom, left:right]
    if image_size is not None and image.shape[:2] != (image_size, image_size):
        shrinks = image_size <= min(image.shape[:2])
        method = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (image_size, image_size), interpolation=method), np.uint8)
    return np.ascontiguousarray(image)


def image_key(space: gym.Space) -> tuple[str, ...] | None:
    """Where a space holds an image: () is the whole of it, ("pixels",) a key of a Dict; None: nowhere."""
    if isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3):
        height, width = space.shape[:2]
        return () if min(height, width) >= MIN_SIDE and space.shape[2:] in ((), (1,), (3,), (4,)) else None
    if isinstance(space, gym.spaces.Dict):
        for key in sorted(space.spaces, key=lambda k: (k not in IMAGE_KEYS, k)):
            if (inner := image_key(space[key])) is not None:
                return (key, *inner)
    return None
