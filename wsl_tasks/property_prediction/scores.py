"""How well predictions rank and match the truth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import stats

from wsl_tasks.scoring import Statistic

Values = Float[np.ndarray, " models"]


def kendall_tau(predicted: Values, target: Values) -> float:
    """Compare two rankings by Kendall's tau-b (Kendall 1945), which allows for ties.

    Args:
        predicted: `(n,)`.
        target: `(n,)`.

    Returns:
        In [-1, 1], 1 where the rankings agree; higher is better.

    Undefined when:
        All predictions or all targets are equal: there is no ranking; NaN.

    Example:
        >>> kendall_tau(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0])).__round__(3)
        0.333
    """
    if np.ptp(predicted) == 0 or np.ptp(target) == 0:
        return float("nan")
    return float(stats.kendalltau(predicted, target).statistic)


def r2(predicted: Values, target: Values) -> float:
    """Give the coefficient of determination, one minus squared error over the targets' variance.

    Args:
        predicted: `(n,)`.
        target: `(n,)`.

    Returns:
        At most 1; 0 for the targets' own mean, negative below that; higher is better.

    Undefined when:
        All targets are equal; NaN.

    Example:
        >>> r2(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
        0.5
    """
    if np.ptp(target) == 0:
        return float("nan")
    return float(1 - np.sum((target - predicted) ** 2) / np.sum((target - target.mean()) ** 2))


def mae(predicted: Values, target: Values) -> float:
    """Give the mean absolute error.

    Args:
        predicted: `(n,)`.
        target: `(n,)`.

    Returns:
        At least 0, in the target's unit; lower is better.

    Example:
        >>> mae(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
        1.0
    """
    return float(np.abs(predicted - target).mean())


def statistics(predicted: Values, target: Values) -> dict[str, Statistic]:
    """Make the three scores statistics of the items.

    Args:
        predicted: `(n,)`.
        target: `(n,)`.

    Returns:
        Statistic by name of the score.
    """
    return {
        "kendall_tau": Statistic(
            lambda places: kendall_tau(predicted[places], target[places]),
            "all predictions or all targets are equal, so there is no ranking",
        ),
        "r2": Statistic(lambda places: r2(predicted[places], target[places]), "all targets are equal"),
        "mae": Statistic(lambda places: mae(predicted[places], target[places]), "there is no item"),
    }
