"""Which columns a rule finds in a table, as numbers, and whether it was made for their protocols."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from zoo.errors import SpecificationError, unknown_name
from zoo.phases.rule import Criterion, PhaseRule

PROTOCOLS = "protocols"
"""Key of `DataFrame.attrs` under which a table says by which protocol each of its columns was measured."""


def known_protocols(table: pd.DataFrame, protocols: Mapping[str, str] | None) -> dict[str, str]:
    """Collect what is known of how values were measured.

    Args:
        table: A table; `table.attrs["protocols"]` may say it.
        protocols: Protocol id by column; goes before what the table says.

    Returns:
        Protocol id by column, of the columns of which it is known.
    """
    return {**table.attrs.get(PROTOCOLS, {}), **(protocols or {})}


def numbers(table: pd.DataFrame, column: str) -> Float[np.ndarray, " rows"]:
    """Read a column as numbers.

    Args:
        table: A table.
        column: One of its columns.

    Returns:
        `(n_rows,)` float64, NaN where missing.

    Raises:
        UnknownNameError: There is no such column.
        SpecificationError: It holds something else.
    """
    if column not in table:
        raise unknown_name("column", column, map(str, table.columns), way_out="(measure it first)")
    try:
        return table[column].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise SpecificationError(
            f"column {column!r} holds {table[column].dtype} values, expected numbers; convert it first"
        ) from None


def find_column(table: pd.DataFrame, quantity: str, rule: PhaseRule) -> str:
    """Choose the column that a rule reads a quantity from.

    Args:
        table: A table.
        quantity: One of the three quantities.
        rule: The rule.

    Returns:
        The rule's own column where the table has it, else the column that is called as the quantity.

    Raises:
        UnknownNameError: The table has neither.
    """
    own = rule.criteria[quantity].column
    for name in (own, quantity):
        if name in table:
            return name
    way_out = f"(rule {rule.id!r} reads it, or {quantity!r}: measure it, or rename yours)"
    raise unknown_name("column", own, map(str, table.columns), way_out=way_out)


def check_protocol(column: str, protocol: str | None, criterion: Criterion, rule: PhaseRule) -> None:
    """Refuse values of a protocol that a rule was not made for; a protocol that no one names is trusted.

    Args:
        column: Column of the values.
        protocol: Protocol that they were measured under, where that is known.
        criterion: What the rule says of them.
        rule: The rule.

    Raises:
        SpecificationError: The rule was made for other protocols.
    """
    if protocol is None or protocol in criterion.protocols:
        return
    expected = " or ".join(criterion.protocols)
    raise SpecificationError(
        f"rule {rule.id!r} was made for {criterion.column!r} under protocol {expected}, got {column!r} under "
        f"{protocol}, which may have another scale; measure under {expected}, or derive a rule for these "
        "values with zoo.phases.calibrate"
    )
