"""The sub-commands `recipes`, `generate` and `measure`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.console import Console
from rich.table import Table

from zoo.errors import SpecificationError, StorageError, unknown_name

if TYPE_CHECKING:
    from generators.executors import Executor
    from generators.generation import ExecutorName
    from generators.recipe import Recipe


def register(app: typer.Typer) -> None:
    """Add the sub-commands.

    Args:
        app: The command that they belong to.
    """
    app.command("recipes")(recipes)
    app.command("generate")(generate)
    app.command("measure")(measure)


def recipes() -> None:
    """List the recipes that come with the package, with what each would make.

    Example: [bold]phasezoo recipes[/bold]
    """
    from generators.estimate import dry_run
    from generators.recipe import list_recipes, load_recipe

    table = Table("recipe", "models", "parameters", "weights", "what it is")
    for name in list_recipes():
        recipe = load_recipe(name)
        made = dry_run(recipe)
        size = f"{made['bytes'] / 1e6:.1f} MB"
        table.add_row(name, str(made["models"]), f"{made['parameters']:,}", size, recipe.description)
    Console().print(table)


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

    table = Table("what", "how much", title=f"{recipe.name} would make, in {out}")
    for what, number in plan_only(recipe).items():
        table.add_row(what, f"{number:,}")
    folder = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    table.add_row("bytes free there", f"{shutil.disk_usage(folder).free:,}")
    with console.status("taking a few steps, to see how long they take"):
        cost = estimate(recipe, device=device, executor=None if isinstance(where, str) else where)
    table.add_row("optimiser steps", f"{cost.model_steps:,}")
    table.add_row("operations", f"{cost.flops:.2g}")
    table.add_row("peak memory", f"about {cost.bytes / 1e9:.2g} GB")
    table.add_row("time to train", f"about {timedelta(seconds=round(cost.seconds))}")
    console.print(table)


def measure(
    zoo: Annotated[Path, typer.Argument(metavar="ZOO", help="Folder of a zoo.")],
    metrics: Annotated[str, typer.Option(help="Names of metrics, separated by commas; or all.")] = "all",
) -> None:
    """Measure a zoo; what is measured already is kept.

    Example: [bold]phasezoo measure zoos/digits-mlp-demo --metrics spectrum,cka[/bold]
    """
    from generators.measurement import measure as run

    names = "all" if metrics == "all" else [name.strip() for name in metrics.split(",")]
    measured = run(zoo, metrics=names)
    Console().print(
        f"protocols: {', '.join(measured.manifest.protocols)}", soft_wrap=True, markup=False, highlight=False
    )
    Console().print(f"Next: phasezoo plot {zoo}", soft_wrap=True, markup=False, highlight=False)
