"""Whole populations, some networks at a time; those that are not finite are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zoo.metrics.hessian.product import Landscape

Found = tuple[Tensor, ...]
"""Numbers of some networks, each `(n_models, ...)` float64."""


def by_chunks(
    landscape: Landscape, measure: Callable[[Landscape], Found], trailing: Sequence[tuple[int, ...]]
) -> Found:
    """Measure networks some at a time, so that memory does not grow with their number.

    Args:
        landscape: The networks.
        measure: What to do with some of them.
        trailing: Shape of each of its results without the models.

    Returns:
        The results of all; NaN where a weight is not finite.
    """
    count = len(landscape.stack)
    found = tuple(torch.full((count, *shape), torch.nan, dtype=torch.float64) for shape in trailing)
    # one after another: a mask of all weights would take as much memory as they do
    rows = [place for place, row in enumerate(landscape.stack.weights) if row.isfinite().all()]
    together = landscape.rows()
    for start in range(0, len(rows), together):
        some = rows[start : start + together]
        with torch.no_grad():
            parts = measure(landscape.select(some))
        for whole, part in zip(found, parts, strict=True):
            whole[some] = part.cpu()
    return found
