"""One progress bar for all long work."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column


def progress_bar() -> Progress:
    """Make a progress bar on standard error: description, share done, time left (time spent at the end).

    Returns:
        The bar, to be used as a context; it draws nothing where there is no terminal but its last state.
    """
    return Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=Console(stderr=True),
    )
