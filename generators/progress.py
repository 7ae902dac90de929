"""Progress of generation: models and model-steps a second, time left, how many have diverged."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.progress import Progress as RichProgress

from generators.engine import Progress, Task
from generators.grid import Stack


class Bar:
    """Progress in model-epochs, so that the time left is right although stacks differ in size.

    Args:
        progress: The bar to draw in.
        stacks: All stacks of the recipe.
        pending: Those that will be trained now.
        title: What to begin with, such as the round of a refinement.
    """

    def __init__(
        self, progress: RichProgress, stacks: Sequence[Stack], pending: Sequence[Stack], *, title: str = ""
    ) -> None:
        self._progress, self._title = progress, title
        self._models = sum(len(stack.models) for stack in stacks)
        self._begun = self._models - sum(len(stack.models) for stack in pending)
        total = sum(stack.model_epochs for stack in stacks)
        self._before = total - sum(stack.model_epochs for stack in pending)
        self._done: dict[str, int] = {}
        self._diverged: dict[str, int] = {}
        self._ended = 0
        self._steps = 0
        self._start = time.monotonic()
        self._task = progress.add_task(self._text(), total=total, completed=self._before)

    def after_epoch(self, task: Task, progress: Progress) -> None:
        """Draw how far a task is.

        Args:
            task: The task.
            progress: How far.
        """
        # a resumed task begins amid its epochs: what was done before is not counted as speed
        before = self._done.get(task.name, progress.model_epochs - len(task.models))
        self._steps += max(0, progress.model_epochs - before) * task.stacks[0].steps_per_epoch
        self._done[task.name], self._diverged[task.name] = progress.model_epochs, progress.diverged
        self._draw()

    def after_task(self, task: Task, diverged: int) -> None:
        """Draw that a task has ended.

        Args:
            task: The task.
            diverged: How many of its models diverged.
        """
        self._ended += len(task.models)
        missing = task.model_epochs - self._done.get(task.name, 0)
        if task.name not in self._done:  # no word came on the way: it was trained elsewhere
            self._steps += missing * task.stacks[0].steps_per_epoch
        self._done[task.name], self._diverged[task.name] = task.model_epochs, diverged
        self._draw()

    def _draw(self) -> None:
        completed = self._before + sum(self._done.values())
        self._progress.update(self._task, completed=completed, description=self._text())

    def _text(self) -> str:
        passed = max(time.monotonic() - self._start, 1e-9)
        return (
            f"{self._title}{self._begun + self._ended}/{self._models} models, {self._ended / passed:.2g}/s, "
            f"{self._steps / passed:,.0f} model-steps/s, {sum(self._diverged.values())} diverged"
        )
