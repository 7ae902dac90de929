import numpy as np
import pytest
import torch

from zoo.errors import SpecificationError
from zoo.spectra import Windows, windowed_eigenvalues
from zoo.spectra import windows as module
from zoo.spectra.windows import starts


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_a_loop(matrix, windows):
    """The grid of Hu et al. 2025 written out, one dense SVD a window."""
    rows, columns = matrix.shape
    high = min(windows.rows, rows, int(columns / windows.aspect_ratio))
    wide = int(high * windows.aspect_ratio)
    found = [
        np.linalg.svd(matrix[top : top + high, left : left + wide].numpy(), compute_uv=False) ** 2
        for top in starts(rows, high, windows.per_dim)
        for left in starts(columns, wide, windows.per_dim)
    ]
    return np.sort(np.concatenate(found))


@pytest.mark.parametrize(
    ("shape", "windows"),
    [
        ((50, 70), Windows(20)),
        ((50, 70), Windows(20, 2.0, 4)),
        ((50, 70), Windows(20, 0.5, 3)),
        ((30, 10), Windows(100)),
        ((10, 64), Windows(100, 2.0)),
        ((25, 25), Windows(25, 1.0, 1)),
        ((1, 40), Windows(100)),
        ((40, 1), Windows(1)),
    ],
)
def test_all_windows_are_those_of_a_loop(shape, windows):
    matrix = draw(*shape)
    found = windowed_eigenvalues(matrix, windows)
    np.testing.assert_allclose(found[0], by_a_loop(matrix, windows), rtol=1e-9, atol=1e-12)


def test_every_window_has_the_aspect_ratio_and_lies_in_the_matrix():
    for rows, columns in [(7, 300), (64, 10), (99, 99), (101, 350), (2, 2)]:
        for ratio in (0.5, 1.0, 2.0):
            high, wide = Windows(100, ratio).fitting(rows, columns)
            assert high <= min(rows, 100)
            assert wide <= columns
            assert wide == int(high * ratio)


def test_a_stack_gives_what_its_matrices_give():
    stack = draw(3, 40, 30)
    together = windowed_eigenvalues(stack, Windows(10))
    for place, matrix in enumerate(stack):
        torch.testing.assert_close(together[place], windowed_eigenvalues(matrix, Windows(10)))


def test_few_windows_at_once_give_the_same(monkeypatch):
    matrix = draw(60, 80)
    expected = windowed_eigenvalues(matrix, Windows(12))
    monkeypatch.setattr(module, "_AT_ONCE", 300)
    torch.testing.assert_close(windowed_eigenvalues(matrix, Windows(12)), expected)


@pytest.mark.parametrize(("ratio", "block"), [(1.0, (8, 8)), (2.0, (4, 8)), (0.5, (8, 4))])
def test_the_blocks_of_a_kernel_are_cut_from_all_its_slices(ratio, block):
    kernel, (high, wide) = draw(8, 20, 3, 3), block
    found = windowed_eigenvalues(kernel, Windows(100, ratio))
    assert found.shape == (2, 9 * min(block))
    for place in range(2):
        blocks = [
            kernel[:, :, i, j].T[place * high : (place + 1) * high, :wide] for i in range(3) for j in range(3)
        ]
        values = torch.cat([torch.linalg.svdvals(part).square() for part in blocks]).sort().values
        torch.testing.assert_close(found[place], values, rtol=1e-9, atol=1e-12)


def test_kernels_of_a_stack_are_cut_each_by_itself():
    kernels = draw(2, 8, 20, 3, 3)
    together = windowed_eigenvalues(kernels, Windows())
    torch.testing.assert_close(together[1], windowed_eigenvalues(kernels[1], Windows()))


def test_a_matrix_too_narrow_for_the_aspect_ratio_has_no_window():
    assert windowed_eigenvalues(draw(30, 3), Windows(100, 4.0)).shape == (1, 0)


def test_the_grid_begins_at_the_edge_and_never_leaves_the_side():
    for length in range(1, 140):
        for window in range(1, length + 1):
            found = starts(length, window, 9)
            assert found[0] == 0
            assert found[-1] + window <= length
            assert 1 <= len(found) <= 9


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (Windows(0), "at least 1 row"),
        (Windows(-5), "at least 1 row"),
        (Windows(1.5), "at least 1 row .* got 1.5 and 9"),
        (Windows("5"), "at least 1 row .* got '5' and 9"),
        (Windows(10, 1.0, 0), "at least 1 window a side, got 10 and 0"),
        (Windows(10, -1.0), "aspect_ratio: expected columns over rows, above 0, got -1.0"),
        (Windows(10, 0.0), "aspect_ratio"),
        (Windows(10, float("nan")), "aspect_ratio"),
        (Windows(10, float("inf")), "aspect_ratio"),
    ],
)
def test_windows_that_cannot_be_cut_are_refused(windows, message):
    with pytest.raises(SpecificationError, match=message):
        windowed_eigenvalues(draw(4, 4), windows)


@pytest.mark.parametrize(
    ("ratio", "shape", "expected"),
    [
        (1.1, (100, 110), (100, 110)),
        (0.29, (100, 29), (100, 29)),
        (5e-324, (9, 9), (9, 0)),
        (1e300, (9, 9), (0, 0)),
    ],
)
def test_rounding_of_the_aspect_ratio_costs_no_row_and_no_column(ratio, shape, expected):
    assert Windows(100, ratio).fitting(*shape) == expected


def test_every_ratio_of_two_digits_finds_its_own_window():
    for hundredth in range(1, 300):
        ratio = hundredth / 100
        assert Windows(100, ratio).fitting(100, hundredth) == (100, hundredth)
