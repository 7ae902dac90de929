"""From measurements to phases: a label, soft memberships, and the reason where something is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Integer
from numpy.typing import NDArray
from scipy.special import ndtr

from zoo.phases.rule import PHASES, QUANTITIES, PhaseRule, get_rule
from zoo.phases.values import check_protocol, find_column, known_protocols, numbers
from zoo.spec import Column

MEMBERSHIPS = tuple(f"phase_{phase.replace('-', '_')}" for phase in PHASES)
"""Columns of the memberships, in the order of the phases."""
PHASE_COLUMNS = (
    Column(name="phase", dtype="string", description=f"phase by the rule: {', '.join(PHASES)}"),
    *(
        Column(name=name, dtype="float64", description=f"soft membership of phase {phase}, in [0, 1]")
        for name, phase in zip(MEMBERSHIPS, PHASES, strict=True)
    ),
    Column(
        name="phase_reason",
        dtype="string",
        description="why the phase or a membership is missing; missing where all are defined",
    ),
)
"""The columns of a label, as a table of checkpoints declares them."""
_FIRST_OF_FOUR, _UNDECIDED = 3, -1


def label(
    cells: pd.DataFrame,
    rule: str | Path | PhaseRule = "yang2021-v1",
    *,
    protocols: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Tell the phase of each row: of cells, models or checkpoints alike.

    The phase follows from the three thresholds, as `PhaseRule` says. A membership is the probability of the
    phase if each quantity scatters normally around its value by the rule's spread, independently: with
    `h = Phi(log(loss / T) / s)`, `p = Phi((T - mc) / s)` and `c = Phi((cka - T) / s)`, each with its own
    threshold T and spread s, I is `h p`, II `h (1-p)`, III `(1-h) p`, IV-A `(1-h) (1-p) (1-c)` and IV-B
    `(1-h) (1-p) c`. They sum to 1. The largest is that of the label wherever each quantity is at least 0.31
    spreads away from its threshold: then each factor of its own is at least q = Phi(0.31) = 0.622, and
    `q^2 > 1 - q` from q = 0.618 on.

    Args:
        cells: The measurements. Each quantity is read from the rule's own column where there is one, else
            from the column `train_loss` (nats, 0 allowed), `mode_connectivity` (percentage points) or `cka`.
        rule: Id of a rule, path of a rule's JSON file, or a rule.
        protocols: Id of the protocol by column; also read from `cells.attrs["protocols"]`. Columns of which
            no protocol is known are taken on trust.

    Returns:
        A row for each row, under the same index: `phase`, the five memberships `phase_I`, `phase_II`,
        `phase_III`, `phase_IV_A` and `phase_IV_B`, and `phase_reason`.

    Raises:
        UnknownNameError: The rule or a column is unknown.
        SpecificationError: Values were measured under a protocol that the rule was not made for, or are no
            numbers.
        FormatError: The rule's file is no rule.

    Undefined when:
        Loss (also where negative) or mode connectivity is missing: phase and memberships are missing. CKA is
        missing: those of IV-A and IV-B are, and the phase where it is one of the two.

    Example:
        >>> cells = pd.DataFrame({"train_loss": [0.3, 0.01], "mode_connectivity": [-9, 0], "cka": [0.4, 0.8]})
        >>> label(cells)["phase"].tolist()
        ['I', 'IV-B']
    """
    chosen = rule if isinstance(rule, PhaseRule) else get_rule(rule)
    known = known_protocols(cells, protocols)
    columns, values = [], []
    for quantity, criterion in chosen.criteria.items():
        column = find_column(cells, quantity, chosen)
        check_protocol(column, known.get(column), criterion, chosen)
        columns.append(column)
        values.append(numbers(cells, column))
    table = np.stack(values)
    table[0, table[0] < 0] = np.nan
    return _lay_out(cells.index, table, columns, chosen)


def _lay_out(
    index: pd.Index, values: Float[np.ndarray, "3 rows"], columns: list[str], rule: PhaseRule
) -> pd.DataFrame:
    phase = decide(values, rule)
    shares = memberships(values, rule)
    names = np.array([*PHASES, None], dtype=object)[phase]
    return pd.DataFrame(
        {
            "phase": pd.array(names, dtype="str"),
            **dict(zip(MEMBERSHIPS, shares, strict=True)),
            "phase_reason": pd.array(_reasons(values, phase, columns), dtype="str"),
        },
        index=index,
    )


def decide(values: Float[np.ndarray, "3 rows"], rule: PhaseRule) -> Integer[np.ndarray, " rows"]:
    """Apply the thresholds.

    Args:
        values: `(3, n)` loss, mode connectivity and CKA, NaN where missing.
        rule: The rule.

    Returns:
        `(n,)` place in `PHASES`; -1 where a value is missing that the phase depends on.
    """
    loss, connectivity, similarity = values
    cuts = [rule.criteria[quantity].threshold for quantity in QUANTITIES]
    barrier, alike = connectivity < cuts[1], similarity >= cuts[2]
    phase = np.where(loss > cuts[0], np.where(barrier, 0, 1), np.where(barrier, 2, np.where(alike, 4, 3)))
    missing = np.isnan(values)
    missing[2] &= phase >= _FIRST_OF_FOUR
    return np.where(missing.any(axis=0), _UNDECIDED, phase)


def memberships(values: Float[np.ndarray, "3 rows"], rule: PhaseRule) -> Float[np.ndarray, "5 rows"]:
    """Weigh the phases by the distance to each threshold, as `label` says.

    Args:
        values: `(3, n)` loss, mode connectivity and CKA, NaN where missing.
        rule: The rule.

    Returns:
        `(5, n)` in [0, 1], in the order of `PHASES`; NaN as `label` says.
    """
    loss, connectivity, similarity = rule.train_loss, rule.mode_connectivity, rule.cka
    with np.errstate(divide="ignore"):  # a loss of 0 is as low as can be: log 0 = -inf, and Phi(-inf) = 0
        distance = np.log(values[0] / loss.threshold)
    high = ndtr(distance / loss.spread)
    barrier = ndtr((connectivity.threshold - values[1]) / connectivity.spread)
    alike = ndtr((values[2] - similarity.threshold) / similarity.spread)
    four = (1 - high) * (1 - barrier)
    return np.stack(
        [high * barrier, high * (1 - barrier), (1 - high) * barrier, four * (1 - alike), four * alike]
    )


def _reasons(
    values: Float[np.ndarray, "3 rows"], phase: Integer[np.ndarray, " rows"], columns: list[str]
) -> NDArray[np.object_]:
    """Name what is missing, by a code of three bits a row."""
    missing = np.isnan(values)
    # similarity matters only where the other two leave the phase open
    missing[2] &= ~missing[:2].any(axis=0)
    alone = missing[2] & (phase != _UNDECIDED)
    code = missing[0] + 2 * missing[1] + 4 * missing[2] + 4 * alone
    loss, connectivity, similarity = columns
    texts = np.full(9, None, dtype=object)
    texts[1] = f"{loss} is missing or negative"
    texts[2] = f"{connectivity} is missing"
    texts[3] = f"{loss} is missing or negative, {connectivity} is missing"
    texts[4] = f"{similarity} is missing"
    texts[8] = f"{similarity} is missing, which the memberships of IV-A and IV-B need"
    chosen: NDArray[np.object_] = texts[code]
    return chosen
