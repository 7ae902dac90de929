"""What landscape metrics look at: networks of one layout, and the items on which their loss is taken."""

from __future__ import annotations

from typing import Literal

import torch

from zoo.datasets import Items
from zoo.errors import UndefinedMetricError
from zoo.metrics.base import Subject
from zoo.training import NetworkStack, stream

__all__ = ["NetworkStack", "landscape_items", "networks"]


def networks(subject: Subject) -> NetworkStack:
    """Give the networks of a subject.

    Args:
        subject: The subject.

    Returns:
        All of its rows, float32.
    """
    return NetworkStack(subject.skeleton(), subject.layout, torch.tensor(subject.weights))


def landscape_items(subject: Subject, side: Literal["train", "test"], count: int | None = None) -> Items:
    """Give the items on which a loss landscape is looked at: fixed, un-augmented, in the order of the data.

    Of `train` the items that the networks saw, under the labels that they were trained on: the landscape is
    that of what training minimised. Of `test` the items that they are judged on, under true labels.

    Args:
        subject: Networks that saw the same items and labels.
        side: Which side of the split.
        count: How many, drawn once and for all by the stream `landscape:<side>`; nothing for all.

    Returns:
        The items; inputs as the data has them.

    Raises:
        UndefinedMetricError: There are fewer than that.
    """
    items = _seen(subject) if side == "train" else subject.judged.test
    if count is None:
        return items
    if len(items) < count:
        raise UndefinedMetricError(f"the protocol looks at {count} {side} items, there are {len(items)}")
    drawn = torch.randperm(len(items), generator=stream(0, f"landscape:{side}"))[:count].sort().values
    return Items(items.x[drawn], items.y[drawn])


def _seen(subject: Subject) -> Items:
    spec, data = subject.dataset_specification, subject.dataset
    seen = data.training_items(spec)
    return Items(data.train.x[seen], data.training_labels(spec)[seen])
