"""How many networks a step takes at once: all, some, or one after another, whichever is faster here."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from generators.engine.task import Strategy
from zoo.training import StackTrainer

_SIZES = (16, 4, 2, 1)
_WORTH_PROBING = 1000
"""Steps of a stack below which a probe costs more than it can save."""
_WARM_UP, _COUNTED, _ROUNDS = 1, 3, 2

MakeTrainer = Callable[[int], StackTrainer]
"""From a number of networks to a trainer of so many, to be thrown away."""

_MEASURED: dict[tuple[object, ...], int] = {}


def choose_chunk(
    strategy: Strategy, make: MakeTrainer, *, rows: int, steps: int, key: tuple[object, ...]
) -> int:
    """Choose how many networks a step takes at once.

    Args:
        strategy: `stacked`, `loop`, or `auto`.
        make: Makes a trainer to measure.
        rows: Networks in the stack that fit into memory at once.
        steps: Steps that the stack will take.
        key: What the speed depends on; what was measured for it in this process is used again.

    Returns:
        In [1, rows]; 1 is the plain loop.
    """
    if strategy == "loop" or rows == 1:
        return 1
    if strategy == "stacked" or steps < _WORTH_PROBING:
        return rows
    if key not in _MEASURED:
        sizes = [rows, *(size for size in _SIZES if size < rows)]
        trainers = {size: make(size) for size in sizes}
        seconds = {size: float("inf") for size in sizes}
        for trainer in trainers.values():
            trainer.run_steps(_WARM_UP)
        for _ in range(_ROUNDS):  # in turns, so that other work on the machine disturbs all alike
            for size, trainer in trainers.items():
                seconds[size] = min(seconds[size], _time_step(trainer, size))
        _MEASURED[key] = min(seconds, key=seconds.__getitem__)
    return _MEASURED[key]


def _time_step(trainer: StackTrainer, size: int) -> float:
    """Time a step of one network."""
    on_cpu = trainer.parameters.device.type == "cpu"
    # the time of one thread does not count what others have on its core; that of several counts their waiting
    clock = time.process_time if on_cpu and torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    trainer.run_steps(_COUNTED)
    trainer.synchronize()
    return (clock() - begin) / (_COUNTED * size)


def describe(chunk: int, rows: int) -> str:
    """Write a choice as the table of models has it.

    Args:
        chunk: Networks at once.
        rows: Networks in the stack.

    Returns:
        `loop`, or `stacked/<networks at once>`.

    Example:
        >>> describe(1, 8), describe(64, 24)
        ('loop', 'stacked/24')
    """
    return "loop" if chunk == 1 else f"stacked/{min(chunk, rows)}"
