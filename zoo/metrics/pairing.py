"""Pairs: every two models of a cell, by their checkpoints of the same epoch, and by their last ones."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

COLUMNS = ("cell_id", "checkpoint_a", "checkpoint_b", "row_a", "row_b", "reason")


class _Row(NamedTuple):
    """A checkpoint, as the table of a subject has it, and its place there."""

    cell_id: str
    epoch: int
    seed: int
    place: int
    checkpoint_id: str
    model_id: str
    status: str
    last_epoch: int


def model_pairs(checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Pair the models of each cell: checkpoints of the same epoch, and the last ones of both.

    Last checkpoints are a pair also where one model was trained for longer. A cell of one model has no pair.

    Args:
        checkpoints: Rows of a subject: checkpoint_id, model_id, cell_id, seed, epoch, last_epoch, status.

    Returns:
        One row a pair, the lower seed first, by cell, epoch (the later of both) and seeds: cell_id,
        checkpoint_a, checkpoint_b, row_a and row_b (their places in the table given), reason (which model
        did not finish; missing where both did).

    Example:
        >>> table = pd.DataFrame({"checkpoint_id": ["m@2", "n@2"], "model_id": ["m", "n"], "cell_id": "c",
        ...     "seed": [1, 0], "epoch": 2, "last_epoch": 2, "status": ["finished", "diverged"]})
        >>> model_pairs(table)[["checkpoint_a", "checkpoint_b", "reason"]].iloc[0].tolist()
        ['n@2', 'm@2', 'model n is diverged']
    """
    places = checkpoints.assign(place=range(len(checkpoints)))
    listed = [_Row(*row) for row in zip(*(places[name].tolist() for name in _Row._fields), strict=True)]
    pairs = sorted(_pairs(listed), key=lambda pair: (pair[0].cell_id, *_when(*pair)))
    rows = [(a.cell_id, a.checkpoint_id, b.checkpoint_id, a.place, b.place, _reason(a, b)) for a, b in pairs]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(
        {
            "cell_id": "str",
            "checkpoint_a": "str",
            "checkpoint_b": "str",
            "row_a": "int64",
            "row_b": "int64",
            "reason": "str",
        }
    )


def _pairs(rows: list[_Row]) -> Iterator[tuple[_Row, _Row]]:
    together: dict[tuple[str, int], list[_Row]] = defaultdict(list)
    ends: dict[str, list[_Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.seed):
        together[row.cell_id, row.epoch].append(row)
        if row.epoch == row.last_epoch:
            ends[row.cell_id].append(row)
    for some in together.values():
        yield from itertools.combinations(some, 2)
    for some in ends.values():
        # those of the same epoch are pairs already
        yield from ((a, b) for a, b in itertools.combinations(some, 2) if a.epoch != b.epoch)


def _when(a: _Row, b: _Row) -> tuple[int, int, int]:
    return max(a.epoch, b.epoch), a.seed, b.seed


def _reason(*models: _Row) -> str | None:
    open_ends = [f"model {m.model_id} is {m.status}" for m in models if m.status != "finished"]
    return "; ".join(open_ends) or None
