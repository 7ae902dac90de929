import itertools

import numpy as np
import pandas as pd
import pytest

from zoo.errors import SpecificationError, UnknownNameError
from zoo.phases import correlations

METRICS = ["cka", "hessian_top_eigenvalue", "train_loss", "mode_connectivity", "hessian_trace"]


def test_the_published_correlations_come_out(published):
    found = correlations(published, METRICS).set_index("metric")
    # the file has means over seeds of the eigenvalue; means of its logarithm give -0.71
    assert found["tau"].round(2).tolist() == [0.72, -0.70, -0.59, 0.43, -0.69]
    assert found["n"].tolist() == [169] * 5
    assert (found["low"] < found["tau"]).all()
    assert (found["tau"] < found["high"]).all()
    assert found["reason"].isna().all()


def test_the_order_alone_matters(published):
    logarithm = published.assign(trace=np.log(published["hessian_trace"]))
    found = correlations(logarithm, ["hessian_trace", "trace"])
    assert found.loc[0, ["tau", "low", "high"]].tolist() == found.loc[1, ["tau", "low", "high"]].tolist()


def test_tau_counts_pairs_and_takes_ties_out():
    generator = np.random.default_rng(0)
    cells = pd.DataFrame(
        {"test_accuracy": generator.integers(0, 6, 30), "metric": generator.integers(0, 6, 30)}
    )
    signs = np.array([np.sign(a - b) for a, b in itertools.combinations(cells.to_numpy(float), 2)])
    untied = (signs != 0).sum(axis=0)
    expected = signs.prod(axis=1).sum() / np.sqrt(untied.prod())
    assert correlations(cells, ["metric"])["tau"][0] == pytest.approx(expected)


def test_the_interval_is_as_wide_as_the_standard_error_says():
    generator = np.random.default_rng(1)
    n = 120
    cells = pd.DataFrame({"test_accuracy": generator.normal(size=n), "metric": generator.normal(size=n)})
    found = correlations(cells, ["metric"], seed=3).iloc[0]
    # of independent columns (Kendall 1938); the bootstrap of 500 samples is within a quarter of it
    error = np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))
    assert (found["high"] - found["low"]) / (2 * 1.96) == pytest.approx(error, rel=0.25)


def test_the_seed_decides_the_interval(published):
    intervals = [correlations(published, ["cka"], seed=seed)[["low", "high"]] for seed in (0, 0, 1)]
    assert intervals[0].equals(intervals[1])
    assert not intervals[0].equals(intervals[2])


@pytest.mark.parametrize(
    ("metric", "reason", "n"),
    [
        ([1.0, 1.0, 1.0, 1.0], "one of the two is the same for all cells", 4),
        ([1.0, np.nan, np.nan, 2.0], "2 cells have both values, expected at least 3", 2),
    ],
)
def test_what_has_no_order_has_no_tau(metric, reason, n):
    cells = pd.DataFrame({"test_accuracy": [0.1, 0.2, 0.3, 0.4], "metric": metric})
    found = correlations(cells, ["metric"]).iloc[0]
    assert found[["tau", "low", "high"]].isna().all()
    assert (found["reason"], found["n"]) == (reason, n)


def test_few_cells_have_an_interval_though_some_samples_are_constant():
    cells = pd.DataFrame({"test_accuracy": [0.1, 0.2, 0.3], "metric": [3.0, 2.0, 1.0]})
    found = correlations(cells, ["metric"]).iloc[0]
    assert found[["tau", "low", "high"]].tolist() == pytest.approx([-1, -1, -1])


def test_columns_that_are_missing_or_text_are_refused(published):
    with pytest.raises(UnknownNameError, match="unknown column 'ckaa'; did you mean 'cka'"):
        correlations(published, ["ckaa"])
    with pytest.raises(SpecificationError, match="column 'cell_id' holds str values, expected numbers"):
        correlations(published, ["cell_id"])
    assert correlations(published, []).empty
