"""How metrics order cells, against how a target orders them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import kendalltau

from zoo.phases.values import numbers

RESAMPLES = 500
LEVEL = 0.95
_FEWEST_CELLS = 3


def correlations(
    cells: pd.DataFrame, metrics: Sequence[str], *, target: str = "test_accuracy", seed: int = 0
) -> pd.DataFrame:
    """Compute Kendall's tau-b between a target and each metric over cells.

    Tau-b (Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945) is
    `(concordant - discordant) / sqrt((pairs - tied in one) (pairs - tied in the other))`. Any rising function
    of a metric, such as its logarithm, has the same tau. Intervals are percentiles (95 %) of 500 bootstrap
    samples of cells.

    Args:
        cells: One row a cell.
        metrics: Columns of the metrics.
        target: Column of the target.
        seed: Seed of the bootstrap; each metric draws the same samples.

    Returns:
        A row a metric, in their order: `metric`, `tau` in [-1, 1], `low`, `high`, `n` (cells that have both
        values), `reason`.

    Raises:
        UnknownNameError: There is no such column.
        SpecificationError: A column holds no numbers.

    Undefined when:
        Fewer than 3 cells have both values, or one of the two is the same for all.

    Example:
        >>> cells = pd.DataFrame({"test_accuracy": [0.7, 0.8, 0.9, 0.95], "loss": [0.4, 0.2, 0.3, 0.1]})
        >>> round(float(correlations(cells, ["loss"])["tau"][0]), 2)
        -0.67
    """
    aims = numbers(cells, target)
    rows = [{"metric": name, **_correlate(aims, numbers(cells, name), seed)} for name in metrics]
    table = pd.DataFrame(rows, columns=["metric", "tau", "low", "high", "n", "reason"])
    return table.astype({"metric": "str", "reason": "str"})


def _correlate(
    aims: Float[np.ndarray, " cells"], values: Float[np.ndarray, " cells"], seed: int
) -> dict[str, object]:
    both = ~(np.isnan(aims) | np.isnan(values))
    aims, values = aims[both], values[both]
    row: dict[str, object] = {"tau": np.nan, "low": np.nan, "high": np.nan, "n": len(aims)}
    if len(aims) < _FEWEST_CELLS:
        return {**row, "reason": f"{len(aims)} cells have both values, expected at least {_FEWEST_CELLS}"}
    if np.ptp(aims) == 0 or np.ptp(values) == 0:
        return {**row, "reason": "one of the two is the same for all cells"}
    drawn = np.random.default_rng(seed).integers(len(aims), size=(RESAMPLES, len(aims)))
    taus = [_tau(aims[places], values[places]) for places in drawn]
    # a sample in which all cells are alike has none
    low, high = np.nanquantile(taus, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {**row, "tau": _tau(aims, values), "low": low, "high": high, "reason": None}


def _tau(aims: Float[np.ndarray, " cells"], values: Float[np.ndarray, " cells"]) -> float:
    return float(kendalltau(aims, values).statistic)
