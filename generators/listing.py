"""What a recipe would make and roughly cost, without its data and without a step: for lists of recipes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from generators.engine.cost import flops_per_epoch
from generators.generation import FLOPS_PER_SECOND, STEP_SECONDS
from generators.grid import Stack, alike, count_models, plan
from generators.recipe import Recipe

_GPU_FLOPS_PER_SECOND = 1e13
"""What a large GPU sustains in float32 on stacks of networks: assumed, a sixth of an H100's peak."""
_CORE_HOURS = 1000.0
"""Work above this is counted for a GPU."""
_PROBED = 2


class Listing(NamedTuple):
    """A recipe at a glance.

    Attributes:
        name: Its name.
        models: Number of networks.
        cells: Number of grid points.
        smallest: Parameters of its smallest network.
        largest: Parameters of its largest.
        bytes: Size of all weights that it keeps.
        hours: Hours on one device, within a small factor: from counted operations and assumed speeds.
        device: `core` for one core of a CPU, or `GPU`.
        source: Where the population comes from.
    """

    name: str
    models: int
    cells: int
    smallest: int
    largest: int
    bytes: int
    hours: float
    device: Literal["core", "GPU"]
    source: str


def listing(recipe: Recipe) -> Listing:
    """Say what a recipe would make and what it would roughly cost.

    Args:
        recipe: The recipe; its data need not be here.

    Returns:
        The recipe at a glance.

    Example:
        >>> from generators import load_recipe
        >>> found = listing(load_recipe("digits-mlp-demo"))
        >>> found.models, found.smallest, found.largest, found.device
        (168, 166, 26122, 'core')
    """
    stacks, models = plan(recipe), count_models(recipe)
    sizes = [stack.layout.size for stack in stacks]
    steps = sum(stack.model_steps for stack in stacks)
    flops = total_flops(alike(stacks))
    core = (flops / FLOPS_PER_SECOND + steps * STEP_SECONDS) / 3600
    fits = core <= _CORE_HOURS
    return Listing(
        name=recipe.name,
        models=models,
        cells=models // len(recipe.seeds),
        smallest=min(sizes),
        largest=max(sizes),
        bytes=sum(stack.n_bytes for stack in stacks),
        hours=core if fits else flops / _GPU_FLOPS_PER_SECOND / 3600,
        device="core" if fits else "GPU",
        source=recipe.source or "phasezoo",
    )


def total_flops(sorts: Sequence[tuple[Stack, int]]) -> float:
    """Estimate the operations of a population from those of a few of its networks.

    An epoch of a few networks is counted; the others lie between them by their number of parameters, on a
    line in logarithms, as they do along an axis of width.

    Args:
        sorts: Stacks that differ in what an epoch costs, and how many there are of each.

    Returns:
        Floating-point operations.
    """
    ordered = sorted({stack.kind[:3]: stack for stack, _ in sorts}.values(), key=_parameters)
    picked = np.unique(np.linspace(0, len(ordered) - 1, min(_PROBED, len(ordered))).astype(int))
    probed = [ordered[place] for place in picked]
    known = np.log([flops_per_epoch(stack) / stack.items for stack in probed])
    places = np.log([_parameters(stack) for stack in probed])
    each = np.exp(np.interp(np.log([_parameters(stack) for stack, _ in sorts]), places, known))
    amounts = [count * stack.model_epochs * stack.items for stack, count in sorts]
    return float(np.dot(each, amounts))


def _parameters(stack: Stack) -> int:
    return stack.layout.size
