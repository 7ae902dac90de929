"""Keeps the checkpoints of models while they train, and how each of them ended."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from generators.engine.cost import flops_per_epoch
from generators.engine.provenance import code_commit
from generators.engine.task import Task
from generators.grid import PlannedModel, Stack
from zoo.spec import canonical_json, checkpoint_id
from zoo.storage.weights import WeightShard


class Recorder:
    """What has become of the models of a task so far.

    Args:
        task: The task.

    Attributes:
        models: Its models; a place is a place in this list.
        kept: Place, epoch and weights of each checkpoint, in the order in which they were reached.
        ended: Status of each model that has ended and the reason if it did not finish, by place.
        epochs: Epochs that each model was trained.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self.models: Sequence[PlannedModel] = task.models
        self.kept: list[tuple[int, int, Float[np.ndarray, " params"]]] = []
        self.ended: dict[int, tuple[str, str | None]] = {}
        self.epochs = [0] * len(self.models)

    def keep(self, place: int, epoch: int, weights: Float[np.ndarray, " params"]) -> None:
        """Keep a checkpoint.

        Args:
            place: The model.
            epoch: Epochs trained.
            weights: Its weights; copied.
        """
        self.kept.append((place, epoch, weights.copy()))

    def end(self, place: int, status: str, reason: str | None = None) -> None:
        """Note how a model ended.

        Args:
            place: The model.
            status: `finished`, `diverged` or `failed`.
            reason: Why, if it did not finish.
        """
        self.ended[place] = (status, reason)

    @property
    def diverged(self) -> int:
        """Models that have diverged."""
        return sum(status == "diverged" for status, _ in self.ended.values())

    @property
    def model_epochs(self) -> int:
        """Epochs done of all models together; those of a model that has ended count as done."""
        return sum(
            model.spec.training.epochs if place in self.ended else epochs
            for place, (model, epochs) in enumerate(zip(self.models, self.epochs, strict=True))
        )

    def shards(self, *, device: str, strategy: str | None, seconds: float) -> list[WeightShard]:
        """Lay out what the shard of each stack shall hold.

        Args:
            device: Torch device that trained it.
            strategy: How it was stepped.
            seconds: Wall time of the task.

        Returns:
            A shard for each stack of the task.
        """
        provenance = {"device": device, "strategy": strategy}
        per_epoch = self._task.stacks[0].steps_per_epoch if any(self.epochs) else 0
        steps = [epochs * per_epoch for epochs in self.epochs]
        per_step = seconds / max(1, sum(steps))
        shards, first = [], 0
        for stack in self._task.stacks:
            places = range(first, first + len(stack.models))
            costs = {place: (steps[place], round(per_step * steps[place], 6)) for place in places}
            shards.append(self._shard(stack, costs, provenance))
            first += len(stack.models)
        return shards

    def _shard(
        self, stack: Stack, costs: dict[int, tuple[int, float]], provenance: dict[str, Any]
    ) -> WeightShard:
        kept = sorted((row for row in self.kept if row[0] in costs), key=lambda row: row[:2])
        per_epoch = stack.steps_per_epoch if kept else 0
        rows = [
            (checkpoint_id(name := self.models[place].model_id, epoch), name, epoch, epoch * per_epoch)
            for place, epoch, _ in kept
        ]
        checkpoints = pd.DataFrame(rows, columns=["checkpoint_id", "model_id", "epoch", "step"])
        vectors = [weights for _, _, weights in kept]
        weights = np.stack(vectors) if vectors else np.empty((0, stack.layout.size), np.float32)
        flops = flops_per_epoch(stack) if any(steps for steps, _ in costs.values()) else 0.0
        models = [
            {**self._record(place, stack), **provenance, **_cost(steps, self.epochs[place] * flops, seconds)}
            for place, (steps, seconds) in costs.items()
        ]
        return WeightShard(stack.layout, models, checkpoints, weights)

    def _record(self, place: int, stack: Stack) -> dict[str, Any]:
        model = self.models[place]
        status, reason = self.ended[place]
        parent, seeds = model.spec.parent, model.spec.seeds
        return {
            "model_id": model.model_id,
            "cell_id": model.cell_id,
            **model.values,
            "seed": model.seed,
            "init_seed": seeds.init_seed,
            "order_seed": seeds.order_seed if seeds.fork_seed is None else seeds.fork_seed,
            "layout": stack.layout.id,
            "n_params": stack.layout.size,
            "status": status,
            "reason": reason,
            "specification": canonical_json(model.spec.model_dump(mode="json")),
            "code_version": version("phasezoo"),
            "torch_version": torch.__version__,
            "parent": f"{parent.zoo}:{parent.checkpoint}" if parent else None,
            "code_commit": code_commit(),
        }


def _cost(steps: int, flops: float, seconds: float) -> dict[str, Any]:
    return {"train_steps": steps, "train_flops": flops, "train_seconds": seconds}


def failed_shards(task: Task, reason: str, *, device: str) -> list[WeightShard]:
    """Record a task whose training raised an error: rows with a reason, no weights.

    Args:
        task: The task.
        reason: What happened.
        device: Torch device.

    Returns:
        What the shard of each of its stacks shall hold.
    """
    recorder = Recorder(task)
    for place in range(len(recorder.models)):
        recorder.end(place, "failed", reason)
    return recorder.shards(device=device, strategy=None, seconds=0.0)
