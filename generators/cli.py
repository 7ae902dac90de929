"""The sub-commands `recipes`, `generate` and `measure`, and those of `phases_cli`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from generators import phases_cli
from zoo.errors import DataMissingError, SpecificationError, StorageError, unknown_name

if TYPE_CHECKING:
    from generators.executors import Executor, ExecutorName
    from generators.recipe import Recipe


def register(app: typer.Typer) -> None:
    """Add the sub-commands.

    Args:
        app: The command that they belong to.
    """
    app.command("recipes")(recipes)
    app.command("generate")(generate)
    app.command("measure")(measure)
    phases_cli.register(app)


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Name of a recipe, or a YAML file: show it whole.")
    ] = None,
) -> None:
    """List the recipes that come with the package, with what each would make, or show one of them.

    Example: [bold]phasezoo recipes[/bold], [bold]phasezoo recipes digits-mlp[/bold]
    """
    from generators.listing import listing
    from generators.recipe import list_recipes, load_recipe

    console = Console()
    if name is not None:
        _show_recipe(console, load_recipe(name))
        return
    table = Table(
        Column("recipe", no_wrap=True), "models", "parameters of each", "weights", "device-hours", "source"
    )
    for known in track(list_recipes(), description="counting", console=console, transient=True):
        found = listing(load_recipe(known))
        sizes = f"{found.smallest:,}" + (f" to {found.largest:,}" if found.largest > found.smallest else "")
        hours = f"{_hours(found.hours)} {found.device}"
        table.add_row(known, str(found.models), sizes, _size(found.bytes), hours, found.source.split(",")[0])
    console.print(table)
    console.print(
        "device-hours: counted operations at assumed speeds, 5 GFLOP/s a core or 10 TFLOP/s a GPU; "
        "`phasezoo generate NAME --out ZOO --dry-run` measures this machine",
        highlight=False,
    )
    console.print("Next: phasezoo recipes NAME", highlight=False)


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1g}"


def _size(count: int) -> str:
    power = min(len(f"{count}") - 1, 14) // 3
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def _show_recipe(console: Console, recipe: Recipe) -> None:
    from generators.listing import listing

    found = listing(recipe)
    table = Table("what", "value", title=recipe.name, title_justify="left", show_header=False)
    table.add_row("what it is", recipe.description)
    table.add_row("source", found.source)
    for kind, fields in recipe.axes.kinds.items():
        for field, values in fields.items():
            shown = ", ".join(map(str, values)) if isinstance(values, tuple) else str(values)
            table.add_row(f"{kind} axis {field}", shown if len(shown) < 200 else f"{shown[:200]}...")
    for part in ("dataset", "architecture", "training", "fork", "parent"):
        if given := getattr(recipe, part):
            table.add_row(part, ", ".join(f"{key} {value}" for key, value in given.items()))
    table.add_row("seeds", ", ".join(map(str, recipe.seeds)))
    table.add_row("models", f"{found.models:,} in {found.cells:,} cells")
    table.add_row("weights", _size(found.bytes))
    table.add_row("device-hours", f"about {_hours(found.hours)} on one {found.device}")
    for note in recipe.notes:
        table.add_row("note", note)
    console.print(table)
    console.print(
        f"Next: phasezoo generate {recipe.name} --out zoos/{recipe.name} --dry-run", highlight=False
    )


def generate(  # noqa: PLR0913 - each is an option of the command line
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a YAML file.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the zoo.")],
    device: Annotated[
        str, typer.Option(help="Torch device; auto takes the GPU where there is one.")
    ] = "auto",
    executor: Annotated[
        str,
        typer.Option(help="local: a process a core; local:N: N processes; ray: a Ray cluster."),
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster; without it Ray starts on this machine.")
    ] = None,
    strategy: Annotated[
        str, typer.Option(help="stacked: networks step together; loop: one by one; auto measures both.")
    ] = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would make, how long and how large, and stop.")
    ] = False,
    accept_other_code: Annotated[
        bool,
        typer.Option("--accept-other-code", help="Go on with a zoo that code with other numbers began."),
    ] = False,
) -> None:
    """Train and store a population. Cut off at any moment, the same command goes on.

    Example: [bold]phasezoo generate digits-mlp-demo --out zoos/digits-mlp-demo[/bold]
    """
    from generators.engine.task import Strategy
    from generators.generation import generate as run
    from generators.recipe import load_recipe

    console = Console()
    loaded = load_recipe(recipe)
    if strategy not in get_args(Strategy):
        raise unknown_name("strategy", strategy, get_args(Strategy))
    where = _executor(executor, address)
    if dry_run:
        _show_plan(console, loaded, out, device, where)
        return
    zoo = run(
        loaded,
        out,
        device=device,
        executor=where,
        strategy=cast(Strategy, strategy),
        accept_other_code=accept_other_code,
    )
    counts = zoo.manifest.counts
    console.print(
        f"{counts.models} models ({counts.finished} finished, {counts.diverged} diverged, "
        f"{counts.failed} failed), {counts.checkpoints} checkpoints in {out}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    if counts.failed:
        reasons = ", ".join(zoo.models.loc[zoo.models["status"] == "failed", "reason"].unique())
        raise StorageError(f"{counts.failed} models failed: {reasons}; the same command tries them again")
    console.print(f"Next: phasezoo measure {out}", soft_wrap=True, markup=False, highlight=False)


def _executor(name: str, address: str | None) -> ExecutorName | Executor:
    """Read the option `--executor`."""
    from generators.executors.local import LocalExecutor

    kind, _, count = name.partition(":")
    if name == "ray":
        from generators.executors.ray import RayExecutor

        return RayExecutor(address=address)
    if address is not None:
        raise SpecificationError(f"--address is of a Ray cluster, got --executor {name}; add --executor ray")
    if name == "local":
        return "local"
    if kind == "local" and count.isdecimal() and int(count) > 0:
        return LocalExecutor(int(count))
    raise SpecificationError(f"unknown executor {name!r}; expected local, local:N with N from 1, or ray")


def _show_plan(
    console: Console, recipe: Recipe, out: Path, device: str, where: ExecutorName | Executor
) -> None:
    import shutil

    from generators.estimate import dry_run as plan_only
    from generators.estimate import estimate
    from generators.listing import listing

    table = Table("what", "how much", title=f"{recipe.name} would make, in {out}")
    for what, number in plan_only(recipe).items():
        table.add_row(what, f"{number:,}")
    folder = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    table.add_row("bytes free there", f"{shutil.disk_usage(folder).free:,}")
    try:
        with console.status("taking a few steps, to see how long they take"):
            cost = estimate(recipe, device=device, executor=None if isinstance(where, str) else where)
    except DataMissingError as missing:
        found = listing(recipe)
        table.add_row(
            "time to train", f"roughly {_hours(found.hours)} hours on one {found.device}, not tried"
        )
        console.print(table)
        console.print(f"To try it, {missing}", soft_wrap=True, markup=False, highlight=False)
        return
    table.add_row("optimiser steps", f"{cost.model_steps:,}")
    table.add_row("operations", f"{cost.flops:.2g}")
    table.add_row("peak memory", f"about {cost.bytes / 1e9:.2g} GB")
    table.add_row("time to train", f"about {timedelta(seconds=round(cost.seconds))}")
    console.print(table)


def measure(
    zoo: Annotated[Path, typer.Argument(metavar="ZOO", help="Folder of a zoo.")],
    *,
    metrics: Annotated[
        str,
        typer.Option(
            help="Metrics, separated by commas; all; or the protocols of a paper: ptmz, yang2021, farms2025."
        ),
    ] = "all",
    where: Annotated[
        str | None,
        typer.Option(help='Which checkpoints, such as "width >= 32 and epoch > 0"; else all or the last.'),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(help="local: a process a core; local:N: N processes; ray: a Ray cluster."),
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster; without it one starts here.")
    ] = None,
) -> None:
    """Measure a zoo; what is measured already is kept, so that a run that was cut off goes on.

    Examples: [bold]phasezoo measure zoos/digits-mlp[/bold],
    [bold]phasezoo measure zoos/digits-mlp --metrics mode_connectivity,cka --where "epoch >= 20"[/bold],
    [bold]phasezoo measure zoos/digits-mlp --metrics yang2021[/bold]
    """
    from generators.measurement import measure as run

    names = [name.strip() for name in metrics.split(",")]
    measured = run(zoo, metrics=names, where=where, executor=_executor(executor, address))
    console = Console()
    console.print(f"{zoo}: all that was asked for is measured", soft_wrap=True, markup=False, highlight=False)
    step = f"plot {zoo}"
    if "yang2021" in names:
        step = f"label {zoo} --rule yang2021-v1"
    elif "mode_connectivity" in measured.pairs and "phase" not in measured.checkpoints:
        step = f"calibrate {zoo}"
    console.print(f"Next: phasezoo {step}", soft_wrap=True, markup=False, highlight=False)
