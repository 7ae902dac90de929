"""What every family is held to: a stack trains as each network alone, and as a plain loop of torch."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from zoo import architectures
from zoo.spec import ArchitectureSpecification, TrainingSpecification
from zoo.training import Row, StackData, StackNetwork, StackTrainer, evaluate_logits, stream
from zoo.training.stack import epoch_order


def name_it(name, **options):
    return ArchitectureSpecification.model_validate({"name": name, **options})


def start(architecture, shape, seed=0, dtype=torch.float64):
    """A network with the initial weights of a seed."""
    module = architectures.build(architecture, shape)
    architectures.initialise(architecture, module, stream(seed, "init"))
    return module.to(dtype)


def flat(module):
    """The full weight vector, buffers too, in the order of the state dict."""
    return torch.cat([tensor.detach().double().reshape(-1) for tensor in module.state_dict().values()])


def plain_loop(module, spec, seed, x, y):
    """Train a copy with torch.optim, item by item in the order of its seed."""
    module = copy.deepcopy(module).train()
    settings = {"lr": spec.learning_rate, "momentum": spec.momentum, "weight_decay": spec.weight_decay}
    optimizer = torch.optim.SGD(module.parameters(), **settings)
    for epoch in range(1, spec.epochs + 1):
        for picked in epoch_order([seed], epoch, len(x))[0].split(spec.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[picked]), y[picked]).backward()
            optimizer.step()
    return module


def train(architecture, shape, modules, data, specs):
    """Train given networks in one stack; the skeleton shares nothing with them."""
    skeleton = architectures.build(architecture, shape).double()
    network = StackNetwork(skeleton, architectures.layout(architecture, shape))
    rows = [Row(spec, 5 + place) for place, spec in enumerate(specs)]
    trainer = StackTrainer(network, torch.stack([flat(module) for module in modules]), data, rows)
    for _ in range(specs[0].epochs):
        trainer.run_epoch()
    return trainer.weights


def check_stack(architecture, shape, *, models=3, items=12, batch=6, epochs=2, rate=0.05):
    """Hold a stack of networks to the plain loop, in training and in eval mode."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(items, *shape.inputs, generator=generator, dtype=torch.float64)
    y = torch.randint(shape.classes, (models, items), generator=generator)
    fields = {"batch_size": batch, "epochs": epochs, "momentum": 0.9, "weight_decay": 1e-3}
    rates = [rate / (place + 1) for place in range(models)]
    specs = [TrainingSpecification.model_validate({"learning_rate": one, **fields}) for one in rates]
    modules = [start(architecture, shape, seed) for seed in range(models)]
    together = train(architecture, shape, modules, StackData(x, y), specs)
    expected = [plain_loop(modules[i], specs[i], 5 + i, x, y[i]) for i in range(models)]
    for place, reference in enumerate(expected):
        torch.testing.assert_close(together[place], flat(reference), atol=1e-9, rtol=0)
        assert (together[place] - flat(modules[place])).norm() > 1e-3
    alone = train(architecture, shape, modules[:1], StackData(x, y[:1]), specs[:1])
    torch.testing.assert_close(alone[0], together[0], atol=1e-9, rtol=0)
    check_logits(architecture, shape, expected, x)


def check_logits(architecture, shape, modules, x):
    """Hold the logits of a stack to those of each module in eval mode."""
    skeleton = architectures.build(architecture, shape).double()
    weights = torch.stack([flat(module) for module in modules])
    got = evaluate_logits(skeleton, architectures.layout(architecture, shape), weights, x)
    with torch.no_grad():
        expected = torch.stack([module.eval()(x) for module in modules])
    torch.testing.assert_close(got, expected, atol=1e-9, rtol=1e-9)
    assert got.std() > 1e-3


def check_seeds(architecture, shape):
    """Hold initial weights to their generator: the same gives the same, another one others."""
    one, two, other = (start(architecture, shape, seed, torch.float32) for seed in (0, 0, 1))
    assert torch.equal(flat(one), flat(two))
    assert not torch.equal(flat(one), flat(other))
    other(torch.randn(3, *shape.inputs, generator=stream(0, "order")))  # statistics that are not the first
    architectures.initialise(architecture, other, stream(0, "init"))
    assert torch.equal(flat(one), flat(other))  # nothing of what was there is left


@pytest.fixture(scope="session")
def family():
    """Builds and checks networks: `name`, `start`, `flat`, `check_stack`, `check_seeds`."""
    return SimpleNamespace(
        name=name_it, start=start, flat=flat, check_stack=check_stack, check_seeds=check_seeds
    )
