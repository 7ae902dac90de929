"""What a recipe would make, and what that would cost, before anything is trained."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from generators.engine import Task, TaskSettings
from generators.engine.cost import flops_per_epoch, stack_bytes
from generators.engine.memory import capacity, free_bytes
from generators.engine.population import trainer_to_probe
from generators.executors import Executor
from generators.executors.local import LocalExecutor
from generators.executors.one_core import one_thread
from generators.generation import choose_device, choose_executor
from generators.grid import Stack, alike, count_models, plan
from generators.recipe import Recipe

_KERNEL_BYTES = 128 << 20
"""What a process takes beside its arrays once it trains and evaluates: code of kernels, kept freed memory."""
_PROBED, _PROBE_MODELS, _PROBE_SECONDS = 8, 16, 0.3


@dataclass(frozen=True)
class Estimate:
    """What a population would cost on this machine.

    Attributes:
        seconds: Wall time of training, from a short probe: within a factor of two on a quiet machine.
            Starting workers, measuring and writing come on top.
        bytes: Peak memory of all processes that train, together.
        model_steps: Optimiser steps of all models together.
        flops: Floating-point operations.
    """

    seconds: float
    bytes: int
    model_steps: int
    flops: float


def dry_run(recipe: Recipe) -> dict[str, int]:
    """Say what a recipe would make, without training.

    Args:
        recipe: The recipe.

    Returns:
        Counts of `models`, `cells`, `stacks`, `checkpoints` (if none diverges), `parameters` (of all models
        together) and `bytes` (of all weights).
    """
    stacks = plan(recipe)
    models = count_models(recipe)
    return {
        "models": models,
        "cells": models // len(recipe.seeds),
        "stacks": len(stacks),
        "checkpoints": sum(stack.n_checkpoints for stack in stacks),
        "parameters": sum(len(stack.models) * stack.layout.size for stack in stacks),
        "bytes": sum(stack.n_bytes for stack in stacks),
    }


def estimate(recipe: Recipe, *, device: str = "auto", executor: Executor | None = None) -> Estimate:
    """Estimate what a population would cost here, from a few real steps of some of its stacks.

    Args:
        recipe: The recipe.
        device: Torch device, or `auto`.
        executor: Where to train; by default what `generate` would choose.

    Returns:
        Seconds, memory, steps, operations.

    Raises:
        SpecificationError: A model does not fit into memory.
    """
    stacks, chosen = plan(recipe), choose_device(device)
    sorts, free = alike(stacks), free_bytes(chosen)
    for stack, _ in sorts:
        capacity(stack, free)
    where = executor or choose_executor("local", stacks, chosen)
    workers = where.workers if isinstance(where, LocalExecutor) else 1
    sizes = (min(count, workers) * [stack_bytes(stack, len(stack.models))] for stack, count in sorts)
    largest = sorted((size for same in sizes for size in same), reverse=True)
    processes = workers + (workers > 1)  # the one that gives the tasks holds memory too
    return Estimate(
        seconds=_seconds(sorts, chosen) / workers,
        bytes=processes * (process_bytes() + _KERNEL_BYTES) + sum(largest[:workers]),
        model_steps=sum(stack.model_steps for stack in stacks),
        flops=sum(count * stack.model_epochs * flops_per_epoch(stack) for stack, count in sorts),
    )


def process_bytes() -> int:
    """Say how much memory a process takes that has loaded the libraries and done nothing yet.

    Returns:
        Bytes resident now, which is as near as one gets from within; peak where the system says no more.
    """
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def _seconds(sorts: Sequence[tuple[Stack, int]], device: str) -> float:
    """Estimate the seconds of all stacks: some are probed, the others lie between by their arithmetic."""
    kinds = {stack.kind: stack for stack, _ in sorts}
    ordered = sorted(kinds.values(), key=_step_flops)
    picked = np.unique(np.linspace(0, len(ordered) - 1, min(_PROBED, len(ordered))).astype(int))
    probed = [ordered[place] for place in picked]
    with one_thread(device):
        times = [_probe(stack, device) for stack in probed]
    known = np.log([_step_flops(stack) for stack in probed])
    steps = np.exp(np.interp(np.log([_step_flops(stack) for stack, _ in sorts]), known, np.log(times)))
    counted = [count * stack.model_steps for stack, count in sorts]
    return float(np.dot(counted, steps))


def _step_flops(stack: Stack) -> float:
    return max(1.0, flops_per_epoch(stack) / stack.steps_per_epoch)


def _probe(stack: Stack, device: str) -> float:
    """Time a step of one network of a stack, stepped together with some of its others."""
    few = replace(stack, models=stack.models[:_PROBE_MODELS])
    trainer = trainer_to_probe(Task((few,), {}), TaskSettings(device=device, strategy="stacked"))
    begin = time.perf_counter()
    trainer.factors()
    once = time.perf_counter() - begin
    trainer.run_steps(1)
    begin, steps = time.perf_counter(), 0
    while steps == 0 or time.perf_counter() - begin < _PROBE_SECONDS:
        trainer.run_steps(2)
        steps += min(2, trainer.steps_per_epoch)
    trainer.synchronize()
    step = (time.perf_counter() - begin) / steps + once / trainer.steps_per_epoch
    return step / len(trainer.rows)  # siblings of a fork share a row
