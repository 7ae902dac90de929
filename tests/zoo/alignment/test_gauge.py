import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from zoo.alignment import canonical
from zoo.architectures import DataShape, symmetry
from zoo.errors import SpecificationError
from zoo.training import stream
from zoo.weights import unflatten

VECTORS = DataShape((12,), 5)


def rescaled(stack, found):
    """The same functions with other scales, by the state dict: rows times c, columns divided by c."""
    tensors = {name: tensor.clone() for name, tensor in unflatten(stack.weights, stack.layout).items()}
    for group in found.scalable:
        for name, tensor in tensors.items():
            place = found.places(group).get(name)
            if place is None:
                continue
            scale = 0.2 + 3 * torch.rand(found.groups[group], generator=stream(4, group), dtype=torch.float64)
            wide = [1] * (len(found.shape(name)) + 1)
            wide[place + 1] = len(scale)
            factor = scale if name in found.writers(group) else 1 / scale
            tensors[name] = (tensor.reshape(len(stack), *found.shape(name)) * factor.view(wide)).view_as(
                tensor
            )
    return replace(stack, weights=torch.cat([t.reshape(len(stack), -1) for t in tensors.values()], dim=1))


def test_permuted_and_rescaled_copies_have_one_form(small, make):
    stack, x = make.started(small.architecture, small.shape, 2), make.items(small.shape, 5)
    copy = rescaled(make.shuffled(stack, small.found), small.found)
    torch.testing.assert_close(copy.evaluate(x), stack.evaluate(x), atol=1e-9, rtol=1e-9)
    one, two = canonical(stack, small.found), canonical(copy, small.found)
    torch.testing.assert_close(two.weights, one.weights, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(one.evaluate(x), stack.evaluate(x), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(canonical(one, small.found).weights, one.weights, atol=1e-11, rtol=1e-11)
    assert (one.weights != stack.weights).any()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_balanced_network_has_the_least_sum_of_squares(make, depth):
    """Against a general minimiser over the logarithms of all scales, and the formula for one layer."""
    architecture = make.specification("mlp", width=3, depth=depth)
    found, stack = symmetry(architecture, VECTORS), make.started(architecture, VECTORS, 1)
    tensors = list(unflatten(stack.weights[0], stack.layout).values())

    def squares(logarithms):
        scales = torch.tensor(logarithms).exp().view(depth, 3)
        ones = torch.ones(12, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
        above, below = [*scales, ones[1]], [1 / ones[0], *(1 / scales)]
        total = 0.0
        for level in range(depth + 1):
            weight, bias = tensors[2 * level : 2 * level + 2]
            scaled = weight * above[level][:, None] * below[level]
            total += float(scaled.square().sum() + (bias * above[level]).square().sum())
        return total

    least = minimize(squares, np.zeros(3 * depth), method="BFGS", options={"gtol": 1e-7}).fun
    form = canonical(stack, found)
    assert float(form.weights.square().sum()) == pytest.approx(least, rel=1e-9)
    if depth == 1:
        weight, bias, readers, _ = tensors
        scale = (readers.norm(dim=0) / torch.cat([weight, bias[:, None]], dim=1).norm(dim=1)).sqrt()
        order = (readers / scale).norm(dim=0).argsort(descending=True)
        expected = (weight * scale[:, None])[order]
        torch.testing.assert_close(unflatten(form.weights, stack.layout)["0.weight"][0], expected)


def test_units_are_sorted_by_norm_and_balanced(make):
    architecture = make.specification("mlp", width=6, depth=2)
    found = symmetry(architecture, VECTORS)
    form = canonical(make.started(architecture, VECTORS, 3), found)
    tensors = unflatten(form.weights, form.layout)
    first = torch.cat([tensors["0.weight"], tensors["0.bias"][..., None]], dim=2).norm(dim=2)
    torch.testing.assert_close(first, tensors["2.weight"].norm(dim=1), atol=1e-10, rtol=1e-10)
    assert (first.diff(dim=1) <= 0).all()


def test_the_scale_of_tanh_units_stays(make):
    architecture = make.specification("mlp", width=6, depth=2, activation="tanh")
    stack = make.started(architecture, VECTORS)
    form = canonical(stack, symmetry(architecture, VECTORS))
    assert torch.equal(form.weights.sort(dim=1).values, stack.weights.sort(dim=1).values)


def test_units_without_weights_on_one_side_keep_their_scale(make):
    architecture = make.specification("mlp", width=3, depth=1)
    found, stack = symmetry(architecture, VECTORS), make.started(architecture, VECTORS, 1)
    tensors = unflatten(stack.weights, stack.layout)
    tensors["0.weight"][:, 0] = tensors["0.bias"][:, 0] = 0
    tensors["2.weight"][:, :, 1] = 0
    form = canonical(stack, found)
    assert form.weights.isfinite().all()
    norms = unflatten(form.weights, stack.layout)["2.weight"][0].norm(dim=0)
    assert (norms - tensors["2.weight"][0, :, 0].norm()).abs().min() < 1e-12
    zero = replace(stack, weights=torch.zeros_like(stack.weights))
    assert torch.equal(canonical(zero, found).weights, zero.weights)


def test_equal_units_keep_their_order(make):
    architecture = make.specification("mlp", width=4, depth=1, activation="tanh")
    stack = make.started(architecture, VECTORS, 1)
    ones = replace(stack, weights=stack.weights.sign())
    assert torch.equal(canonical(ones, symmetry(architecture, VECTORS)).weights, ones.weights)


def test_float32_networks_stay_float32(make):
    architecture = make.specification("cnn", width=4)
    shape = DataShape((1, 8, 8), 3)
    found, stack = symmetry(architecture, shape), make.started(architecture, shape)
    single = replace(stack, weights=stack.weights.float())
    form = canonical(single, found)
    assert form.weights.dtype == torch.float32
    torch.testing.assert_close(form.weights, canonical(stack, found).weights.float(), atol=1e-6, rtol=1e-6)
    assert len(canonical(stack.select([]), found)) == 0


def test_what_has_no_form_is_refused(make):
    architecture = make.specification("mlp", width=3)
    found, stack = symmetry(architecture, VECTORS), make.started(architecture, VECTORS)
    other = make.started(make.specification("mlp", width=4), VECTORS)
    with pytest.raises(SpecificationError, match=f"this symmetry is not that of layout {other.layout.id}"):
        canonical(other, found)
    broken = replace(stack, weights=stack.weights * math.nan)
    with pytest.raises(SpecificationError, match=r"only finite weights .* in rows \[0, 1\]; leave diverged"):
        canonical(broken, found)
