import itertools
import math

import numpy as np
import pytest
import torch

from zoo.architectures import DataShape, layout
from zoo.errors import SpecificationError
from zoo.metrics.similarity import ALIGNED_L2_DISTANCE, aligned_l2_distance, l2_distance
from zoo.spec import ArchitectureSpecification
from zoo.training import NetworkStack
from zoo.weights import flatten, unflatten

RNG = np.random.default_rng(0)
SHAPE = DataShape((4,), 3)


def test_l2_distance_is_the_euclidean_one():
    a, b = RNG.normal(size=(2, 1000)).astype(np.float32)
    assert l2_distance(a, b) == pytest.approx(math.dist(a.tolist(), b.tolist()), rel=1e-12)


def drawn(count, shape=SHAPE, **options):
    """Networks with random weights, without their skeleton."""
    spec = ArchitectureSpecification.model_validate(options)
    found = layout(spec, shape)
    weights = torch.randn(count, found.size, generator=torch.Generator().manual_seed(0))
    return spec, NetworkStack(torch.nn.Identity(), found, weights)


def reordered(stack, orders):
    """Put hidden units of one perceptron into other orders, layer by layer."""
    tensors = unflatten(stack.weights[0], stack.layout)
    names = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
    for (layer, following), order in zip(itertools.pairwise(names), orders, strict=True):
        for name in (f"{layer}.weight", f"{layer}.bias"):
            tensors[name] = tensors[name][list(order)]
        tensors[f"{following}.weight"] = tensors[f"{following}.weight"][:, list(order)]
    return flatten(tensors, stack.layout)


def least(reference, other, width, depth):
    """The minimum over all orders, tried one by one."""
    every = list(itertools.permutations(range(width)))
    return min(
        float((reference.weights[0] - reordered(other, orders)).double().norm())
        for orders in itertools.product(every, repeat=depth)
    )


@pytest.mark.parametrize("seed", range(3))
def test_one_hidden_layer_is_aligned_as_well_as_can_be(seed):
    spec, stack = drawn(6, name="mlp", width=4, depth=1)
    one, two = stack.select([2 * seed]), stack.select([2 * seed + 1])
    found = aligned_l2_distance(spec, SHAPE, one, two)
    assert found.tolist() == pytest.approx([least(one, two, 4, 1)], rel=1e-6)


def test_the_aligned_distance_lies_between_the_least_and_the_plain_one():
    spec, stack = drawn(8, name="mlp", width=3, depth=2)
    one, two = stack.select(slice(0, 4)), stack.select(slice(4, 8))
    found = aligned_l2_distance(spec, SHAPE, one, two).numpy()
    pairs = [(one.select([row]), two.select([row])) for row in range(4)]
    least_ones = np.array([least(a, b, 3, 2) for a, b in pairs])
    plain = np.array([l2_distance(a.weights[0].numpy(), b.weights[0].numpy()) for a, b in pairs])
    assert (found >= least_ones - 1e-6).all()
    assert (found < plain).all()


def test_a_copy_in_another_order_is_no_distance_away():
    spec, stack = drawn(1, name="mlp", width=5, depth=2)
    moved = NetworkStack(
        stack.module, stack.layout, reordered(stack, ([3, 0, 1, 4, 2], [1, 0, 4, 2, 3]))[None]
    )
    assert l2_distance(stack.weights[0].numpy(), moved.weights[0].numpy()) > 1
    assert aligned_l2_distance(spec, SHAPE, stack, moved).tolist() == [0.0]


def changed(stack, name, rows):
    tensors = unflatten(stack.weights.clone(), stack.layout)
    tensors[name][:, rows] += 5
    return NetworkStack(
        stack.module, stack.layout, torch.cat([t.reshape(len(stack), -1) for t in tensors.values()], 1)
    )


@pytest.mark.parametrize(
    ("options", "name", "rows", "apart"),
    [
        ({"name": "transformer", "model_dim": 4, "depth": 1}, "h.0.attn.c_attn.bias", slice(4, 8), 0),
        ({"name": "transformer", "model_dim": 4, "depth": 1}, "h.0.attn.c_attn.bias", slice(3, 8), 5),
        ({"name": "mlp", "width": 4, "normalisation": "batch"}, "1.running_mean", slice(0, 4), 0),
        ({"name": "mlp", "width": 4, "normalisation": "batch"}, "1.bias", slice(0, 1), 5),
    ],
    ids=["keys", "a query", "statistics", "a shift"],
)
def test_numbers_that_never_matter_are_no_distance(options, name, rows, apart):
    spec, stack = drawn(1, **options)
    found = aligned_l2_distance(spec, SHAPE, stack, changed(stack, name, rows))
    assert found.tolist() == pytest.approx([apart], abs=1e-5)


def test_networks_of_other_layouts_are_refused():
    spec, stack = drawn(1, name="mlp", width=4)
    with pytest.raises(SpecificationError, match="aligned with networks of their own layout"):
        aligned_l2_distance(spec, SHAPE, stack, drawn(1, name="mlp", width=5)[1])


def test_each_pair_is_aligned_by_itself(subject, monkeypatch):
    frame = ALIGNED_L2_DISTANCE.compute(subject).frame
    place = {name: row for row, name in enumerate(subject.checkpoints["checkpoint_id"])}
    stack = NetworkStack(subject.skeleton(), subject.layout, torch.tensor(subject.weights))
    for pair in frame.itertuples():
        one, two = (stack.select([place[name]]) for name in (pair.checkpoint_a, pair.checkpoint_b))
        found = aligned_l2_distance(subject.architecture, subject.judged.shape, one, two)
        assert pair.aligned_l2_distance == pytest.approx(float(found), rel=1e-12)
        assert 0 < pair.aligned_l2_distance < l2_distance(one.weights[0].numpy(), two.weights[0].numpy())
    monkeypatch.setattr("zoo.metrics.similarity.distances.MAX_BYTES", 1)
    again = ALIGNED_L2_DISTANCE.compute(subject).frame
    np.testing.assert_allclose(again["aligned_l2_distance"], frame["aligned_l2_distance"], rtol=1e-12)


def test_vectors_of_other_shapes_are_no_distance_apart():
    with pytest.raises(SpecificationError, match=r"expected equal shapes, got \(3,\) and \(1,\)"):
        l2_distance(np.zeros(3), np.zeros(1))
