"""Corrupted test items, for how networks do on data that they were not trained on.

The idea is that of Hendrycks and Dietterich 2019; the four corruptions and their strengths are our own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn import functional

from zoo.datasets.base import Dataset, Items, as_inputs
from zoo.errors import SpecificationError, unknown_name

NOISE = (0.04, 0.08, 0.12, 0.18, 0.26)
"""Standard deviation of the noise, of a range from 0 to 1."""
BLUR = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Standard deviation of the Gaussian in pixels."""
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)
"""What is left of the distance of each pixel to the mean of its image."""
SHIFT = (1, 2, 3, 4, 5)
"""Pixels."""
_REACH = 4
"""The kernel of the blur ends at so many standard deviations."""


def corrupt(x: Num[Tensor, "*shape"], name: str, strength: int, *, seed: int = 0) -> Num[Tensor, "*shape"]:
    """Corrupt images; noise and contrast are for vectors of pixels too.

    Args:
        x: Images `(items, channels, height, width)` or vectors `(items, pixels)`: uint8, or
            float32 from 0 to 1.
        name: `noise`: adds Gaussian noise. `blur`: convolves with a Gaussian, borders repeated. `contrast`:
            draws the pixels of each image towards their mean. `shift`: moves each image along both axes, to
            one of four sides at random; what comes in is black.
        strength: 1 to 5, from weak to strong: `NOISE`, `BLUR`, `CONTRAST`, `SHIFT`.
        seed: Seed of the noise and of the directions.

    Returns:
        The same shape, type and range; equal arguments give equal items.

    Raises:
        UnknownNameError: No corruption has this name.
        SpecificationError: The strength is not 1 to 5, or the items are not what is asked for.

    Example:
        >>> corrupt(torch.tensor([[0.0, 1.0]]), "contrast", 2)
        tensor([[0.2500, 0.7500]])
    """
    if name not in CORRUPTIONS:
        raise unknown_name("corruption", name, CORRUPTIONS)
    if strength not in range(1, 6):
        raise SpecificationError(f"a corruption has a strength of 1, 2, 3, 4 or 5, not {strength}")
    _check_items(x, name)
    generator = torch.Generator().manual_seed(seed)
    changed = CORRUPTIONS[name](as_inputs(x), strength - 1, generator).clamp(0, 1)
    return (changed * 255).round().to(torch.uint8) if x.dtype == torch.uint8 else changed


def corrupted(dataset: Dataset, name: str, strength: int) -> Dataset:
    """Corrupt the test side of a dataset; all else stays.

    Args:
        dataset: Images, or vectors of pixels.
        name: As `corrupt` takes it.
        strength: 1 to 5.

    Returns:
        The dataset with other test inputs.

    Raises:
        UnknownNameError: No corruption has this name.
        SpecificationError: The strength is not 1 to 5, or the items are no images.
    """
    return replace(dataset, test=Items(corrupt(dataset.test.x, name, strength), dataset.test.y))


def _check_items(x: Num[Tensor, "*shape"], name: str) -> None:
    if x.ndim != 4 and (x.ndim != 2 or name in {"blur", "shift"}):
        raise SpecificationError(
            f"{name} is for images (items, channels, height, width), not for items of shape "
            f"{tuple(x.shape)}; noise and contrast are for vectors (items, pixels) too"
        )
    if x.dtype not in {torch.uint8, torch.float32}:
        raise SpecificationError(
            f"corruptions are for pixels: uint8, or float32 from 0 to 1; not for {x.dtype}"
        )
    if x.dtype == torch.float32 and not bool(((x >= 0) & (x <= 1)).all()):
        raise SpecificationError(
            f"corruptions are for pixels from 0 to 1, these are from {float(x.min()):g} to "
            f"{float(x.max()):g}; scale them"
        )


def _noise(x: Float[Tensor, "*shape"], level: int, generator: torch.Generator) -> Float[Tensor, "*shape"]:
    return x + NOISE[level] * torch.randn(x.shape, generator=generator)


def _contrast(x: Float[Tensor, "*shape"], level: int, _generator: torch.Generator) -> Float[Tensor, "*shape"]:
    mean = x.mean(dim=tuple(range(1, x.ndim)), keepdim=True)
    return mean + CONTRAST[level] * (x - mean)


def _blur(
    x: Float[Tensor, "items c h w"], level: int, _generator: torch.Generator
) -> Float[Tensor, "items c h w"]:
    reach = int(_REACH * BLUR[level] + 0.5)
    distances = torch.arange(-reach, reach + 1, dtype=torch.float64) / BLUR[level]
    kernel = torch.softmax(-0.5 * distances.square(), dim=0).to(torch.float32)
    for direction in ((-1, 1), (1, -1)):  # a Gaussian is one along the rows and one along the columns
        weight = kernel.view(1, 1, *direction)
        pad = (0, 0, reach, reach) if direction == (-1, 1) else (reach, reach, 0, 0)
        flat = functional.pad(x.flatten(0, 1).unsqueeze(1), pad, mode="replicate")
        x = functional.conv2d(flat, weight).view(x.shape)
    return x


def _shift(
    x: Float[Tensor, "items c h w"], level: int, generator: torch.Generator
) -> Float[Tensor, "items c h w"]:
    tall, wide = min(SHIFT[level], x.shape[2]), min(SHIFT[level], x.shape[3])
    sides = torch.randint(4, (len(x),), generator=generator)
    moved = torch.empty_like(x)
    for side, (down, right) in enumerate(itertools.product((-tall, tall), (-wide, wide))):
        here = sides == side
        # padding that is negative cuts off
        moved[here] = functional.pad(x[here], (right, -right, down, -down))
    return moved


CORRUPTIONS: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "shift": _shift,
}
"""The corruptions by name: of pixels from 0 to 1, by the place in the table of strengths."""
