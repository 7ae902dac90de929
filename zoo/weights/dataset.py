"""A view of a zoo as a torch dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer

from zoo.errors import AmbiguousLayoutError
from zoo.spec import Layout
from zoo.weights.reader import WeightReader
from zoo.weights.sample import WeightSample

Item = WeightSample | tuple[WeightSample, float]


class WeightDataset(torch.utils.data.Dataset[Any]):
    """Weight vectors, with or without a target; only the vectors asked for are read.

    Args:
        reader: Source of the vectors.
        checkpoint_ids: The checkpoints.
        places: Shard and row of each.
        layouts: Layout of each.
        targets: `(n,)` target of each, or nothing.
    """

    def __init__(
        self,
        reader: WeightReader,
        checkpoint_ids: Sequence[str],
        *,
        places: tuple[Sequence[str], Integer[np.ndarray, " checkpoints"]],
        layouts: Sequence[Layout],
        targets: Float[np.ndarray, " checkpoints"] | None = None,
    ) -> None:
        self._reader = reader
        self._ids = list(checkpoint_ids)
        self._shards, self._rows = list(places[0]), places[1]
        self._layouts = list(layouts)
        self._targets = targets

    def __len__(self) -> int:
        """Return the number of checkpoints."""
        return len(self._ids)

    def vectors(self, indices: Sequence[int]) -> Float[torch.Tensor, "checkpoints params"]:
        """Read a batch of checkpoints of one layout as a matrix, with one copy.

        Args:
            indices: Their places in the dataset, in any order.

        Returns:
            `(n, n_params)` float32.

        Raises:
            AmbiguousLayoutError: They have several layouts, or there is none.
        """
        present = {self._layouts[index].id for index in indices}
        if len(present) != 1:
            raise AmbiguousLayoutError(
                f"one matrix needs one layout, these {len(indices)} checkpoints have {len(present)}; "
                "narrow the view with where(...)"
            )
        rows = [int(self._rows[index]) for index in indices]
        gathered = self._reader.rows([self._shards[index] for index in indices], rows)
        return torch.from_numpy(np.array(gathered) if not gathered.flags.writeable else gathered)

    def __getitem__(self, index: int) -> Item:
        """Read one checkpoint."""
        vector = torch.from_numpy(np.array(self._reader.map(self._shards[index])[self._rows[index]]))
        sample = WeightSample(self._ids[index], self._layouts[index], vector)
        return sample if self._targets is None else (sample, float(self._targets[index]))
