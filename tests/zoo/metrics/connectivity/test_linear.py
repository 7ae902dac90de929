import copy
import math

import pytest
import torch
from torch import nn

from zoo.alignment import align
from zoo.architectures import build, layout
from zoo.errors import SpecificationError
from zoo.metrics.connectivity import linear_barrier, memory
from zoo.spec import ArchitectureSpecification, DataShape
from zoo.training import NetworkStack


class Product(nn.Module):
    """Two logits 0 and u v: along the line from (1, 1) to (-1, -1) they fall as `(1 - 2t)^2`."""

    def __init__(self, sign):
        super().__init__()
        self.u, self.v = (nn.Parameter(torch.full((1,), sign, dtype=torch.float64)) for _ in range(2))

    def forward(self, x):
        return torch.cat([torch.zeros_like(x), x * self.u * self.v], dim=1)


def test_the_curve_of_a_product_is_its_closed_form():
    curve = linear_barrier(
        Product(1.0), Product(-1.0), torch.ones(2, 1, dtype=torch.float64), torch.ones(2).long(), points=5
    )
    expected = [math.log1p(math.exp(-((1 - 2 * t) ** 2))) for t in curve.t.tolist()]
    torch.testing.assert_close(curve.nats[0], torch.tensor(expected, dtype=torch.float64))
    assert curve.barrier_nats.item() == pytest.approx(math.log(2) - math.log1p(math.exp(-1)))
    assert curve.points.tolist() == [[0, 0, 100, 0, 0]]  # logits are equal in the middle: the first counts
    assert curve.barrier_points.item() == 100


def test_the_loss_of_a_linear_network_has_no_barrier(toys):
    a, b = (toys.drawn(nn.Linear(4, 3), seed) for seed in (0, 1))
    x, y = toys.items()
    curve = linear_barrier(a, b, x, y)
    assert curve.t.shape == (25,)
    assert curve.barrier_nats.item() == 0  # cross-entropy is convex in the logits
    for place in (0, 6, 24):
        t = place / 24
        logits = (1 - t) * a(x) + t * b(x)
        assert curve.nats[0, place].item() == pytest.approx(
            nn.functional.cross_entropy(logits, y).item(), rel=1e-6
        )


@pytest.mark.parametrize("kind", ["perceptron", "normalised", "residual"])
def test_the_ends_are_the_networks_themselves(kind, toys):
    nets, (x, y) = toys.networks(kind, range(2)), toys.items()
    for net, shift in zip(nets, (0.1, 0.4), strict=True):
        for name, tensor in net.state_dict().items():
            if "running" in name:
                tensor.add_(shift)  # statistics that no items have
    curve = linear_barrier(*nets, x, y, points=3)
    for net, place in zip(nets, (0, 2), strict=True):
        logits = net.eval()(x)
        wrong = 100 * (logits.argmax(1) != y).double().mean().item()
        assert curve.points[0, place].item() == pytest.approx(wrong, abs=1e-12)
        loss = nn.functional.cross_entropy(logits, y).item()
        assert curve.nats[0, place].item() == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("kind", ["normalised", "residual"])
def test_statistics_between_the_ends_are_those_of_the_given_items(kind, toys):
    a, b = toys.networks(kind, range(2))
    (x, y), (others, _) = toys.items(), toys.items(60, seed=8)
    curve = linear_barrier(a, b, x, y, points=5, statistics=others)
    middle = copy.deepcopy(a)
    for name, parameter in middle.named_parameters():
        parameter.data.copy_(
            0.75 * dict(a.named_parameters())[name] + 0.25 * dict(b.named_parameters())[name]
        )
    for layer in middle.train().modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_running_stats()
            layer.momentum = None
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    middle(others)
    loss = nn.functional.cross_entropy(middle.eval()(x), y).item()
    assert curve.nats[0, 1].item() == pytest.approx(loss, rel=1e-5)


def test_a_network_has_no_barrier_to_itself(toys):
    (a,), (x, y) = toys.networks("perceptron", [0]), toys.items()
    curve = linear_barrier(a, a, x, y)
    assert curve.barrier_points.item() == 0
    assert curve.barrier_nats.item() == pytest.approx(0, abs=1e-6)


def test_a_permuted_copy_has_a_barrier_until_it_is_permuted_back(toys):
    spec, shape = ArchitectureSpecification(name="mlp", width=8, depth=1), DataShape((4,), 3)
    (net,), (x, _) = toys.networks("perceptron", [0]), toys.items()
    y = net(x).argmax(dim=1)
    other = copy.deepcopy(net)
    order = torch.arange(8).roll(3)
    other[0].weight.data, other[0].bias.data = net[0].weight[order].detach(), net[0].bias[order].detach()
    other[2].weight.data = net[2].weight[:, order].detach()
    module, own = build(spec, shape), layout(spec, shape)
    a, b = (NetworkStack(module, own, NetworkStack.of(one).weights) for one in (net, other))
    assert linear_barrier(a, b, x, y).barrier_points.item() > 5
    aligned = linear_barrier(a, align(spec, shape, a, b), x, y)
    assert aligned.barrier_points.item() == 0
    assert aligned.barrier_nats.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["perceptron", "normalised", "residual"])
def test_a_pair_alone_is_the_pair_in_a_stack(kind, toys, monkeypatch):
    nets, (x, y) = toys.networks(kind, range(6)), toys.items()
    a, b = toys.stacked(nets[:3]), toys.stacked(nets[3:])
    whole = linear_barrier(a, b, x, y, points=4)
    monkeypatch.setattr(memory, "MAX_BYTES", 2500)  # one pair, some items at a time
    split = linear_barrier(a, b, x, y, points=4)
    alone = linear_barrier(nets[1], nets[4], x, y, points=4)
    torch.testing.assert_close(split.nats, whole.nats, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(alone.nats, whole.nats[1:2], rtol=1e-5, atol=1e-7)
    assert torch.equal(alone.points, whole.points[1:2])


def test_exchanging_the_ends_turns_the_curve(toys):
    nets, (x, y) = toys.networks("perceptron", range(2)), toys.items()
    there, back = linear_barrier(*nets, x, y), linear_barrier(*nets[::-1], x, y)
    assert torch.equal(there.nats, back.nats.flip(1))


def test_pixels_and_sequences_are_items_too(toys):
    net = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    tokens = torch.randint(5, (6, 7), generator=torch.Generator().manual_seed(0))
    curve = linear_barrier(net, copy.deepcopy(net), tokens, tokens, points=2)
    loss = nn.functional.cross_entropy(net(tokens).flatten(0, 1), tokens.flatten()).item()
    assert curve.nats[0, 0].item() == pytest.approx(loss, rel=1e-6)
    (a,), pixels = toys.networks("perceptron", [0]), torch.arange(0, 160, 2).view(20, 4).to(torch.uint8)
    y = torch.zeros(20).long()
    assert torch.equal(
        linear_barrier(a, a, pixels, y).nats, linear_barrier(a, a, pixels.float() / 255, y).nats
    )


def test_networks_of_different_layouts_have_no_path(toys):
    x, y = toys.items()
    with pytest.raises(SpecificationError, match=r"networks of one layout: expected network-.* got network-"):
        linear_barrier(nn.Linear(4, 3), toys.kinds["perceptron"](), x, y)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (0, 0)])
def test_pairs_are_made_row_by_row(first, second, toys):
    stack, (x, y) = toys.stacked(toys.networks("perceptron", range(2))), toys.items()
    with pytest.raises(SpecificationError, match=f"at least 1, got {first} and {second}; select"):
        linear_barrier(stack.select(slice(first)), stack.select(slice(second)), x, y)


@pytest.mark.parametrize(("inputs", "labels"), [(5, 4), (0, 0)])
def test_every_item_has_a_label(inputs, labels, toys):
    (net,), (x, y) = toys.networks("perceptron", [0]), toys.items()
    with pytest.raises(SpecificationError, match=f"got {inputs} inputs and {labels} labels; give both"):
        linear_barrier(net, net, x[:inputs], y[:labels])


def test_networks_of_another_activation_are_refused():
    relu = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    tanh = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    with pytest.raises(
        SpecificationError, match="networks of one architecture: expected Sequential with the same"
    ):
        linear_barrier(relu, tanh, torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))


def test_networks_of_another_type_are_refused():
    one = torch.nn.Linear(2, 2)
    with pytest.raises(
        SpecificationError, match=r"one type of numbers: expected torch\.float64, got torch\.float32"
    ):
        linear_barrier(
            one, torch.nn.Linear(2, 2).double(), torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
        )


def test_labels_below_zero_are_refused():
    one = torch.nn.Linear(2, 2)
    with pytest.raises(
        SpecificationError, match="a label is the number of a class, from 0: expected whole numbers"
    ):
        linear_barrier(one, one, torch.zeros(4, 2), torch.full((4,), -100))
