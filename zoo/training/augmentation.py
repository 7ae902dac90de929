"""Training images shifted, mirrored and turned anew each time, each network from its own stream."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from zoo.training.streams import substreams, uniform

_DRAWS = 4
"""Numbers for each item: shift down, shift to the right, mirror, angle."""


class Augmentation(NamedTuple):
    """How images are changed: `augment(x, keys, places, **augmentation._asdict())`.

    Attributes:
        crop: Largest shift in pixels, each way.
        flip: Probability that an image is mirrored left to right.
        rotation: Largest turn in degrees, each way.
    """

    crop: int = 0
    flip: float = 0.0
    rotation: float = 0.0


def augment(
    x: Num[Tensor, "models batch channels height width"],
    keys: Int[Tensor, " models"],
    places: Int[Tensor, " batch"],
    *,
    crop: int = 0,
    flip: float = 0.0,
    rotation: float = 0.0,
) -> Num[Tensor, "models batch channels height width"]:
    """Change each image of each network: turn it about its centre, mirror it, shift it.

    What is drawn for an item is a function of the network's key and of the item's place alone, so that a
    network gets the same alone and in a stack, in one batch or in several.

    Args:
        x: Images of any type, which stays.
        keys: Key of each network's stream, one for each epoch.
        places: Place of each item in the epoch.
        crop: Largest shift in pixels; a whole number of -crop to crop is drawn for each direction. Padding
            by so many black pixels and cutting out the old size at random is the same.
        flip: Probability of the mirror, left to right.
        rotation: Largest angle in degrees; it is drawn uniformly from -rotation to rotation, positive is
            counter-clockwise. Each pixel is the nearest one of the image.

    Returns:
        The same shape; black (0) where the image does not reach. Each pixel is one of the image, by one
        gather; `x` itself where nothing is asked for.

    Example:
        >>> image = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8).view(1, 1, 1, 2, 3)
        >>> augment(image, torch.tensor([0]), torch.tensor([0]), flip=1.0).tolist()
        [[[[[3, 2, 1], [6, 5, 4]]]]]
    """
    if not (crop or flip or rotation):
        return x
    drawn = _drawn(keys, places)
    height, width = x.shape[-2:]
    row = torch.arange(height, device=x.device).view(-1, 1)
    column = torch.arange(width, device=x.device)
    row, column = row - _shifts(drawn[0], crop), column - _shifts(drawn[1], crop)
    column = torch.where(drawn[2] < flip, width - 1 - column, column)
    if rotation:
        row, column = _turned(row, column, (height, width), rotation * (2 * drawn[3] - 1))
    return _picked(x, row, column)


def _drawn(
    keys: Int[Tensor, " models"], places: Int[Tensor, " batch"]
) -> Float[Tensor, "draws models batch 1 1"]:
    items = substreams(keys.unsqueeze(1), places)
    numbers = torch.arange(_DRAWS, device=keys.device).view(-1, 1, 1)
    return uniform(items, numbers)[..., None, None]


def _shifts(drawn: Float[Tensor, "*shape"], crop: int) -> Int[Tensor, "*shape"]:
    return (drawn * (2 * crop + 1)).floor().to(torch.int64) - crop


def _turned(
    row: Int[Tensor, "#models #batch #height #width"],
    column: Int[Tensor, "#models #batch #height #width"],
    size: tuple[int, int],
    degrees: Float[Tensor, "models batch 1 1"],
) -> tuple[Int[Tensor, "models batch height width"], Int[Tensor, "models batch height width"]]:
    """Say which pixel of an image comes to a place of the turned image: the place turned back."""
    # float64, since sines of vector and scalar code differ in their last bits: after rounding they do not
    angle = degrees.to(torch.float64) * (math.pi / 180)
    cosine, sine = angle.cos().to(torch.float32), angle.sin().to(torch.float32)
    middle, centre = (size[0] - 1) / 2, (size[1] - 1) / 2
    down, right = row - middle, column - centre
    from_row = down * cosine + right * sine + middle
    from_column = right * cosine - down * sine + centre
    return from_row.round().to(torch.int64), from_column.round().to(torch.int64)


def _picked(
    x: Num[Tensor, "models batch channels height width"],
    row: Int[Tensor, "models batch _ _"],
    column: Int[Tensor, "models batch _ _"],
) -> Num[Tensor, "models batch channels height width"]:
    height, width = x.shape[-2:]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    flat = place.flatten(2).unsqueeze(2).expand(-1, -1, x.shape[2], -1)
    picked = x.flatten(3).gather(3, flat).view(x.shape)
    return picked.where(inside.unsqueeze(2), torch.zeros((), dtype=x.dtype, device=x.device))
