"""The datasets by name; a new one adds its file and two lines here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from zoo.datasets import digits
from zoo.datasets.base import Dataset
from zoo.errors import unknown_name
from zoo.spec import DataShape

_LOADERS: dict[str, Callable[[], Dataset]] = {"digits": digits.load, "digits-images": digits.load_images}
_SHAPES = {"digits": digits.SHAPE, "digits-images": digits.IMAGE_SHAPE}


def names() -> list[str]:
    """List the registered datasets.

    Returns:
        Their names, sorted.

    Example:
        >>> "digits" in names()
        True
    """
    return sorted(_LOADERS)


@cache
def _load(name: str) -> Dataset:
    return _LOADERS[name]()


def load(name: str) -> Dataset:
    """Load a dataset; it stays in memory and is shared.

    Args:
        name: Registered name.

    Returns:
        The dataset.

    Raises:
        UnknownNameError: No dataset has this name.

    Example:
        >>> data = load("digits")
        >>> len(data.train), len(data.val), len(data.test), data.input_shape
        (1000, 297, 500, (64,))
    """
    if name not in _LOADERS:
        raise unknown_name("dataset", name, _LOADERS)
    return _load(name)


def shape(name: str) -> DataShape:
    """Give a dataset's shape without loading it, so that networks can be opened where the data are not.

    Args:
        name: Registered name.

    Returns:
        Shape of its inputs, number of classes.

    Raises:
        UnknownNameError: No dataset has this name.

    Example:
        >>> shape("digits")
        DataShape(inputs=(64,), classes=10, tokens=None)
    """
    if name not in _SHAPES:
        raise unknown_name("dataset", name, _SHAPES)
    return _SHAPES[name]
