import numpy as np
import pytest

from wsl_tasks.scoring import BANDS, Statistic, by_band, estimate, mean_of, temperature_bands


def test_a_score_has_value_and_interval():
    values = np.arange(30.0)
    scores = estimate({"mean": mean_of(values)}, np.arange(30), seed=0)
    assert scores["mean"].value == 14.5
    assert 10 < scores["mean"].low < 14.5 < scores["mean"].high < 19


def test_an_undefined_score_has_a_reason_and_no_number():
    statistic = Statistic(lambda _: float("nan"), "all predictions are equal")
    score = estimate({"tau": statistic}, np.arange(3), seed=0)["tau"]
    assert (score.value, score.low, score.high) == (None, None, None)
    assert score.reason == "undefined: all predictions are equal"


def test_one_cell_has_a_value_and_no_interval():
    score = estimate({"mean": mean_of(np.ones(3))}, np.zeros(3), seed=0)["mean"]
    assert (score.value, score.low) == (1.0, None)
    assert "one cell only" in score.reason


def test_bands_hold_their_own_items_only():
    values = np.array([1.0, 2.0, 30.0, 50.0])
    table = by_band({"mean": mean_of(values)}, np.arange(4), ["cold", "cold", "hot", "hot"], seed=0)
    assert list(table) == list(BANDS)
    assert [table[band]["mean"].value for band in BANDS] == [1.5, None, 40.0]
    assert (table["hot"]["mean"].low, table["hot"]["mean"].high) == (30.0, 50.0)
    assert table["mid"]["mean"].reason == "no test item falls here"


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], "ccmmhh"),
        ([1, 2, 3, 4, 5, 6, 7, 8], "cccmmmhh"),
        ([3, 1, 2, 2], "hcmm"),
        ([0.1], "c"),
        ([0.1, 0.2], "cm"),
    ],
)
def test_terciles_of_the_distinct_values(levels, expected):
    levels = [float(level) for level in levels]
    band = temperature_bands(levels)
    assert "".join(band(level)[0] for level in levels) == expected
