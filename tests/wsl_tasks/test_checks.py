import numpy as np
import pytest
import torch

from wsl_tasks.checks import check_array, check_has, check_weights
from zoo.errors import MethodError


class Complete:
    def fit(self, train, val): ...

    def predict(self, test): ...


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        (1.0, 2.0),
        np.array([1, 2]),
        torch.tensor([1.0, 2.0], requires_grad=True),
        torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
    ],
)
def test_numbers_of_any_kind_pass(value):
    np.testing.assert_array_equal(check_array(value, (2,), source="x"), [1.0, 2.0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0], r"predict\(test\): expected shape \(2,\), got \(1,\); return one row an item"),
        ([[1.0], [2.0]], r"expected shape \(2,\), got \(2, 1\)"),
        (3.0, r"expected shape \(2,\), got \(\)"),
        ([1.0, float("nan")], r"expected finite numbers, got nan at \(1,\) \(1 in all\); replace"),
        ([float("-inf"), float("nan")], r"got -inf at \(0,\) \(2 in all\)"),
        (["a", "b"], r"expected an array or tensor of real numbers, got list of dtype <U1; return"),
        ([True, False], "got list of dtype bool"),
        ([[1.0], [1.0, 2.0]], "got list of dtype object"),
        (None, "got NoneType of dtype object"),
        ([1j, 2j], "dtype complex128"),
    ],
)
def test_whatever_cannot_be_scored_is_refused(value, message):
    with pytest.raises(MethodError, match=message):
        check_array(value, (2,), source="predict(test)")


def test_any_length_but_zero():
    assert check_array(np.ones((3, 2)), (None, 2), source="x").shape == (3, 2)
    with pytest.raises(MethodError, match=r"merge: expected shape \(any, 2\), got \(0, 2\)"):
        check_array(np.ones((0, 2)), (None, 2), source="merge")


def test_weights_come_as_float32_of_their_own():
    given = torch.ones(2, 3)
    checked = check_weights(given, (2, 3), source="x")
    given.zero_()
    assert checked.dtype == torch.float32
    assert checked.sum() == 6


def test_numbers_too_large_for_float32_are_refused():
    with pytest.raises(MethodError, match=r"sample in float32: expected finite numbers, got inf at \(0, 1\)"):
        check_weights(np.array([[0.0, 1e300]]), (1, 2), source="sample")


def test_a_method_with_all_functions_passes():
    check_has(Complete(), ("fit", "predict"), task="t")


def test_a_missing_function_is_named():
    with pytest.raises(
        MethodError, match=r"t calls fit and merge of a method, Complete has no merge; docs/tasks"
    ):
        check_has(Complete(), ("fit", "merge"), task="t")


def test_a_class_is_no_method():
    with pytest.raises(
        MethodError, match=r"expected a method object, got the class Complete; pass Complete\(\)"
    ):
        check_has(Complete, ("fit", "predict"), task="t")


@pytest.mark.parametrize("value", [torch.empty(2, device="meta"), torch.ones(2).to_sparse()])
def test_tensors_without_numbers_are_refused(value):
    with pytest.raises(MethodError, match="x: expected an array or tensor of real numbers, got Tensor"):
        check_array(value, (2,), source="x")
