"""A worker process: does the tasks that come through a pipe, on one thread, until the pipe closes.

Started as a command of its own rather than by `multiprocessing`, which would run the user's script again in
each worker.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection
from typing import Any

from generators.engine import Hooks, Interrupted, TaskSettings
from generators.executors.base import AnyTask, perform
from generators.executors.one_core import use_one_core
from zoo.errors import ZooError

STOP = "stop"


class _ParentIsGone(Exception):
    """The pipe was closed: whoever gave the task has died, and there is no one left to tell."""


def serve(pipe: Connection) -> None:
    """Do task after task.

    Args:
        pipe: Brings `(task, settings)` and `STOP`; takes progress, what was done, errors.
    """
    while True:
        try:
            received = pipe.recv()
        except (EOFError, OSError):
            return
        if received == STOP:
            pipe.send(STOP)
            continue
        _serve_task(pipe, *received)


def _serve_task(pipe: Connection, task: AnyTask, settings: TaskSettings) -> None:
    def should_stop() -> bool:
        if not pipe.poll():
            return False
        try:
            return bool(pipe.recv() == STOP)
        except (EOFError, OSError):  # the latter where it died before it read our last word
            raise _ParentIsGone from None

    def tell(progress: Any) -> None:
        try:
            pipe.send(progress)
        except BrokenPipeError:
            raise _ParentIsGone from None

    try:
        pipe.send(perform(task, settings, Hooks(tell, should_stop)))
    except Interrupted:
        pipe.send(STOP)
    except ZooError as error:
        pipe.send(error)


def main() -> None:
    """Serve the pipe whose file descriptor is the argument."""
    use_one_core()
    try:
        serve(Connection(int(sys.argv[1])))
    except (_ParentIsGone, BrokenPipeError):
        os._exit(1)  # whatever is half done is nobody's business now, least of all the disk's
