"""Layers as figures show them: their order and sides, their rows, and the cells that say most of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

import pandas as pd

from zoo.errors import QueryError, unknown_name
from zoo.population import Zoo
from zoo.report.colours import UNDEFINED
from zoo.report.plane import select

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def layer_names(zoo: Zoo) -> list[str]:
    """List the layers that have a spectrum.

    Args:
        zoo: The zoo.

    Returns:
        Names of the weights, from the input to the output, of the layout with most of them first.
    """
    parts = [[e.name for e in zoo.layout(name).entries if e.kind == "weight"] for name in zoo.layouts]
    parts.sort(key=len, reverse=True)
    return list(dict.fromkeys(name for names in parts for name in names))


def check_layer(zoo: Zoo, layer: str | None) -> None:
    """Refuse a layer that no network has.

    Args:
        zoo: The zoo.
        layer: What someone asks for, if they do.

    Raises:
        UnknownNameError: There is no such layer; the message names those that there are.
    """
    names = layer_names(zoo)
    if layer is not None and layer not in names:
        raise unknown_name("layer", layer, names)


def sides(shape: str) -> tuple[int, int]:
    """Give the sides of the matrices that a layer's spectrum is of.

    Args:
        shape: As layers.parquet has it, such as `128x64`, or `8x4x3x3` for a kernel.

    Returns:
        Rows and columns; of a kernel those of a slice.

    Example:
        >>> sides("128x64"), sides("8x4x3x3"), sides("8x4x2")
        ((128, 64), (8, 4), (8, 8))
    """
    sizes = [int(size) for size in shape.split("x")]
    return sizes[0], sizes[1] if is_kernel(shape) else prod(sizes[1:])


def is_kernel(shape: str) -> bool:
    """Tell kernels of convolutions, whose spectrum is that of their slices, from matrices.

    Args:
        shape: As layers.parquet has it.

    Returns:
        Whether it has four sides.

    Example:
        >>> is_kernel("128x64"), is_kernel("8x4x3x3")
        (False, True)
    """
    return shape.count("x") == 3


def layer_rows(zoo: Zoo, needed: Mapping[str, str], *, optional: Sequence[str] = ()) -> pd.DataFrame:
    """Take the layers of finished models, with what was measured on them.

    Args:
        zoo: The zoo.
        needed: Metric that gives it, by column.
        optional: Columns that may lack; they are missing everywhere then.

    Returns:
        A row a layer and checkpoint, by seed and epoch: `cell_id`, `seed`, `epoch`, `last` (whether it is the
        model's last epoch), `layer`, `shape`, and the columns.

    Raises:
        QueryError: A column that is needed was not measured.
    """
    layers = zoo.layers
    if lacking := [metric for column, metric in needed.items() if column not in layers]:
        metrics = list(dict.fromkeys(lacking))
        raise QueryError(
            f"{zoo.root} has no {' and '.join(metrics)} of layers to draw; "
            f"run `phasezoo measure {zoo.root} --metrics {','.join(metrics)}` first"
        )
    models = zoo.models.loc[zoo.models["status"] == "finished", ["model_id", "cell_id", "seed", "last_epoch"]]
    seen = zoo.checkpoints[["checkpoint_id", "model_id", "epoch"]].merge(models, on="model_id")
    columns = [*needed, *optional]
    rows = layers.reindex(columns=["checkpoint_id", "layer", "shape", *columns])
    rows = rows.merge(seen.assign(last=seen["epoch"] == seen["last_epoch"]), on="checkpoint_id")
    rows = rows.sort_values(["seed", "epoch"], kind="stable", ignore_index=True)
    return rows[["checkpoint_id", "cell_id", "seed", "epoch", "last", "layer", "shape", *columns]]


def telling_cells(
    zoo: Zoo, score: pd.Series[int], *, cell: Sequence[str] = (), at: Mapping[str, str] | None = None
) -> set[str]:
    """Keep the cells of which a figure can say most: spectra of narrow networks have no exponent.

    Args:
        zoo: The zoo.
        score: How much there is to say, by the id of the cell.
        cell: Ids of the cells, where someone asks for them: none is left out then.
        at: Value of axes, as text, where someone asks for that.

    Returns:
        Of each phase, and of the cells without one, those of the highest score.

    Raises:
        UnknownNameError: There is no such axis.
        QueryError: No cell has the value.
    """
    if cell:
        return set(score.index)
    cells, _ = select(zoo.cells, zoo.manifest.axis_names(), at or {})
    score = score[score.index.isin(cells["cell_id"])]
    phase = dict(zip(cells["cell_id"], cells["phase"], strict=True)) if "phase" in cells else {}
    of = pd.Series([str(phase.get(name)) for name in score.index], index=score.index, dtype=object)
    return set(score.index[score == score.groupby(of).transform("max")])


def leave_grey(place: Axes, why: str) -> None:
    """Leave a panel without values grey, and say why.

    Args:
        place: The panel.
        why: What it says.
    """
    place.set_facecolor(UNDEFINED)
    place.text(0.5, 0.5, why, ha="center", va="center", color="0.3", fontsize=8, transform=place.transAxes)
