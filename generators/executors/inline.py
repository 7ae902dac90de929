"""Do tasks one after another in this process: small work, and a GPU, which one process fills."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from generators.engine import Hooks, TaskSettings
from generators.executors.base import AnyTask, Done, Watch, perform
from generators.executors.one_core import one_thread


class InlineExecutor:
    """Works in this process."""

    def run(self, tasks: Sequence[AnyTask], settings: TaskSettings, watch: Watch) -> Iterator[Done]:
        """Do tasks in order.

        Args:
            tasks: The tasks.
            settings: How they are done.
            watch: Told how far each is, asked whether to stop.

        Yields:
            Each task as it ends.

        Raises:
            Interrupted: It was asked to stop; the state of the task in training is saved.
        """
        for task in tasks:
            with one_thread(settings.device):
                done = perform(task, settings, Hooks(partial(watch.on_progress, task), watch.should_stop))
            yield done
