import math

import pytest
import torch
from torch import nn

from zoo.architectures import DataShape, build, layout
from zoo.architectures.twins import LocallyConnected, full_from_local, local_from_convolutional
from zoo.errors import FormatError, SpecificationError
from zoo.training.layers import stackable

CONNECTIONS = ("full", "local", "convolutional")
SHAPES = [DataShape((1, 8, 8), 10), DataShape((3, 7, 6), 4), DataShape((2, 5, 1), 3)]


def images(shape, items=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(items, *shape.inputs, dtype=torch.float64, generator=generator)


def count(connection, width, depth, shape):
    (channels, height, breadth), total = shape.inputs, 0
    for level in range(1, depth + 1):
        k = channels if level == 1 else width
        below, above = (
            math.ceil(height / 2**power) * math.ceil(breadth / 2**power) for power in (level - 1, level)
        )
        total += {
            "convolutional": width * (9 * k + 1),
            "local": width * above * (9 * k + 1),
            "full": width * above * (k * below + 1),
        }[connection]
    return total + shape.classes * (width * above + 1)


@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize(("width", "depth"), [(1, 1), (3, 2), (2, 4)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_twin_has_as_many_parameters_as_its_closed_form(family, connection, width, depth, shape):
    architecture = family.name("twins", connection=connection, width=width, depth=depth)
    found = layout(architecture, shape)
    assert found.size == count(connection, width, depth, shape)
    assert {entry.kind for entry in found.entries if entry.name.endswith("bias")} == {"bias"}
    assert {entry.kind for entry in found.entries if entry.name.endswith("weight")} == {"weight"}
    assert family.start(architecture, shape)(images(shape)).shape == (4, shape.classes)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_twins_have_the_same_names_and_as_many_units_in_every_layer(family, shape):
    seen = []
    for connection in CONNECTIONS:
        x, units = images(shape), []
        module = family.start(family.name("twins", connection=connection, depth=3), shape)
        for name, layer in module.named_children():
            x = layer(x)
            units += [(name, x[0].numel())] if name != "flatten" else []
        seen.append((units, [name for name, _ in module.named_parameters()]))
    assert seen[0] == seen[1] == seen[2]


def test_a_locally_connected_layer_sums_what_each_position_sees():
    layer, x = LocallyConnected((2, 5, 4), 3).double(), images(DataShape((2, 5, 4), 1))
    generator = torch.Generator().manual_seed(0)
    for tensor in layer.parameters():
        nn.init.normal_(tensor, generator=generator)
    got = layer(x)
    assert got.shape == (4, 3, 3, 2)
    for unit, (channel, row, column) in enumerate(
        torch.cartesian_prod(*map(torch.arange, (3, 3, 2))).tolist()
    ):
        expected = layer.bias[unit].expand(4).clone()
        for place, (k, i, j) in enumerate(torch.cartesian_prod(*map(torch.arange, (2, 3, 3))).tolist()):
            high, wide = 2 * row - 1 + i, 2 * column - 1 + j
            if 0 <= high < 5 and 0 <= wide < 4:
                expected = expected + layer.weight[unit, place] * x[:, k, high, wide]
        torch.testing.assert_close(got[:, channel, row, column], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_a_twin_computes_the_less_constrained_ones_can_too(family, shape, activation):
    full, local, convolutional = (
        family.start(family.name("twins", connection=c, width=3, depth=3, activation=activation), shape, seed)
        for seed, c in enumerate(CONNECTIONS)
    )
    x = images(shape)
    own = full(x), local(x)
    for narrow, embed, wide in (
        (local, full_from_local, full),
        (convolutional, local_from_convolutional, local),
        (local, full_from_local, full),
    ):
        before = {name: tensor.clone() for name, tensor in narrow.state_dict().items()}
        wide.load_state_dict(embed(narrow.state_dict(), shape))
        torch.testing.assert_close(wide(x), narrow(x), atol=1e-12, rtol=0)
        assert all(torch.equal(tensor, before[name]) for name, tensor in narrow.state_dict().items())
    torch.testing.assert_close(full(x), convolutional(x), atol=1e-12, rtol=0)
    assert (own[0] - full(x)).abs().max() > 1e-3
    assert (own[1] - full(x)).abs().max() > 1e-3


def test_an_embedded_network_shares_no_memory_with_its_source(family):
    shape = SHAPES[0]
    state = family.start(family.name("twins"), shape).state_dict()
    embedded = local_from_convolutional(state, shape)
    for name, tensor in embedded.items():
        assert tensor.is_contiguous()
        assert tensor.untyped_storage().data_ptr() != state[name].untyped_storage().data_ptr()


@pytest.mark.parametrize(
    ("connection", "embed", "message"),
    [
        (
            "local",
            local_from_convolutional,
            r"a convolutional twin has the shape \(..., 1, 3, 3\), got \(128, 9\)",
        ),
        ("full", full_from_local, r"a local twin has the shape \(..., 9\), got \(128, 64\); give the state"),
        ("convolutional", full_from_local, r"a local twin has the shape \(..., 9\), got \(8, 1, 3, 3\)"),
    ],
)
def test_the_state_dict_of_another_twin_is_refused(family, connection, embed, message):
    state = family.start(family.name("twins", connection=connection), SHAPES[0]).state_dict()
    with pytest.raises(FormatError, match=rf"layer1\.weight of {message}"):
        embed(state, SHAPES[0])
    with pytest.raises(FormatError, match=r"layer1\.weight of .* got None"):
        embed({"0.weight": torch.zeros(2, 2)}, SHAPES[0])


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_a_stack_trains_as_each_alone_and_as_a_plain_loop(family, connection):
    architecture, shape = family.name("twins", connection=connection, width=3), DataShape((2, 7, 6), 3)
    assert bool(stackable(build(architecture, shape))) == (connection != "local")
    family.check_stack(architecture, shape)


@pytest.mark.parametrize(("connection", "seen"), [("full", (128, 512)), ("local", (18, 288))])
def test_initial_weights_fill_the_interval_of_what_a_unit_sees(family, connection, seen):
    shape = DataShape((2, 8, 8), 10)
    module = family.start(family.name("twins", connection=connection, width=32), shape)
    for layer, fan_in in zip((module.layer1, module.layer2, module.head), (*seen, 128), strict=True):
        for tensor in (layer.weight, layer.bias):
            values, bound = tensor.detach(), fan_in**-0.5
            assert values.abs().max() <= bound * (1 + 1e-6)
            error = bound**2 * (4 / 45 / values.numel()) ** 0.5
            assert abs(values.square().mean() - bound**2 / 3) < 5 * error


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_initial_weights_depend_on_their_seed_alone(family, connection):
    family.check_seeds(family.name("twins", connection=connection), SHAPES[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connection": "sparse"}, "connection: Input should be 'full', 'local' or 'convolutional'"),
        ({"depth": 9}, "depth: Input should be less than or equal to 8"),
        ({"width": 0}, "width: Input should be greater than or equal to 1, got 0"),
        ({"kernel": 5}, "kernel: Extra inputs are not permitted"),
    ],
)
def test_bad_options_are_refused(family, options, message):
    with pytest.raises(SpecificationError, match=rf"architecture 'twins':\n  {message}"):
        build(family.name("twins", **options), SHAPES[0])


def test_twins_take_images(family):
    with pytest.raises(
        SpecificationError, match=r"the twins takes images .* inputs of shape \(64,\); choose"
    ):
        build(family.name("twins"), DataShape((64,), 10))
