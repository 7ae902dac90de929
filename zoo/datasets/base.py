"""What every dataset provides: resident tensors in a fixed train/val/test split."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Int, Num
from torch import Tensor

from zoo.errors import SpecificationError
from zoo.spec import DatasetSpecification, DataShape, GrowingSpecification

Kind = Literal["classification", "sequence", "convection"]
"""What is asked: one class an item, one class at each place of an item, or the solution of an equation."""


@dataclass(frozen=True)
class Items:
    """One side of a split.

    Attributes:
        x: Inputs `(n_items, ...)`: float32, uint8 for the pixels of images, or int64 for tokens.
        y: Classes `(n_items,)` or `(n_items, places)`, int64; or numbers `(n_items,)`, float32.
    """

    x: Num[Tensor, "items ..."]
    y: Num[Tensor, "items ..."]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.y)


class Sizes(NamedTuple):
    """What planning needs to know of a dataset without its files.

    Attributes:
        train: Number of training items.
        smallest_class: Number of training items of the class that has the fewest; nothing where items have
            no class of their own.
    """

    train: int
    smallest_class: int | None = None


class DatasetOptions(GrowingSpecification):
    """Base of a dataset's own options: unknown keys are refused, values are typed."""


class DatasetFamily(ABC):
    """A dataset, or a family of them told apart by options, registered under a name.

    Attributes:
        name: The name, as recipes spell it.
        options: Class of its options.
        kind: What is asked of networks.
        shared: Options that leave the inputs of the training items as they are, so that networks that differ
            in them alone train together.
    """

    name: str
    options: ClassVar[type[DatasetOptions]] = DatasetOptions
    kind: ClassVar[Kind] = "classification"
    shared: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def shape(self, options: DatasetOptions, /) -> DataShape:
        """Give the shape of inputs and outputs; the files need not be there."""

    @abstractmethod
    def sizes(self, options: DatasetOptions, /) -> Sizes:
        """Count the training items; the files need not be there."""

    @abstractmethod
    def load(self, options: DatasetOptions, /) -> Dataset:
        """Load it."""


class PlainDataset(DatasetFamily):
    """A dataset without options of its own, whose items have one class each.

    Args:
        name: Registered name.
        shape: Shape of inputs and outputs.
        sizes: Number of training items.
        load: Loads it.
    """

    def __init__(self, name: str, shape: DataShape, sizes: Sizes, load: Callable[[], Dataset]) -> None:
        self.name = name
        self._shape, self._sizes, self._load = shape, sizes, load

    def shape(self, _options: DatasetOptions, /) -> DataShape:
        """Give the shape of inputs and outputs."""
        return self._shape

    def sizes(self, _options: DatasetOptions, /) -> Sizes:
        """Count the training items."""
        return self._sizes

    def load(self, _options: DatasetOptions, /) -> Dataset:
        """Load it."""
        return self._load()


def as_inputs(x: Num[Tensor, "*shape"]) -> Num[Tensor, "*shape"]:
    """Turn items into what networks take: bytes are pixels, and become numbers from 0 to 1.

    Args:
        x: Items.

    Returns:
        `x / 255` in float32 for uint8; all else as it is.

    Example:
        >>> as_inputs(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
    """
    return x.to(torch.float32) / 255 if x.dtype == torch.uint8 else x


@dataclass(frozen=True)
class Dataset:
    """A dataset whose split never changes under its name and options.

    Attributes:
        name: Registered name.
        train: Items that gradients may see.
        val: Items that choices may see.
        test: Items for the final number.
        classes: Number of classes, or of outputs.
        licence: Licence of the data.
        source: Where the data come from.
        kind: What is asked of networks.
        tokens: Number of different tokens, where inputs are tokens.
        inputs: Shape of what a network takes, where it is not that of a training item.
    """

    name: str
    train: Items
    val: Items
    test: Items
    classes: int
    licence: str
    source: str
    kind: Kind = "classification"
    tokens: int | None = None
    inputs: tuple[int, ...] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input of a network, without the batch."""
        return tuple(self.train.x.shape[1:]) if self.inputs is None else self.inputs

    @property
    def shape(self) -> DataShape:
        """What a network needs to know of it."""
        return DataShape(self.input_shape, self.classes, self.tokens)

    @property
    def sha256(self) -> str:
        """Digest of all tensors, split by split: what the networks really saw."""
        found = hashlib.sha256()
        for items in (self.train, self.val, self.test):
            found.update(items.x.contiguous().numpy().data)
            found.update(items.y.contiguous().numpy().data)
        return found.hexdigest()

    def restricted(self, spec: DatasetSpecification) -> Dataset:
        """Give the dataset as networks of a specification are judged on it: true labels, its classes alone.

        Args:
            spec: Its `classes` or `class_count` say which classes are kept.

        Returns:
            This very dataset where all are.

        Raises:
            SpecificationError: A class is not there.
        """
        kept = self._kept(spec)
        if kept is None:
            return self
        train = self._numbered(self.train, kept, self._class_items(kept))
        val, test = (
            self._numbered(items, kept, torch.isin(items.y, kept).nonzero()[:, 0])
            for items in (self.val, self.test)
        )
        return replace(self, train=train, val=val, test=test, classes=len(kept))

    def training_labels(self, spec: DatasetSpecification) -> Num[Tensor, "items ..."]:
        """Give the labels that a network is trained on: the true ones, some replaced by a wrong class.

        Args:
            spec: Its `label_noise` is the share of labels replaced, `noise_seed` picks which; a lower share
                replaces a subset of what a higher share replaces.

        Returns:
            `(n_train, ...)`; -100 for an item whose class is not kept.

        Raises:
            SpecificationError: A class is not there.
        """
        kept = self._kept(spec)
        labels = self.train.y.clone() if kept is not None or spec.label_noise else self.train.y
        inside, classes = torch.arange(len(self.train)), self.classes
        if kept is not None:
            inside, classes = self._class_items(kept), len(kept)
            labels = torch.full_like(labels, -100)
            labels[inside] = torch.searchsorted(kept, self.train.y[inside])
        if spec.label_noise:
            generator = torch.Generator().manual_seed(spec.noise_seed)
            order = torch.randperm(len(inside), generator=generator)
            shift = torch.randint(1, classes, (len(inside),), generator=generator)
            changed = order[: round(spec.label_noise * len(inside))]
            picked = inside[changed]
            labels[picked] = (labels[picked] + shift[changed]) % classes
        return labels

    def training_items(self, spec: DatasetSpecification) -> Int[Tensor, " used"]:
        """Say which training items a network sees.

        Args:
            spec: Which classes are kept; its `fraction` is the share of their items, `subset_seed` picks
                which; a lower share is a subset of a higher one.

        Returns:
            Their places, ascending, at least one: `round(fraction * n)`.

        Raises:
            SpecificationError: A class is not there.
        """
        kept = self._kept(spec)
        inside = torch.arange(len(self.train)) if kept is None else self._class_items(kept)
        order = torch.randperm(len(inside), generator=_subset_stream(spec.subset_seed))
        return inside[order[: share_of(len(inside), spec.fraction)]].sort().values

    def _kept(self, spec: DatasetSpecification) -> Int[Tensor, " kept"] | None:
        check_classes(spec, self.classes)
        if spec.kept_classes is None:
            return None
        kept = torch.tensor(spec.kept_classes)
        for side, items in (("training", self.train), ("val", self.val), ("test", self.test)):
            if not torch.isin(items.y, kept).any():
                raise SpecificationError(
                    f"the dataset {spec.name!r} has no {side} items of the classes {spec.kept_classes}; "
                    "keep others, or more"
                )
        return kept

    def _class_items(self, kept: Int[Tensor, " kept"]) -> Int[Tensor, " inside"]:
        """Say which training items have one of the classes: as many of each as the smallest class has."""
        each = int(torch.bincount(self.train.y, minlength=self.classes).min())
        places = [(self.train.y == one).nonzero()[:each, 0] for one in kept]
        return torch.cat(places).sort().values

    @staticmethod
    def _numbered(items: Items, kept: Int[Tensor, " kept"], places: Int[Tensor, " some"]) -> Items:
        return Items(items.x[places], torch.searchsorted(kept, items.y[places]))


def _subset_stream(seed: int) -> torch.Generator:
    """Open the stream of a choice of items; on that of label noise the wrong labels would be chosen first."""
    key = hashlib.sha256(f"subset:{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:4], "little"))


def share_of(items: int, fraction: float) -> int:
    """Count a share of items.

    Args:
        items: How many there are.
        fraction: In (0, 1].

    Returns:
        `round(fraction * items)`, at least 1.
    """
    return max(1, round(fraction * items))


def check_classes(spec: DatasetSpecification, classes: int) -> None:
    """Refuse a choice of classes that a dataset does not have.

    Args:
        spec: The choice.
        classes: Number of classes of the dataset.

    Raises:
        SpecificationError: A class is not there.
    """
    if spec.class_count is not None and spec.class_count > classes:
        raise SpecificationError(
            f"the dataset {spec.name!r} has {classes} classes, got class_count {spec.class_count}; take fewer"
        )
    missing = [one for one in spec.kept_classes or () if one >= classes]
    if missing:
        raise SpecificationError(
            f"the dataset {spec.name!r} has the classes 0 to {classes - 1}, not {missing[0]}; "
            "choose among them"
        )
