import numpy as np
import pytest
import torch

from zoo.spec import Layout, LayoutEntry
from zoo.weights.low_rank import low_rank, low_rank_weights

SHAPES = [(6, 9), (9, 6), (7, 7), (2, 40)]

LAYOUT = Layout(
    architecture="test",
    entries=(
        LayoutEntry(name="0.weight", shape=(5, 4), kind="weight"),
        LayoutEntry(name="0.bias", shape=(5,), kind="bias"),
        LayoutEntry(name="1.weight", shape=(6, 2, 3, 3), kind="weight"),
        LayoutEntry(name="2.weight", shape=(6,), kind="norm"),
        LayoutEntry(name="2.running_mean", shape=(6,), kind="buffer"),
        LayoutEntry(name="2.num_batches_tracked", shape=(), kind="buffer"),
        LayoutEntry(name="3.weight", shape=(3, 2), kind="weight"),
    ),
)


def drawn(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def truncated(matrix, rank):
    """The best matrix of this rank, from numpy's decomposition, at the norm of the matrix."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    found = sum(values[i] * np.outer(left[:, i], right[i]) for i in range(rank))
    return found * (np.sqrt((matrix**2).sum()) / np.sqrt((found**2).sum()))


@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_matrix_is_cut_to_its_rank_as_numpy_would(shape, rank):
    if rank >= min(shape):
        rank = 1
    matrix = drawn(*shape)
    found = low_rank(matrix, rank)
    np.testing.assert_allclose(found.numpy(), truncated(matrix.numpy(), rank), atol=1e-12, rtol=0)
    assert np.linalg.matrix_rank(found.numpy()) == rank
    assert abs(np.linalg.norm(found) / np.linalg.norm(matrix) - 1) < 1e-12


def test_float32_is_cut_in_float64():
    matrix = drawn(30, 20, dtype=torch.float32)
    expected = truncated(matrix.double().numpy(), 3).astype(np.float32)
    found = low_rank(matrix, 3)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-7, atol=1e-10)


@pytest.mark.parametrize("rank", [6, 7, 1000])
def test_a_rank_that_a_matrix_cannot_exceed_changes_no_bit(rank):
    matrix = drawn(6, 9, dtype=torch.float32)
    assert torch.equal(low_rank(matrix, rank), matrix)


def test_a_matrix_of_this_rank_already_stays_what_it_is():
    matrix = torch.outer(drawn(6), drawn(9)[:9])
    torch.testing.assert_close(low_rank(matrix, 1), matrix, atol=1e-14, rtol=0)


def test_a_matrix_of_zeros_stays_one():
    assert torch.equal(low_rank(torch.zeros(3, 4), 1), torch.zeros(3, 4))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_only_matrices_and_kernels_of_a_network_are_cut(rank):
    vector = drawn(LAYOUT.size, dtype=torch.float32)
    before = vector.clone()
    found, first = low_rank_weights(vector, LAYOUT, rank), 0
    assert torch.equal(vector, before)
    for entry in LAYOUT.entries:
        part = slice(first, first + entry.size)
        first += entry.size
        if entry.kind != "weight" or rank >= entry.shape[0] or rank >= entry.size // entry.shape[0]:
            assert torch.equal(found[part], vector[part])
            continue
        matrix = vector[part].double().numpy().reshape(entry.shape[0], -1)
        np.testing.assert_allclose(
            found[part].numpy().reshape(matrix.shape), truncated(matrix, rank), rtol=1e-6, atol=1e-7
        )
