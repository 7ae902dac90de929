"""Labels of a whole zoo: what a rule reads of each checkpoint and cell, and the columns that it gives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from zoo.errors import SpecificationError
from zoo.phases import PHASE_COLUMNS, PhaseRule
from zoo.phases import label as label_rows
from zoo.spec import Protocol

RULE_FILE = "phases.json"
"""The rule by which a zoo's checkpoints are labelled."""
METRIC = "phases"
_SIDES = ("checkpoint_a", "checkpoint_b")


def rule_protocol(rule: PhaseRule) -> tuple[str, Protocol]:
    """Write a rule down as a protocol of the manifest.

    Args:
        rule: The rule.

    Returns:
        Id `phases/<rule id>`, and the protocol, whose settings are the whole rule.
    """
    settings = rule.model_dump(mode="json")
    return f"phases/{rule.id}", Protocol(
        metric=METRIC, table="checkpoints", columns=PHASE_COLUMNS, settings=settings
    )


def stored_rule(protocols: Mapping[str, Protocol]) -> PhaseRule | None:
    """Find the rule among a manifest's protocols.

    Args:
        protocols: Protocol by id.

    Returns:
        The rule; nothing where the zoo is not labelled.
    """
    found = [protocol for protocol in protocols.values() if protocol.metric == METRIC]
    return PhaseRule.model_validate(found[0].settings) if found else None


def column_protocols(protocols: Mapping[str, Protocol]) -> dict[str, str]:
    """Say by which protocol each column was measured.

    Args:
        protocols: Protocol by id.

    Returns:
        Protocol id by column.
    """
    return {column.name: name for name, protocol in protocols.items() for column in protocol.columns}


def label_checkpoints(
    checkpoints: pd.DataFrame, pairs: pd.DataFrame, rule: PhaseRule, protocols: Mapping[str, Protocol]
) -> pd.DataFrame:
    """Label every checkpoint: its own loss, and the means over its pairs with others of its cell.

    Args:
        checkpoints: Table of checkpoints.
        pairs: Table of pairs; those of an epoch speak of the checkpoints of this epoch.
        rule: The rule.
        protocols: Protocol by id.

    Returns:
        The columns of labels, rows as the checkpoints; missing, with a reason, where a value of the rule is.
    """
    values = {name: _of_checkpoints(name, checkpoints, pairs) for name in rule.cuts}
    return _labelled(pd.DataFrame(values, index=checkpoints.index), rule, protocols)


def label_cells(cells: pd.DataFrame, rule: PhaseRule, protocols: Mapping[str, Protocol]) -> pd.DataFrame:
    """Label every cell, by its means over seeds and pairs.

    Args:
        cells: Table of cells.
        rule: The rule.
        protocols: Protocol by id.

    Returns:
        The columns of labels, rows as the cells.
    """
    values = {name: cells.get(name, np.nan) for name in rule.cuts}
    return _labelled(pd.DataFrame(values, index=cells.index), rule, protocols)


def _labelled(values: pd.DataFrame, rule: PhaseRule, protocols: Mapping[str, Protocol]) -> pd.DataFrame:
    known = column_protocols(protocols)
    by_column = {name: known[name] for name in rule.cuts if name in known}
    try:
        return label_rows(values, rule, protocols=by_column)
    except SpecificationError as error:  # measured by other protocols since the rule was chosen
        unlabelled = dict.fromkeys([column.name for column in PHASE_COLUMNS], None)
        return pd.DataFrame({**unlabelled, "phase_reason": str(error)}, index=values.index)


def _of_checkpoints(name: str, checkpoints: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series[float]:
    if name in checkpoints or name not in pairs:
        own = checkpoints.get(name)
        return own.astype(float) if own is not None else pd.Series(np.nan, index=checkpoints.index)
    sides = [pairs[[side, name]].set_axis(["checkpoint", "value"], axis=1) for side in _SIDES]
    means = pd.concat(sides).groupby("checkpoint")["value"].mean()
    return checkpoints["checkpoint_id"].map(means).astype(float)
