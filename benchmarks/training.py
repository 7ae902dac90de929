"""The demo grid, trained in stacks against one model at a time."""

from __future__ import annotations

import math
import random

import torch
from torch import nn

from benchmarks.paired import Comparison, seconds
from generators import Recipe, load_recipe
from generators.engine.stacked import initial_weights, train_models
from generators.grid import PlannedModel, Stack, plan
from zoo import architectures, datasets
from zoo.training import StackData, stream, train_stack


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


def train_stacked(stacks: list[Stack]) -> None:
    """Train stacks as `phasezoo generate` does.

    Args:
        stacks: What to train.
    """
    for stack in stacks:
        train_models(stack, device="cpu", on_epoch=lambda _epoch, _diverged: None)


def train_one(model: PlannedModel, *, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Train one model by `torch.optim.SGD`, from its own initial weights, in its own data order.

    Args:
        model: The model.
        dtype: Precision of all arithmetic.

    Returns:
        The trained network.
    """
    spec, settings = model.spec, model.spec.training
    data = datasets.load(spec.dataset.name)
    x, y = data.train.x.to(dtype), data.training_labels(spec.dataset)
    module = architectures.build(spec.architecture, datasets.shape(spec.dataset.name))
    architectures.initialise(spec.architecture, module, stream(spec.seeds.init_seed, "init"))
    module.to(dtype)
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


def differences(drawn: list[tuple[Stack, int]], *, dtype: torch.dtype) -> list[float]:
    """Compare the final weights of both ways, model by model.

    Args:
        drawn: Stack and place of each model.
        dtype: Precision of all arithmetic.

    Returns:
        Largest absolute difference of any weight of each model; NaN where one diverged.
    """
    finals = {stack.shard: _stack_weights(stack, dtype) for stack in {s.shard: s for s, _ in drawn}.values()}
    found = []
    for stack, place in drawn:
        state = train_one(stack.models[place], dtype=dtype).state_dict()
        alone = torch.cat([state[entry.name].reshape(-1) for entry in stack.layout.entries])
        found.append(float((finals[stack.shard][place] - alone).abs().max()))
    return found


def _stack_weights(stack: Stack, dtype: torch.dtype) -> torch.Tensor:
    spec = stack.models[0].spec
    data = datasets.load(spec.dataset.name)
    module = architectures.build(spec.architecture, datasets.shape(spec.dataset.name))
    labels = torch.stack([data.training_labels(model.spec.dataset) for model in stack.models])
    return train_stack(
        module,
        stack.layout,
        initial_weights(stack, module).to(dtype),
        StackData(data.train.x.to(dtype), labels),
        training=[model.spec.training for model in stack.models],
        order_seeds=[model.spec.seeds.order_seed for model in stack.models],
    )


def benchmark(stacks: list[Stack], *, pairs: int, each: int) -> Comparison:
    """Train the whole grid in stacks, and a sample of its models one by one; a fresh sample for each pair.

    Args:
        stacks: The grid.
        pairs: Number of pairs, after one that is not counted.
        each: Models of each stack that the plain loop trains.

    Returns:
        The times; those of the plain loop are scaled from the sample to the whole grid, which is fair because
        it takes each model by itself.
    """
    ours, peer = [], []
    for seed in range(pairs + 1):
        drawn = sample(stacks, each=each, seed=seed)
        scale = sum(len(stack.models) for stack in stacks) / len(drawn)
        ours.append(seconds(lambda: train_stacked(stacks)))
        peer.append(scale * seconds(lambda drawn=drawn: [train_one(s.models[place]) for s, place in drawn]))
    return Comparison(ours[1:], peer[1:])
