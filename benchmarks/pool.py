"""Worker processes as the engine has them: one thread each, freed memory kept; started once and kept."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from generators.executors.one_core import use_one_core


class Pool:
    """Processes that do the same at once, each for its share.

    Args:
        workers: Number of processes.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []

    def __enter__(self) -> Pool:
        """Start them."""
        context = multiprocessing.get_context("spawn")
        for place in range(self.workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, place), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let them end."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.close()
            process.join()

    def call(self, work: Callable[..., Any], *given: Any) -> list[Any]:
        """Call a function in every worker at once, and wait for all; each is idle before and after.

        Args:
            work: A function of a module; it gets the worker's place first.
            *given: What else it gets.

        Returns:
            What each returned.

        Raises:
            RuntimeError: One of them failed.
        """
        for pipe in self._pipes:
            pipe.send((work, given))
        found = [pipe.recv() for pipe in self._pipes]
        failed = [one for one in found if isinstance(one, Exception)]
        if failed:
            raise RuntimeError("a worker of the benchmark failed") from failed[0]
        return found


def _serve(pipe: Connection, place: int) -> None:
    use_one_core()
    while True:
        try:
            work, given = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(work(place, *given))
        except Exception as error:  # noqa: BLE001 - whatever it was, the other side raises it
            pipe.send(error)
