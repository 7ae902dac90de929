"""The table of TempBalance, from numbers whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("tempbalance")


def networks(gains, base=(0.70, 0.80, 0.90)):
    """Three seeds at one learning rate; what each method adds to each seed."""
    rows = [
        {
            "learning_rate": 0.1,
            "temp_balance": name,
            "temp_balance_spread": 0.4,
            "seed": seed,
            "test_accuracy": value + gain,
        }
        for name, added in {"none": (0, 0, 0), **gains}.items()
        for seed, (value, gain) in enumerate(zip(base, added, strict=True))
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_differences_are_paired_by_seed(script):
    table = script.balance_table(networks({"full": (0.01, 0.02, 0.03), "farms": (0, 0, 0)}))
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
    assert rows[0] == ["0.1", "one rate", "", "3", "80.00 ± 5.77 %", ""]
    half = 4.302653 / np.sqrt(3)  # Student's t, two degrees of freedom; the deviation is 1
    assert rows[1][-1] == f"+2.00 [{2 - half:+.2f}, {2 + half:+.2f}]"
    assert rows[1][4] == "82.00 ± 6.35 %"
    assert rows[2][:2] == ["0.1", "TempBalance + FARMS"]
    assert rows[2][-1] == "+0.00 [+0.00, +0.00]"


def test_the_interval_is_that_of_a_paired_test(script):
    random = np.random.default_rng(0)
    one, two = random.normal(size=(2, 12))
    low, high = stats.ttest_rel(two, one).confidence_interval(0.95)
    assert script.difference(pd.Series(two - one)) == f"{(two - one).mean():+.2f} [{low:+.2f}, {high:+.2f}]"


def test_a_network_that_diverged_is_counted_and_its_pair_left_out(script):
    table = script.balance_table(networks({"full": (np.nan, 0.02, 0.03), "farms": (np.nan, np.nan, 0.01)}))
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
    assert rows[1][3] == "3, 1 diverged"
    assert rows[1][-1].startswith("+2.50 [")
    assert rows[2][3] == "3, 2 diverged"
    assert rows[2][-1] == "-"


def test_networks_of_a_zoo_come_with_their_last_accuracy(script, tiny_zoo):
    import zoo

    opened = zoo.open(tiny_zoo)
    found = script.last_values(opened)
    assert len(found) == len(opened.models) == 8
    last = opened.checkpoints.query("epoch == 2").set_index("model_id")["test_accuracy"]
    assert (found.set_index("model_id")["test_accuracy"] == last.loc[found["model_id"]]).all()
