import dataclasses

import numpy as np
import pytest
import torch

from zoo.errors import UndefinedMetricError
from zoo.metrics.spectrum import SPECTRUM, as_matrices, frobenius_norm, spectral_norm, stable_rank
from zoo.weights import unflatten

SHAPES = [
    (5, 3),
    (3, 5),
    (1, 7),
    (7, 1),
    (1, 1),
    (4, 6, 9),
    (8, 3, 3, 3),
    (2, 8, 3, 3, 3),
    (2, 3, 4, 2, 1, 1),
]


def reference(weight):
    """Singular values by numpy's dense SVD in float64."""
    array = weight.numpy().astype(np.float64)
    if array.ndim >= 4:
        array = array.reshape(*array.shape[:-3], -1)
    return np.linalg.svd(array, compute_uv=False)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_agree_with_a_dense_svd(shape, dtype):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)
    values = reference(weight)
    largest, total = values.max(axis=-1), np.square(values).sum(axis=-1)
    assert spectral_norm(weight).shape == largest.shape
    np.testing.assert_allclose(spectral_norm(weight), largest, rtol=1e-12)
    np.testing.assert_allclose(frobenius_norm(weight), np.sqrt(total), rtol=1e-12)
    np.testing.assert_allclose(stable_rank(weight), total / largest**2, rtol=1e-12)


@pytest.mark.parametrize("condition", [1e2, 1e8, 1e16])
def test_ill_conditioned_matrices_lose_no_accuracy(condition):
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(20, 20)))[0] for _ in range(2))
    values = np.geomspace(1, 1 / condition, 20)
    weight = torch.tensor(left * values @ right)
    assert spectral_norm(weight).item() == pytest.approx(1, rel=1e-12)
    assert stable_rank(weight).item() == pytest.approx(np.square(values).sum(), rel=1e-12)


def test_stable_rank_lies_between_one_and_the_rank():
    weight = torch.randn(50, 6, 2, generator=torch.Generator().manual_seed(0)) @ torch.ones(2, 9)
    assert ((stable_rank(weight) >= 1 - 1e-12) & (stable_rank(weight) <= 2 + 1e-12)).all()
    assert stable_rank(torch.eye(7)).item() == pytest.approx(7)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_matrix_spoils_only_itself(bad):
    weight = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    clean = stable_rank(weight)
    weight[1, 2, 3] = bad
    for measure in (spectral_norm, stable_rank):
        assert measure(weight).isnan().tolist() == [False, True, False]
    assert not frobenius_norm(weight).isfinite()[1]
    assert torch.equal(stable_rank(weight)[[0, 2]], clean[[0, 2]])


def test_a_zero_matrix_has_no_stable_rank():
    assert spectral_norm(torch.zeros(2, 3, 4)).tolist() == [0, 0]
    assert stable_rank(torch.zeros(2, 3, 4)).isnan().all()


def test_parameters_are_taken_as_they_are():
    layer = torch.nn.Linear(3, 2)
    assert not spectral_norm(layer.weight).requires_grad


@pytest.mark.parametrize("shape", [(), (3,), (0, 3)])
def test_what_is_no_matrix_is_refused(shape):
    with pytest.raises(UndefinedMetricError, match=r"expected a matrix .* got shape \(.*vectors"):
        as_matrices(torch.zeros(shape))


def test_the_table_has_a_row_a_checkpoint_and_weight(subject):
    frame = SPECTRUM.compute(subject).frame
    assert frame["layer"].unique().tolist() == ["0.weight", "2.weight", "4.weight"]
    assert frame["shape"].unique().tolist() == ["6x64", "6x6", "10x6"]
    assert len(frame) == 3 * len(subject.weights)
    for _, row in frame.iterrows():
        place = subject.checkpoints["checkpoint_id"].tolist().index(row["checkpoint_id"])
        tensors = unflatten(torch.tensor(subject.weights[place]), subject.layout)
        assert row["spectral_norm"] == pytest.approx(reference(tensors[row["layer"]])[0], rel=1e-12)


def test_undefined_layers_have_their_reason(subject):
    weights = subject.weights.copy()
    weights[0, 0] = np.nan
    weights[1] = 0
    frame = SPECTRUM.compute(dataclasses.replace(subject, weights=weights)).frame
    found = frame.set_index(["checkpoint_id", "layer"])["spectrum_reason"]
    assert found["hot-seed0@0", "0.weight"] == "weights are not finite"
    assert found[["hot-seed0@0"]].notna().sum() == 1
    assert (found["hot-seed0@3"] == "the matrix is zero").all()
    assert (frame.loc[frame["checkpoint_id"] == "hot-seed0@3", "spectral_norm"] == 0).all()
