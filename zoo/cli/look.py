"""The sub-commands that look at a zoo: `info`, `plot`, `verify`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoo.report.catalogue import FIGURES

ZooArgument = Annotated[str, typer.Argument(metavar="ZOO", help="Folder or name of a zoo.")]
EXIT_FAULTS = 2
_FIGURES = "\n\n".join(f"[bold]{name}[/bold]: {entry.description}" for name, entry in FIGURES.items())


def register(app: typer.Typer) -> None:
    """Add the sub-commands.

    Args:
        app: The command that they belong to.
    """
    app.command("info")(info)
    app.command("plot", epilog=f"Figures:\n\n{_FIGURES}")(plot)
    app.command("verify")(verify)


def info(zoo: ZooArgument) -> None:
    """Say what is in a zoo, in one screen.

    Example: [bold]phasezoo info demo/digits-mlp-demo[/bold]
    """
    from zoo.population import open_zoo
    from zoo.report.summary import summary

    console = Console()
    opened = open_zoo(zoo)
    console.print(summary(opened))
    step = "plot" if len(opened.pairs) else "measure"
    console.print(
        f'\nNext: phasezoo {step} {zoo}   or, in Python: zoo.open("{zoo}")',
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def plot(  # noqa: PLR0913 - each is an option of the command line
    zoo: ZooArgument,
    *,
    figure: Annotated[str | None, typer.Option(help="What to draw, of the figures below.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write, .png or .svg; by default FIGURE-NAME_OF_ZOO.png.")
    ] = None,
    load: Annotated[str | None, typer.Option(help="Axis on x, where there are several.")] = None,
    temperature: Annotated[str | None, typer.Option(help="Axis on y, where there are several.")] = None,
    at: Annotated[
        list[str] | None, typer.Option(metavar="AXIS=VALUE", help="Where to hold another axis; repeatable.")
    ] = None,
    cell: Annotated[list[str] | None, typer.Option(metavar="ID", help="A cell to show; repeatable.")] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="The layer to show, such as 0.weight.")
    ] = None,
) -> None:
    """Draw a zoo: its phases where its loss landscape was measured, else accuracy, losses and similarity.

    Examples: [bold]phasezoo plot demo/digits-mlp-demo --out phases.svg[/bold],
    [bold]phasezoo plot zoos/digits-mlp --figure phases --at label_noise=0.1[/bold]
    """
    from zoo.population import open_zoo
    from zoo.report.catalogue import default_figure, draw
    from zoo.report.phase_diagram import check_name, save
    from zoo.report.plane import parse_fixed

    if out is not None:
        check_name(out)
    opened = open_zoo(zoo)
    name = figure or default_figure(opened)
    fixed = parse_fixed(at or ())
    chosen = {"load": load, "temperature": temperature, "at": fixed, "cell": cell, "layer": layer}
    drawn = draw(name, opened, {option: value for option, value in chosen.items() if value})
    # the name comes from a manifest that anyone may have written: it must not lead out of this folder
    path = out or Path(f"{name}-{re.sub(r'[^A-Za-z0-9_.-]', '-', opened.manifest.name)[:64]}.png")
    save(drawn, path)
    Console().print(f"{name}: {path}", soft_wrap=True, markup=False, highlight=False)


def verify(zoo: Annotated[Path, typer.Argument(metavar="ZOO", help="Folder of a zoo.")]) -> None:
    """Check every file of a zoo against its manifest; list all faults, exit with 2 if there is one.

    Example: [bold]phasezoo verify demo/digits-mlp-demo[/bold]
    """
    from zoo.checking import verify as find_faults

    console = Console()
    faults = find_faults(zoo)
    if not faults:
        console.print(f"{escape(str(zoo))}: every file is whole and fits the manifest", soft_wrap=True)
        return
    table = Table("file", "fault", title=f"{len(faults)} faults in {zoo}")
    for fault in faults:
        table.add_row(escape(fault.file), escape(fault.reason))
    console.print(table)
    raise typer.Exit(EXIT_FAULTS)
