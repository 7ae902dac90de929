import numpy as np
import pytest
from scipy import stats

from wsl_tasks.bootstrap import interval


def mean_of(values):
    return lambda places: values[places].mean()


def test_ends_are_those_of_the_normal_approximation():
    """The bootstrap's standard error of a mean is sd / sqrt(n), sd with n in the denominator."""
    values = np.random.default_rng(0).normal(size=400)
    low, high = interval(np.arange(400), mean_of(values), seed=0, resamples=4000)
    half = stats.norm.ppf(0.975) * values.std() / 20
    # 4,000 resamples place a 2.5 % quantile within 0.042 standard errors (one sigma): sqrt(p (1 - p) / 4000)
    # over the normal density there, 0.058; three of these are allowed
    slack = 3 * 0.042 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=slack)
    assert high == pytest.approx(values.mean() + half, abs=slack)


def test_coverage_is_that_of_theory():
    """500 samples of 40 normal values: an interval of the mean covers with P(|t| < z sqrt((n-1)/n))."""
    n, samples = 40, 500
    draws = np.random.default_rng(1).normal(size=(samples, n))
    ends = [interval(np.arange(n), mean_of(row), seed=i, resamples=300) for i, row in enumerate(draws)]
    covered = np.mean([low <= 0 <= high for low, high in ends])
    theory = 1 - 2 * stats.t.sf(stats.norm.ppf(0.975) * np.sqrt((n - 1) / n), df=n - 1)
    assert theory == pytest.approx(0.939, abs=0.001)
    # standard error of a share of 500 is 0.011; 300 resamples shorten intervals by another 0.003
    assert covered == pytest.approx(theory, abs=3 * 0.011 + 0.003)


def test_groups_are_drawn_whole():
    """Five equal copies of every value add no information: the interval is that of the groups' values."""
    values = np.random.default_rng(2).normal(size=60)
    groups = np.repeat(np.arange(60), 5)
    by_group = interval(groups, mean_of(np.repeat(values, 5)), seed=3)
    assert by_group == pytest.approx(interval(np.arange(60), mean_of(values), seed=3), abs=1e-12)
    naive = interval(np.arange(300), mean_of(np.repeat(values, 5)), seed=3)
    assert np.ptp(naive) < 0.6 * np.ptp(by_group)


def test_names_of_groups_may_be_text_and_in_any_order():
    values = np.array([1.0, 5.0, 1.0, 5.0])
    low, high = interval(np.array(["b", "a", "b", "a"], dtype=object), mean_of(values), seed=0)
    assert (low, high) == (1.0, 5.0)


def test_the_same_seed_gives_the_same_interval():
    values = np.arange(20.0)
    once, again, other = (interval(np.arange(20), mean_of(values), seed=s) for s in (5, 5, 6))
    assert once == again != other


def test_undefined_resamples_do_not_count():
    """Undefined where a resample of two groups misses group 0, which happens with chance 1/4."""

    def of(places):
        return 1.0 if 0 in places else float("nan")

    assert interval(np.arange(2), of, seed=0) == (1.0, 1.0)


def test_mostly_undefined_gives_no_interval():
    assert np.isnan(interval(np.arange(5), lambda _: float("nan"), seed=0)).all()


def test_one_group_gives_no_interval():
    assert np.isnan(interval(np.zeros(4), mean_of(np.arange(4.0)), seed=0)).all()
