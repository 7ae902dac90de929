"""Train a task: its models from start to end, with forks, divergence and saved states between."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from generators.engine.cost import resting_bytes
from generators.engine.data import training_data
from generators.engine.members import Members
from generators.engine.memory import capacity, free_bytes
from generators.engine.provenance import numerics
from generators.engine.recorder import Recorder
from generators.engine.state import State, is_sound, load_state, save_state
from generators.engine.strategy import choose_chunk, describe
from generators.engine.task import Hooks, Progress, Task, TaskSettings
from generators.grid import PlannedModel
from zoo import architectures, datasets
from zoo.errors import IntegrityError
from zoo.spec import digest
from zoo.storage.weights import WeightShard
from zoo.training import OBJECTIVES, Row, StackNetwork, StackTrainer, stream
from zoo.weights import flatten
from zoo.weights.low_rank import low_rank_weights


class Interrupted(Exception):
    """Training was asked to stop; no error: the state is saved, and training will go on."""


def train_task(task: Task, settings: TaskSettings, hooks: Hooks) -> list[WeightShard]:
    """Train a task from its specification alone, or from the state that an earlier run left.

    Args:
        task: What to train.
        settings: How.
        hooks: Asked and told at the end of each epoch.

    Returns:
        What the shard of each of its stacks shall hold. A diverged model keeps its checkpoints from before.

    Raises:
        Interrupted: A hook said so; the state is saved where the task has a place for it.
        SpecificationError: Not even one model fits into memory.
    """
    training = _Training(task, settings)
    while not training.done:
        if hooks.should_stop():
            training.save()
            raise Interrupted
        training.run_epoch()
        hooks.on_progress(training.progress())
        training.save_now_and_then()
    return training.recorder.shards(
        device=settings.device, strategy=training.strategy, seconds=training.seconds
    )


class _Training:
    """A task in training."""

    def __init__(self, task: Task, settings: TaskSettings) -> None:
        self._task, self._settings, self._begin = task, settings, time.monotonic()
        self.recorder = Recorder(task)
        self._signature = _signature(task)
        self._stack, self._spec = task.stacks[0], task.models[0].spec
        shape = datasets.shape(self._spec.dataset)
        self._module = architectures.build(self._spec.architecture, shape)
        self._network = StackNetwork(self._module.to(settings.device), self._stack.layout)
        state = self._stored()
        self._epoch, self._seconds_before = (state.epoch, state.seconds) if state else (0, 0.0)
        self._members = Members(task.models, state.members if state else None)
        self.trainer = self._resume(state) if state else self._start()
        self._saved = time.monotonic()

    # begin

    def _stored(self) -> State | None:
        """Read the state that an earlier run left of this very task, if it is whole."""
        path = self._task.state
        if path is None or not path.exists():
            return None
        try:
            state = load_state(path)
        except IntegrityError:
            return None  # the driver has said so; from the beginning it is the same
        epochs = max(model.spec.training.epochs for model in self._task.models)
        fits = is_sound(state, models=len(self._task.models), epochs=epochs, params=self._stack.layout.size)
        return state if fits and state.signature == self._signature else None

    def _start(self) -> StackTrainer:
        start = initial_weights([self._first(row) for row in self._members.rows], self._module, self._task)
        for row, weights in zip(self._members.rows, start, strict=True):
            for place in row:
                self.recorder.keep(place, 0, weights.numpy())
        weights = start.to(self._settings.device)
        # siblings share a row until they fork: in the end there is one for each model
        rows = len(self._task.models)
        steps = max(m.spec.training.epochs for m in self._task.models) * self._stack.steps_per_epoch
        free = free_bytes(self._settings.device) // self._settings.sharing
        beside = sum(resting_bytes(stack) for stack in self._task.stacks[1:])
        fitting = min(rows, capacity(self._stack, free - beside))
        self.chunk = choose_chunk(
            self._settings.strategy,
            lambda size: self._to_probe(weights, size),
            rows=fitting,
            steps=steps,
            key=(*self._stack.kind, self._settings.device, fitting, torch.get_num_threads()),
        )
        self.strategy = describe(self.chunk, rows)
        return self._trainer_of(weights, self._members.rows, chunk=self.chunk)

    def _to_probe(self, weights: Tensor, size: int) -> StackTrainer:
        picked = [number % len(weights) for number in range(size)]
        return self._trainer_of(
            weights[picked], [self._members.rows[number] for number in picked], chunk=size
        )

    def _resume(self, state: State) -> StackTrainer:
        self.chunk = state.chunk
        self.strategy = describe(state.chunk, len(self._task.models))
        self.recorder.ended = dict(state.ended)
        self.recorder.epochs = list(state.epochs)
        for (place, epoch), weights in zip(state.kept, state.arrays["kept_weights"], strict=True):
            self.recorder.keep(place, epoch, weights)
        tensors = {
            name: torch.from_numpy(array) for name, array in state.arrays.items() if name != "kept_weights"
        }
        weights = tensors["weights"].to(self._settings.device)
        trainer = self._trainer_of(weights, self._members.rows, chunk=state.chunk)
        trainer.load(tensors, state.epoch)
        return trainer

    def _trainer_of(self, weights: Tensor, rows: Sequence[Sequence[int]], *, chunk: int) -> StackTrainer:
        models = [self._first(row) for row in rows]
        return StackTrainer(
            self._network,
            weights,
            training_data([model.spec.dataset for model in models], self._settings.device),
            self._trained_as(models, self._epoch + 1),
            objective=OBJECTIVES[datasets.family(self._spec.dataset.name).kind],
            chunk=chunk,
        )

    def _first(self, row: Sequence[int]) -> PlannedModel:
        return self._task.models[row[0]]

    @staticmethod
    def _trained_as(models: Sequence[PlannedModel], epoch: int) -> list[Row]:
        return [Row(*model.spec.trained_as(epoch)) for model in models]

    # train

    @property
    def done(self) -> bool:
        """Whether every model has ended."""
        return len(self.recorder.ended) == len(self._task.models)

    @property
    def seconds(self) -> float:
        """Wall time, that of earlier runs included."""
        return self._seconds_before + time.monotonic() - self._begin

    def run_epoch(self) -> None:
        """Train every model that has not ended for one epoch, and note what became of it."""
        epoch = self._epoch + 1
        sources = self._members.regroup(epoch, set(self.recorder.ended))
        rows = self._trained_as([self._first(row) for row in self._members.rows], epoch)
        if sources is not None or rows != self.trainer.rows:
            self.trainer.select(range(len(rows)) if sources is None else sources, rows)
        losses = self.trainer.run_epoch()
        self._epoch = epoch
        self._note(epoch, losses)

    def _note(self, epoch: int, losses: Float[Tensor, " models"]) -> None:
        weights = self.trainer.weights
        finite = (torch.isfinite(weights).all(dim=1) & torch.isfinite(losses)).tolist()
        kept: Float[np.ndarray, "rows params"] | None = None
        for number, (row, loss) in enumerate(zip(self._members.rows, losses.tolist(), strict=True)):
            for place in row:
                model = self._task.models[place]
                self.recorder.epochs[place] = epoch
                reason = _why_diverged(epoch, loss, finite[number], model.spec.training.loss_bound)
                if reason:
                    self.recorder.end(place, "diverged", reason)
                    continue
                if epoch in model.checkpoints:
                    kept = weights.cpu().numpy() if kept is None else kept
                    self.recorder.keep(place, epoch, kept[number])
                if epoch >= model.spec.training.epochs:
                    self.recorder.end(place, "finished")

    def progress(self) -> Progress:
        """Say how far it is."""
        return Progress(self._epoch, self.recorder.model_epochs, self.recorder.diverged)

    # save

    def save_now_and_then(self) -> None:
        """Save the state if the last time is long ago."""
        if not self.done and time.monotonic() - self._saved >= self._settings.state_seconds:
            self.save()

    def save(self) -> None:
        """Save the state, where the task has a place for it and there is anything to save."""
        if self._task.state is None or self._epoch == 0:
            return
        kept = self.recorder.kept
        arrays = {name: tensor.numpy() for name, tensor in self.trainer.state().items()}
        arrays["kept_weights"] = np.stack([weights for _, _, weights in kept])
        state = State(
            signature=self._signature,
            shards=[stack.shard for stack in self._task.stacks],
            epoch=self._epoch,
            chunk=self.chunk,
            seconds=self.seconds,
            members=self._members.rows,
            ended=self.recorder.ended,
            epochs=self.recorder.epochs,
            kept=[(place, epoch) for place, epoch, _ in kept],
            arrays=arrays,
        )
        save_state(self._task.state, state)
        self._saved = time.monotonic()


def trainer_to_probe(task: Task, settings: TaskSettings) -> StackTrainer:
    """Set a task up for training, to see how long its steps take.

    Args:
        task: What would be trained.
        settings: How.

    Returns:
        Its trainer, to be thrown away.
    """
    return _Training(task, settings).trainer


def _why_diverged(epoch: int, loss: float, finite: bool, bound: float | None) -> str | None:
    if not finite:
        return f"loss or weights left the finite numbers in epoch {epoch} (mean loss {loss:.3g})"
    if bound is not None and loss > bound:
        return f"mean loss {loss:.3g} of epoch {epoch} is above the bound {bound:g}"
    return None


def _signature(task: Task) -> str:
    """Name a task and the code that trains it: a state of anything else is of no use."""
    models = [[model.model_id, *model.checkpoints] for model in task.models]
    return digest({"models": models, "numerics": numerics()})


def initial_weights(
    models: Sequence[PlannedModel], module: nn.Module, task: Task
) -> Float[Tensor, "models params"]:
    """Draw the initial weights of models, or take those of their parents.

    Args:
        models: Models of the task.
        module: Skeleton of the network; its weights are overwritten.
        task: Has the weights of parents.

    Returns:
        `(n_models, n_params)`, on the CPU, where random streams are the same on every machine.
    """
    module = module.cpu()
    layout = task.stacks[0].layout
    rows = []
    for model in models:
        if model.model_id in task.start:
            rows.append(torch.from_numpy(task.start[model.model_id].copy()))
            continue
        generator = stream(model.spec.seeds.init_seed, "init")
        architectures.initialise(model.spec.architecture, module, generator)
        row = flatten(module.state_dict(), layout)
        if model.spec.training.init_rank is not None:
            row = low_rank_weights(row, layout, model.spec.training.init_rank)
        scale = torch.tensor(model.spec.training.init_scale)
        sizes = torch.tensor([entry.size for entry in layout.entries])
        factors = torch.where(torch.tensor([e.kind == "weight" for e in layout.entries]), scale, 1.0)
        rows.append(row * factors.repeat_interleave(sizes))
    return torch.stack(rows)
