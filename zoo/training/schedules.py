"""Learning-rate schedules as factors of the peak, functions of the step alone: a resumed run continues."""

from __future__ import annotations

import math

from zoo.errors import unknown_name


def factor(schedule: str, step: int, total: int) -> float:
    """Give the learning rate of a step as a share of the peak.

    Args:
        schedule: `constant`, or `cosine` (Loshchilov and Hutter 2017, eq. 5, no restart, minimum 0).
        step: Steps taken so far, in [0, total).
        total: Steps of the whole run.

    Returns:
        Factor in [0, 1].

    Raises:
        UnknownNameError: No schedule has this name.

    Example:
        >>> factor("cosine", 0, 10), factor("cosine", 5, 10)
        (1.0, 0.5)
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return round((1 + math.cos(math.pi * step / total)) / 2, 15)
    raise unknown_name("schedule", schedule, ("constant", "cosine"))
