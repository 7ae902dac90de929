"""What the phases of a zoo were told by: columns, and where they are cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from zoo.labelling import stored_rule
from zoo.spec import Manifest


class RuleColumns(NamedTuple):
    """The columns that tell phases apart, which differ from zoo to zoo.

    Attributes:
        loss: Loss on the training items.
        connectivity: Mode connectivity.
        similarity: Similarity of networks of a cell.
        cuts: Where the rule cuts, by column; empty where no rule is known.
    """

    loss: str = "train_loss"
    connectivity: str = "mode_connectivity"
    similarity: str = "cka"
    cuts: Mapping[str, float] = {}


def rule_columns(manifest: Manifest) -> RuleColumns:
    """Say which columns the rule of a zoo reads.

    Args:
        manifest: The manifest of the zoo.

    Returns:
        The columns and cuts; the usual columns and no cuts where the zoo has no rule.
    """
    rule = stored_rule(manifest.protocols)
    if rule is None:
        return RuleColumns()
    return RuleColumns(rule.train_loss.column, rule.mode_connectivity.column, rule.cka.column, rule.cuts)
