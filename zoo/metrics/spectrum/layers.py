"""The weight tensors of a subject, one layer after another, each of all checkpoints at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.metrics.base import Measurement, Subject, measured
from zoo.weights import unflatten


class Layer(NamedTuple):
    """One weight tensor of all checkpoints.

    Attributes:
        name: Its name in the layout.
        weight: `(n, *shape)`.
        keys: Key columns of its rows.
    """

    name: str
    weight: Float[Tensor, n * shape]
    keys: pd.DataFrame

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor in one network."""
        return tuple(self.weight.shape[1:])

    @property
    def parts(self) -> Float[Tensor, n * shape]:
        """The weight as a stack of matrices, or of kernels `(out, in, k, k)`."""
        return self.weight if len(self.shape) == 4 else self.weight.flatten(2)


def layers_of(subject: Subject) -> Iterator[Layer]:
    """Take the weight tensors of a subject apart.

    Args:
        subject: The subject.

    Yields:
        The entries of kind weight that are no vectors, in the order of the layout.
    """
    tensors = unflatten(torch.tensor(subject.weights), subject.layout)
    ids = subject.checkpoints["checkpoint_id"].to_numpy()
    for entry in subject.layout.entries:
        if entry.kind == "weight" and len(entry.shape) >= 2:
            shape = "x".join(map(str, entry.shape))
            keys = pd.DataFrame({"checkpoint_id": ids, "layer": entry.name, "shape": shape})
            yield Layer(entry.name, tensors[entry.name], keys)


class Rows:
    """What is found layer by layer, to be laid out as one measurement.

    Args:
        metric: Name of the metric.
        columns: Its columns.
    """

    def __init__(self, metric: str, columns: tuple[str, ...]) -> None:
        self._metric, self._columns = metric, columns
        self._keys: list[pd.DataFrame] = []
        self._values: list[Tensor] = []
        self._reasons: list[str | None] = []

    def add(self, layer: Layer, values: Mapping[str, Tensor], reasons: list[str | None]) -> None:
        """Add the rows of a layer.

        Args:
            layer: The layer.
            values: Numbers `(n,)` by column.
            reasons: Why a value of a row is missing.
        """
        self._keys.append(layer.keys)
        self._values.append(torch.stack([values[name].double() for name in self._columns]))
        self._reasons += reasons

    def measurement(self) -> Measurement:
        """Lay them out.

        Returns:
            The measurement.
        """
        numbers = torch.cat(self._values, dim=1).numpy()
        values = dict(zip(self._columns, numbers, strict=True))
        keys = pd.concat(self._keys, ignore_index=True)
        return Measurement(measured(self._metric, keys, values, self._reasons))
