"""What every dataset provides: resident tensors in a fixed train/val/test split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.spec import DatasetSpecification


@dataclass(frozen=True)
class Items:
    """One side of a split.

    Attributes:
        x: Inputs `(n_items, ...)`, float32.
        y: Classes `(n_items,)`, int64.
    """

    x: Float[Tensor, "items ..."]
    y: Int[Tensor, " items"]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """A dataset whose split never changes under its name.

    Attributes:
        name: Registered name.
        train: Items that gradients may see.
        val: Items that choices may see.
        test: Items for the final number.
        classes: Number of classes.
        licence: Licence of the data.
        source: Where the data come from.
    """

    name: str
    train: Items
    val: Items
    test: Items
    classes: int
    licence: str
    source: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return tuple(self.train.x.shape[1:])

    @property
    def sha256(self) -> str:
        """Digest of all tensors, split by split: what the networks really saw."""
        found = hashlib.sha256()
        for items in (self.train, self.val, self.test):
            found.update(items.x.numpy().tobytes())
            found.update(items.y.numpy().tobytes())
        return found.hexdigest()

    def training_labels(self, spec: DatasetSpecification) -> Int[Tensor, " items"]:
        """Give the labels that a network is trained on: the true ones, some replaced by a wrong class.

        Args:
            spec: Its `label_noise` is the share of labels replaced, `noise_seed` picks which; a lower share
                replaces a subset of what a higher share replaces.

        Returns:
            `(n_train,)` int64.
        """
        generator = torch.Generator().manual_seed(spec.noise_seed)
        order = torch.randperm(len(self.train), generator=generator)
        shift = torch.randint(1, self.classes, (len(self.train),), generator=generator)
        picked = order[: round(spec.label_noise * len(self.train))]
        labels = self.train.y.clone()
        labels[picked] = (labels[picked] + shift[picked]) % self.classes
        return labels

    def training_items(self, spec: DatasetSpecification) -> Int[Tensor, " used"]:
        """Say which training items a network sees.

        Args:
            spec: Its `fraction` is the share of items, `subset_seed` picks which; a lower share is a subset
                of a higher one.

        Returns:
            Their places, ascending, at least one: `round(fraction * n_train)`.
        """
        generator = torch.Generator().manual_seed(spec.subset_seed)
        order = torch.randperm(len(self.train), generator=generator)
        return order[: self.used(spec)].sort().values

    def used(self, spec: DatasetSpecification) -> int:
        """Count the training items that a network sees.

        Args:
            spec: Its `fraction` is the share of items.

        Returns:
            At least 1.
        """
        return max(1, round(spec.fraction * len(self.train)))
