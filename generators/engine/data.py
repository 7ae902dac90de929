"""What the networks of a stack are trained on, from their specifications."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo import datasets
from zoo.spec import DatasetSpecification
from zoo.training import Augmentation, StackData


def training_data(specs: Sequence[DatasetSpecification], device: str) -> StackData:
    """Put together what a stack is trained on: one resident copy of the inputs, targets network by network.

    Args:
        specs: The dataset of each network; their inputs and augmentation are the same (`datasets.residence`).
        device: Torch device.

    Returns:
        The data.
    """
    wholes = [datasets.load(spec) for spec in specs]
    labels = [whole.training_labels(spec) for whole, spec in zip(wholes, specs, strict=True)]
    items = None
    if any(spec.fraction < 1 or spec.kept_classes for spec in specs):
        found = [whole.training_items(spec) for whole, spec in zip(wholes, specs, strict=True)]
        items = torch.stack(found).to(device)
    first = specs[0]
    shown = Augmentation(first.crop, first.flip, first.rotation) if first.augmented else None
    return StackData(wholes[0].train.x.to(device), _rows(labels, device), items, shown)


def _rows(labels: Sequence[Tensor], device: str) -> Tensor:
    """Stack targets; those that are one tensor for all stay one row of memory."""
    first = labels[0]
    if all(one is first for one in labels):
        return first.to(device).expand(len(labels), *first.shape)
    return torch.stack(list(labels)).to(device)
