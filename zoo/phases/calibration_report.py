"""What a calibration found: a rule, the distribution that each cut divides, and how much hangs on the cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Integer

from zoo.phases.labels import label
from zoo.phases.rule import PHASES, PhaseRule

UNDEFINED = "undefined"
_BAR = 40


@dataclass(frozen=True)
class CutReport:
    """One quantity: how its values lie, and where they are cut.

    Attributes:
        column: The column.
        protocol: How its values were measured.
        method: `fixed` where the cut was given, `otsu` where it was derived.
        cut: The cut, in the column's unit.
        explained: Share of the variance between both sides of a derived cut, in [0, 1]; NaN where given.
        spread: Spread across seeds: of the natural logarithm for the loss, in the column's unit for others.
        spread_source: How the spread was obtained.
        edges: `(bins + 1,)` of the histogram in the column's unit; a constant factor apart for the loss.
        counts: `(bins,)` cells in each bin: all with a finite value (of the loss, a positive one); for CKA,
            those in phase IV. Empty where there is none.
    """

    column: str
    protocol: str
    method: str
    cut: float
    explained: float
    spread: float
    spread_source: str
    edges: Float[np.ndarray, " edges"]
    counts: Integer[np.ndarray, " bins"]


@dataclass(frozen=True)
class Calibration:
    """A new rule and what it rests on.

    Attributes:
        rule: The rule; `rule.to_json()` is its file.
        quantities: Report by quantity.
        sensitivity: Cells in each phase when one threshold moves by its spread: a row for the rule itself and
            two for each quantity, with columns `moved` (the quantity, or `none`), `by` (in spreads: -1, 0 or
            1), `threshold`, one of counts for each phase, and `undefined`.
    """

    rule: PhaseRule
    quantities: Mapping[str, CutReport]
    sensitivity: pd.DataFrame

    @property
    def phases(self) -> dict[str, int]:
        """Number of cells in each phase, and of those whose phase is undefined."""
        counts = self.sensitivity.iloc[0]
        return {name: int(counts[name]) for name in (*PHASES, UNDEFINED)}

    @property
    def histograms(
        self,
    ) -> dict[str, tuple[Float[np.ndarray, " edges"], Integer[np.ndarray, " bins"], float]]:
        """Edges, counts and cut by column, as a figure draws them."""
        return {found.column: (found.edges, found.counts, found.cut) for found in self.quantities.values()}

    def to_frame(self) -> pd.DataFrame:
        """Lay out the cuts as a table.

        Returns:
            A row a quantity, under its name: `column`, `protocol`, `method`, `cut`, `explained`, `spread` and
            `cells`, the number of cells in its histogram.
        """
        rows = {
            name: {
                "column": found.column,
                "protocol": found.protocol,
                "method": found.method,
                "cut": found.cut,
                "explained": found.explained,
                "spread": found.spread,
                "cells": int(found.counts.sum()),
            }
            for name, found in self.quantities.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    @property
    def text(self) -> str:
        """The report for people: cells in each phase, each histogram with its cut, what moves with it."""
        counts = ", ".join(f"{name} {count}" for name, count in self.phases.items())
        parts = [f"rule {self.rule.id}: {counts}"]
        parts += [_describe(name, found) for name, found in self.quantities.items()]
        moved = self.sensitivity.to_string(index=False, float_format="{:.4g}".format)
        return "\n\n".join([*parts, f"when a threshold moves by one spread\n{moved}"]) + "\n"


def _describe(name: str, found: CutReport) -> str:
    how = (
        "as given" if found.method == "fixed" else f"{found.explained:.0%} of the variance between both sides"
    )
    head = (
        f"{name} ({found.column}, {found.protocol}): cut at {found.cut:.4g}, {how}; spread {found.spread:.3g}"
    )
    lines = []
    middles = (found.edges[:-1] + found.edges[1:]) / 2
    for number, (middle, count) in enumerate(zip(middles, found.counts, strict=True)):
        crossed = number > 0 and middles[number - 1] < found.cut <= middle
        lines += [f"{found.cut:>10.4g} {'-' * _BAR} cut"] if crossed else []
        bar = "#" * int(np.ceil(_BAR * count / found.counts.max()))
        lines.append(f"{middle:>10.4g} {bar:<{_BAR}} {count}")
    return "\n".join([head, *lines])


def sensitivity(cells: pd.DataFrame, rule: PhaseRule, protocols: Mapping[str, str]) -> pd.DataFrame:
    """Count the cells in each phase, as the rule is and with each threshold moved by its spread.

    Args:
        cells: The cells.
        rule: The rule.
        protocols: How they were measured, as `label` takes it.

    Returns:
        The table that `Calibration.sensitivity` describes.
    """
    rows = [
        {"moved": "none", "by": 0, "threshold": np.nan, **_counts(label(cells, rule, protocols=protocols))}
    ]
    for name, criterion in rule.criteria.items():
        for by in (-1, 1):
            step = by * criterion.spread
            threshold = criterion.threshold + step
            if name == "train_loss":
                threshold = criterion.threshold * float(np.exp(step))
            moved = criterion.model_copy(update={"threshold": threshold})
            found = label(cells, rule.model_copy(update={name: moved}), protocols=protocols)
            rows.append({"moved": name, "by": by, "threshold": threshold, **_counts(found)})
    return pd.DataFrame(rows)


def _counts(labels: pd.DataFrame) -> dict[str, int]:
    phase = labels["phase"]
    counts = {name: int((phase == name).sum()) for name in PHASES}
    return {**counts, UNDEFINED: int(phase.isna().sum())}
