import copy

import pytest
import torch
from torch import nn

from zoo.training import StackNetwork
from zoo.weights import layout_of

EPOCHS = 3


def headed(*layers, flat):
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 3))


class Residual(nn.Module):
    """Not sequential: a skip, a layer used twice, functions instead of modules."""

    def __init__(self, dropout=nn.Dropout):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), dropout(0.2))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = nn.functional.gelu(self.norm(self.stem(x)))
        x = torch.tanh(x + self.body(x) + self.body[0](x))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Attention(nn.Module):
    def __init__(self, need_weights=True):
        super().__init__()
        self.words, self.places = nn.Embedding(7, 8), nn.Parameter(torch.randn(5, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)
        self.need_weights = need_weights

    def forward(self, x):
        x = self.words(x) + self.places
        x = x + self.attention(x, x, x, need_weights=self.need_weights)[0]
        return self.head(self.norm(x).mean(1))


class Shared(nn.Module):
    """Dropout at three depths of a module that is not sequential."""

    def __init__(self, dropout=nn.Dropout):
        super().__init__()
        self.first, self.dropout = nn.Linear(5, 6), dropout(0.1)
        self.inner = nn.ModuleDict({"dropout": dropout(0.4), "layer": nn.Linear(6, 6)})
        self.last = nn.Sequential(nn.ReLU(), dropout(0.5), nn.Linear(6, 3))

    def forward(self, x):
        x = self.dropout(torch.relu(self.first(x)))
        return self.last(x + self.inner["layer"](self.inner["dropout"](x)))


def twice(layer):
    """The same layer object at two places, as nn.Sequential allows."""
    return nn.Sequential(nn.Linear(5, 6), layer, nn.Linear(6, 6), layer, nn.Linear(6, 3))


def chain():
    """Layers whose activations change form and may be overwritten."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same"),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(3, ceil_mode=True),
        nn.LayerNorm([4, 2, 2]),
        nn.Conv2d(4, 6, 1),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


IMAGE, SIGNAL, TOKENS, VECTOR = (2, 6, 6), (2, 9), (5,), (5,)
NETWORKS = {
    "linear-relu": (VECTOR, lambda: nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3, bias=False))),
    "linear-tanh": (VECTOR, lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))),
    "linear-gelu": (VECTOR, lambda: nn.Sequential(nn.Linear(5, 6), nn.GELU("tanh"), nn.Linear(6, 3))),
    "relu-twice": (VECTOR, lambda: twice(nn.ReLU())),
    "linear-on-sequences": (SIGNAL, lambda: headed(nn.Linear(9, 3), nn.ReLU(), flat=6)),
    "layer-norm": (VECTOR, lambda: nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.Linear(6, 3))),
    "conv1d": (SIGNAL, lambda: headed(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(2), flat=8)),
    "conv2d": (IMAGE, lambda: headed(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Tanh(), flat=36)),
    "grouped": (IMAGE, lambda: headed(nn.Conv2d(2, 4, 3, groups=2), nn.GELU(), nn.AvgPool2d(2), flat=16)),
    "depthwise": (
        IMAGE,
        lambda: headed(nn.Conv2d(2, 2, 3, groups=2, dilation=2), nn.Conv2d(2, 4, 1), flat=16),
    ),
    "conv-chain": (IMAGE, chain),
    "conv-circular": (
        IMAGE,
        lambda: headed(nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), flat=144),
    ),
    "pool-without-channels": (SIGNAL, lambda: headed(nn.MaxPool2d((1, 2)), nn.AvgPool2d((2, 1)), flat=4)),
    "pool-odd-without-channels": (
        (5, 4),
        lambda: headed(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d((2, 1)), flat=2),
    ),
    "layer-norm-image": (
        IMAGE,
        lambda: headed(nn.Conv2d(2, 4, 3), nn.LayerNorm([4, 4, 4], bias=False), flat=64),
    ),
    "layer-norm-plain": (
        SIGNAL,
        lambda: headed(nn.LayerNorm(9, elementwise_affine=False), nn.Linear(9, 3), flat=6),
    ),
    "group-norm-plain": (
        IMAGE,
        lambda: headed(nn.Conv2d(2, 6, 3), nn.GroupNorm(3, 6, affine=False), flat=96),
    ),
    "flatten-in-part": (
        IMAGE,
        lambda: nn.Sequential(nn.Flatten(2), nn.Linear(36, 2), nn.Flatten(), nn.Linear(4, 3)),
    ),
    "batch-norm-1d": (VECTOR, lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))),
    "batch-norm-1d-signal": (
        SIGNAL,
        lambda: headed(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3, momentum=0.3), flat=21),
    ),
    "batch-norm-1d-plain": (VECTOR, lambda: nn.Sequential(nn.BatchNorm1d(5, affine=False), nn.Linear(5, 3))),
    "batch-norm-2d": (IMAGE, lambda: headed(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), flat=16)),
    "batch-norm-2d-plain": (IMAGE, lambda: headed(nn.BatchNorm2d(2, affine=False), nn.MaxPool2d(2), flat=18)),
    "batch-norm-no-statistics": (
        IMAGE,
        lambda: headed(nn.BatchNorm2d(2, track_running_stats=False), flat=72),
    ),
    "group-norm": (IMAGE, lambda: headed(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), flat=64)),
    "instance-norm": (IMAGE, lambda: headed(nn.InstanceNorm2d(2, affine=True), nn.MaxPool2d(3, 1), flat=32)),
    "instance-norm-statistics": (
        IMAGE,
        lambda: headed(nn.InstanceNorm2d(2, track_running_stats=True), nn.AdaptiveAvgPool2d(2), flat=8),
    ),
    "embedding": (TOKENS, lambda: headed(nn.Embedding(7, 4), nn.Linear(4, 2), nn.ReLU(), flat=10)),
    "attention": (TOKENS, Attention),
    "attention-without-weights": (TOKENS, lambda: Attention(need_weights=False)),
    "residual": (IMAGE, lambda: Residual(lambda _: nn.Identity())),
}


def data_for(make, name, shape, models):
    if not (name.startswith(("attention", "embedding"))):
        return make.data(models, shape)
    given = make.data(models, shape)
    tokens = (given.x * 2).round().long().clamp(-3, 3) + 3
    return type(given)(tokens, given.y)


def close(got, expected):
    torch.testing.assert_close(got, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_stack_of_each_layer_trains_as_ordinary_modules_do(make, plain, name, chunk):
    shape, build = NETWORKS[name]
    modules, data = make.modules(build, 3), data_for(make, name, shape, 3)
    specs = [
        make.spec(learning_rate=r, momentum=0.9, weight_decay=1e-3, epochs=EPOCHS) for r in (0.1, 0.03, 0.01)
    ]
    trainer = make.trainer(modules, data, specs, [7, 8, 9], chunk=chunk)
    losses = make.epochs(trainer, EPOCHS)
    for place, spec in enumerate(specs):
        expected = plain.loop(modules[place], spec, 7 + place, data.x, data.y[place])
        close(trainer.weights[place], expected.weights)
        close(losses[:, place], torch.tensor(expected.losses, dtype=torch.float64))
        for entry, values in trainer.buffers.items():
            close(values[place], expected.module.state_dict()[entry].double())
        assert (trainer.weights[place] - plain.flat(modules[place])).norm() > 1e-2


@pytest.mark.parametrize("optimizer", ["adam", "sam"])
def test_statistics_of_batch_norm_are_those_of_torch_whatever_the_optimizer(make, plain, build, optimizer):
    modules = make.modules(lambda: build.convolution(lambda _: nn.Identity()), 3)
    data = make.data(3, (2, 6, 6))
    spec = make.spec(optimizer=optimizer, learning_rate=0.01)
    trainer = make.trainer(modules, data, [spec] * 3)
    make.epochs(trainer, 3)
    names = [n for n, _ in modules[0].named_buffers()]
    assert sorted(trainer.buffers) == sorted(names)
    for place in range(3):
        expected = plain.loop(modules[place], spec, place, data.x, data.y[place]).module.state_dict()
        for name in names:
            close(trainer.buffers[name][place], expected[name].double())
    assert trainer.buffers["1.num_batches_tracked"].tolist() == [12, 12, 12]
    assert (trainer.buffers["1.running_mean"][0] - trainer.buffers["1.running_mean"][1]).abs().max() > 1e-3


# dropout


DROPPING = {
    "perceptron": (
        VECTOR,
        lambda d: nn.Sequential(
            nn.Linear(5, 6), nn.ReLU(), d(0.25), nn.Linear(6, 6), d(0.5), nn.Linear(6, 3)
        ),
    ),
    "sequences": (
        SIGNAL,
        lambda d: nn.Sequential(nn.Linear(9, 4), d(0.3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)),
    ),
    "not-sequential": (VECTOR, Shared),
    "residual": (IMAGE, Residual),
    "convolution": (
        IMAGE,
        lambda d: headed(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), d(0.5), nn.ReLU(), flat=64),
    ),
}


@pytest.mark.parametrize(("optimizer", "chunk"), [("sgd", None), ("sgd", 2), ("sgd", 1), ("sam", None)])
@pytest.mark.parametrize("name", DROPPING)
def test_dropout_masks_are_those_of_the_formula(make, plain, name, optimizer, chunk):
    shape, build = DROPPING[name]
    modules = make.modules(lambda: build(plain.Dropout), 3)
    data = make.data(3, shape)
    specs = [
        make.spec(learning_rate=r, momentum=0.9, optimizer=optimizer, epochs=2) for r in (0.1, 0.03, 0.01)
    ]
    skeletons = make.modules(lambda: build(nn.Dropout), 3)  # the same initial weights: dropout has none
    trainer = make.trainer(skeletons, data, specs, [4, 5, 6], chunk=chunk)
    make.epochs(trainer, 2)
    for place, spec in enumerate(specs):
        expected = plain.loop(modules[place], spec, 4 + place, data.x, data.y[place])
        close(trainer.weights[place], expected.weights)
    other = plain.loop(modules[0], specs[0], 77, data.x, data.y[0], order_seed=4)
    assert (trainer.weights[0] - other.weights).abs().max() > 1e-3  # other masks would be seen


@pytest.mark.parametrize("chunk", [None, 1])
def test_one_dropout_layer_at_two_places_draws_twice(make, plain, chunk):
    dropout = nn.Dropout(0.4)
    stacked = make.modules(lambda: twice(dropout), 2)
    modules = make.modules(lambda: twice(nn.Identity()), 2)
    for module in modules:
        module[1], module[3] = plain.Dropout(0.4), plain.Dropout(0.4)
    data, spec = make.data(2), make.spec()
    trainer = make.trainer(stacked, data, [spec] * 2, chunk=chunk)
    make.epochs(trainer, 3)
    for place in range(2):
        close(trainer.weights[place], plain.loop(modules[place], spec, place, data.x, data.y[place]).weights)


# parameters and buffers


def test_split_and_join_undo_each_other(make, plain, build):
    modules = make.modules(build.convolution, 3)
    for module in modules:
        for number, buffer in enumerate(module.buffers()):
            buffer.fill_(number + 1)
    weights = torch.stack([plain.flat(module) for module in modules])
    network = StackNetwork(modules[0], layout_of(modules[0], "test"))
    parameters, buffers = network.split(weights)
    assert parameters.shape[1] == sum(p.numel() for p in modules[0].parameters())
    assert [buffers[n].shape[1:] for n, _ in modules[0].named_buffers()] == [
        b.shape for b in modules[0].buffers()
    ]
    assert torch.equal(network.join(parameters, buffers), weights)
    parameters.zero_()
    for buffer in buffers.values():
        buffer.zero_()
    assert torch.equal(weights, torch.stack([plain.flat(module) for module in modules]))  # copies


def test_the_skeleton_is_left_as_it_was(make, build):
    module = make.modules(build.convolution, 1)[0].eval()
    before = copy.deepcopy(module.state_dict())
    make.trainer([module], make.data(1, (2, 6, 6)), [make.spec()]).run_epoch()
    assert not module.training
    assert type(module[3]) is nn.Dropout
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
