"""Ctrl-C at the end of an epoch instead of amid it, so that the state can be saved first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt(notice: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Keep the first Ctrl-C for later; a second one interrupts at once.

    Args:
        notice: Called at the first, to tell the user what will happen.

    Yields:
        Whether it has come. Outside of the main thread, which alone may set handlers, it never does.
    """
    pressed = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            signal.default_int_handler(number, frame)
        pressed = True
        notice()

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
