"""The scripts behind docs/spectra.md: the experiment on small matrices, and the tables from known numbers."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def aspect_ratio(load_script):
    return load_script("aspect_ratio")


@pytest.fixture(scope="module")
def spectra(load_script):
    return load_script("spectra")


@pytest.fixture(scope="module")
def measured(aspect_ratio):
    return aspect_ratio.exponents(range(3), epochs=3)


def slope_of(aspect_ratio, measured, kind, measure):
    found = aspect_ratio.slopes(measured).set_index(["kind", "measure"])
    return found.loc[(kind, measure)]


def test_exponents_of_whole_matrices_drift_with_the_aspect_ratio_and_those_of_windows_do_not(
    aspect_ratio, measured
):
    for kind in ("random, short side 128", "random, short side 64", "trained, some units of one layer"):
        whole, windows = (slope_of(aspect_ratio, measured, kind, m) for m in ("whole matrix", "FARMS"))
        assert whole["low"] > 0.2
        assert abs(windows["slope"]) < 0.05
        assert windows["high"] < whole["low"]


def test_the_released_code_drifts_where_its_windows_do_not_fit(aspect_ratio, measured):
    fits, does_not = (
        slope_of(aspect_ratio, measured, f"random, short side {side}", "FARMS, released code")
        for side in (128, 64)
    )
    assert abs(fits["slope"]) < 0.02
    assert does_not["low"] > 0.1


def test_slopes_are_those_of_lines(aspect_ratio):
    rows = [
        ("k", ratio, seed, "m", 1 + slope * np.log2(ratio))
        for seed, slope in enumerate([0.1, 0.3])
        for ratio in (1, 2, 4)
    ]
    found = aspect_ratio.slopes(
        pd.DataFrame(rows, columns=["kind", "ratio", "seed", "measure", "alpha"])
    ).iloc[0]
    assert found["slope"] == pytest.approx(0.2)
    assert found["high"] - found["slope"] == pytest.approx(
        0.1 * 12.706, rel=1e-3
    )  # t of one degree of freedom
    assert (found["first"], found["last"], found["n"]) == (1, pytest.approx(1.4), 2)


def test_the_figure_shows_every_kind_and_measure(aspect_ratio, measured):
    figure = aspect_ratio.figure_of(measured)
    assert len(figure.axes) == 4
    assert all(len(axes.containers) == 3 for axes in figure.axes)


def test_tau_within_phases_does_not_see_what_lies_between_them(spectra):
    generator = np.random.default_rng(0)
    inside = generator.permutation(40) / 100
    cells = pd.DataFrame(
        {
            "phase": np.repeat(["I", "II", "III"], [40, 40, 3]),
            "measure": np.concatenate([inside, 10 + inside, [0, 1, 2]]),
            "test_accuracy": np.concatenate([inside, -10 + inside, [2, 1, 0]]),
        }
    )
    tau, low, high, count = spectra.within(cells, "measure", "test_accuracy")
    assert (tau, count) == (pytest.approx(1), 80)  # phase III is too small to count
    assert low <= tau <= high + 1e-12


def test_a_measure_that_no_phase_has_is_missing(spectra):
    cells = pd.DataFrame({"phase": ["I"] * 9, "measure": [np.nan] * 9, "test_accuracy": range(9)})
    assert spectra.within(cells, "measure", "test_accuracy")[3] == 0


def test_the_strongest_measure_is_bold_and_the_null_never(spectra):
    generator = np.random.default_rng(0)
    cells = pd.DataFrame({name: generator.normal(size=20) for name in spectra.MEASURES})
    cells["test_accuracy"] = -cells["stable rank"]
    cells["null: alpha of random matrices"] = cells["test_accuracy"]
    lines = spectra.prediction_table({"toy": cells}, "test_accuracy").split("\n")
    bold = [line for line in lines if "**" in line]
    assert [line.split("|")[1].strip() for line in bold] == ["stable rank"]
    assert "-1.00" in bold[0]
