import math

import numpy as np
import pytest
import torch

from zoo.errors import SpecificationError, UndefinedMetricError
from zoo.metrics.similarity import CKASums, linear_cka

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 5))
Y = X @ RNG.normal(size=(5, 7)) + 0.5 * RNG.normal(size=(30, 7))
WIDTHS = [(5, 7), (1, 1), (100, 3), (100, 200)]
both_estimators = pytest.mark.parametrize("debiased", [False, True], ids=["biased", "debiased"])


def hsic_cka(x, y):
    """The kernel form: HSIC of doubly centred Gram matrices, in float64."""
    centre = np.eye(len(x)) - 1 / len(x)
    k, l = (centre @ (z @ z.T) @ centre for z in (x, y))  # noqa: E741
    return np.trace(k @ l) / math.sqrt(np.trace(k @ k) * np.trace(l @ l))


def hsic_one(x, y):
    """HSIC_1 as Song et al. 2012 write it: Gram matrices without their diagonals."""
    k, l = (z @ z.T * (1 - np.eye(len(z))) for z in (x, y))  # noqa: E741
    n, one = len(x), np.ones(len(x))
    total = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ l) + total - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))


def hsic_one_cka(x, y):
    return hsic_one(x, y) / math.sqrt(hsic_one(x, x) * hsic_one(y, y))


@pytest.mark.parametrize("widths", WIDTHS)
def test_cka_agrees_with_its_kernel_form(widths):
    x, y = (RNG.normal(size=(30, width)) + 3 for width in widths)
    assert linear_cka(x, y) == pytest.approx(hsic_cka(x, y), rel=1e-10)


@pytest.mark.parametrize("widths", WIDTHS)
def test_debiased_cka_agrees_with_its_kernel_form(widths):
    x, y = (RNG.normal(size=(30, width)) + 3 for width in widths)
    assert linear_cka(x, y, debiased=True) == pytest.approx(hsic_one_cka(x, y), abs=1e-10)
    assert linear_cka(X, Y, debiased=True) == pytest.approx(hsic_one_cka(X, Y), rel=1e-9)


def test_debiased_cka_of_independent_features_is_nil_on_average_and_biased_cka_is_not():
    draws = [RNG.normal(size=(2, 20, 50)) for _ in range(300)]
    debiased = np.array([linear_cka(x, y, debiased=True) for x, y in draws])
    error = debiased.std() / math.sqrt(len(draws))
    assert error < 0.01
    assert abs(debiased.mean()) < 4 * error
    assert debiased.min() < 0
    assert np.mean([linear_cka(x, y) for x, y in draws]) > 0.6


def test_cka_takes_arrays_and_tensors():
    x, y = torch.tensor(X, dtype=torch.float32, requires_grad=True), torch.tensor(Y)
    assert linear_cka(x, y) == pytest.approx(linear_cka(X, Y), rel=1e-6)
    assert linear_cka(np.arange(6).reshape(3, 2), np.arange(3).reshape(3, 1)) == pytest.approx(1)


@both_estimators
def test_cka_is_blind_to_rotation_scale_and_shift_only(debiased):
    rotation = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    value = linear_cka(X, Y, debiased=debiased)
    assert linear_cka(X @ rotation, Y, debiased=debiased) == pytest.approx(value, rel=1e-11)
    assert linear_cka(1e-200 * X, 1e150 * Y + 1e150, debiased=debiased) == pytest.approx(value, rel=1e-6)
    assert linear_cka(Y, X, debiased=debiased) == pytest.approx(value, rel=1e-12)
    assert abs(linear_cka(X * np.array([100, 1, 1, 1, 1]), Y, debiased=debiased) - value) > 0.01


@both_estimators
def test_cka_is_one_with_itself_and_never_more(debiased):
    assert all(linear_cka(x, x, debiased=debiased) <= 1 for x in RNG.normal(size=(50, 9, 4)))
    assert linear_cka(X, X, debiased=debiased) == pytest.approx(1, abs=1e-12)
    assert linear_cka(X, RNG.normal(size=(30, 5)), debiased=debiased) < 0.6


def test_cka_refuses_other_items():
    with pytest.raises(SpecificationError, match="expected equal lengths, got 30 and 29; run both"):
        linear_cka(X, Y[:29])


def rounded_constant():
    """What a product may make of equal items: float32 numbers that differ in their last place."""
    last = np.float32([0.7, np.nextafter(np.float32(0.7), np.float32(1))])
    return np.stack([RNG.permutation(np.tile(last, 15)), np.full(30, 0.1, np.float32)], axis=1)


@both_estimators
@pytest.mark.parametrize(
    "constant", [np.full((30, 2), 0.1), np.tile([0.1, 0.7], (30, 1)), np.zeros((30, 1)), rounded_constant()]
)
def test_cka_of_constant_features_is_undefined(constant, debiased):
    with pytest.raises(UndefinedMetricError, match="expected items that differ, got the same for all"):
        linear_cka(constant, Y, debiased=debiased)
    with pytest.raises(UndefinedMetricError, match="expected items that differ"):
        linear_cka(X, constant, debiased=debiased)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (4, 0)])
def test_cka_of_too_little_is_undefined(shape):
    with pytest.raises(UndefinedMetricError, match="expected items that differ"):
        linear_cka(np.ones(shape), np.ones(shape))


def test_cka_of_what_is_no_number_is_undefined():
    with pytest.raises(UndefinedMetricError, match="expected finite numbers"):
        linear_cka(np.where(X > 2, np.nan, X) + np.inf, Y)


def test_debiased_cka_needs_four_items():
    with pytest.raises(UndefinedMetricError, match="needs at least 4 items, got 3; give more"):
        linear_cka(X[:3], Y[:3], debiased=True)
    assert linear_cka(X[:4], Y[:4], debiased=True) == pytest.approx(hsic_one_cka(X[:4], Y[:4]), rel=1e-9)


def test_debiased_cka_needs_two_items_that_differ_from_the_rest():
    apart = np.zeros((30, 2))
    apart[3] = 1
    assert 0 < linear_cka(apart, Y) < 1
    with pytest.raises(UndefinedMetricError, match="expected two items that differ from the others"):
        linear_cka(apart, Y, debiased=True)


# all pairs of a stack, batch by batch

STACK = torch.tensor(RNG.normal(size=(2, 3, 60, 4)) * [1, 5, 0.1, 2] + 7)
"""Two cells of three networks."""


def summed(features, sizes):
    sums = CKASums()
    for batch in features.split(sizes, dim=-2):
        sums.update(batch)
    return sums


@both_estimators
@pytest.mark.parametrize("sizes", [60, 7, [1, 59], [2, 30, 28], 1])
def test_batches_give_what_all_items_at_once_give(sizes, debiased):
    sums = summed(STACK, sizes)
    assert sums.items == 60
    expected = [[[linear_cka(a, b, debiased=debiased) for b in cell] for a in cell] for cell in STACK]
    np.testing.assert_allclose(sums.matrix(debiased=debiased).numpy(), expected, rtol=0, atol=1e-12)
    assert (sums.faults(debiased=debiased) == None).all()  # noqa: E711


@both_estimators
def test_sums_lose_no_digits_to_a_first_batch_unlike_the_others(debiased):
    features = STACK.clone()
    features[..., :10, :] = 0  # nothing to centre or to scale by
    features[:, 1] = features[:, 1] * 1e4 + 1e5
    expected = [[[linear_cka(a, b, debiased=debiased) for b in cell] for a in cell] for cell in features]
    found = summed(features, 10).matrix(debiased=debiased).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_memory_does_not_grow_with_the_items():
    def numbers(sums):
        return sum(value.numel() for value in vars(sums).values() if isinstance(value, torch.Tensor))

    assert numbers(summed(STACK, 1)) == numbers(summed(STACK[..., :1, :], 1))


def test_a_fault_of_one_network_touches_its_own_pairs_alone():
    features = STACK.clone()
    features[0, 0] = 0.1
    features[1, 1, 3, 2] = torch.inf
    features[1, 2] = 0
    features[1, 2, 5] = 1
    clean = summed(STACK, 7)
    for debiased, faulty in ((False, [(0, 0), (1, 1)]), (True, [(0, 0), (1, 1), (1, 2)])):
        sums = summed(features, 7)
        faults = sums.faults(debiased=debiased)
        assert {tuple(place) for place in np.argwhere(faults.astype(bool))} == set(faulty)
        bad = torch.tensor(faults.astype(bool))
        matrix = sums.matrix(debiased=debiased)
        assert torch.equal(matrix.isnan(), bad[:, :, None] | bad[:, None, :])
        untouched = clean.matrix(debiased=debiased)[0, 1:, 1:]
        torch.testing.assert_close(matrix[0, 1:, 1:], untouched, rtol=1e-12, atol=0)
    assert "the same for all" in faults[0, 0]
    assert "expected finite numbers" in faults[1, 1]
    assert "expected two items that differ" in faults[1, 2]


def test_features_that_only_rounding_tells_apart_are_constant():
    features = STACK[0].float()
    features[1, :, :2] = torch.tensor(rounded_constant()).repeat(2, 1)
    features[1, :, 2:] = 0.5
    sums = summed(features, 9)
    assert "the same for all" in sums.faults()[1]
    assert sums.matrix().isnan().sum() == 5


def test_debiased_sums_need_four_items():
    sums = summed(STACK[..., :3, :], 2)
    assert sums.matrix().isfinite().all()
    assert sums.matrix(debiased=True).isnan().all()
    assert "needs at least 4 items, got 3" in sums.faults(debiased=True)[0, 0]


def test_an_empty_batch_adds_nothing():
    sums = summed(STACK, 30)
    before = sums.matrix()
    sums.update(STACK[..., :0, :])
    assert torch.equal(sums.matrix(), before)


def test_sums_refuse_other_networks():
    sums = summed(STACK, 30)
    with pytest.raises(SpecificationError, match=r"expected \(2, 3, 4\) beside the items, got \(2, 2, 4\)"):
        sums.update(STACK[:, :2])


@pytest.mark.parametrize("ask", [CKASums.matrix, CKASums.faults])
def test_sums_of_nothing_are_undefined(ask):
    with pytest.raises(UndefinedMetricError, match="expected at least 2, got 0; update it first"):
        ask(CKASums())
