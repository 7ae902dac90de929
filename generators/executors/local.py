"""Train stacks one after another in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from generators.engine.stacked import failed_shard, train_models
from generators.grid import Stack
from zoo.storage.weights import WeightShard

OnEpoch = Callable[[Stack, int, int], None]
"""Called after each epoch of a stack with its number and how many of its models have diverged."""


@dataclass(frozen=True)
class Trained:
    """A stack that has come to its end.

    Attributes:
        stack: The stack.
        shard: What its shard shall hold.
        seconds: Wall time.
        failed: Whether training raised an error.
    """

    stack: Stack
    shard: WeightShard
    seconds: float
    failed: bool


def run(stacks: Iterable[Stack], *, device: str, on_epoch: OnEpoch) -> Iterator[Trained]:
    """Train stacks in order; one that raises an error is recorded and the rest goes on.

    Args:
        stacks: The stacks.
        device: Torch device.
        on_epoch: Called after each epoch.

    Yields:
        Each stack as it ends.
    """
    for stack in stacks:
        yield train(stack, device=device, on_epoch=on_epoch)


def train(stack: Stack, *, device: str, on_epoch: OnEpoch) -> Trained:
    """Train one stack.

    Args:
        stack: The stack.
        device: Torch device.
        on_epoch: Called after each epoch.

    Returns:
        The trained stack, or its record of failure: out of memory is what torch raises most.
    """
    start = time.perf_counter()
    try:
        shard = train_models(
            stack, device=device, on_epoch=lambda epoch, diverged: on_epoch(stack, epoch, diverged)
        )
    except (RuntimeError, MemoryError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        return Trained(
            stack, failed_shard(stack, reason, device=device), time.perf_counter() - start, failed=True
        )
    return Trained(stack, shard, time.perf_counter() - start, failed=False)
