import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.tree import DecisionTreeRegressor

from zoo.phases.cuts import histogram, otsu, typical_spread


def test_the_cut_is_that_of_a_regression_tree_of_depth_one():
    # least squares with two constants: the same sum of squares, minimised by another library
    for seed in range(20):
        generator = np.random.default_rng(seed)
        values = np.concatenate([generator.normal(0, 1, 23), generator.normal(seed / 4, 0.5, 11)])
        tree = DecisionTreeRegressor(max_depth=1).fit(values[:, None], values)
        cut = otsu(values)
        assert cut.place == pytest.approx(tree.tree_.threshold[0], abs=1e-6)
        assert cut.explained == pytest.approx(tree.score(values[:, None], values), abs=1e-9)


def test_one_hump_explains_what_the_closed_forms_say():
    generator = np.random.default_rng(0)
    # halves of a normal have means +-sqrt(2 / pi), those of a uniform +-1/2 at variance 1/3
    assert otsu(generator.normal(size=100_000)).explained == pytest.approx(2 / np.pi, abs=0.01)
    assert otsu(generator.uniform(-1, 1, size=100_000)).explained == pytest.approx(3 / 4, abs=0.01)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=40), st.integers(1, 9), st.integers(-99, 99))
def test_the_cut_moves_with_the_unit_of_the_values(values, factor, shift):
    numbers = np.array(values, float)
    cut, moved = otsu(numbers), otsu(numbers * factor + shift)
    if len(set(values)) == 1:
        assert np.isnan(cut).all()
        return
    assert (numbers < cut.place).any()
    assert (numbers > cut.place).any()
    assert moved.explained == pytest.approx(cut.explained, abs=1e-9)


def test_without_two_values_there_is_no_cut():
    assert np.isnan(otsu(np.array([]))).all()
    assert np.isnan(otsu(np.array([0.3, 0.3, 0.3]))).all()


def test_a_histogram_counts_every_value_once():
    values = np.random.default_rng(0).normal(size=25)
    edges, counts = histogram(values)
    assert (len(edges), len(counts), counts.sum()) == (11, 10, 25)
    assert (edges[0], edges[-1]) == (values.min(), values.max())
    assert len(histogram(np.arange(10_000.0))[1]) == 40
    assert [len(part) for part in histogram(np.array([]))] == [0, 0]


def test_a_spread_is_that_of_the_noise():
    generator = np.random.default_rng(0)
    means = np.repeat(generator.uniform(0, 1, 4000), 5)
    values = means + generator.normal(0, 0.05, len(means))
    # the median of sqrt(chi2 / 4), 4 degrees of freedom; 1,000 cells leave an error of about 1.5 %
    expected = 0.05 * np.sqrt(stats.chi2.ppf(0.5, 4) / 4)
    found = typical_spread(values, np.repeat(np.arange(4000), 5), near=0.5)
    assert found == pytest.approx(expected, rel=0.06)


def test_a_spread_is_the_median_over_the_cells_nearest_to_the_cut():
    # 40 cells at 0, 1, ...; the spread of each is its number; a cell of one seed and that of 0 do not count
    cells = np.repeat(np.arange(40), 2)
    values = cells + np.tile([-0.5, 0.5], 40) * np.sqrt(2) * cells
    values, cells = np.append(values, 20.0), np.append(cells, 99)
    assert typical_spread(values, cells, near=20.6) == pytest.approx(np.median(np.arange(17, 26)))
    # at least eight cells
    few = cells < 12
    assert typical_spread(values[few], cells[few], near=0.0) == pytest.approx(np.median(np.arange(1, 9)))


def test_one_wild_cell_does_not_decide_the_spread():
    values = np.array([0.0, 2.0, 0.0, 2.0, 0.0, 900.0])
    assert typical_spread(values, np.array([*"aabbcc"]), near=0.0) == pytest.approx(np.sqrt(2))


def test_without_two_seeds_there_is_no_spread():
    assert np.isnan(typical_spread(np.array([1.0, 2.0]), np.array(["a", "b"]), near=0.0))
    assert np.isnan(typical_spread(np.array([2.0, 2.0]), np.array(["a", "a"]), near=0.0))
