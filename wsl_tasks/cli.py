"""The sub-commands `tasks`, `evaluate` and `leaderboard`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Column, Table


def register(app: typer.Typer) -> None:
    """Add the sub-commands.

    Args:
        app: The command that they belong to.
    """
    app.command("tasks")(tasks)
    app.command("evaluate")(evaluate)
    app.command("leaderboard")(leaderboard)


def tasks() -> None:
    """List the benchmark tasks: what is asked, the main score, the baselines that come with each.

    Example: [bold]phasezoo tasks[/bold]
    """
    from wsl_tasks.registry import get_task, list_tasks

    console = Console()
    for task_id in list_tasks():
        task = get_task(task_id)
        known = task.metadata
        asks = known.description + (f" Superseded by {known.superseded_by}." if known.superseded_by else "")
        # an id is there to be copied: it stands alone on its line, however narrow the terminal
        console.print(f"[bold]{escape(task_id)}[/bold]", soft_wrap=True, highlight=False)
        console.print(Padding(escape(asks), (0, 0, 0, 4)))
        console.print(f"    main score: {known.main_score} ({known.direction} is better)", highlight=False)
        baselines = f"baselines: {', '.join(task.baselines())}"
        console.print(Padding(baselines, (0, 0, 1, 4)), highlight=False)
    console.print(
        f"Next: phasezoo evaluate {list_tasks()[-2]}", soft_wrap=True, markup=False, highlight=False
    )


def evaluate(
    task: Annotated[str, typer.Argument(help="Id of a task, as `phasezoo tasks` lists them.")],
    method: Annotated[str, typer.Option(help="Name of a baseline, or all.")] = "all",
    zoo: Annotated[
        str | None, typer.Option(help="Folder or name of the task's zoo, where it is not found by name.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("results"),
) -> None:
    """Run a task's baselines and write one JSON result for each.

    Your own method is three lines of Python: [bold]task = wsl_tasks.get_task(ID)[/bold], then
    [bold]task.evaluate(MyMethod()).save("results/mine.json")[/bold]; docs/tasks.md shows one.

    Example: [bold]phasezoo evaluate averaging/digits-mlp-demo/seeds@v1 --zoo demo/digits-mlp-demo[/bold]
    """
    from wsl_tasks.registry import get_task
    from zoo.report.progress import progress_bar

    chosen = get_task(task, zoo=zoo)
    results = []
    with progress_bar() as progress:
        for name, make in progress.track(_choose(chosen, method), description="evaluating"):
            results.append(chosen.evaluate(make(), name=name))
            results[-1].save(out / results[-1].file_name)
    console = Console()
    console.print(_scores(results, chosen.metadata.main_score))
    console.print(f"{len(results)} results in {out}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"Next: phasezoo leaderboard {out}", soft_wrap=True, markup=False, highlight=False)


def _choose(task: Any, method: str) -> list[tuple[str, Callable[[], Any]]]:
    from zoo.errors import unknown_name

    known = task.baselines()
    if method != "all" and method not in known:
        raise unknown_name("baseline", method, [*known, "all"])
    return [(name, make) for name, make in known.items() if method in {"all", name}]


def _scores(results: list[Any], main: str) -> Table:
    """Lay the scores out: a row for each method, the main score first."""
    names = sorted(results[0].scores, key=lambda name: name != main)
    table = Table(Column("method", overflow="fold"))
    for name in names:
        table.add_column(f"{name} (main)" if name == main else name, overflow="fold")
    for result in results:
        method = f"{result.method} (reference)" if result.reference else result.method
        table.add_row(escape(method), *(escape(result.scores[name].text()) for name in names))
    return table


def leaderboard(
    results: Annotated[Path, typer.Argument(help="Folder with results.")] = Path("results"),
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a README.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the Markdown to this file, too.")] = None,
) -> None:
    """Compare the results in a folder: best first within each task, with 95 % intervals.

    Example: [bold]phasezoo leaderboard results --markdown > leaderboard.md[/bold]
    """
    from wsl_tasks.leaderboard import cells, to_markdown
    from wsl_tasks.leaderboard import leaderboard as gather
    from zoo.storage import write_file

    board = gather(results)
    if out is not None:
        write_file(out, to_markdown(board).encode())
    if markdown:
        typer.echo(to_markdown(board), nl=False)
        return
    console = Console()
    for task, rows in board.groupby("task", sort=False):
        table = Table("rank", "method", rows["score"].iloc[0], "95 % interval", title=escape(str(task)))
        for _, row in rows.iterrows():
            table.add_row(*map(escape, cells(row)))
        console.print(table)
