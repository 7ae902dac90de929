import pytest
import torch
from torch import nn

from zoo.errors import SpecificationError
from zoo.metrics.hessian.chain import ChainProduct, chain_layers
from zoo.metrics.hessian.images import Columns, Largest, Mean
from zoo.metrics.hessian.product import GraphProduct, Landscape
from zoo.training import NetworkStack


def vectors(count, size, seed=0):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)).double()


def test_products_are_those_of_the_hessian_written_out(network, matrix):
    landscape = Landscape.of(*network)
    v = vectors(1, landscape.size)
    found = landscape.product()(v)
    torch.testing.assert_close(found, v @ matrix, rtol=1e-9, atol=1e-11)
    assert landscape.size < 500


def test_a_stack_gives_what_its_members_give(network, stacked, draw):
    module, x, y = network
    modules = [module, *(draw(Landscape.of(module, x, y).stack.module, seed) for seed in (5, 6))]
    v = vectors(3, Landscape.of(module, x, y).size)
    found = Landscape.of(stacked(*modules), x, y).product()(v)
    alone = [Landscape.of(one, x, y).product()(v[[row]]) for row, one in enumerate(modules)]
    torch.testing.assert_close(found, torch.cat(alone), rtol=1e-9, atol=1e-11)


def test_a_chain_and_the_graph_of_its_gradient_agree_for_a_stack(chain_network, stacked, draw):
    module, x, y = chain_network
    others = [draw(Landscape.of(module, x, y).stack.module, seed) for seed in (5, 6)]
    stack = stacked(module, *others)
    layers = chain_layers(stack, x)
    assert layers
    v = vectors(3, stack.layout.size)
    with torch.no_grad():
        found = ChainProduct(layers, stack, x, y)(v)
    torch.testing.assert_close(found, GraphProduct(stack, x, y)(v), rtol=1e-9, atol=1e-11)


def test_many_products_of_one_linearisation_do_not_disturb_each_other(chain_network):
    landscape = Landscape.of(*chain_network)
    product, v, u = landscape.product(), vectors(1, landscape.size), vectors(1, landscape.size, seed=1)
    first, second = product(v).clone(), product(u).clone()
    torch.testing.assert_close(product(v), first, rtol=0, atol=0)
    assert (first * u).sum().item() == pytest.approx((second * v).sum().item(), rel=1e-9)  # symmetric


def test_only_what_is_no_plain_chain_takes_the_graph(name, network):
    module, x, y = network
    layers = chain_layers(Landscape.of(module, x, y).stack, x)
    assert bool(layers) == (name not in NO_CHAINS)


NO_CHAINS = {
    "batch norm",
    "layer norm",
    "overlapping pools",
    "batch norm on images",
    "residual",
    "transformer",
}


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Linear(5, 3), nn.Dropout()),
        (nn.Conv2d(2, 3, 3, padding="same"), nn.Flatten(), nn.Linear(126, 3)),
        (nn.Conv2d(2, 3, 3), nn.AvgPool2d(2, padding=1), nn.Flatten(), nn.Linear(27, 3)),
        (nn.Conv2d(2, 3, 3), nn.AvgPool2d(2, divisor_override=3), nn.Flatten(), nn.Linear(12, 3)),
        (nn.Conv2d(2, 3, 3), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(), nn.Linear(18, 3)),
        (nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3)),
    ],
    ids=["dropout", "same", "padded pool", "divisor", "ceiling", "adaptive"],
)
def test_options_without_a_rule_are_seen(layers, dense, draw):
    module = draw(nn.Sequential(*layers).double().eval(), 0)
    shape = (4, 5) if isinstance(layers[0], nn.Linear) else (4, 2, 7, 6)
    x, y = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double(), torch.tensor([0, 1, 2, 2])
    landscape = Landscape.of(module, x, y)
    assert bool(chain_layers(landscape.stack, x)) == isinstance(layers[0], nn.Linear)
    v = vectors(1, landscape.size)
    torch.testing.assert_close(landscape.product()(v), v @ dense(module, x, y), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "make",
    [
        lambda value: Columns(nn.Conv2d(2, 1, (2, 3), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), value),
        lambda value: Mean((3, 2), value),
        lambda value: Largest((2, 3), value),
    ],
    ids=["columns", "mean", "largest"],
)
def test_the_way_back_is_the_transpose_of_the_way_there(make):
    draw = torch.Generator().manual_seed(0)
    value, tangent = torch.randn(2, 2, 2, 7, 6, 5, generator=draw).double()
    rule = make(value)
    there = rule.push({}, tangent).clone()
    slope = torch.randn(there.shape, generator=draw).double()
    back = rule.pull(slope)
    assert (there * slope).sum().item() == pytest.approx((tangent * back).sum().item(), rel=1e-12)


def test_buffers_are_no_direction_and_eval_mode_holds(draw):
    module = draw(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)), 0)
    module.train()
    x, y = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 1, 0, 1])
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    landscape = Landscape.of(module, x, y)
    assert landscape.size == sum(p.numel() for p in module.parameters())
    first, second = (landscape.product()(torch.ones(1, landscape.size)) for _ in range(2))
    assert torch.equal(first, second)
    assert module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_bytes_are_pixels_and_items_take_the_type_of_the_weights():
    module = nn.Linear(3, 2).double()
    x = torch.tensor([[0, 51, 255], [102, 0, 204]], dtype=torch.uint8)
    landscape = Landscape.of(module, x, torch.tensor([0, 1]))
    torch.testing.assert_close(landscape.x, x.double() / 255, rtol=1e-7, atol=0)
    assert landscape.product()(torch.ones(1, 8).double()).dtype == torch.float64


def test_as_many_networks_go_at_once_as_there_is_room_for():
    x = torch.zeros(256, 64)
    y = torch.zeros(256, dtype=torch.int64)
    narrow, wide = (
        Landscape.of(nn.Sequential(nn.Linear(64, w), nn.ReLU(), nn.Linear(w, 10)), x, y).rows()
        for w in (8, 512)
    )
    assert narrow > 8 * wide >= 8
    assert Landscape.of(nn.Linear(64, 200_000), x[:1], y[:1]).rows() == 1


def test_many_threads_have_a_network_each_while_these_are_small(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 20)
    y = torch.zeros(256, dtype=torch.int64)
    layers = (nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    small, large = (
        Landscape.of(nn.Sequential(*layers), torch.zeros(256, 1, side, side), y).rows() for side in (12, 60)
    )
    assert small == 20
    assert 1 <= large < 4


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64), "as many classes as items, at least 1, got 2"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), "at least 1, got 0 and 0"),
        (torch.zeros(2, 2), torch.tensor([0, 4]), "expected numbers from 0 to 3, got 0 to 4"),
        (torch.zeros(2, 2), torch.tensor([0, -1]), "expected numbers from 0 to 3, got -1 to 0"),
    ],
)
def test_items_that_do_not_fit_are_refused(x, y, message):
    with pytest.raises(SpecificationError, match=message):
        Landscape.of(nn.Linear(2, 4), x, y)


@pytest.mark.parametrize("shape", [(6, 2), (6, 5, 1)])
def test_classes_that_are_not_those_of_the_outputs_are_refused(shape, three):
    (module, *_), _, x, _ = three
    with pytest.raises(SpecificationError, match=r"expected classes of shape \(6"):
        Landscape.of(module, x[:6], torch.zeros(shape, dtype=torch.int64))


def test_items_are_not_changed():
    module = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2))
    x = torch.tensor([[-1.0, 2.0, -3.0], [1.0, -1.0, 0.0]])
    before = x.clone()
    landscape = Landscape.of(module, x, torch.tensor([0, 1]))
    landscape.product()(torch.ones(1, 8))
    landscape.rows()
    assert torch.equal(x, before)


def test_shared_layers_are_refused():
    layer = nn.Linear(3, 3)
    with pytest.raises(SpecificationError, match="expected parameters that stand at one place each"):
        Landscape.of(nn.Sequential(layer, nn.ReLU(), layer), torch.zeros(1, 3), torch.tensor([0]))


def test_a_network_without_parameters_is_refused():
    with pytest.raises(SpecificationError, match="expected some, got a Flatten without parameters"):
        Landscape.of(nn.Flatten(), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))


def test_a_stack_is_taken_as_it_is(three):
    modules, stack, x, y = three
    assert Landscape.of(stack, x, y).stack is stack
    assert isinstance(Landscape.of(modules[0], x, y).stack, NetworkStack)
