"""What is in a zoo, in one screen."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from zoo.labelling import stored_rule
from zoo.phases import PHASES
from zoo.population import Zoo

_SHOWN = ("train_loss", "test_accuracy", "test_error", "generalization_gap", "cka", "disagreement")


def summary(zoo: Zoo) -> Group:
    """Describe a zoo for the terminal.

    Args:
        zoo: The zoo.

    Returns:
        Name, licence, counts, axes, layouts, the range of each metric over the cells, the next steps.
    """
    manifest, counts = zoo.manifest, zoo.manifest.counts
    state = "complete" if manifest.complete else f"{counts.models} of {counts.planned} models so far"
    head = Text.assemble(
        (f"{manifest.name}", "bold"), f"  ({state}, data under {manifest.licence})\n", manifest.description
    )
    body = Table.grid(padding=(0, 2))
    ended = f"{counts.finished} finished, {counts.diverged} diverged, {counts.failed} failed"
    body.add_row("models", f"{counts.models} in {counts.cells} cells ({ended})")
    body.add_row("checkpoints", f"{counts.checkpoints} at epochs {_epochs(zoo)}")
    for axis in manifest.axes:
        values = ", ".join(
            f"{value:g}" if axis.dtype == "float64" else str(value) for value in _values(zoo, axis.name)
        )
        body.add_row(f"{axis.kind} axis", f"{axis.name}: {values}")
    for name, layout in manifest.layouts.items():
        body.add_row("layout", f"{name}: {layout.size:,} parameters in {len(layout.entries)} tensors")
    body.add_row("splits", ", ".join(manifest.splits) or "none yet")
    body.add_row("protocols", ", ".join(manifest.protocols) or "none yet")
    if rule := stored_rule(manifest.protocols):
        body.add_row("phases", f"{_phases(zoo)} (cells by the rule {rule.id})")
    return Group(head, Text(), body, Text(), _ranges(zoo))


def _phases(zoo: Zoo) -> str:
    counts = zoo.cells["phase"].fillna("undefined").value_counts()
    return ", ".join(f"{name} {counts[name]}" for name in (*PHASES, "undefined") if name in counts)


def _epochs(zoo: Zoo) -> str:
    return ", ".join(str(epoch) for epoch in sorted(zoo.checkpoints["epoch"].unique()))


def _values(zoo: Zoo, axis: str) -> list[object]:
    return sorted(zoo.models[axis].unique().tolist())


def _ranges(zoo: Zoo) -> Table:
    """Tabulate how far the metrics reach over the cells: diversity is what a zoo is for."""
    table = Table("over cells (seeds averaged, last epoch)", "lowest", "median", "highest")
    cells = zoo.cells
    for name in (name for name in _SHOWN if name in cells and cells[name].notna().any()):
        low, middle, high = cells[name].quantile([0, 0.5, 1])
        table.add_row(name, f"{low:.3f}", f"{middle:.3f}", f"{high:.3f}")
    return table
