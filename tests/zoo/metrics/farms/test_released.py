"""The mode `paper` gives the numbers of the released code of FARMS; `clamped`, where these are right."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from zoo.metrics import farms, spectrum

RELEASED = pd.read_csv(Path(__file__).parents[3] / "data" / "farms_released.csv")
CASES = list(RELEASED.itertuples(index=False))


def shape_of(case):
    return tuple(map(int, case.shape.split("x")))


def drawn(shape, seed, power):
    """Draw normal entries, of heavier tails the higher the power."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator)
    if power:
        weight = weight / torch.rand(shape, generator=generator).add(0.02).pow(power)
    return weight * 0.05


def law_of(case, mode):
    weight = drawn(shape_of(case), case.seed, case.power)
    if case.windows:
        return farms.power_law(weight, fit=case.fit, aspect_ratio=case.aspect_ratio, mode=mode)
    return spectrum.power_law(weight, fit=case.fit, mode=mode)


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.shape}-{case.fit}-{case.windows}-{case.power}"
)
def test_the_released_code_gives_the_same_numbers(case):
    law = law_of(case, "paper")
    assert law.alpha.item() == pytest.approx(case.alpha, rel=1e-4)
    assert law.distance.item() == pytest.approx(case.distance, abs=1e-4)


def agrees(case):
    """Say whether there is nothing to repair: all windows fit, 20 eigenvalues, no logarithm taken for one."""
    shape, ratio = shape_of(case), case.aspect_ratio if case.windows else 1
    if len(shape) == 4:
        enough = int(min(shape[:2]) / ratio) * shape[2] ** 2 >= 20
    else:
        enough = min(shape[0], shape[1] / ratio) >= (100 if case.windows else 20)
    return enough and case.fit != "xmin_peak"


@pytest.mark.parametrize("case", [case for case in CASES if agrees(case)], ids=str)
def test_where_it_is_right_ours_are_its_numbers(case):
    assert law_of(case, "clamped").alpha.item() == pytest.approx(case.alpha, rel=2e-3)


def test_windows_that_do_not_fit_keep_their_aspect_ratio():
    """Of 90 x 200 random entries the released code takes 90 x 100 of 10 rows; ours are square."""
    weight = drawn((90, 200), 4, 0)
    assert farms.alpha(weight, mode="paper").item() > 4.9
    assert farms.eigenvalues(weight, mode="paper").shape == (1, 90)
    assert farms.eigenvalues(weight).shape == (1, 9 * 90)
    assert farms.alpha(weight).item() == pytest.approx(2.13, abs=0.01)


def test_no_more_is_left_out_than_the_released_code_leaves_out():
    assert farms.eigenvalues(torch.ones(4, 3), mode="paper").shape == (1, 3)
    assert farms.alpha(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), mode="paper").isnan()
    assert farms.alpha(drawn((5, 8), 0, 0), mode="paper").isfinite()
