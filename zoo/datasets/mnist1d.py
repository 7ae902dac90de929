"""MNIST-1D (Greydanus and Kobak 2024): ten shapes of digits drawn along a line, padded, moved and noisy."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from zoo.datasets.base import Dataset, Items, PlainDataset, Sizes
from zoo.spec import DataShape

SHAPE = DataShape((40,), 10)
TRAIN, VAL = 3600, 400
"""5,000 items, shuffled as they are made: 4,000 for training, of which the last 400 are to choose; 1,000 to
report."""
SIZES = Sizes(TRAIN, smallest_class=353)


@contextmanager
def _global_seeds_kept() -> Iterator[None]:
    """Leave the global generators as they were: the package seeds them and draws from them."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def _made() -> dict[str, Any]:
    """Make the data by the defaults of the package `mnist1d`, in about a second."""
    from mnist1d.data import get_dataset_args, make_dataset  # loads matplotlib

    with _global_seeds_kept():
        made: dict[str, Any] = make_dataset(get_dataset_args())
    return made


def load() -> Dataset:
    """Make the data, the same on any machine: float64 differs in its last bits from processor to processor.

    What is left of that in float32 is nothing, but for about one chance in a thousand over all numbers.

    Returns:
        Inputs of 40 numbers, mean 0 and variance 1 over all; ten classes. The first 4,000 items are the
        package's training side, the last 1,000 its test side.
    """
    made = _made()
    sides = [
        Items(torch.tensor(made[x], dtype=torch.float32), torch.tensor(made[y], dtype=torch.int64))
        for x, y in (("x", "y"), ("x_test", "y_test"))
    ]
    given, test = sides
    return Dataset(
        name="mnist1d",
        train=Items(given.x[:TRAIN], given.y[:TRAIN]),
        val=Items(given.x[TRAIN:], given.y[TRAIN:]),
        test=test,
        classes=SHAPE.classes,
        licence="Apache-2.0",
        source="S. Greydanus and D. Kobak, Scaling down deep learning with MNIST-1D, ICML 2024",
    )


MNIST1D = PlainDataset("mnist1d", SHAPE, SIZES, load)
