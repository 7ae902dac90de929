"""What every executor takes and gives, and how a task that cannot be done is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from generators.engine import Hooks, Task, TaskSettings, train_task
from generators.engine.recorder import failed_shards
from zoo.errors import ZooError

ExecutorName = Literal["local", "ray"]
"""Executors by name: processes of this machine, or a cluster."""
ATTEMPTS = 3
"""How often a task is given to a worker before it counts as what kills workers."""


@runtime_checkable
class Work(Protocol):
    """A task that is not training, such as measuring; it keeps no state: what is lost is done again."""

    @property
    def name(self) -> str:
        """What tells it from the others of a run."""
        ...

    @property
    def size(self) -> int:
        """How large it is beside others of a run."""
        ...

    @property
    def state(self) -> Path | None:
        """Nothing."""
        ...

    def portable(self) -> Work:
        """Give the same with all that a worker on another machine needs."""
        ...

    def with_state(self, state: Path) -> Work:
        """Give the same."""
        ...

    def run(self, hooks: Hooks) -> list[Any]:
        """Do it.

        Args:
            hooks: Asked and told between its parts.

        Returns:
            What was found and not yet told.

        Raises:
            Interrupted: It was asked to stop.
        """
        ...


AnyTask: TypeAlias = Task | Work
"""What executors do: training, or other work."""


@dataclass(frozen=True)
class Watch:
    """What an executor asks and tells while tasks are done.

    Attributes:
        on_progress: Told how far a task is: a `Progress` at the end of an epoch, or what other work tells.
        should_stop: Asked whether to save what is in training and stop.
    """

    on_progress: Callable[[Any, Any], None] = lambda _task, _progress: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Done:
    """A task that has come to its end.

    Attributes:
        task: The task.
        content: What the shard of each stack of a training task shall hold, or what other work found.
        seconds: Wall time.
        failed: Why it could not be done; nothing where it was.
    """

    task: Any
    content: list[Any]
    seconds: float
    failed: str | None = None


@runtime_checkable
class Executor(Protocol):
    """Does tasks somewhere."""

    def run(self, tasks: Sequence[AnyTask], settings: TaskSettings, watch: Watch) -> Iterator[Done]:
        """Do tasks; one that fails is recorded and the rest goes on.

        Args:
            tasks: The tasks, of one kind.
            settings: How they are done.
            watch: Told how far each is, asked whether to stop.

        Yields:
            Each task as it ends, in any order.

        Raises:
            Interrupted: It was asked to stop.
        """
        ...


def largest_first(tasks: Sequence[AnyTask]) -> list[AnyTask]:
    """Order tasks so that the last to end is small.

    Args:
        tasks: The tasks.

    Returns:
        The same, by their sizes.
    """
    return sorted(tasks, key=lambda task: task.size, reverse=True)


def perform(task: AnyTask, settings: TaskSettings, hooks: Hooks) -> Done:
    """Do one task where one stands.

    Args:
        task: The task.
        settings: How.
        hooks: Asked and told at the end of each epoch.

    Returns:
        The task done, or its record of failure: out of memory is what torch raises most.
    """
    begin = time.perf_counter()
    try:
        content = train_task(task, settings, hooks) if isinstance(task, Task) else task.run(hooks)
    except ZooError:
        raise
    except (RuntimeError, MemoryError, ValueError) as error:  # ValueError: what torch raises of shapes
        first = str(error).splitlines()[0] if str(error) else "no message"
        return failed(task, settings, f"{type(error).__name__}: {first}", time.perf_counter() - begin)
    return Done(task, content, time.perf_counter() - begin)


def failed(task: AnyTask, settings: TaskSettings, reason: str, seconds: float = 0.0) -> Done:
    """Record a task that could not be done.

    Args:
        task: The task.
        settings: How it should have been done.
        reason: Why it was not.
        seconds: Wall time that it took.

    Returns:
        Of training, rows with the reason, no weights; of other work, nothing but the reason.
    """
    content = failed_shards(task, reason, device=settings.device) if isinstance(task, Task) else []
    return Done(task, content, seconds, failed=reason)
