"""Power iteration and Hutchinson's estimate with the stopping rules of PyHessian 0.1 (Yao et al. 2020).

Yang et al. (2021) and the phase transition model zoos measured with its defaults. The procedures are repeated
step by step, so that numbers can be compared; only the random vectors come from streams, and each network
stops by itself. What to know before a number is trusted:

- the eigenvalue is the last but one of the iteration where it stops by its tolerance, and a stop means that
  it changed little in a step, not that it is near;
- the mean of the trace is compared with itself one vector before, relative to its signed value: below zero
  that stops at once, and by chance it may stop early.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zoo.datasets import Items
from zoo.metrics.base import Measurement, Metric, Subject, Suite
from zoo.metrics.hessian.chunks import Found, by_chunks
from zoo.metrics.hessian.looks import DERIVATIVES, Look, Values, column
from zoo.metrics.hessian.product import Active, Landscape
from zoo.metrics.hessian.vectors import gaussian, rademacher
from zoo.training import NetworkStack

ITERATIONS, TOLERANCE, GUARD = 100, 1e-3, 1e-6
"""Most iterations, relative change that ends them, and what is added to each denominator."""


class _Rows:
    """Numbers of all networks of a landscape, of which some are still computed.

    Args:
        landscape: The networks.
    """

    def __init__(self, landscape: Landscape) -> None:
        self.active = Active(landscape)
        self.values = torch.full_like(self.active.rows, torch.nan, dtype=torch.float64)
        self._done = torch.zeros_like(self.active.rows, dtype=torch.bool)

    def write(self, values: Float[Tensor, " active"], ends: Bool[Tensor, " active"]) -> Bool[Tensor, " kept"]:
        """Write down what the active networks have by now, and leave those that ended where that pays.

        Args:
            values: Their numbers; of those that ended before, ignored.
            ends: Which of them end with it.

        Returns:
            Which of the networks that were active still are; none of them once all have ended.
        """
        rows = self.active.rows
        fresh = ~self._done[rows]
        self.values[rows[fresh]] = values[fresh]
        self._done[rows] |= ends | values.isnan()
        done = self._done[rows]
        if done.all() or not self.active.worth_leaving(done):
            return ~done if done.all() else torch.ones_like(done)
        self.active.keep(~done)
        return ~done


def power_iteration(landscape: Landscape) -> Float[Tensor, " models"]:
    """Find the top eigenvalue as PyHessian does.

    Args:
        landscape: The networks.

    Returns:
        `(n_models,)` float64, signed; NaN where a derivative is not finite.
    """
    rows = _Rows(landscape)
    start = gaussian(landscape.size, "power", 0).to(landscape.stack.weights)
    vectors = _normalised(start.expand(len(rows.values), -1))
    before = torch.full_like(rows.values, torch.nan)
    for _ in range(ITERATIONS):
        images = rows.active.product(vectors)
        now = (images * vectors).sum(dim=1).double()
        ends = (before - now).abs() / (before.abs() + GUARD) < TOLERANCE
        kept = rows.write(torch.where(ends, before, now), ends)
        if not kept.any():
            break
        vectors, before = _normalised(images[kept]), now[kept]
    return rows.values


def running_trace(landscape: Landscape) -> Float[Tensor, " models"]:
    """Estimate the trace as PyHessian does.

    Args:
        landscape: The networks.

    Returns:
        `(n_models,)` float64; NaN where a derivative is not finite.
    """
    rows = _Rows(landscape)
    total = before = torch.zeros_like(rows.values)
    for number in range(ITERATIONS):
        signs = rademacher(landscape.size, "running", number).to(landscape.stack.weights)
        total = total + (rows.active.product(signs.expand(len(total), -1)) @ signs).double()
        now = total / (number + 1)
        ends = (now - before).abs() / (before + GUARD) < TOLERANCE
        kept = rows.write(now, ends)
        if not kept.any():
            break
        total, before = total[kept], now[kept]
    return rows.values


def _normalised(vectors: Tensor) -> Tensor:
    """Divide by the guarded length, and, as PyHessian does before each product, by that of the result."""
    for _ in range(2):
        vectors = vectors / (torch.linalg.vector_norm(vectors, dim=1, keepdim=True) + GUARD)
    return vectors


# as stored


def _find(prefix: str, stack: NetworkStack, items: Items) -> Values:
    def both(some: Landscape) -> Found:
        return power_iteration(some), running_trace(some)

    top, trace = by_chunks(Landscape.of(stack, items.x, items.y), both, [(), ()])
    return {f"{prefix}_top_eigenvalue": top.numpy(), f"{prefix}_trace": trace.numpy()}


_YANG = Look("yang2021_hessian", ("yang2021_hessian_top_eigenvalue", "yang2021_hessian_trace"), "train", 200)
_PTMZ = Look(
    "ptmz_hessian",
    (
        "ptmz_hessian_top_eigenvalue",
        "ptmz_hessian_trace",
        "ptmz_hessian_log_top_eigenvalue",
        "ptmz_hessian_log_trace",
    ),
    "train",
    640,
)


def _compute_yang2021(subject: Subject) -> Measurement:
    return _YANG.measure(subject, partial(_find, _YANG.name))[0]


def _compute_ptmz(subject: Subject) -> Measurement:
    def find(stack: NetworkStack, items: Items) -> Values:
        values = _find(_PTMZ.name, stack, items)
        with np.errstate(invalid="ignore", divide="ignore"):  # a value that is not above 0 has none
            logs = {
                name: np.log(values[name.replace("_log_", "_")]) for name in _PTMZ.columns if "_log_" in name
            }
        return values | logs

    def why(values: Values, row: int) -> str:
        known = np.isfinite([values[name][row] for name in _PTMZ.columns[:2]]).all()
        return "only what is above 0 has a logarithm" if known else DERIVATIVES

    return _PTMZ.measure(subject, find, why)[0]


def _metric(look: Look, suite: Suite, compute: Callable[[Subject], Measurement], beside: str) -> Metric:
    texts = {
        "top_eigenvalue": f"top eigenvalue of the Hessian on {look.items} training items, by power iteration",
        "trace": f"estimated trace of the Hessian on {look.items} training items",
        "log_top_eigenvalue": "natural logarithm of the top eigenvalue",
        "log_trace": "natural logarithm of the trace",
    }
    return Metric(
        name=look.name,
        protocol_id=f"{suite}-hessian/v1",
        table="checkpoints",
        columns=tuple(column(name, texts[name.removeprefix(f"{look.name}_")]) for name in look.columns),
        settings=look.settings
        | {
            "eigenvalue": "power iteration, to a relative change in one iteration; the last value but one",
            "trace": "Hutchinson, random signs, to a relative change of the mean by one vector",
            "tolerance": TOLERANCE,
            "iterations": ITERATIONS,
            "theirs": beside,
        },
        properties=frozenset({"seed_deterministic"}),
        denied=frozenset({"permutation_invariant", "in_unit_interval"}),
        compute=compute,
        kinds=frozenset({"classification", "sequence"}),
        scope="last",
        suite=suite,
    )


YANG2021_HESSIAN = _metric(
    _YANG, "yang2021", _compute_yang2021, "the first batch of 200 shuffled training items"
)
PTMZ_HESSIAN = _metric(
    _PTMZ,
    "ptmz",
    _compute_ptmz,
    "ten batches of 64 shuffled and augmented training items; the logarithm is that of the mean over seeds",
)
