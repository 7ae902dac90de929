import itertools

import pandas as pd
import pytest

from zoo.metrics import model_pairs


def rows(*models):
    """One row a checkpoint, from (cell, seed, epochs, status)."""
    return pd.DataFrame(
        [
            {
                "checkpoint_id": f"{cell}{seed}@{epoch}",
                "model_id": f"{cell}{seed}",
                "cell_id": cell,
                "seed": seed,
                "epoch": epoch,
                "last_epoch": max(epochs),
                "status": status,
            }
            for cell, seed, epochs, status in models
            for epoch in epochs
        ]
    )


FINISHED = "finished"
SEVERAL = rows(
    ("b", 2, (0, 1, 5), FINISHED),
    ("b", 0, (0, 1, 5), FINISHED),
    ("b", 1, (0, 5, 9), FINISHED),
    ("a", 3, (0,), "diverged"),
    ("a", 1, (0, 5), FINISHED),
)


def ids(table):
    return list(zip(table["checkpoint_a"], table["checkpoint_b"], strict=True))


def test_checkpoints_of_the_same_epoch_are_pairs_and_last_ones_of_any():
    assert ids(model_pairs(SEVERAL)) == [
        ("a1@0", "a3@0"),
        ("a1@5", "a3@0"),  # the last ones of both
        ("b0@0", "b1@0"),
        ("b0@0", "b2@0"),
        ("b1@0", "b2@0"),
        ("b0@1", "b2@1"),
        ("b0@5", "b1@5"),
        ("b0@5", "b2@5"),
        ("b1@5", "b2@5"),
        ("b0@5", "b1@9"),
        ("b1@9", "b2@5"),
    ]


def test_pairs_are_those_that_the_rule_names():
    def belong(a, b):
        last = a.epoch == a.last_epoch and b.epoch == b.last_epoch
        return a.cell_id == b.cell_id and a.seed < b.seed and (a.epoch == b.epoch or last)

    listed = list(SEVERAL.itertuples())
    expected = {(a.Index, b.Index) for a, b in itertools.product(listed, repeat=2) if belong(a, b)}
    found = model_pairs(SEVERAL)
    assert set(zip(found["row_a"], found["row_b"], strict=True)) == expected
    assert len(found) == len(expected)


def test_the_order_of_the_rows_does_not_matter_and_places_follow_them():
    shuffled = SEVERAL.sample(frac=1, random_state=0)
    found = model_pairs(shuffled)
    assert ids(found) == ids(model_pairs(SEVERAL))
    assert shuffled["checkpoint_id"].iloc[found["row_a"]].tolist() == found["checkpoint_a"].tolist()
    assert shuffled["checkpoint_id"].iloc[found["row_b"]].tolist() == found["checkpoint_b"].tolist()


@pytest.mark.parametrize("table", [rows(("a", 0, (0, 1), FINISHED), ("b", 0, (0, 1), FINISHED)), SEVERAL[:0]])
def test_a_single_seed_has_no_pair(table):
    found = model_pairs(table)
    assert len(found) == 0
    assert found.columns.tolist() == [
        "cell_id",
        "checkpoint_a",
        "checkpoint_b",
        "row_a",
        "row_b",
        "reason",
    ]
    assert found.dtypes["row_a"] == "int64"


def test_a_model_that_did_not_finish_is_the_reason():
    table = rows(("a", 0, (0, 1), FINISHED), ("a", 1, (0, 1), "diverged"), ("a", 2, (0, 1), "failed"))
    reasons = model_pairs(table)["reason"]
    assert (
        reasons.tolist()
        == ["model a1 is diverged", "model a2 is failed", "model a1 is diverged; model a2 is failed"] * 2
    )
    assert model_pairs(SEVERAL)["reason"].isna().sum() == 9
