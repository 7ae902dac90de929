"""What an executor hands to a worker: stacks that train together, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from generators.grid import PlannedModel, Stack

Strategy = Literal["auto", "stacked", "loop"]


@dataclass(frozen=True)
class TaskSettings:
    """How tasks are trained, whatever they are.

    Attributes:
        device: Torch device.
        strategy: `stacked` steps networks together, `loop` one after another, `auto` measures which is
            faster.
        state_seconds: How often the state of training is saved, at the end of an epoch.
        sharing: Tasks that share the memory of the device at once.
    """

    device: str = "cpu"
    strategy: Strategy = "auto"
    state_seconds: float = 60.0
    sharing: int = 1


@dataclass(frozen=True)
class Task:
    """Stacks that train together; a worker needs nothing else.

    Attributes:
        stacks: The stacks, equal in what a stack shares; one on a CPU, as many as fit on a GPU.
        start: Where training begins, by model id, for models that are fine-tuned `(n_params,)`.
        state: File to keep the state of training in, or nothing.
    """

    stacks: tuple[Stack, ...]
    start: dict[str, Float[np.ndarray, " params"]]
    state: Path | None = None

    @property
    def name(self) -> str:
        """Shard of its first stack."""
        return self.stacks[0].shard

    @property
    def models(self) -> tuple[PlannedModel, ...]:
        """The models of all of its stacks."""
        return tuple(model for stack in self.stacks for model in stack.models)

    @property
    def model_epochs(self) -> int:
        """Epochs of all of its models together."""
        return sum(stack.model_epochs for stack in self.stacks)

    @property
    def size(self) -> int:
        """How large it is beside others: steps times parameters."""
        return sum(stack.model_steps * stack.layout.size for stack in self.stacks)

    def portable(self) -> Task:
        """Give the same without its file of state, which is out of reach on another machine."""
        return replace(self, state=None)

    def with_state(self, state: Path) -> Task:
        """Give the same with another file of state.

        Args:
            state: The file.

        Returns:
            The task.
        """
        return replace(self, state=state)


@dataclass(frozen=True)
class Progress:
    """How far a task is.

    Attributes:
        epoch: Epochs done.
        model_epochs: Epochs done of all models together; those of a model that has ended count as done.
        diverged: Models that have diverged.
    """

    epoch: int
    model_epochs: int
    diverged: int


@dataclass(frozen=True)
class Hooks:
    """What a task asks and tells on its way: training at the end of each epoch.

    Attributes:
        on_progress: Told how far it is.
        should_stop: Asked whether to save the state and stop.
    """

    on_progress: Callable[[Any], None] = lambda _progress: None
    should_stop: Callable[[], bool] = lambda: False
