import itertools
from dataclasses import replace

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from zoo.alignment import align, match_weights
from zoo.alignment.descent import _Descent
from zoo.alignment.pairs import assign
from zoo.architectures import DataShape, permute, symmetry
from zoo.errors import SpecificationError, UnknownNameError
from zoo.training import stream

VECTORS = DataShape((12,), 5)


def test_a_permuted_copy_finds_back(small, make):
    reference = make.started(small.architecture, small.shape, models=2)
    other = make.shuffled(reference, small.found)
    assert make.distances(reference, other).min() > 0.1
    aligned = align(small.architecture, small.shape, reference, other)
    assert torch.equal(aligned.weights, reference.weights)


def test_networks_come_nearer_and_compute_the_same(small, make):
    reference = make.started(small.architecture, small.shape, models=2)
    other = make.started(small.architecture, small.shape, models=2, first=2)
    aligned = align(small.architecture, small.shape, reference, other)
    assert (make.distances(reference, aligned) <= make.distances(reference, other)).all()
    assert make.distances(reference, aligned).sum() < make.distances(reference, other).sum()
    x = make.items(small.shape, 5)
    torch.testing.assert_close(aligned.evaluate(x), other.evaluate(x), atol=1e-10, rtol=1e-10)


def test_an_aligned_network_stays_as_it_is(small, make):
    reference = make.started(small.architecture, small.shape)
    orders = match_weights(reference, reference, small.found)
    assert set(orders) == set(small.found.groups)
    for group, order in orders.items():
        assert torch.equal(order, torch.arange(small.found.groups[group]).expand(2, -1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("units", [1, 2, 4, 6])
def test_one_hidden_layer_gets_the_best_of_all_orders(make, units, seed):
    architecture = make.specification("mlp", width=units, depth=1)
    found = symmetry(architecture, VECTORS)
    reference = make.started(architecture, VECTORS, models=1, first=2 * seed)
    other = make.started(architecture, VECTORS, models=1, first=2 * seed + 1)
    every = torch.tensor(list(itertools.permutations(range(units))))
    copies = other.select([0] * len(every))
    candidates = permute(copies.weights, other.layout, found, {"0": every})
    expected = (candidates - reference.weights).norm(dim=1).min()
    aligned = align(architecture, VECTORS, reference, other)
    assert float(make.distances(reference, aligned)) == pytest.approx(float(expected), rel=1e-12)


def test_an_end_is_where_no_single_group_can_gain(make):
    """Plain re-computation of each group's assignment, with all others held: nothing is left to gain."""
    architecture = make.specification("mlp", width=5, depth=3)
    reference, other = (make.started(architecture, VECTORS, 4, first) for first in (0, 4))
    aligned = align(architecture, VECTORS, reference, other)
    for one, two in zip(reference.weights, aligned.weights, strict=True):
        a, b = (torch.nn.Sequential(*make_layers(row, (12, 5, 5, 5, 5))) for row in (one, two))
        for low, high in itertools.pairwise(range(4)):
            gain = a[low].weight @ b[low].weight.mT + a[high].weight.mT @ b[high].weight
            gain = (gain + a[low].bias[:, None] * b[low].bias).detach().numpy()
            rows, columns = linear_sum_assignment(gain, maximize=True)
            assert gain[rows, columns].sum() <= gain.trace() + 1e-9


def make_layers(row, sizes):
    layers, start = [], 0
    for low, high in itertools.pairwise(sizes):
        layer = torch.nn.Linear(low, high).double()
        for tensor in (layer.weight, layer.bias):
            tensor.data = row[start : start + tensor.numel()].view(tensor.shape)
            start += tensor.numel()
        layers.append(layer)
    return layers


@pytest.mark.parametrize(
    "small", ["mlp", "twins local", "resnet 18", "gpt", "transformer post"], indirect=True
)
def test_labels_and_roles_change_no_distance(small, make):
    one, two = (make.started(small.architecture, small.shape, 2, first) for first in (0, 2))
    shuffled = make.shuffled(one, small.found, 1), make.shuffled(two, small.found, 2)
    pairs = (one, two), (two, one), shuffled, shuffled[::-1]
    expected, *others = (make.distances(a, align(small.architecture, small.shape, a, b)) for a, b in pairs)
    for distance in others:
        torch.testing.assert_close(distance, expected, atol=1e-9, rtol=1e-9)


def test_where_the_search_from_below_goes_astray_the_present_order_is_improved(make):
    """The inputs' weights are noise, all else fits: from below, the first layer is misplaced for good."""
    architecture = make.specification("mlp", width=6, depth=3)
    found = symmetry(architecture, VECTORS)
    reference = make.started(architecture, VECTORS, 20)
    other = replace(reference, weights=reference.weights.clone())
    noise = torch.randn(20, 72, generator=stream(5, "noise"), dtype=torch.float64)
    other.weights[:, :72] = noise * reference.weights[:, :72].norm(dim=1, keepdim=True) / 8
    before = make.distances(reference, other)
    astray = _Descent(reference, other, found, found.groups)
    present = astray.value.clone()
    astray.rise()
    astray.run(0)
    assert (astray.value < present).any()
    assert (make.distances(reference, align(architecture, VECTORS, reference, other)) <= before + 1e-12).all()


@pytest.mark.parametrize("small", ["mlp batch", "residual parallel", "transformer pre"], indirect=True)
def test_a_pair_does_not_feel_its_neighbours(small, make):
    reference, other = (make.started(small.architecture, small.shape, 5, first) for first in (0, 5))
    together = match_weights(reference, other, small.found)
    alone = match_weights(reference.select([3]), other.select([3]), small.found)
    assert all(torch.equal(together[group][3:4], alone[group]) for group in alone)


@pytest.mark.parametrize("small", ["mlp batch", "residual parallel", "transformer pre"], indirect=True)
def test_pairs_that_do_not_fit_into_memory_at_once_get_the_same(small, make, monkeypatch):
    reference, other = (make.started(small.architecture, small.shape, 3, first) for first in (0, 3))
    whole = match_weights(reference, other, small.found)
    monkeypatch.setattr("zoo.alignment.descent._NUMBERS_AT_ONCE", 2 * reference.layout.size)
    parts = match_weights(reference, other, small.found)
    assert all(torch.equal(whole[group], parts[group]) for group in whole)


def test_the_order_of_the_groups_comes_from_a_seed(make):
    architecture = make.specification("mlp", width=16, depth=6)
    found, stack = symmetry(architecture, VECTORS), make.started(architecture, VECTORS, 8)
    drawn = torch.randn(stack.weights.shape, generator=stream(0, "weights"), dtype=torch.float64)
    reference, other = (replace(stack, weights=drawn[part]) for part in (slice(4), slice(4, 8)))
    ends = [match_weights(reference, other, found, seed=seed) for seed in (0, 0, 1)]
    assert all(torch.equal(ends[0][group], ends[1][group]) for group in found.groups)
    assert not all(torch.equal(ends[0][group], ends[2][group]) for group in found.groups)


def test_statistics_do_not_decide_but_go_along(make):
    architecture = make.specification("mlp", width=6, depth=1, normalisation="batch")
    found = symmetry(architecture, VECTORS)
    reference, other = (make.started(architecture, VECTORS, 2, first) for first in (0, 2))
    expected = match_weights(reference, other, found)
    (start,) = (
        offset
        for entry, offset in zip(other.layout.entries, other.layout.offsets, strict=True)
        if entry.name == "1.running_mean"
    )
    loud = replace(other, weights=other.weights.clone())
    loud.weights[:, start : start + 6] *= 1e6
    assert torch.equal(match_weights(reference, loud, found)["0"], expected["0"])
    aligned = align(architecture, VECTORS, reference, loud)
    moved = loud.weights[:, start : start + 6].gather(1, expected["0"])
    assert torch.equal(aligned.weights[:, start : start + 6], moved)


def degenerate(make, kind):
    architecture = make.specification("mlp", width=6, depth=2)
    stack = make.started(architecture, VECTORS, 2)
    weights = stack.weights.clone()
    if kind == "zero":
        weights.zero_()
    elif kind == "dead":  # two units with no weights on either side
        for name, places in (("0.weight", 0), ("0.bias", 0), ("2.weight", 1)):
            entry, start = next(
                (e, o)
                for e, o in zip(stack.layout.entries, stack.layout.offsets, strict=True)
                if e.name == name
            )
            view = weights[:, start : start + entry.size].view(2, *entry.shape)
            view.index_fill_(places + 1, torch.tensor([1, 4]), 0)
    elif kind == "duplicates":
        weights = weights.sign()
    return architecture, replace(stack, weights=weights)


@pytest.mark.parametrize("kind", ["zero", "dead", "duplicates"])
def test_dead_and_equal_units_are_matched_in_some_order(make, kind):
    architecture, stack = degenerate(make, kind)
    other = make.shuffled(stack, symmetry(architecture, VECTORS))
    aligned = align(architecture, VECTORS, stack, other)
    assert torch.equal(make.distances(stack, aligned), torch.zeros(2, dtype=torch.float64))


def test_no_pairs_have_no_orders(make):
    architecture = make.specification("mlp", width=6)
    none = make.started(architecture, VECTORS).select([])
    orders = match_weights(none, none, symmetry(architecture, VECTORS))
    assert {group: order.shape for group, order in orders.items()} == {"0": (0, 6), "2": (0, 6)}
    assert len(align(architecture, VECTORS, none, none)) == 0


def test_float32_networks_stay_float32(make):
    architecture = make.specification("mlp", width=6)
    stack = make.started(architecture, VECTORS)
    single = replace(stack, module=stack.module.float(), weights=stack.weights.float())
    aligned = align(architecture, VECTORS, single, make.shuffled(single, symmetry(architecture, VECTORS)))
    assert aligned.weights.dtype == torch.float32
    assert torch.equal(aligned.weights, single.weights)


@pytest.mark.parametrize("units", [1, 3, 40])
def test_assignments_are_those_of_the_solver(units):
    similarity = torch.randn(7, units, units, generator=stream(0, "matrix"), dtype=torch.float64)
    similarity[3].diagonal().fill_(9)  # settled without a solver
    for matrix, order in zip(similarity, assign(similarity), strict=True):
        expected = linear_sum_assignment(matrix.numpy(), maximize=True)[1]
        assert order.tolist() == expected.tolist()


# refusals


def test_other_layouts_and_lengths_are_refused(make):
    narrow, wide = (make.specification("mlp", width=width) for width in (3, 4))
    found, stack = symmetry(wide, VECTORS), make.started(wide, VECTORS)
    other = make.started(narrow, VECTORS)
    message = rf"their own layout: expected {stack.layout.id}, got {other.layout.id}; align each"
    with pytest.raises(SpecificationError, match=message):
        match_weights(stack, other, found)
    with pytest.raises(SpecificationError, match="as many networks on both sides, got 2 and 1; select the"):
        align(wide, VECTORS, stack, stack.select([0]))
    with pytest.raises(SpecificationError, match=f"this symmetry is not that of layout {other.layout.id}"):
        match_weights(other, other, found)
    with pytest.raises(UnknownNameError, match="unknown architecture 'mpl'"):
        align(make.specification("mpl"), VECTORS, stack, stack)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(make, value):
    architecture = make.specification("mlp", width=3)
    stack = make.started(architecture, VECTORS, 8)
    broken = replace(stack, weights=stack.weights.clone())
    broken.weights[1, 5] = value
    with pytest.raises(SpecificationError, match=r"NaN in rows \[1\]; leave diverged networks out"):
        align(architecture, VECTORS, stack, broken)
    broken.weights[:, 0] = value
    with pytest.raises(SpecificationError, match=r"in rows \[0, 1, 2, 3, 4\] and others; leave"):
        align(architecture, VECTORS, broken, stack)
