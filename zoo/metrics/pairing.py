"""Pairs: every two models of a cell, by their last checkpoints."""

from __future__ import annotations

import itertools

import pandas as pd

COLUMNS = ("cell_id", "checkpoint_a", "checkpoint_b", "row_a", "row_b", "reason")


def model_pairs(checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Pair the models of each cell.

    Args:
        checkpoints: Rows of a subject: checkpoint_id, model_id, cell_id, seed, epoch, last_epoch, status.

    Returns:
        One row a pair, the lower seed first: cell_id, checkpoint_a, checkpoint_b (the last stored ones),
        row_a and row_b (their places in the table given), reason (which model did not finish; missing where
        both did).

    Example:
        >>> table = pd.DataFrame({"checkpoint_id": ["m@2", "n@2"], "model_id": ["m", "n"], "cell_id": "c",
        ...     "seed": [1, 0], "epoch": 2, "last_epoch": 2, "status": ["finished", "diverged"]})
        >>> model_pairs(table)[["checkpoint_a", "checkpoint_b", "reason"]].iloc[0].tolist()
        ['n@2', 'm@2', 'model n is diverged']
    """
    placed = checkpoints.reset_index(drop=True)
    last = placed[placed["epoch"] == placed["last_epoch"]].sort_values(["cell_id", "seed"])
    rows = [
        (cell, a.checkpoint_id, b.checkpoint_id, a.Index, b.Index, _reason(a, b))
        for cell, members in last.groupby("cell_id", sort=False)
        for a, b in itertools.combinations(members.itertuples(), 2)
    ]
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


def _reason(*models: object) -> str | None:
    open_ends = [
        f"model {model.model_id} is {model.status}"  # type: ignore[attr-defined]
        for model in models
        if model.status != "finished"  # type: ignore[attr-defined]
    ]
    return "; ".join(open_ends) or None
