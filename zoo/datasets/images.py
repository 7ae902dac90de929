"""What the image datasets share: their description, and how val is cut from the official training items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from zoo.datasets.base import Dataset, Items, PlainDataset, Sizes
from zoo.errors import FormatError, IntegrityError
from zoo.spec import DataShape

_SEED = 0
"""Seed of the cut; another one would be another dataset."""


@dataclass(frozen=True)
class ImageSet:
    """A dataset of images with an official training and test side.

    Attributes:
        name: Registered name.
        inputs: Shape of an image: channels, height, width.
        counts: Official training items of each class.
        val: How many of them become val; each class gives its share.
        test: Official test items.
        licence: Licence of the data.
        source: Where the data come from, with their citation.
    """

    name: str
    inputs: tuple[int, int, int]
    counts: tuple[int, ...]
    val: int
    test: int
    licence: str
    source: str

    @property
    def shape(self) -> DataShape:
        """Shape of inputs and outputs."""
        return DataShape(self.inputs, len(self.counts))

    @property
    def sizes(self) -> Sizes:
        """Training items that are left when val is cut off."""
        left = [count - val for count, val in zip(self.counts, shares(self.counts, self.val), strict=True)]
        return Sizes(sum(left), min(left))

    def family(self, load: Callable[[], Dataset]) -> PlainDataset:
        """Make the entry of the registry.

        Args:
            load: Loads the dataset.

        Returns:
            The entry; it knows shape and sizes without the files.
        """
        return PlainDataset(self.name, self.shape, self.sizes, load)

    def assemble(self, official: Items, test: Items) -> Dataset:
        """Cut the official training items into train and val.

        Args:
            official: Official training items, in the order of their files.
            test: Official test items, in the order of their files.

        Returns:
            The dataset; the same on any machine, for ever.

        Raises:
            FormatError: A label is no class.
            IntegrityError: Items are missing, or there are too many.
        """
        for side, items in (("training", official), ("test", test)):
            self._check_labels(side, items.y)
        if len(test) != self.test:
            raise IntegrityError(
                f"{self.name} has {len(test):,} test items instead of {self.test:,}; {_AGAIN}"
            )
        found = torch.bincount(official.y, minlength=len(self.counts)).tolist()
        for label, (expected, got) in enumerate(zip(self.counts, found, strict=True)):
            if got != expected:
                raise IntegrityError(
                    f"class {label} of {self.name} has {got:,} training items instead of {expected:,}; "
                    f"{_AGAIN}"
                )
        train, val = cut(official.y, shares(self.counts, self.val))
        return Dataset(
            name=self.name,
            train=Items(official.x[train], official.y[train]),
            val=Items(official.x[val], official.y[val]),
            test=test,
            classes=len(self.counts),
            licence=self.licence,
            source=self.source,
        )

    def _check_labels(self, side: str, labels: Int[Tensor, " items"]) -> None:
        outside = labels[(labels < 0) | (labels >= len(self.counts))]
        if len(outside):
            raise FormatError(
                f"a {side} item of {self.name} has the label {int(outside[0])}; the classes are 0 to "
                f"{len(self.counts) - 1}; {_AGAIN}"
            )


_AGAIN = "its files are not the official ones: delete them and fetch them again"


def shares(counts: tuple[int, ...], total: int) -> tuple[int, ...]:
    """Share out a number in proportion: the whole parts, then one more for the largest remainders.

    Args:
        counts: Weight of each class.
        total: The number.

    Returns:
        One share for each class; they add up to `total`. Of equal remainders the earlier class comes first.

    Example:
        >>> shares((50, 30, 20), 5)
        (3, 1, 1)
    """
    whole = sum(counts)
    parts = [count * total // whole for count in counts]
    remainders = sorted(range(len(counts)), key=lambda one: -(counts[one] * total % whole))
    for one in remainders[: total - sum(parts)]:
        parts[one] += 1
    return tuple(parts)


def cut(
    labels: Int[Tensor, " items"], val: tuple[int, ...]
) -> tuple[Int[Tensor, " train"], Int[Tensor, " val"]]:
    """Cut items into train and val, class by class, by a permutation from a fixed seed.

    Args:
        labels: Class of each item.
        val: How many items of each class become val: the first so many in the order of the permutation.

    Returns:
        Places of the items of train and of val, both in the order of the permutation.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SEED))
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label, count in enumerate(val):
        chosen[(labels[order] == label).nonzero()[:count, 0]] = True
    return order[~chosen], order[chosen]
