"""Barriers and mode connectivity as they are stored: ours, and as two papers take it."""

from __future__ import annotations

from typing import Any

from zoo.datasets import Kind
from zoo.metrics.base import Measurement, Metric, Subject
from zoo.metrics.connectivity.fitting import QUADRATIC, Fit
from zoo.metrics.connectivity.linear import POINTS as STRAIGHT_POINTS
from zoo.metrics.connectivity.measuring import Protocol, measure_bent, measure_straight
from zoo.metrics.connectivity.modes import POINTS as BENT_POINTS
from zoo.metrics.connectivity.path import Look
from zoo.metrics.connectivity.statistics import BATCH
from zoo.spec import Column

MAX_ITEMS = 2048
"""Items of a side that our curves are taken over, at most."""
PTMZ = Fit(learning_rate=0.1, momentum=0.9, weight_decay=5e-4, batch_size=128, epochs=10, annealing="plateau")
"""As released, but for the schedule: there each epoch's rate is the factor times the rate before, not times
the first one, and the last four epochs run at .038, .0098, 9.8e-5 and 9.8e-7 of .1. This one is what was
meant: .0505, .02575, .001 and .001."""
YANG2021 = Fit(
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    batch_size=128,
    epochs=50,
    annealing="plateau",
    start="random",
)
"""As released: the option to begin in the middle is parsed and never acted on, so that bends begin where
layers are initialised."""
_LINEAR = Protocol(Look(STRAIGHT_POINTS), MAX_ITEMS)
_STANDARD = Protocol(Look(BENT_POINTS), MAX_ITEMS)
_PTMZ = Protocol(Look(5, refit_ends=True, weight_decay=PTMZ.weight_decay), ties="first")
_YANG2021 = Protocol(
    Look(5, refit_ends=True, weight_decay=YANG2021.weight_decay), ties="first", first_pair=True
)

_KINDS: frozenset[Kind] = frozenset({"classification", "sequence"})
_TRAIN, _TEST = "train items seen, labels as trained on", "test items, true labels"
_ITEMS = {
    "train_items": "all that the networks saw, un-augmented, under the labels that they were trained on",
    "test_items": "all, under true labels",
}
_FEW = {"curves_over": f"these, or {MAX_ITEMS} of a side drawn once and for all"}
_STATISTICS = f"mean over batches of at most {BATCH} of the train items looked at, weighted by items"
_OWN_ENDS = {"running_statistics": _STATISTICS, "running_statistics_at_ends": "the networks' own"}
_FORMULA = "(v(0) + v(1)) / 2 - v(t*), t* = argmax_t |v(t) - (v(0) + v(1)) / 2|"
_CURVE = {
    "curve": "quadratic Bezier, ends fixed, from the lower checkpoint id to the higher",
    "t": "uniform in [0, 1), one a step, the same for all pairs",
    "formula": _FORMULA,
}
_PAPER: dict[str, Any] = {
    **_ITEMS,
    **_CURVE,
    "points": 5,
    "running_statistics": f"{_STATISTICS}, at the ends too",
    "loss": "cross-entropy + weight_decay / 2 |w|^2",
    "ties": "the first of equal deviations, as the released code has it",
}
_HERE = "un-augmented items in batches as equal as can be; theirs: training batches, a short last one"


def _barriers(prefix: str, how: str) -> tuple[Column, ...]:
    units = {"nats": "mean cross-entropy, in nats", "points": "error, in percentage points"}
    return tuple(
        Column(
            name=f"{prefix}barrier_{side}_{unit}",
            dtype="float64",
            description=f"linear barrier of the {text}, at least 0; {items}; {how}",
        )
        for side, items in (("train", _TRAIN), ("test", _TEST))
        for unit, text in units.items()
    )


def _connectivity(prefix: str, loss: str = "mean cross-entropy") -> tuple[Column, ...]:
    units = {"": "error, in percentage points", "_nats": f"{loss}, in nats"}
    return tuple(
        Column(
            name=f"{prefix}mode_connectivity{end}{unit}",
            dtype="float64",
            description=f"mode connectivity of the {text}; negative for a barrier; {items}",
        )
        for unit, text in units.items()
        for end, items in (("", _TRAIN), ("_test", _TEST))
    )


def _straight(subject: Subject) -> Measurement:
    return measure_straight(subject, LINEAR_BARRIER, _LINEAR)


def _bent(subject: Subject) -> Measurement:
    return measure_bent(subject, MODE_CONNECTIVITY, _STANDARD, QUADRATIC)


def _bent_ptmz(subject: Subject) -> Measurement:
    return measure_bent(subject, PTMZ_MODE_CONNECTIVITY, _PTMZ, PTMZ)


def _bent_yang2021(subject: Subject) -> Measurement:
    return measure_bent(subject, YANG2021_MODE_CONNECTIVITY, _YANG2021, YANG2021)


LINEAR_BARRIER = Metric(
    name="linear_barrier",
    protocol_id="barrier/linear-v1",
    table="pairs",
    columns=(
        *_barriers("", "units as they are"),
        *_barriers("aligned_", "after weight matching"),
    ),
    settings={
        **_ITEMS,
        **_FEW,
        **_OWN_ENDS,
        "points": STRAIGHT_POINTS,
        "formula": "max_t [v(t) - ((1 - t) v(0) + t v(1))]",
        "aligned": "weight matching, of the network of the higher checkpoint id with the other",
    },
    properties=frozenset({"seed_deterministic", "symmetric"}),
    denied=frozenset({"permutation_invariant", "in_unit_interval"}),
    compute=_straight,
    kinds=_KINDS,
    scope="last",
    series="curves",
)
MODE_CONNECTIVITY = Metric(
    name="mode_connectivity",
    protocol_id="bezier/quadratic-v1",
    table="pairs",
    columns=_connectivity(""),
    settings={
        **_ITEMS,
        **_FEW,
        **_OWN_ENDS,
        **_CURVE,
        "points": BENT_POINTS,
        "fit": QUADRATIC.settings(),
        "ties": "equal and opposite deviations cancel: 0 where a curve stays between its ends",
    },
    properties=frozenset({"seed_deterministic", "symmetric"}),
    denied=frozenset({"permutation_invariant", "in_unit_interval"}),
    compute=_bent,
    kinds=_KINDS,
    scope="last",
    series="curves",
)
PTMZ_MODE_CONNECTIVITY = Metric(
    name="ptmz_mode_connectivity",
    protocol_id="ptmz-mode-connectivity/v1",
    table="pairs",
    columns=_connectivity("ptmz_", "mean cross-entropy + L2 term"),
    settings={
        **_PAPER,
        "fit": PTMZ.settings(),
        "schedule": "as meant; in the released code each epoch's factor multiplies the rate before it",
        "instead_of_theirs": _HERE,
    },
    properties=frozenset({"seed_deterministic", "symmetric"}),
    denied=frozenset({"permutation_invariant", "in_unit_interval"}),
    compute=_bent_ptmz,
    kinds=_KINDS,
    scope="last",
    suite="ptmz",
    series="curves",
)
YANG2021_MODE_CONNECTIVITY = Metric(
    name="yang2021_mode_connectivity",
    protocol_id="yang2021-mode-connectivity/v1",
    table="pairs",
    columns=_connectivity("yang2021_", "mean cross-entropy + L2 term"),
    settings={
        **_PAPER,
        "fit": YANG2021.settings(),
        "start": "bend drawn as layers are initialised; the released code never begins in the middle",
        "pairs": "that of the two lowest seeds of each cell",
        "instead_of_theirs": _HERE,
    },
    properties=frozenset({"seed_deterministic"}),
    denied=frozenset({"permutation_invariant", "symmetric", "in_unit_interval"}),
    compute=_bent_yang2021,
    kinds=_KINDS,
    scope="last",
    suite="yang2021",
    series="curves",
)
METRICS = (LINEAR_BARRIER, MODE_CONNECTIVITY, PTMZ_MODE_CONNECTIVITY, YANG2021_MODE_CONNECTIVITY)
