"""Two Ray workers against one, on work that is not stacked."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from benchmarks.paired import Comparison, compare, seconds
from benchmarks.training import demo_stacks
from generators.engine import Task, TaskSettings
from generators.executors import Executor, Watch

_TASKS = 8
_LOOP = TaskSettings(strategy="loop")


def installed() -> bool:
    """Say whether Ray can be used.

    Returns:
        Whether it is installed.
    """
    return importlib.util.find_spec("ray") is not None


def tasks(*, epochs: int) -> list[Task]:
    """Make tasks that take equally long.

    Args:
        epochs: Epochs of each.

    Returns:
        The demo's stack of width 64, under as many names.
    """
    stack = next(s for s in demo_stacks(epochs=epochs) if s.models[0].values["width"] == 64)
    return [Task((replace(stack, shard=f"weights/{number}.h5"),), {}) for number in range(_TASKS)]


def run(executor: Executor, given: list[Task]) -> None:
    """Train tasks to their end.

    Args:
        executor: Where.
        given: The tasks.
    """
    if sum(1 for _ in executor.run(given, _LOOP, Watch())) != len(given):
        raise RuntimeError("not every task came back")


def compare_workers(*, pairs: int, epochs: int) -> Comparison:
    """Train the same tasks on two workers, and on one while the other's place is taken.

    Args:
        pairs: Number of pairs.
        epochs: Epochs of each task.

    Returns:
        Times of two workers and of one; each follows a run that is not counted, so that workers are there.
    """
    import ray

    from generators.executors.ray import RayExecutor

    executor, short, long = RayExecutor(address=None), tasks(epochs=1), tasks(epochs=epochs)

    def both() -> float:
        run(executor, short)
        return seconds(lambda: run(executor, long))

    def alone() -> float:
        with _one_place_taken(ray):
            return both()

    # otherwise Ray ends a worker that is idle while the other is alone, and its start would be timed
    kept = {"idle_worker_killing_time_threshold_ms": 3_600_000}
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    ray.init("local", num_cpus=2, _system_config=kept, **quiet)
    try:
        return compare(both, alone, pairs=pairs)
    finally:
        ray.shutdown()


@contextmanager
def _one_place_taken(ray: Any) -> Iterator[None]:
    class Sleeper:
        def ready(self) -> None:
            return

    sleeper = ray.remote(num_cpus=1)(Sleeper).remote()
    ray.get(sleeper.ready.remote())
    try:
        yield
    finally:
        ray.kill(sleeper)
        _wait_for_places(ray, 2)


def _wait_for_places(ray: Any, count: int) -> None:
    while ray.available_resources().get("CPU", 0) < count:
        time.sleep(0.05)
