"""How many threads the linear algebra of small matrices gets: one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_LARGE = 512
"""Shorter side from which an eigenvalue problem is worth sharing between threads."""


@contextmanager
def threads_for(side: int) -> Iterator[None]:
    """Compute with one thread where matrices are small.

    Threads that share a matrix of a hundred rows wait for each other longer than they compute, and where
    other work has a core, ten times as long.

    Args:
        side: Shorter side of the matrices.

    Yields:
        Nothing; afterwards there are as many threads as before.

    Example:
        >>> with threads_for(100):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    if side < _LARGE:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
