"""The sub-commands `recipes`, `generate` and `measure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from zoo.errors import StorageError

if TYPE_CHECKING:
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
    from generators.generation import dry_run
    from generators.recipe import list_recipes, load_recipe

    table = Table("recipe", "models", "parameters", "weights", "what it is")
    for name in list_recipes():
        recipe = load_recipe(name)
        made = dry_run(recipe)
        size = f"{made['bytes'] / 1e6:.1f} MB"
        table.add_row(name, str(made["models"]), f"{made['parameters']:,}", size, recipe.description)
    Console().print(table)


def generate(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the zoo.")],
    device: Annotated[
        str, typer.Option(help="Torch device; auto takes the GPU where there is one.")
    ] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would make, and stop.")] = False,
) -> None:
    """Train and store a population. Cut off at any moment, the same command goes on.

    Example: [bold]phasezoo generate digits-mlp-demo --out zoos/digits-mlp-demo[/bold]
    """
    from generators.generation import generate as run
    from generators.recipe import load_recipe

    console = Console()
    loaded = load_recipe(recipe)
    if dry_run:
        _show_plan(console, loaded, out)
        return
    zoo = run(loaded, out, device=device)
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


def _show_plan(console: Console, recipe: Recipe, out: Path) -> None:
    import shutil

    from generators.generation import dry_run as plan_only

    table = Table("what", "how much", title=f"{recipe.name} would make, in {out}")
    for what, number in plan_only(recipe).items():
        table.add_row(what, f"{number:,}")
    folder = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    table.add_row("bytes free there", f"{shutil.disk_usage(folder).free:,}")
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
