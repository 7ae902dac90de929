"""The sub-commands `calibrate` and `label`: a rule of phases for a zoo, and its labels."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from zoo.errors import SpecificationError


def register(app: typer.Typer) -> None:
    """Add the sub-commands.

    Args:
        app: The command that they belong to.
    """
    app.command("calibrate")(calibrate)
    app.command("label")(label)


def calibrate(
    zoo: Annotated[str, typer.Argument(metavar="ZOO", help="Folder or name of a measured zoo.")],
    *,
    id: Annotated[
        str | None,
        typer.Option(help="Id of the new rule, such as my-zoo-v1; by default NAME_OF_ZOO-v1, or the next."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the rule; by default ID.json.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="QUANTITY=COLUMN", help="Another column for a quantity; repeatable."),
    ] = None,
    cut: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUANTITY=VALUE|otsu",
            help="Threshold of a quantity, or otsu to derive it; repeatable.",
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Where to draw the histograms with their cuts, .png or .svg.")
    ] = None,
) -> None:
    """Derive the rule that tells a zoo's phases apart, and show what it rests on.

    Quantities are train_loss, mode_connectivity and cka. A train loss above 0.05 nats is phase I or II, a
    mode connectivity below -1 point of train error I or III; where CKA divides IV-A from IV-B depends on how
    it is measured, and is derived from the zoo.

    Examples: [bold]phasezoo calibrate zoos/digits-mlp --id my-digits-v1[/bold],
    [bold]phasezoo calibrate zoos/mine --column cka=cka_mixup --cut train_loss=otsu[/bold]
    """
    from generators.calibration import COLUMNS, FIXED
    from generators.calibration import calibrate as run
    from zoo.population import open_zoo
    from zoo.report.calibration import calibration_figure
    from zoo.report.phase_diagram import check_name, save
    from zoo.storage import write_file

    if figure is not None:
        check_name(figure)
    opened = open_zoo(zoo)
    name = id or _next_id(opened.manifest.name)
    fixed = {quantity: _number(text) for quantity, text in _pairs(cut).items() if text != "otsu"}
    kept = {quantity: value for quantity, value in FIXED.items() if quantity not in _pairs(cut)}
    found = run(opened, id=name, columns={**COLUMNS, **_pairs(column)}, fixed={**kept, **fixed})
    console = Console()
    console.print(found.text, markup=False, highlight=False, soft_wrap=True)
    path = out or Path(f"{name}.json")
    write_file(path, found.rule.to_json().encode())
    console.print(f"rule: {path}", soft_wrap=True, markup=False, highlight=False)
    if figure is not None:
        save(calibration_figure(found.histograms, f"{name}: what each cut divides"), figure)
        console.print(f"figure: {figure}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"Next: phasezoo label {zoo} --rule {path}", soft_wrap=True, markup=False, highlight=False)


def label(
    zoo: Annotated[Path, typer.Argument(metavar="ZOO", help="Folder of a measured zoo.")],
    *,
    rule: Annotated[str, typer.Option(help="Id of a rule of the package, or a rule's JSON file.")],
) -> None:
    """Label every checkpoint and cell of a zoo with its phase; an earlier rule is replaced.

    Examples: [bold]phasezoo label zoos/digits-mlp --rule digits-mlp-v1[/bold],
    [bold]phasezoo label zoos/mine --rule mine-v1.json[/bold]
    """
    from generators.labelling import label as run
    from zoo.phases import PHASES

    labelled = run(zoo, rule)
    cells = labelled.cells
    table = Table("phase", "cells", "share", "mean test accuracy")
    for phase in PHASES:
        some = cells[cells["phase"] == phase]
        accuracy = f"{some['test_accuracy'].mean():.3f}" if len(some) and "test_accuracy" in some else "-"
        table.add_row(phase, str(len(some)), f"{len(some) / len(cells):.0%}", accuracy)
    undefined = int(cells["phase"].isna().sum())
    if undefined:
        table.add_row("undefined", str(undefined), f"{undefined / len(cells):.0%}", "-")
    console = Console()
    console.print(table)
    for reason, count in cells.loc[cells["phase"].isna(), "phase_reason"].value_counts().head(3).items():
        console.print(f"undefined in {count} cells: {reason}", soft_wrap=True, markup=False, highlight=False)
    known = labelled.checkpoints["phase"].notna().sum()
    console.print(
        f"{known:,} of {len(labelled):,} checkpoints have a phase; those "
        'of other epochs need pairs: phasezoo measure ... --metrics mode_connectivity --where "epoch > 0"',
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    console.print(f"Next: phasezoo plot {zoo} --figure phases", soft_wrap=True, markup=False, highlight=False)


def _next_id(name: str) -> str:
    from zoo.phases import list_rules

    free = (f"{name}-v{number}" for number in itertools.count(1))
    return next(candidate for candidate in free if candidate not in list_rules())


def _pairs(texts: list[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise SpecificationError(f"expected QUANTITY=VALUE, such as cka=cka_mixup, got {text!r}")
        found[name] = value
    return found


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SpecificationError(f"a cut is a number or otsu, got {text!r}")
    return value
