"""A rule of phases for a zoo, from its own distribution."""

from __future__ import annotations

from collections.abc import Mapping

from zoo import Zoo
from zoo.errors import QueryError
from zoo.phases import Calibration
from zoo.phases import calibrate as calibrate_cells

COLUMNS: Mapping[str, str] = {
    "train_loss": "fit_loss",
    "mode_connectivity": "mode_connectivity",
    "cka": "cka_mixup",
}
"""What our rules read: the loss that training minimised, the train error along curves, and the similarity of
outputs between training items, which networks that agree on all items may still differ in."""
FIXED: Mapping[str, float] = {"train_loss": 0.05, "mode_connectivity": -1.0}
"""Thresholds that mean the same for any zoo of classifiers: nats, and points of train error."""


def calibrate(
    zoo: Zoo,
    *,
    id: str,
    columns: Mapping[str, str] = COLUMNS,
    fixed: Mapping[str, float] = FIXED,
) -> Calibration:
    """Derive a rule for a zoo: thresholds from its cells, spreads from its seeds and pairs.

    Args:
        zoo: The zoo, measured.
        id: Id of the new rule, such as `my-zoo-v1`.
        columns: Column by quantity (`train_loss`, `mode_connectivity`, `cka`).
        fixed: Threshold by quantity, of those that are not to be derived.

    Returns:
        The rule and its report.

    Raises:
        QueryError: A column was not measured.
        SpecificationError: The id is taken or malformed, or the zoo does not tell the phases apart; see
            `zoo.phases.calibrate`.
        UnknownNameError: There is no such quantity.
    """
    cells = zoo.cells
    missing = [name for name in columns.values() if name not in cells]
    if missing:
        raise QueryError(
            f"a rule for {zoo.root} would read {', '.join(columns.values())}; {', '.join(missing)} is not "
            f"measured: run `phasezoo measure {zoo.root}` first, or choose other columns"
        )
    last = zoo.where("status == 'finished' and epoch == last_epoch")
    seeds = last.checkpoints.merge(last.models[["model_id", "cell_id"]], on="model_id")
    return calibrate_cells(cells, id=id, columns=columns, seeds=[seeds, last.pairs], fixed=fixed)
