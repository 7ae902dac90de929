"""What every executor provides, and how a task that cannot be trained is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from generators.engine import Hooks, Progress, Task, TaskSettings, train_task
from generators.engine.recorder import failed_shards
from zoo.errors import ZooError
from zoo.storage.weights import WeightShard

ATTEMPTS = 3
"""How often a task is given to a worker before it counts as what kills workers."""


@dataclass(frozen=True)
class Watch:
    """What an executor asks and tells while tasks are trained.

    Attributes:
        on_progress: Told how far a task is, at the end of its epochs.
        should_stop: Asked whether to save what is in training and stop.
    """

    on_progress: Callable[[Task, Progress], None] = lambda _task, _progress: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Trained:
    """A task that has come to its end.

    Attributes:
        task: The task.
        shards: What the shard of each of its stacks shall hold.
        seconds: Wall time.
        failed: Why it could not be trained; nothing where it was.
    """

    task: Task
    shards: list[WeightShard]
    seconds: float
    failed: str | None = None


@runtime_checkable
class Executor(Protocol):
    """Trains tasks somewhere."""

    def run(self, tasks: Sequence[Task], settings: TaskSettings, watch: Watch) -> Iterator[Trained]:
        """Train tasks; one that fails is recorded and the rest goes on.

        Args:
            tasks: The tasks.
            settings: How they are trained.
            watch: Told how far each is, asked whether to stop.

        Yields:
            Each task as it ends, in any order.

        Raises:
            Interrupted: It was asked to stop.
        """
        ...


def largest_first(tasks: Sequence[Task]) -> list[Task]:
    """Order tasks so that the last to end is small.

    Args:
        tasks: The tasks.

    Returns:
        The same, by their steps and parameters.
    """

    def size(task: Task) -> int:
        return sum(stack.model_steps * stack.layout.size for stack in task.stacks)

    return sorted(tasks, key=size, reverse=True)


def train(task: Task, settings: TaskSettings, hooks: Hooks) -> Trained:
    """Train one task where one stands.

    Args:
        task: The task.
        settings: How.
        hooks: Asked and told at the end of each epoch.

    Returns:
        The trained task, or its record of failure: out of memory is what torch raises most.
    """
    begin = time.perf_counter()
    try:
        shards = train_task(task, settings, hooks)
    except ZooError:
        raise
    except (RuntimeError, MemoryError, ValueError) as error:  # ValueError: what torch raises of shapes
        first = str(error).splitlines()[0] if str(error) else "no message"
        return failed(task, settings, f"{type(error).__name__}: {first}", time.perf_counter() - begin)
    return Trained(task, shards, time.perf_counter() - begin)


def failed(task: Task, settings: TaskSettings, reason: str, seconds: float = 0.0) -> Trained:
    """Record a task that could not be trained.

    Args:
        task: The task.
        settings: How it should have been trained.
        reason: Why it was not.
        seconds: Wall time that it took.

    Returns:
        Rows with the reason, no weights.
    """
    return Trained(task, failed_shards(task, reason, device=settings.device), seconds, failed=reason)
