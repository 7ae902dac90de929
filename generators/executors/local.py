"""Do tasks in worker processes on this machine, one a core; a lost worker costs its task alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType

import generators
from generators.engine import Interrupted, TaskSettings
from generators.executors.base import ATTEMPTS, AnyTask, Done, Watch, failed, largest_first
from generators.executors.worker import STOP
from zoo.errors import SpecificationError

_MAIN = "from generators.executors.worker import main; main()"
_PATIENCE = 0.2
"""Seconds between two looks at whether to stop."""


class _Worker:
    """A worker process and our end of its pipe."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.pipe = Connection(ours.detach())
        command = [sys.executable, "-P", "-c", _MAIN, str(theirs.fileno())]
        # a session of its own, so that Ctrl-C reaches us alone and we can ask it to save its state
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_import_path())},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self.task: AnyTask | None = None
        self.begin = 0.0

    def give(self, task: AnyTask, settings: TaskSettings) -> None:
        self.task, self.begin = task, time.perf_counter()
        with suppress(BrokenPipeError):  # it is dead: reading from it will say so
            self.pipe.send((task, settings))

    def stop(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.wait()


def _import_path() -> list[str]:
    """List where a worker looks for modules."""
    # where only an import hook knows our code (`pip install -e`), a folder `zoo` beside the user's script,
    # such as the zoo being made, would hide the package
    ours = str(Path(generators.__file__).parents[1])
    path = [entry for entry in sys.path if entry]
    return path if ours in path else [ours, *path]


class LocalExecutor:
    """Works in worker processes, each on one thread; started for each run, or kept within a `with` block.

    Args:
        workers: Number of processes.

    Raises:
        SpecificationError: There would be no worker.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise SpecificationError(f"a LocalExecutor has at least one worker, got {workers}")
        self.workers = workers
        self._pool: list[_Worker] = []

    def __enter__(self) -> LocalExecutor:
        """Start the workers."""
        self._pool = [_Worker() for _ in range(self.workers)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers, whatever they do."""
        for worker in self._pool:
            worker.stop()
        self._pool = []

    def run(self, tasks: Sequence[AnyTask], settings: TaskSettings, watch: Watch) -> Iterator[Done]:
        """Do tasks, the largest first, so that the last to end is small.

        Args:
            tasks: The tasks.
            settings: How they are done.
            watch: Told how far each is, asked whether to stop.

        Yields:
            Each task as it ends.

        Raises:
            Interrupted: It was asked to stop; the state of each task in training is saved.
        """
        if not self._pool:
            with self:
                yield from _Run(self._pool, tasks, settings, watch).results()
            return
        try:
            yield from _Run(self._pool, tasks, settings, watch).results()
        finally:
            for place, worker in enumerate(self._pool):
                if worker.task is not None:  # the run was cut off: nobody waits for what it trains
                    worker.stop()
                    self._pool[place] = _Worker()


class _Run:
    """Tasks on their way through the workers."""

    def __init__(
        self, workers: list[_Worker], tasks: Sequence[AnyTask], settings: TaskSettings, watch: Watch
    ) -> None:
        self._pool, self._watch = workers, watch
        self._settings = replace(settings, sharing=max(1, min(len(workers), len(tasks))))
        self._waiting = deque(largest_first(tasks))
        self._attempts = {task.name: 0 for task in tasks}

    def results(self) -> Iterator[Done]:
        while self._hand_out():
            if self._watch.should_stop():
                yield from self._stop()
                raise Interrupted
            for worker in self._ready():
                yield from self._receive(worker)

    def _hand_out(self) -> bool:
        """Give each idle worker a task; say whether there is anything to wait for."""
        for worker in self._pool:
            if worker.task is None and self._waiting:
                task = self._waiting.popleft()
                self._attempts[task.name] += 1
                worker.give(task, self._settings)
        return any(worker.task is not None for worker in self._pool)

    def _ready(self) -> list[_Worker]:
        pipes = {id(worker.pipe): worker for worker in self._pool if worker.task is not None}
        return [
            pipes[id(pipe)] for pipe in wait([worker.pipe for worker in pipes.values()], timeout=_PATIENCE)
        ]

    def _receive(self, worker: _Worker) -> Iterator[Done]:
        task = worker.task
        assert task is not None
        try:
            received = worker.pipe.recv()
        except (EOFError, OSError):  # the latter where it died amid a message
            yield from self._replace(worker, task)
            return
        if isinstance(received, Done):
            worker.task = None
            yield received
        elif isinstance(received, Exception):
            worker.task = None
            raise received
        else:
            self._watch.on_progress(task, received)

    def _replace(self, worker: _Worker, task: AnyTask) -> Iterator[Done]:
        """Start another worker for one that died; its task is tried again, but not for ever."""
        code = worker.process.wait()
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        self._pool[self._pool.index(worker)] = _Worker()
        worker.pipe.close()
        if self._attempts[task.name] < ATTEMPTS:
            self._waiting.appendleft(task)
            return
        reason = f"its worker died in each of {ATTEMPTS} attempts, at last {how}"
        yield failed(task, self._settings, reason, time.perf_counter() - worker.begin)

    def _stop(self) -> Iterator[Done]:
        """Let every worker end its epoch and save its state; take what had been trained by then."""
        busy = [worker for worker in self._pool if worker.task is not None]
        for worker in busy:
            with suppress(BrokenPipeError):
                worker.pipe.send(STOP)
        errors: list[Exception] = []
        for worker in busy:
            with suppress(EOFError, OSError):  # it died: its last saved state stays
                while (received := worker.pipe.recv()) != STOP:
                    if isinstance(received, Done):
                        yield received
                    elif isinstance(received, Exception):  # such as a disk too full to save the state
                        errors.append(received)
                        break
                    else:
                        self._watch.on_progress(worker.task, received)
                else:
                    worker.task = None
        if errors:
            raise errors[0]
