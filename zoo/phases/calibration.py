"""A rule for another zoo: thresholds from its own distribution, spreads from its seeds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from pydantic import ValidationError

from zoo.errors import SpecificationError, unknown_name
from zoo.phases.calibration_report import Calibration, CutReport, sensitivity
from zoo.phases.cuts import Cut, histogram, otsu, typical_spread
from zoo.phases.rule import ID_PATTERN, QUANTITIES, PhaseRule, list_rules
from zoo.phases.values import known_protocols, numbers
from zoo.spec import describe

FEWEST_CELLS = 8
FIXED: Mapping[str, float] = MappingProxyType({"train_loss": 0.05, "mode_connectivity": -1.0})
"""The cuts of `yang2021-v1` that mean the same in any zoo: nats, and percentage points of train error."""
_TYPICAL = (
    "across the seeds of a cell, median over the quarter of the cells (at least 8) nearest to the threshold"
)


class _Values(NamedTuple):
    """One quantity of a zoo.

    Attributes:
        name: The quantity.
        column: Its column.
        protocol: How it was measured.
        cells: `(n_cells,)` its value in each cell, NaN where missing.
        seeds: Table of its values, a row a seed or pair; nothing where there is none.
    """

    name: str
    column: str
    protocol: str
    cells: Float[np.ndarray, " cells"]
    seeds: pd.DataFrame | None

    def scaled(self, values: Float[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
        """Put values on the scale on which they are cut: of the loss, the logarithm (-inf at 0)."""
        if self.name != "train_loss":
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithms: Float[np.ndarray, " some"] = np.log(values)
        return logarithms

    def unscaled(self, values: Float[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
        """Go back from that scale."""
        return np.exp(values) if self.name == "train_loss" else values


def calibrate(
    cells: pd.DataFrame,
    *,
    id: str,
    columns: Mapping[str, str] | None = None,
    protocols: Mapping[str, str] | None = None,
    seeds: Sequence[pd.DataFrame] = (),
    fixed: Mapping[str, float] = FIXED,
    spreads: Mapping[str, float] | None = None,
) -> Calibration:
    """Derive a rule for a zoo whose values live on another scale than those of the rules that exist.

    A quantity in `fixed` is cut there, also where that leaves all cells on one side: the report shows it. Any
    other is cut by Otsu's method (`zoo.phases.cuts.otsu`): the loss on the logarithm of the cells' positive
    losses, mode connectivity on all cells, CKA on the cells that the first two put into phase IV, which it
    divides. The report says how much of the variance lies between both sides: of about 0.64 to 0.75 there is
    one hump, and the cut is a convention.

    A spread is the median standard deviation across the seeds of a cell, over the quarter of the cells that
    is nearest to the cut (`zoo.phases.cuts.typical_spread`). Values of pairs count as seeds do.

    Args:
        cells: One row a cell.
        id: Id of the new rule, such as `my-zoo-v1`.
        columns: Column by quantity (`train_loss`, `mode_connectivity`, `cka`); by default called the same.
        protocols: Id of the protocol by column; also read from `cells.attrs["protocols"]`. The rule will
            refuse values of others.
        seeds: Tables with `cell_id` and a row a seed, or a row a pair; each quantity is read from the first
            that has its column.
        fixed: Threshold by quantity, in the column's unit, of those that are given and not derived.
        spreads: Spread by quantity (of the loss, that of its natural logarithm), of those that are given.

    Returns:
        The rule and the report.

    Raises:
        SpecificationError: The id is taken or malformed, a protocol is not known, fewer than eight cells are
            left to cut, all have one value, or the seeds give no spread.
        UnknownNameError: A column or quantity is unknown.
    """
    _check(id, (columns or {}, fixed, spreads or {}))
    known = known_protocols(cells, protocols)
    left = np.ones(len(cells), bool)
    reports: dict[str, CutReport] = {}
    for name in QUANTITIES:
        values = _read(cells, name, (columns or {}).get(name, name), known, seeds)
        among = left if name == "cka" else np.ones(len(cells), bool)
        found = _report(values, among, fixed.get(name), (spreads or {}).get(name))
        left &= values.cells <= found.cut if name == "train_loss" else values.cells >= found.cut
        reports[name] = found
    rule = _rule(id, reports, len(cells))
    return Calibration(rule, reports, sensitivity(cells, rule, known))


def _check(name: str, given: Iterable[Mapping[str, object]]) -> None:
    for quantity in (quantity for mapping in given for quantity in mapping):
        if quantity not in QUANTITIES:
            raise unknown_name("quantity", quantity, QUANTITIES)
    if name in list_rules():
        raise SpecificationError(
            f"the rule {name!r} exists, and what an id means never changes; give a new one, as 'my-zoo-v1'"
        )
    if not re.fullmatch(ID_PATTERN, name):
        raise SpecificationError(
            f"expected the id of a rule, small letters and digits that end with a version, got {name!r}; "
            "write it as 'my-zoo-v1'"
        )


def _read(
    cells: pd.DataFrame, name: str, column: str, known: Mapping[str, str], seeds: Sequence[pd.DataFrame]
) -> _Values:
    found = numbers(cells, column)
    if name == "train_loss":
        found = np.where(found < 0, np.nan, found)  # as a label has it
    if column not in known:
        raise SpecificationError(
            f"the protocol of column {column!r} is not known, and a rule holds for some only; give "
            f'protocols={{"{column}": ...}}, the id under which it was measured'
        )
    table = next((table for table in seeds if column in table), None)
    return _Values(name, column, known[column], found, table)


def _report(
    values: _Values, among: Bool[np.ndarray, " cells"], cut: float | None, spread: float | None
) -> CutReport:
    scaled = values.scaled(values.cells[among])
    scaled = scaled[np.isfinite(scaled)]
    edges, counts = histogram(scaled)
    derived = Cut(float("nan"), float("nan")) if cut is not None else _derive(values, scaled)
    place = float(values.unscaled(np.array([derived.place]))[0]) if cut is None else float(cut)
    return CutReport(
        column=values.column,
        protocol=values.protocol,
        method="otsu" if cut is None else "fixed",
        cut=place,
        explained=derived.explained,
        spread=_spread(values, place) if spread is None else float(spread),
        spread_source=_TYPICAL if spread is None else "as given to zoo.phases.calibrate",
        edges=values.unscaled(edges),
        counts=counts,
    )


def _derive(values: _Values, scaled: Float[np.ndarray, " cells"]) -> Cut:
    where = " in phase IV (low loss, no barrier)" if values.name == "cka" else ""
    way_out = f"give the cut as fixed={{'{values.name}': ...}}, or use a rule that exists"
    if len(scaled) < FEWEST_CELLS:
        raise SpecificationError(
            f"{len(scaled)} cells{where} have a finite {values.column!r}, expected at least {FEWEST_CELLS} "
            f"to cut; {way_out}"
        )
    found = otsu(scaled)
    if np.isnan(found.place):
        raise SpecificationError(
            f"all {len(scaled)} cells{where} have the same {values.column!r}, expected two values to cut "
            f"between; {way_out}"
        )
    return found


def _spread(values: _Values, cut: float) -> float:
    way_out = f"give some in `seeds`, or the spread as spreads={{'{values.name}': ...}}"
    if values.seeds is None:
        raise SpecificationError(f"no table of `seeds` has a column {values.column!r}; {way_out}")
    if "cell_id" not in values.seeds:
        raise unknown_name("column", "cell_id", map(str, values.seeds.columns), way_out="(seeds need it)")
    scaled = values.scaled(numbers(values.seeds, values.column))
    defined = np.isfinite(scaled)
    cells = values.seeds["cell_id"].to_numpy(object)[defined].astype(str)
    spread = typical_spread(scaled[defined], cells, float(values.scaled(np.array([cut]))[0]))
    if np.isnan(spread):
        raise SpecificationError(
            f"values of {values.column!r} give no spread across seeds: no cell has two that differ; {way_out}"
        )
    return spread


def _rule(name: str, reports: Mapping[str, CutReport], n_cells: int) -> PhaseRule:
    how = ", ".join(
        f"{quantity} as given"
        if found.method == "fixed"
        else f"{quantity} by Otsu's method ({found.explained:.0%} of the variance between both sides)"
        for quantity, found in reports.items()
    )
    try:
        return PhaseRule.model_validate(
            {
                "id": name,
                "description": "Thresholds of one zoo: they mean nothing under other protocols.",
                "source": f"zoo.phases.calibrate on {n_cells} cells: {how}",
                **{quantity: _criterion(found) for quantity, found in reports.items()},
            }
        )
    except ValidationError as error:
        raise SpecificationError(
            f"what was given makes no rule; expected finite cuts, and spreads and a loss above 0, got\n"
            f"{describe(error)}"
        ) from None


def _criterion(found: CutReport) -> dict[str, object]:
    return {
        "column": found.column,
        "protocols": (found.protocol,),
        "threshold": found.cut,
        "spread": found.spread,
        "spread_source": found.spread_source,
    }
