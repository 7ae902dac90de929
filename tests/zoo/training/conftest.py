"""The same training as anyone would write it, with nothing of zoo/training in it: the reference."""

import copy
import hashlib
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from zoo.spec import TrainingSpecification
from zoo.training import Row, StackData, StackNetwork, StackTrainer
from zoo.weights import layout_of

# streams, from the formulas


def hashed(seed, purpose, epoch):
    return int.from_bytes(hashlib.sha256(f"{purpose}:{seed}:{epoch}".encode()).digest()[:8], "little") >> 1


def mix(values):
    """SplitMix64's mixer on numpy's unsigned integers."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def derive(key, places):
    return mix(np.uint64(key) + np.asarray(places, np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def plain_order(seed, epoch, items):
    return torch.randperm(items, generator=torch.Generator().manual_seed(hashed(seed, "order", epoch)))


class PlainDropout(nn.Module):
    """Dropout from a key that the loop sets before each step."""

    def __init__(self, share):
        super().__init__()
        self.share, self.key = share, None

    def forward(self, x):
        if not self.training:
            return x
        drawn = (derive(self.key, np.arange(x.numel())) >> np.uint64(40)).astype(np.float64) / 2**24
        kept = torch.from_numpy(drawn >= self.share).view(x.shape)
        return torch.where(kept, x / (1 - self.share), torch.zeros((), dtype=x.dtype))


def set_keys(module, seed, epoch, step):
    layers = [layer for layer in module.modules() if isinstance(layer, PlainDropout)]
    with np.errstate(over="ignore"):
        keys = derive(hashed(seed, "dropout", epoch), step * len(layers) + np.arange(len(layers)))
    for layer, key in zip(layers, keys, strict=True):
        layer.key = key


# the loop


def plain_optimizer(module, spec):
    common = {"lr": spec.learning_rate, "weight_decay": spec.weight_decay}
    if spec.optimizer in {"adam", "adamw"}:
        kind = torch.optim.Adam if spec.optimizer == "adam" else torch.optim.AdamW
        return kind(module.parameters(), betas=(spec.beta1, spec.beta2), eps=spec.epsilon, **common)
    nesterov = spec.optimizer == "nesterov"
    return torch.optim.SGD(module.parameters(), momentum=spec.momentum, nesterov=nesterov, **common)


def plain_schedule(optimizer, spec, steps):
    """torch's schedules, one step a batch, `steps` to an epoch."""
    of = torch.optim.lr_scheduler
    total, warmup = spec.epochs * steps, spec.warmup_epochs * steps
    if spec.schedule == "one-cycle":
        return of.OneCycleLR(optimizer, spec.learning_rate, total_steps=total)
    if spec.schedule == "cosine":
        main = of.CosineAnnealingLR(optimizer, total - warmup)
    elif spec.schedule == "step":
        main = of.StepLR(optimizer, spec.decay_epochs * steps, spec.decay_factor)
    else:
        main = of.ConstantLR(optimizer, factor=1.0)
    if not warmup:
        return main
    rise = of.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup)
    return of.SequentialLR(optimizer, [rise, main], [warmup])


def backward(module, x, y, clip):
    module.zero_grad()
    loss = nn.functional.cross_entropy(module(x), y)
    loss.backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), clip)
    return loss.item()


def climb(module, radius):
    """The first half of sam: move to where the loss is higher; give the way back."""
    gradients = [p.grad for p in module.parameters()]
    length = math.sqrt(sum(g.square().sum().item() for g in gradients))
    here = [p.detach().clone() for p in module.parameters()]
    with torch.no_grad():
        for p, g in zip(module.parameters(), gradients, strict=True):
            p.add_(radius * g / length)
    return here


def plain_loop(module, spec, seed, x, y, *, epochs=None, order_seed=None):
    """Train a copy of an ordinary module with torch.optim; give it back with its mean losses."""
    module = copy.deepcopy(module).train()
    optimizer, steps = plain_optimizer(module, spec), math.ceil(len(x) / spec.batch_size)
    schedule, losses = plain_schedule(optimizer, spec, steps), []
    for epoch in range(1, (epochs or spec.epochs) + 1):
        order, total = plain_order(seed if order_seed is None else order_seed, epoch, len(x)), 0.0
        for step, picked in enumerate(order.split(spec.batch_size)):
            set_keys(module, seed, epoch, step)
            total += backward(module, x[picked], y[picked], spec.gradient_clip) * len(picked)
            if spec.optimizer == "sam":
                here = climb(module, spec.sam_radius)
                frozen = {name: b.clone() for name, b in module.named_buffers()}
                backward(module, x[picked], y[picked], spec.gradient_clip)
                with torch.no_grad():
                    for p, old in zip(module.parameters(), here, strict=True):
                        p.copy_(old)
                    for name, b in module.named_buffers():
                        b.copy_(frozen[name])
            optimizer.step()
            schedule.step()
        losses.append(total / len(x))
    return SimpleNamespace(module=module, weights=flat(module), losses=losses, optimizer=optimizer)


# stacks


def flat(module):
    """The full weight vector, buffers too, in the order of the state dict."""
    dtype = next((t.dtype for t in module.state_dict().values() if t.is_floating_point()), None)
    return torch.cat([t.detach().to(dtype).reshape(-1) for t in module.state_dict().values()])


def make_modules(build, count, dtype=torch.float64):
    """Networks of one kind, each with its own initial weights."""
    modules = []
    for seed in range(count):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            modules.append(build().to(dtype))
    return modules


def make_spec(**changes):
    return TrainingSpecification.model_validate(
        {
            "learning_rate": 0.1,
            "batch_size": 8,
            "epochs": 3,
            **changes,
        }
    )


def make_trainer(modules, data, specs, seeds=None, *, device="cpu", **options):
    """A stack of given networks; the skeleton is another copy, so that it cannot share a thing with them."""
    items = None if data.items is None else data.items.to(device)
    data = StackData(data.x.to(device), data.y.to(device), items)
    skeleton = copy.deepcopy(modules[0])
    weights = torch.stack([flat(module) for module in modules]).to(device)
    rows = [Row(spec, seed) for spec, seed in zip(specs, seeds or range(len(specs)), strict=True)]
    return StackTrainer(StackNetwork(skeleton, layout_of(skeleton, "test")), weights, data, rows, **options)


def make_data(models, shape=(5,), items=30, classes=3, dtype=torch.float64):
    """Random items with labels that can be learnt in part; 30 items in batches of 8 leave a batch of 6."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(items, *shape, generator=generator, dtype=torch.float64).to(dtype)
    way = torch.randn(x[0].numel(), classes, generator=generator, dtype=torch.float64).to(dtype)
    y = (x.flatten(1) @ way).argmax(1)
    return StackData(x, torch.stack([(y + model) % classes for model in range(models)]))


def run_epochs(trainer, epochs):
    return torch.stack([trainer.run_epoch() for _ in range(epochs)])


@pytest.fixture(scope="session")
def plain():
    """The reference: `loop`, its parts, and the streams from their formulas."""
    return SimpleNamespace(
        loop=plain_loop,
        optimizer=plain_optimizer,
        schedule=plain_schedule,
        order=plain_order,
        Dropout=PlainDropout,
        set_keys=set_keys,
        derive=derive,
        hashed=hashed,
        flat=flat,
    )


@pytest.fixture(scope="session")
def make():
    """What the tests build: `spec`, `modules`, `data`, `trainer`; and `epochs`, which runs some."""
    return SimpleNamespace(
        spec=make_spec, modules=make_modules, data=make_data, trainer=make_trainer, epochs=run_epochs
    )


def build_perceptron():
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def build_convolution(dropout=nn.Dropout):
    """All that has state: dropout, BatchNorm with and without parameters of its own."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        dropout(0.3),
        nn.Flatten(),
        nn.Linear(64, 6),
        nn.BatchNorm1d(6, affine=False),
        nn.Linear(6, 3),
    )


@pytest.fixture(scope="session")
def build():
    """Small networks: `perceptron` takes (5,), `convolution` takes (2, 6, 6); three classes."""
    return SimpleNamespace(perceptron=build_perceptron, convolution=build_convolution)
