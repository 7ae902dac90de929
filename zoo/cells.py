"""Cells: one row a grid point, metrics averaged over its seeds."""

from __future__ import annotations

import pandas as pd

from zoo.labelling import column_protocols, label_cells, stored_rule
from zoo.spec import CORE_COLUMNS, Manifest


def average_cells(
    manifest: Manifest, *, models: pd.DataFrame, checkpoints: pd.DataFrame, pairs: pd.DataFrame
) -> pd.DataFrame:
    """Average what was measured over the seeds of each cell.

    Args:
        manifest: Names the axes.
        models: Table of models.
        checkpoints: Table of checkpoints.
        pairs: Table of pairs.

    Returns:
        One row a cell: `cell_id`, the axes, `n_models`, `n_finished`, and each metric's mean: those of
        checkpoints over the finished models' last epoch, those of pairs over the pairs of these. Missing
        values do not count; a metric that is missing for all is missing. Where the zoo has a rule of phases,
        the labels of these means. `.attrs["protocols"]` names the protocol of each column.
    """
    axes = manifest.axis_names()
    grouped = models.groupby("cell_id", sort=False)
    cells = grouped[axes].first()
    cells["n_models"] = grouped.size()
    cells["n_finished"] = (models["status"] == "finished").groupby(models["cell_id"]).sum()
    last = checkpoints.merge(models[["model_id", "cell_id", "status", "last_epoch"]], on="model_id")
    last = last[(last["status"] == "finished") & (last["epoch"] == last["last_epoch"])]
    ids = set(last["checkpoint_id"])
    pairs = pairs[pairs["checkpoint_a"].isin(ids) & pairs["checkpoint_b"].isin(ids)]
    core = {column.name for column in CORE_COLUMNS["checkpoints"]} | {"last_epoch"}
    pair_core = {column.name for column in CORE_COLUMNS["pairs"]}
    averaged = cells.join(_means(last, core)).join(_means(pairs, pair_core)).reset_index()
    rule = stored_rule(manifest.protocols)
    if rule is not None:
        labels = label_cells(averaged, rule, manifest.protocols)
        averaged = averaged.drop(columns=labels.columns, errors="ignore").join(labels)
    averaged.attrs["protocols"] = column_protocols(manifest.protocols)
    return averaged


def _means(frame: pd.DataFrame, core: set[str]) -> pd.DataFrame:
    metrics = [name for name in frame.select_dtypes("number").columns if name not in core]
    return frame.groupby("cell_id")[metrics].mean()
