"""The sub-commands that look at a zoo: `info`, `plot`, `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

ZooArgument = Annotated[str, typer.Argument(metavar="ZOO", help="Folder or name of a zoo.")]
EXIT_FAULTS = 2


def register(app: typer.Typer) -> None:
    """Add the sub-commands.

    Args:
        app: The command that they belong to.
    """
    app.command("info")(info)
    app.command("plot")(plot)
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


def plot(
    zoo: ZooArgument,
    out: Annotated[Path, typer.Option(help="Where to write, .png or .svg.")] = Path("phases.png"),
    load: Annotated[str | None, typer.Option(help="Axis on x, where there are several.")] = None,
    temperature: Annotated[str | None, typer.Option(help="Axis on y, where there are several.")] = None,
) -> None:
    """Draw accuracy, losses, gap and similarity over the load x temperature plane.

    Example: [bold]phasezoo plot demo/digits-mlp-demo --out phases.svg[/bold]
    """
    from zoo.population import open_zoo
    from zoo.report.phase_diagram import phase_diagram, save

    save(phase_diagram(open_zoo(zoo), load=load, temperature=temperature), out)
    Console().print(f"phase diagram: {out}", soft_wrap=True, markup=False, highlight=False)


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
