"""Items as a method may see them: weights, but no id and no place that would tell how they were trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from zoo.training import stream
from zoo.weights import WeightDataset, WeightSample


class BlindDataset(torch.utils.data.Dataset[Any]):
    """A dataset in shuffled order under neutral ids.

    A checkpoint's id spells its learning rate, and a zoo's rows follow its grid: a method could score well
    without one look at the weights.

    Args:
        items: The items, with or without a target.
        side: `train`, `val` or `test`; ids become `train-0`, `train-1`, ...
        seed: Seed of the order.
    """

    def __init__(self, items: WeightDataset, side: str, *, seed: int) -> None:
        self._items = items
        self._side = side
        generator = stream(seed, f"order of {side}")
        self.order: Int[Tensor, " items"] = torch.randperm(len(items), generator=generator)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        """Read one item."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        item = self._items[int(self.order[index])]
        if isinstance(item, WeightSample):
            return self._hide(item, index)
        sample, target = item
        return self._hide(sample, index), target

    def _hide(self, sample: WeightSample, index: int) -> WeightSample:
        return replace(sample, checkpoint_id=f"{self._side}-{index}")
