"""The demo grid, trained by two workers of the engine against one model at a time."""

from __future__ import annotations

import math
import random

import torch
from torch import nn

from benchmarks.paired import Comparison, compare, seconds
from generators import LocalExecutor, Recipe, load_recipe
from generators.engine import Task, TaskSettings, train_task
from generators.engine.task import Hooks
from generators.executors import Watch
from generators.grid import PlannedModel, Stack, plan
from zoo import architectures, datasets
from zoo.training import stream


def demo_stacks(*, epochs: int) -> list[Stack]:
    """Plan the demo recipe with fewer epochs.

    Args:
        epochs: Epochs to train; the first and the last are kept.

    Returns:
        The stacks.
    """
    fields = load_recipe("digits-mlp-demo").model_dump()
    fields["training"]["epochs"] = epochs
    return plan(Recipe.model_validate({**fields, "checkpoints": []}))


def sample(stacks: list[Stack], *, each: int, seed: int) -> list[tuple[Stack, int]]:
    """Draw models from every stack, so that every width has its share.

    Args:
        stacks: The stacks.
        each: Models of each stack.
        seed: Seed of the draw.

    Returns:
        Stack and place in it of each model drawn.
    """
    draw = random.Random(seed)
    return [(stack, place) for stack in stacks for place in draw.sample(range(len(stack.models)), each)]


def train_stacked(executor: LocalExecutor, stacks: list[Stack]) -> None:
    """Train stacks as `phasezoo generate` does.

    Args:
        executor: Its workers, already started.
        stacks: What to train.
    """
    tasks = [Task((stack,), {}) for stack in stacks]
    if any(trained.failed for trained in executor.run(tasks, TaskSettings(), Watch())):
        raise RuntimeError("a stack of the benchmark could not be trained")


def train_one(model: PlannedModel) -> nn.Module:
    """Train one model by `torch.optim.SGD`, from its own initial weights, in its own data order.

    Args:
        model: The model.

    Returns:
        The trained network.
    """
    spec, settings = model.spec, model.spec.training
    data = datasets.load(spec.dataset.name)
    x, y = data.train.x, data.training_labels(spec.dataset)
    module = architectures.build(spec.architecture, datasets.shape(spec.dataset.name))
    architectures.initialise(spec.architecture, module, stream(spec.seeds.init_seed, "init"))
    optimizer = torch.optim.SGD(
        module.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    total = settings.epochs * math.ceil(len(x) / settings.batch_size)
    cosine = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: (1 + math.cos(math.pi * t / total)) / 2)
    for epoch in range(1, settings.epochs + 1):
        order = torch.randperm(len(x), generator=stream(spec.seeds.order_seed, "order", epoch))
        for picked in order.split(settings.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[picked]), y[picked]).backward()
            optimizer.step()
            cosine.step()
    return module


def differences(drawn: list[tuple[Stack, int]]) -> list[float]:
    """Compare the final weights of both ways in float32, model by model.

    Args:
        drawn: Stack and place of each model.

    Returns:
        Largest absolute difference of any weight of each model; NaN where one diverged.
    """
    finals = {stack.shard: _final_weights(stack) for stack, _ in drawn}
    found = []
    for stack, place in drawn:
        state = train_one(stack.models[place]).state_dict()
        alone = torch.cat([state[entry.name].reshape(-1) for entry in stack.layout.entries])
        together = finals[stack.shard].get(stack.models[place].model_id)
        found.append(math.nan if together is None else float((together - alone).abs().max()))
    return found


def _final_weights(stack: Stack) -> dict[str, torch.Tensor]:
    (shard,) = train_task(Task((stack,), {}), TaskSettings(), Hooks())
    last = shard.checkpoints.groupby("model_id")["epoch"].idxmax()
    epochs = stack.models[0].spec.training.epochs
    kept = {model: row for model, row in last.items() if shard.checkpoints["epoch"][row] == epochs}
    return {str(model): torch.from_numpy(shard.weights[row]) for model, row in kept.items()}


def benchmark(stacks: list[Stack], *, pairs: int, each: int, workers: int = 2) -> Comparison:
    """Train the whole grid in workers, and a sample of its models one by one; a fresh sample for each pair.

    Args:
        stacks: The grid.
        pairs: Number of pairs, after one that is not counted.
        each: Models of each stack that the plain loop trains.
        workers: Worker processes, started before the clock.

    Returns:
        The times; those of the plain loop are scaled from the sample to the whole grid, which is fair because
        it takes each model by itself.
    """
    seeds = iter(range(pairs + 1))
    with LocalExecutor(workers) as executor:
        return compare(
            lambda: seconds(lambda: train_stacked(executor, stacks)),
            lambda: _plain_seconds(stacks, sample(stacks, each=each, seed=next(seeds))),
            pairs=pairs,
        )


def _plain_seconds(stacks: list[Stack], drawn: list[tuple[Stack, int]]) -> float:
    """Time the plain loop on one thread and on torch's default; the faster counts."""
    before, taken = torch.get_num_threads(), []
    for threads in sorted({1, before}):
        torch.set_num_threads(threads)
        taken.append(seconds(lambda: [train_one(stack.models[place]) for stack, place in drawn]))
    torch.set_num_threads(before)
    return min(taken) * sum(len(stack.models) for stack in stacks) / len(drawn)
