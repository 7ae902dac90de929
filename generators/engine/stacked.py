"""Train the models of a stack together and keep their checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from generators.grid import PlannedModel, Stack
from zoo import architectures, datasets
from zoo.spec import canonical_json, checkpoint_id
from zoo.storage.weights import WeightShard
from zoo.training import StackData, stream, train_stack
from zoo.weights import flatten

OnEpoch = Callable[[int, int], None]
"""Called after each epoch with its number and how many models have diverged so far."""


def train_models(stack: Stack, *, device: str, on_epoch: OnEpoch) -> WeightShard:
    """Train a stack from its specification alone.

    Args:
        stack: What to train.
        device: Torch device.
        on_epoch: Called after each epoch.

    Returns:
        What the shard shall hold. A diverged model keeps its checkpoints from before it diverged.
    """
    spec = stack.models[0].spec
    module = architectures.build(spec.architecture, datasets.shape(spec.dataset.name)).to(device)
    data = datasets.load(spec.dataset.name)
    labels = torch.stack([data.training_labels(model.spec.dataset) for model in stack.models])
    recorder = _Recorder(stack, on_epoch)
    start = initial_weights(stack, module).to(device)
    recorder.keep(0, start)
    train_stack(
        module,
        stack.layout,
        start,
        StackData(data.train.x.to(device), labels.to(device)),
        training=[model.spec.training for model in stack.models],
        order_seeds=[model.spec.seeds.order_seed for model in stack.models],
        on_epoch=recorder.after_epoch,
    )
    steps = -(-len(data.train) // spec.training.batch_size)
    return recorder.shard(steps_per_epoch=steps, device=device)


def initial_weights(stack: Stack, module: nn.Module) -> Float[Tensor, "models params"]:
    """Draw the initial weights of every model of a stack.

    Args:
        stack: The stack.
        module: Skeleton of the network; its weights are overwritten.

    Returns:
        `(n_models, n_params)`, on the CPU, where random streams are the same on every machine.
    """
    module = module.cpu()
    rows = []
    for model in stack.models:
        generator = stream(model.spec.seeds.init_seed, "init")
        architectures.initialise(model.spec.architecture, module, generator)
        rows.append(flatten(module.state_dict(), stack.layout))
    return torch.stack(rows)


def failed_shard(stack: Stack, reason: str, *, device: str) -> WeightShard:
    """Record a stack whose training raised an error: rows with a reason, no weights.

    Args:
        stack: The stack.
        reason: What happened.
        device: Torch device.

    Returns:
        What the shard shall hold.
    """
    recorder = _Recorder(stack, lambda _epoch, _diverged: None)
    recorder.ended = dict.fromkeys(range(len(stack.models)), ("failed", reason))
    return recorder.shard(steps_per_epoch=0, device=device)


class _Recorder:
    """Keeps the checkpoints of a stack while it trains, and notes which models left the numbers."""

    def __init__(self, stack: Stack, on_epoch: OnEpoch) -> None:
        self._stack = stack
        self._on_epoch = on_epoch
        self._rows: dict[int, list[tuple[int, Float[Tensor, " params"]]]] = {}
        self.ended: dict[int, tuple[str, str]] = {}

    def after_epoch(
        self, epoch: int, weights: Float[Tensor, "models params"], losses: Float[Tensor, " models"]
    ) -> None:
        self._note_diverged(epoch, losses, torch.isfinite(losses) & torch.isfinite(weights).all(dim=1))
        if epoch in self._stack.checkpoints:
            self.keep(epoch, weights)
        self._on_epoch(epoch, len(self.ended))

    def _note_diverged(
        self, epoch: int, losses: Float[Tensor, " models"], sound: Bool[Tensor, " models"]
    ) -> None:
        for place in torch.nonzero(~sound).flatten().tolist():
            reason = (
                f"loss or weights left the finite numbers in epoch {epoch} (mean loss {losses[place]:.3g})"
            )
            self.ended.setdefault(place, ("diverged", reason))

    def keep(self, epoch: int, weights: Float[Tensor, "models params"]) -> None:
        for place, row in enumerate(weights.detach().cpu()):
            if place not in self.ended:
                self._rows.setdefault(place, []).append((epoch, row.clone()))

    def shard(self, *, steps_per_epoch: int, device: str) -> WeightShard:
        rows, vectors = [], []
        for place, model in enumerate(self._stack.models):
            for epoch, vector in self._rows.get(place, ()):
                name = checkpoint_id(model.model_id, epoch)
                rows.append((name, model.model_id, epoch, epoch * steps_per_epoch))
                vectors.append(vector)
        checkpoints = pd.DataFrame(rows, columns=["checkpoint_id", "model_id", "epoch", "step"])
        weights = torch.stack(vectors) if vectors else torch.empty(0, self._stack.layout.size)
        models = [self._record(place, device) for place in range(len(self._stack.models))]
        return WeightShard(self._stack.layout, models, checkpoints, weights.numpy())

    def _record(self, place: int, device: str) -> dict[str, Any]:
        model: PlannedModel = self._stack.models[place]
        status, reason = self.ended.get(place, ("finished", None))
        return {
            "model_id": model.model_id,
            "cell_id": model.cell_id,
            **model.values,
            "seed": model.seed,
            **model.spec.seeds.model_dump(),
            "layout": self._stack.layout.id,
            "n_params": self._stack.layout.size,
            "status": status,
            "reason": reason,
            "specification": canonical_json(model.spec.model_dump(mode="json")),
            "code_version": version("phasezoo"),
            "torch_version": torch.__version__,
            "device": device,
        }
