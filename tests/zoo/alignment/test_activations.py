import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from zoo.alignment import match_activations
from zoo.architectures import DataShape, symmetry
from zoo.errors import SpecificationError
from zoo.weights import unflatten

VECTORS = DataShape((12,), 5)


def test_a_permuted_copy_finds_back(small, make):
    reference = make.started(small.architecture, small.shape, models=2)
    other = make.shuffled(reference, small.found)
    x = make.items(small.shape)
    orders = match_activations(reference, other, small.found, x)
    assert set(orders) == set(small.found.groups)
    back, dead = make.restored(other, small.found, orders), False
    for row in range(2):
        one, two = (watch(stack, row, small.found, x) for stack in (reference, back))
        assert set(one) == set(small.found.views)
        for group, seen in one.items():
            torch.testing.assert_close(two[group], seen, atol=1e-9, rtol=1e-9)
            units = seen.movedim(small.found.views[group].axis, 0).flatten(1)
            dead |= bool((units.std(dim=1) == 0).any())
    # units that never do anything have no order
    assert not dead or small.label in {"mlp", "residual sequential", "resnet 50"}
    assert dead or torch.equal(back.weights, reference.weights)


def watch(stack, row, found, x):
    module, seen = copy.deepcopy(stack.module).eval(), {}
    module.load_state_dict(unflatten(stack.weights[row], stack.layout))
    for group, view in found.views.items():
        module.get_submodule(view.module).register_forward_hook(
            lambda _layer, _inputs, output, group=group: seen.__setitem__(group, output)
        )
    with torch.no_grad():
        module(x)
    return seen


def test_orders_are_those_of_the_correlations(make):
    architecture = make.specification("mlp", width=6, depth=1, activation="tanh")
    found, x = symmetry(architecture, VECTORS), make.items(VECTORS, 50)
    reference, other = (make.started(architecture, VECTORS, 1, first) for first in (0, 1))
    seen = []
    for stack in (reference, other):
        weight, bias = stack.weights[0, :72].view(6, 12), stack.weights[0, 72:78]
        seen.append((x @ weight.mT + bias).tanh().numpy())
    correlation = np.corrcoef(*seen, rowvar=False)[:6, 6:]
    expected = linear_sum_assignment(correlation, maximize=True)[1]
    assert match_activations(reference, other, found, x)["0"][0].tolist() == expected.tolist()


def test_units_that_never_change_do_not_disturb_the_others(make):
    architecture = make.specification("mlp", width=6, depth=1)
    found = symmetry(architecture, VECTORS)
    reference = make.started(architecture, VECTORS, 1)
    reference.weights[0, 72:74] = -1e3  # biases of two units
    other = make.shuffled(reference, found)
    orders = match_activations(reference, other, found, make.items(VECTORS))
    back = make.restored(other, found, orders)
    assert torch.equal(back.weights[0, 24:72], reference.weights[0, 24:72])
    assert torch.equal(back.weights[0, 72:78], reference.weights[0, 72:78])


def test_nothing_of_the_watching_stays_behind(make):
    architecture = make.specification("mlp", width=4)
    stack = make.started(architecture, VECTORS)
    match_activations(stack, stack, symmetry(architecture, VECTORS), make.items(VECTORS))
    assert not any(layer._forward_hooks for layer in stack.module.modules())


def test_pixels_and_float32_are_taken(make):
    shape = DataShape((1, 8, 8), 3)
    architecture = make.specification("cnn", width=4, depth=2)
    found, stack = symmetry(architecture, shape), make.started(architecture, shape)
    single = replace(stack, module=stack.module.float(), weights=stack.weights.float())
    pixels = (make.items(shape).abs() * 80).clamp(max=255).to(torch.uint8)
    other = make.shuffled(single, found)
    orders = match_activations(single, other, found, pixels)
    assert torch.equal(make.restored(other, found, orders).weights, single.weights)


def test_what_cannot_be_watched_is_refused(make):
    architecture = make.specification("mlp", width=4, depth=1)
    found, stack = symmetry(architecture, VECTORS), make.started(architecture, VECTORS)
    x = make.items(VECTORS)
    with pytest.raises(SpecificationError, match="expected at least one, got none; give some"):
        match_activations(stack, stack, found, x[:0])
    with pytest.raises(SpecificationError, match="expected finite activations, got infinite ones or NaN"):
        match_activations(stack, replace(stack, weights=stack.weights * 1e200), found, x * 1e200)
    with pytest.raises(SpecificationError, match="as many networks on both sides, got 2 and 1"):
        match_activations(stack, stack.select([1]), found, x)
