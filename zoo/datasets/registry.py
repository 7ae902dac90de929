"""The datasets by name; a new one adds its file and one line here."""

from __future__ import annotations

from functools import lru_cache

from pydantic import ValidationError, create_model

from zoo.datasets.base import (
    Dataset,
    DatasetFamily,
    DatasetOptions,
    Items,
    Sizes,
    check_classes,
    share_of,
)
from zoo.datasets.cifar import CIFAR10, CIFAR100
from zoo.datasets.convection import CONVECTION
from zoo.datasets.digits import DIGITS, DIGITS_IMAGES
from zoo.datasets.fashion_mnist import FASHION_MNIST
from zoo.datasets.mnist1d import MNIST1D
from zoo.datasets.modular_addition import MODULAR_ADDITION
from zoo.datasets.svhn import SVHN
from zoo.datasets.text import TEXT
from zoo.datasets.tiny_imagenet import TINY_IMAGENET
from zoo.errors import FormatError, SpecificationError, unknown_name
from zoo.spec import DatasetSpecification, DataShape, canonical_json, describe

_FAMILIES: tuple[DatasetFamily, ...] = (
    DIGITS,
    DIGITS_IMAGES,
    FASHION_MNIST,
    CIFAR10,
    CIFAR100,
    SVHN,
    TINY_IMAGENET,
    MNIST1D,
    MODULAR_ADDITION,
    CONVECTION,
    TEXT,
)
_REGISTRY = {family.name: family for family in _FAMILIES}
_RESIDENT = 8
"""Datasets that stay in memory."""


def names() -> list[str]:
    """List the registered datasets.

    Returns:
        Their names, sorted.

    Example:
        >>> "digits" in names()
        True
    """
    return sorted(_REGISTRY)


def family(name: str) -> DatasetFamily:
    """Look up a dataset.

    Args:
        name: Registered name.

    Returns:
        Its family.

    Raises:
        UnknownNameError: No dataset has this name.
    """
    if name not in _REGISTRY:
        raise unknown_name("dataset", name, _REGISTRY)
    return _REGISTRY[name]


def _options(spec: DatasetSpecification) -> DatasetOptions:
    own = family(spec.name).options
    try:
        return own.model_validate(spec.options)
    except ValidationError as error:
        # an unknown key may have meant an option of this dataset, or one that all datasets have
        known = create_model("Known", __base__=(own, DatasetSpecification))
        raise SpecificationError(f"dataset {spec.name!r}:\n{describe(error, known)}") from None


def options(spec: DatasetSpecification) -> DatasetOptions:
    """Give a dataset's own options with every default, those too that a specification leaves out.

    Args:
        spec: Name and options.

    Returns:
        The options, each with its own type.

    Raises:
        UnknownNameError: No dataset has this name.
        SpecificationError: An option is unknown or out of range.
    """
    return _options(spec)


def resolve(spec: DatasetSpecification) -> DatasetSpecification:
    """Check what is asked of a dataset and write out the defaults of its own options.

    Args:
        spec: Name, options, and how it is shown, as a recipe gives them.

    Returns:
        The same with every option present, so that its hash does not depend on defaults.

    Raises:
        UnknownNameError: No dataset has this name.
        SpecificationError: An option is unknown or out of range; a class is not there; or labels, classes or
            images are meant where the dataset has none.

    Example:
        >>> resolve(DatasetSpecification(name="digits", classes="0-7")).kept_classes
        (0, 7)
    """
    found, own = family(spec.name), _options(spec)
    whole = found.shape(own)
    if found.kind != "classification" and (spec.label_noise or spec.kept_classes):
        raise SpecificationError(
            f"the dataset {spec.name!r} gives no class to an item; leave label_noise, classes and "
            "class_count out"
        )
    if spec.augmented and len(whole.inputs) != 3:
        raise SpecificationError(
            f"crop, flip and rotation are for images (channels, height, width), the dataset "
            f"{spec.name!r} has inputs of shape {whole.inputs}; leave them out"
        )
    check_classes(spec, whole.classes)
    shown = spec.model_dump(exclude=set(spec.options))
    return DatasetSpecification.model_validate({**shown, **own.model_dump(mode="json")})


def _specification(given: str | DatasetSpecification) -> DatasetSpecification:
    return DatasetSpecification(name=given) if isinstance(given, str) else given


def load(given: str | DatasetSpecification) -> Dataset:
    """Load a dataset whole, with all of its classes; it stays in memory and is shared.

    Args:
        given: Registered name, or a specification whose name and own options count.

    Returns:
        The dataset; `restricted` and `training_labels` give what a specification makes of it.

    Raises:
        UnknownNameError: No dataset has this name.
        SpecificationError: An option is unknown or out of range.
        DataMissingError: Its files are not here.
        FormatError: It holds NaN or infinite numbers.

    Example:
        >>> data = load("digits")
        >>> len(data.train), len(data.val), len(data.test), data.input_shape
        (1000, 297, 500, (64,))
    """
    spec = _specification(given)
    return _load(spec.name, _options(spec))


@lru_cache(maxsize=_RESIDENT)
def _load(name: str, own: DatasetOptions) -> Dataset:
    found = family(name).load(own)
    for side, items in (("train", found.train), ("val", found.val), ("test", found.test)):
        _check_numbers(name, side, items)
    return found


def _check_numbers(name: str, side: str, items: Items) -> None:
    """Refuse data that would turn every network into NaN without a word of where it comes from."""
    for what, tensor in (("inputs", items.x), ("targets", items.y)):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            bad = ~tensor.isfinite().reshape(len(tensor), -1).all(dim=1)
            place = int(bad.nonzero()[0])
            raise FormatError(
                f"the dataset {name!r}: {what} of {side} item {place} are not finite numbers; "
                "clean its files, or leave such items out"
            )


def shape(given: str | DatasetSpecification) -> DataShape:
    """Give the shape of what a network sees without loading it, so that networks open where the data are not.

    Args:
        given: Registered name, or a specification.

    Returns:
        Shape of its inputs, number of classes that are kept.

    Raises:
        UnknownNameError: No dataset has this name.
        SpecificationError: An option is unknown or out of range.

    Example:
        >>> shape("digits")
        DataShape(inputs=(64,), classes=10, tokens=None)
    """
    spec = _specification(given)
    whole = family(spec.name).shape(_options(spec))
    kept = spec.kept_classes
    return whole if kept is None else DataShape(whole.inputs, len(kept), whole.tokens)


def sizes(given: str | DatasetSpecification) -> Sizes:
    """Count the training items of a whole dataset without loading it.

    Args:
        given: Registered name, or a specification.

    Returns:
        All of them, and those of the smallest class.

    Raises:
        UnknownNameError: No dataset has this name.
        SpecificationError: An option is unknown or out of range.
    """
    spec = _specification(given)
    return family(spec.name).sizes(_options(spec))


def used(spec: DatasetSpecification) -> int:
    """Count the training items that a network sees in an epoch, without loading them.

    Args:
        spec: Which classes are kept, and which share of their items.

    Returns:
        At least 1.

    Raises:
        UnknownNameError: No dataset has this name.
        SpecificationError: An option is unknown or out of range.
    """
    whole = sizes(spec)
    kept = spec.kept_classes
    items = whole.train if kept is None else len(kept) * (whole.smallest_class or 0)
    return share_of(items, spec.fraction)


def residence(spec: DatasetSpecification) -> str:
    """Name the inputs that a network is trained on: equal for networks that share one resident copy.

    Args:
        spec: The dataset.

    Returns:
        Name, the options that the inputs depend on, and how they are augmented.
    """
    own = _options(spec).model_dump(mode="json", exclude=set(family(spec.name).shared))
    return canonical_json({"name": spec.name, **own, "augmented": [spec.crop, spec.flip, spec.rotation]})
