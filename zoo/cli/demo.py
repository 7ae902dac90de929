"""The sub-command `demo`: the whole path of a user, as the commands that a user would type."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

RECIPE = "digits-mlp-demo"


def demo_commands(out: Path) -> list[list[str]]:
    """List the commands of the demo.

    Args:
        out: Folder for everything that it makes.

    Returns:
        The words of each command after `phasezoo`.

    Example:
        >>> demo_commands(Path("demo"))[0]
        ['generate', 'digits-mlp-demo', '--out', 'demo/digits-mlp-demo']
    """
    zoo, results, figures = str(out / RECIPE), str(out / "results"), out / "figures"
    tasks = (
        f"property-prediction/{RECIPE}/test_accuracy@v1",
        f"weight-generation/{RECIPE}/unconditional@v1",
        f"averaging/{RECIPE}/seeds@v1",
    )
    return [
        ["generate", RECIPE, "--out", zoo],
        ["measure", zoo],
        ["label", zoo, "--rule", "digits-mlp-v1"],
        ["info", zoo],
        ["plot", zoo, "--figure", "metrics", "--out", str(figures / "metrics.png")],
        ["plot", zoo, "--figure", "phases", "--out", str(figures / "phases.png")],
        ["plot", zoo, "--figure", "spectrum", "--out", str(figures / "spectrum.png")],
        *(["evaluate", task, "--zoo", zoo, "--out", results] for task in tasks),
        ["leaderboard", results, "--out", str(out / "report.md")],
    ]


def register(app: typer.Typer, run: Callable[[list[str]], object]) -> None:
    """Add the sub-command.

    Args:
        app: The command that it belongs to.
        run: Runs one command line; raises what the command raises.
    """

    @app.command("demo")
    def demo(
        out: Annotated[Path, typer.Option(help="Folder for zoo, figure and results.")] = Path("demo"),
    ) -> None:
        """Train, measure, draw and score a small zoo on real data, in minutes.

        Each step is printed as the command that you would type; a demo that was cut off goes on.
        """
        console = Console()
        for words in demo_commands(out):
            console.print(
                f"\n[bold green]$ phasezoo {shlex.join(words)}[/bold green]", soft_wrap=True, highlight=False
            )
            run(words)
        made = {"zoo": RECIPE, "figures": "figures", "results": "results", "report": "report.md"}
        console.print("")
        for what, place in made.items():
            console.print(f"{what:8} {out / place}", soft_wrap=True, markup=False, highlight=False)
