"""Convolutions and pools of images whose items come last, as maps that are linear at fixed inputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.metrics.hessian.rules import Fixed

Images = Float[Tensor, "models channels height width items"]


class Columns(Fixed):
    """What a convolution sees at each place, as the columns of a matrix: it is a linear layer of these.

    Its memory is its own and used again, as that of `Linear`: a tangent's columns last until the next.

    Args:
        layer: The convolution, with zeros for padding, as many as a number says.
        value: The images.
    """

    def __init__(self, layer: nn.Conv2d, value: Images) -> None:
        self._layer, self._shape = layer, value.shape
        self.places, self.items = (self._count(0), self._count(1)), value.shape[-1]
        models, channels, height, width, items = value.shape
        down, right = map(int, layer.padding)
        self._padded = value.new_zeros(models, channels, height + 2 * down, width + 2 * right, items)
        self._inner = self._padded[:, :, down : down + height, right : right + width]
        entries = layer.kernel_size[0] * layer.kernel_size[1]
        self._pieces = value.new_empty(models, channels, entries, *self.places, items)
        self.output = self._there(value).clone()

    def _count(self, axis: int) -> int:
        size, padding = self._shape[2 + axis], int(self._layer.padding[axis])
        reach = self._layer.dilation[axis] * (self._layer.kernel_size[axis] - 1) + 1
        return (size + 2 * padding - reach) // self._layer.stride[axis] + 1

    def _seen(self) -> Iterator[Tensor]:
        """Go over the entries of the kernel: what each sees of the padded images at all places, as a view."""
        layer, (high, wide) = self._layer, self.places
        for row, column in itertools.product(*map(range, layer.kernel_size)):
            top, left = row * layer.dilation[0], column * layer.dilation[1]
            yield self._padded[
                :,
                :,
                top : top + layer.stride[0] * (high - 1) + 1 : layer.stride[0],
                left : left + layer.stride[1] * (wide - 1) + 1 : layer.stride[1],
            ]

    def _there(self, value: Tensor) -> Tensor:
        self._padded.zero_()
        self._inner.copy_(value)
        for entry, seen in enumerate(self._seen()):
            self._pieces[:, :, entry] = seen
        return self._pieces.flatten(3).flatten(1, 2)

    def _back(self, slope: Tensor) -> Tensor:
        pieces = slope.view(self._pieces.shape)
        self._padded.zero_()
        for entry, seen in enumerate(self._seen()):
            seen.add_(pieces[:, :, entry])
        return self._inner.clone()


class _Tiles(Fixed):
    """A pool of tiles that lie side by side; what does not fill a tile is left out.

    Args:
        size: Height and width of a tile.
        value: The images.
    """

    def __init__(self, size: tuple[int, int], value: Images) -> None:
        self._size, self._shape = size, value.shape
        self._counts = value.shape[2] // size[0], value.shape[3] // size[1]

    def _tiles(self, images: Tensor) -> Tensor:
        """View images as tiles `(models, channels, rows, height, columns, width, items)`."""
        (rows, columns), (height, width) = self._counts, self._size
        whole = images[:, :, : rows * height, : columns * width]
        return torch.unflatten(torch.unflatten(whole, 3, (columns, width)), 2, (rows, height))


class Mean(_Tiles):
    """The average of each tile."""

    def __init__(self, size: tuple[int, int], value: Images) -> None:
        super().__init__(size, value)
        self.output = self._there(value)

    def _there(self, value: Tensor) -> Tensor:
        return self._tiles(value).mean(dim=(3, 5))

    def _back(self, slope: Tensor) -> Tensor:
        images = slope.new_zeros(self._shape)
        share = slope / (self._size[0] * self._size[1])
        self._tiles(images).copy_(share[:, :, :, None, :, None].expand_as(self._tiles(images)))
        return images


class Largest(_Tiles):
    """The largest of each tile at the inputs given, wherever a tangent or a slope passes later."""

    def __init__(self, size: tuple[int, int], value: Images) -> None:
        super().__init__(size, value)
        self._place = self._lists(value).argmax(dim=4, keepdim=True)
        self.output = self._there(value)

    def _lists(self, images: Tensor) -> Tensor:
        return self._tiles(images).transpose(3, 4).flatten(4, 5)

    def _there(self, value: Tensor) -> Tensor:
        return self._lists(value).gather(4, self._place).squeeze(4)

    def _back(self, slope: Tensor) -> Tensor:
        images = slope.new_zeros(self._shape)
        tiles = self._tiles(images).transpose(3, 4)
        lists = slope.new_zeros(tiles.flatten(4, 5).shape).scatter_(4, self._place, slope.unsqueeze(4))
        tiles.copy_(lists.view(tiles.shape))
        return images
