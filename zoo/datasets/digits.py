"""Handwritten digits, 8 x 8 pixels, as scikit-learn bundles them (UCI Optical Recognition, test half)."""

from __future__ import annotations

from dataclasses import replace

import torch
from sklearn.datasets import load_digits

from zoo.datasets.base import Dataset, Items, PlainDataset, Sizes
from zoo.spec import DataShape

SHAPE = DataShape((64,), 10)
IMAGE_SHAPE = DataShape((1, 8, 8), 10)
TRAIN, VAL = 1000, 297
"""1,797 items: 1,000 to train, 297 to choose, 500 to report."""
SIZES = Sizes(TRAIN, smallest_class=92)


def load() -> Dataset:
    """Load the digits; items are shuffled once, by a fixed seed, since the file is ordered by writer.

    Returns:
        Inputs of 64 pixels in [0, 1]; ten classes.
    """
    bunch = load_digits()
    order = torch.randperm(len(bunch.target), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(bunch.data, dtype=torch.float32)[order] / 16
    y = torch.tensor(bunch.target, dtype=torch.int64)[order]
    cuts = (slice(0, TRAIN), slice(TRAIN, TRAIN + VAL), slice(TRAIN + VAL, None))
    train, val, test = (Items(x[cut], y[cut]) for cut in cuts)
    return Dataset(
        name="digits",
        train=train,
        val=val,
        test=test,
        classes=SHAPE.classes,
        licence="CC-BY-4.0",
        source="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
    )


def load_images() -> Dataset:
    """Load the same digits as images: items, split and classes are those of `load`.

    Returns:
        Inputs of one channel, 8 x 8 pixels in [0, 1].
    """
    vectors = load()
    train, val, test = (
        Items(items.x.view(-1, *IMAGE_SHAPE.inputs), items.y)
        for items in (vectors.train, vectors.val, vectors.test)
    )
    return replace(vectors, name="digits-images", train=train, val=val, test=test)


DIGITS = PlainDataset("digits", SHAPE, SIZES, load)
DIGITS_IMAGES = PlainDataset("digits-images", IMAGE_SHAPE, SIZES, load_images)
