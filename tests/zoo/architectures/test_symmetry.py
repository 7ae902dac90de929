"""Every registered architecture, in all of its forms, is blind to the permutations that it declares."""

import itertools
import math

import pytest
import torch
from pydantic import ValidationError

from zoo.architectures import DataShape, Symmetry, build, layout, names, options, permute, symmetry
from zoo.architectures.symmetries import Factor, take_units
from zoo.errors import SpecificationError, UnknownNameError
from zoo.spec import ArchitectureSpecification
from zoo.training import evaluate_logits, stream
from zoo.weights import unflatten

VECTORS, IMAGES, LARGE = DataShape((12,), 5), DataShape((2, 7, 6), 5), DataShape((1, 20, 22), 4)
COORDINATES, TOKENS = DataShape((2,), 1), DataShape((6,), 7, tokens=7)


def case(units, name, shape, **options):
    """An architecture, its data, and how many hidden units it has, stream and heads each counted once."""
    architecture = ArchitectureSpecification.model_validate({"name": name, **options})
    text = "-".join(str(value) for value in options.values())
    return pytest.param(architecture, shape, units, id=f"{name}-{text}-{len(shape.inputs)}")


CASES = [
    case(5, "mlp", VECTORS, width=5, depth=1),
    case(15, "mlp", VECTORS, width=5, depth=3, activation="tanh", dropout=0.1),
    case(10, "mlp", VECTORS, width=5, depth=2, normalisation="batch"),
    case(10, "mlp", VECTORS, width=5, depth=2, normalisation="layer", activation="gelu", dropout=0.1),
    case(12, "pinn", COORDINATES, width=4, depth=3),
    case(12, "cnn", IMAGES, width=4, depth=3),
    case(38, "model-zoo-cnn", LARGE, width=1, activation="sigmoid", dropout=0.1),
    case(76, "model-zoo-cnn", LARGE, width=2, activation="relu"),
    case(3 * 4 * 3 + 3 * 2 * 2, "twins", IMAGES, width=3, depth=2, connection="full"),
    case(6, "twins", IMAGES, width=3, depth=2, connection="local"),
    case(6, "twins", IMAGES, width=3, depth=2, connection="convolutional"),
    *(
        case(16, "residual", shape, width=4, depth=3, form=form, residual_scale=0.5)
        for form, shape in itertools.product(("sequential", "parallel"), (IMAGES, VECTORS))
    ),
    # stem and first stage share a group; then inner channels of the blocks, and what three stages give
    case(2 + 4 * (1 + 2 + 4 + 8) + 2 * (2 + 4 + 8), "resnet", IMAGES, layers=18, width=2),
    case(2 + 2 * 2 * (3 + 8 + 24 + 24) + 8 * (1 + 2 + 4 + 8), "resnet", IMAGES, layers=50, width=2),
    case(8 + 2 * (2 + 32), "vit", DataShape((2, 8, 8), 5), model_dim=8, head_dim=4, depth=2),
    case(8 + 2 * (4 + 32), "gpt", TOKENS, model_dim=8, head_dim=2, depth=2),
    *(
        case(8 + 2 * (4 + 32), "transformer", shape, model_dim=8, heads=4, norm=norm)
        for norm, shape in itertools.product(("pre", "post", "peri"), (VECTORS, TOKENS))
    ),
]
every_case = pytest.mark.parametrize(("architecture", "shape", "units"), CASES)


def random_weights(found, models=2):
    """Weights in which no two units are alike: gains, shifts and statistics are drawn, too."""
    weights = torch.randn(models, found.size, generator=stream(0, "weights"), dtype=torch.float64)
    for entry, start in zip(found.entries, found.offsets, strict=True):
        part = weights[:, start : start + entry.size]
        if entry.name.endswith("running_var"):
            part.abs_().add_(0.5)
        elif entry.kind == "weight":
            part *= 1.5 / math.sqrt(entry.size / entry.shape[0])
    return weights


def inputs(shape, items=8):
    generator = stream(1, "items")
    if shape.tokens:
        return torch.randint(shape.tokens, (items, *shape.inputs), generator=generator)
    return torch.randn(items, *shape.inputs, generator=generator, dtype=torch.float64)


def random_orders(found, models):
    """An order for each group and model that moves every unit, where there is more than one."""
    generator = stream(2, "orders")
    return {
        group: torch.stack(
            [
                drawn.roll(1).gather(0, drawn.argsort())
                for drawn in (torch.randperm(size, generator=generator) for _ in range(models))
            ]
        )
        for group, size in found.groups.items()
    }


def run(architecture, shape, weights):
    module = build(architecture, shape).double()
    return evaluate_logits(module, layout(architecture, shape), weights, inputs(shape))


def test_every_registered_architecture_is_looked_at():
    assert {param.values[0].name for param in CASES} == set(names())


@every_case
def test_permuted_networks_compute_the_same(architecture, shape, units):
    entries, found = layout(architecture, shape), symmetry(architecture, shape)
    weights = random_weights(entries)
    permuted = permute(weights, entries, found, random_orders(found, len(weights)))
    expected = run(architecture, shape, weights)
    assert expected.std() > 1e-3
    torch.testing.assert_close(run(architecture, shape, permuted), expected, atol=1e-10, rtol=1e-10)
    assert ((permuted - weights).abs() > 1e-6).double().mean() > 0.3


@every_case
def test_an_axis_that_stays_behind_is_found_out(architecture, shape, units):
    """Permute everything but one factor of one tensor: each is needed."""
    entries, found = layout(architecture, shape), symmetry(architecture, shape)
    weights, orders = random_weights(entries, 1), random_orders(found, 1)
    whole = unflatten(permute(weights, entries, found, orders), entries)
    broken, left = [], []
    for name, tensor in whole.items():
        for place, factor in enumerate(found.factors(name)):
            if found.groups.get(factor.group, 1) > 1:
                back = orders[factor.group].argsort(dim=1)
                changed = take_units(tensor.reshape(1, *found.shape(name)), back, place)
                pieces = {**whole, name: changed}
                broken.append(torch.cat([piece.flatten() for piece in pieces.values()]))
                left.append((name, factor.group))
    expected = run(architecture, shape, weights)
    differences = (run(architecture, shape, torch.stack(broken)) - expected).abs().flatten(1).amax(dim=1)
    assert [which for which, difference in zip(left, differences, strict=True) if difference < 1e-6] == []


@every_case
def test_groups_cover_the_hidden_units(architecture, shape, units):
    found = symmetry(architecture, shape)
    assert sum(found.groups.values()) == units
    assert set(found.axes) == {entry.name for entry in layout(architecture, shape).entries}
    acting = [{factor.group for factor in found.factors(name)} for name in found.axes]
    assert set().union(*acting) - {None} == set(found.groups)


@every_case
def test_units_are_seen_where_the_symmetry_says(architecture, shape, units):
    """What is seen there of a permuted network is what is seen of the plain one, permuted."""
    entries, found = layout(architecture, shape), symmetry(architecture, shape)
    weights, orders = random_weights(entries, 1), random_orders(found, 1)
    plain, moved = (
        watch(architecture, shape, found, rows[0])
        for rows in (weights, permute(weights, entries, found, orders))
    )
    assert set(found.groups) - set(plain) == {group for group in found.groups if group.endswith("attn")}
    for group, units_seen in plain.items():
        axis = found.views[group].axis
        assert units_seen.shape[axis] == found.groups[group]
        expected = units_seen.index_select(axis, orders[group][0])
        torch.testing.assert_close(moved[group], expected, atol=1e-10, rtol=1e-10)


def watch(architecture, shape, found, weights):
    module, seen = build(architecture, shape).double().eval(), {}
    module.load_state_dict(unflatten(weights, layout(architecture, shape)))
    for group, view in found.views.items():
        module.get_submodule(view.module).register_forward_hook(
            lambda _layer, _inputs, output, group=group: seen.__setitem__(group, output)
        )
    with torch.no_grad():
        module(inputs(shape))
    return seen


@every_case
def test_scalable_units_can_be_rescaled(architecture, shape, units):
    entries, found = layout(architecture, shape), symmetry(architecture, shape)
    weights = random_weights(entries)
    tensors = {
        name: tensor.clone().reshape(len(weights), *found.shape(name))
        for name, tensor in unflatten(weights, entries).items()
    }
    for group in found.scalable:
        factor = 0.5 + 2 * torch.rand(len(weights), found.groups[group], generator=stream(3, group))
        for name, place in found.places(group).items():
            wide = [1] * tensors[name].ndim
            wide[0], wide[place + 1] = factor.shape
            tensors[name] *= (factor if name in found.writers(group) else 1 / factor).view(wide)
    rescaled = torch.cat([tensor.reshape(len(weights), -1) for tensor in tensors.values()], dim=1)
    expected = run(architecture, shape, weights)
    torch.testing.assert_close(run(architecture, shape, rescaled), expected, atol=1e-6, rtol=1e-6)
    plain = architecture.name in {"mlp", "cnn", "model-zoo-cnn", "twins", "residual"}
    chosen = options(architecture).model_dump()
    relu = chosen.get("activation") == "relu" and chosen.get("normalisation", "none") == "none"
    assert bool(found.scalable) == (plain and relu)


@every_case
def test_what_is_called_invisible_is(architecture, shape, units):
    entries, found = layout(architecture, shape), symmetry(architecture, shape)
    assert bool(found.invisible) == (architecture.name in {"vit", "gpt", "transformer"})
    weights = random_weights(entries)
    expected, changed = run(architecture, shape, weights), weights.clone()
    starts = {entry.name: start for entry, start in zip(entries.entries, entries.offsets, strict=True)}
    for name, (first, past) in found.invisible.items():
        changed[:, starts[name] + first : starts[name] + past] += 3
        beside = weights.clone()
        beside[:, starts[name] + past] += 3
        assert (run(architecture, shape, beside) - expected).abs().max() > 1e-3
    torch.testing.assert_close(run(architecture, shape, changed), expected, atol=1e-10, rtol=1e-10)


# permute, and what it refuses

MLP = ArchitectureSpecification(name="mlp", width=4, depth=2)
ENTRIES, FOUND = layout(MLP, VECTORS), symmetry(MLP, VECTORS)


def test_permuting_reorders_rows_and_columns():
    weights = random_weights(ENTRIES, 3)
    orders = {"0": torch.tensor([2, 0, 1, 3]), "2": random_orders(FOUND, 3)["2"]}
    permuted = unflatten(permute(weights, ENTRIES, FOUND, orders), ENTRIES)
    for row, tensors in enumerate(unflatten(one, ENTRIES) for one in weights):
        first, second = orders["0"], orders["2"][row]
        by_hand = {
            "0.weight": tensors["0.weight"][first],
            "0.bias": tensors["0.bias"][first],
            "2.weight": tensors["2.weight"][second][:, first],
            "2.bias": tensors["2.bias"][second],
            "4.weight": tensors["4.weight"][:, second],
            "4.bias": tensors["4.bias"],
        }
        assert all(torch.equal(permuted[name][row], tensor) for name, tensor in by_hand.items())


@every_case
def test_permuting_back_gives_the_same_bits(architecture, shape, units):
    entries, found = layout(architecture, shape), symmetry(architecture, shape)
    weights = random_weights(entries).float()
    orders = random_orders(found, len(weights))
    there = permute(weights, entries, found, orders)
    back = {group: order.argsort(dim=1) for group, order in orders.items()}
    assert torch.equal(permute(there, entries, found, back), weights)
    assert torch.equal(permute(weights, entries, found, {}), weights)
    assert permute(weights[:0], entries, found, {}).shape == (0, entries.size)


def test_a_channel_that_is_flattened_takes_its_positions_along():
    found = symmetry(ArchitectureSpecification(name="model-zoo-cnn"), DataShape((1, 28, 28), 10))
    channels, positions = Factor(size=4, group="6"), Factor(size=9)
    assert found.axes["9.weight"] == ((Factor(size=20, group="9"),), (channels, positions))


def test_a_symmetry_survives_json():
    for param in CASES:
        found = symmetry(*param.values[:2])
        assert Symmetry.model_validate_json(found.model_dump_json()) == found
    with pytest.raises(ValidationError, match="frozen"):
        FOUND.scalable = ()


@pytest.mark.parametrize(
    "order",
    [
        torch.tensor([0, 1, 2]),
        torch.tensor([0, 1, 2, 2]),
        torch.tensor([1, 2, 3, 4]),
        torch.arange(4).repeat(3, 1),
    ],
)
def test_what_is_no_permutation_is_refused(order):
    message = rf"group '0': expected each of 0\.\.3 once, .* \(2, 4\), got an order of .*{order.shape[-1]}"
    with pytest.raises(SpecificationError, match=message):
        permute(random_weights(ENTRIES), ENTRIES, FOUND, {"0": order})


def test_an_unknown_group_is_refused():
    with pytest.raises(UnknownNameError, match="unknown group '1'; known: 0, 2"):
        permute(random_weights(ENTRIES), ENTRIES, FOUND, {"1": torch.arange(4)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 5}, r"0\.bias has shape \(5,\), expected \(4,\)"),
        ({"dropout": 0.1}, r"2\.bias has shape none, expected \(4,\)"),
    ],
)
def test_the_layout_of_another_network_is_refused(changes, message):
    other = layout(ArchitectureSpecification.model_validate({**MLP.model_dump(), **changes}), VECTORS)
    with pytest.raises(SpecificationError, match=rf"not that of layout {other.id}: {message}.*take the"):
        permute(random_weights(other), other, FOUND, {})


@pytest.mark.parametrize(
    ("groups", "factors", "message"),
    [
        ({"a": 2}, [("a", 2), ("a", 2)], "permutes each tensor once, w has one of them twice"),
        ({"a": 2}, [("a", 3)], "w has 3 units of group 'a', expected 2"),
        ({}, [("a", 3)], "w has 3 units of group 'a', expected no such group"),
    ],
)
def test_factors_that_do_not_fit_their_groups_are_refused(groups, factors, message):
    axes = {"w": [[{"group": group, "size": size}] for group, size in factors]}
    with pytest.raises(ValidationError, match=message):
        Symmetry.model_validate({"groups": groups, "axes": axes})


def test_an_unknown_architecture_has_no_symmetry():
    with pytest.raises(UnknownNameError, match="unknown architecture 'mpl'; did you mean 'mlp'"):
        symmetry(ArchitectureSpecification(name="mpl"), VECTORS)
