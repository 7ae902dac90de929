import dataclasses
import math

import numpy as np
import pytest

from zoo.metrics.norms import NORMS, distance_from_init, l2_norm, trainable
from zoo.spec import Layout, LayoutEntry


def test_norms_agree_with_exact_sums(subject):
    frame = NORMS.compute(subject).frame
    for row in range(1, len(subject.weights), 2):  # epoch 0 and 3 take turns
        start, end = subject.weights[row - 1].tolist(), subject.weights[row].tolist()
        size = math.sqrt(math.fsum(w * w for w in start))
        distance = math.dist(start, end)
        assert frame["weight_norm"][row - 1] == pytest.approx(size, rel=1e-12)
        assert frame["distance_from_init"][row] == pytest.approx(distance, rel=1e-12)
        assert frame["relative_distance_from_init"][row] == pytest.approx(distance / size, rel=1e-12)
        assert frame["distance_from_init"][row - 1] == 0


def test_rows_may_come_in_any_order(subject):
    order = np.random.default_rng(0).permutation(len(subject.weights))
    shuffled = dataclasses.replace(
        subject,
        weights=subject.weights[order],
        checkpoints=subject.checkpoints.iloc[order].reset_index(drop=True),
    )
    assert np.array_equal(distance_from_init(shuffled)[0], distance_from_init(subject)[0][order])


def test_buffers_do_not_count():
    layout = Layout(
        architecture="made-up",
        entries=[
            LayoutEntry(name="w", shape=(1, 2), kind="weight"),
            LayoutEntry(name="n.weight", shape=(1,), kind="norm"),
            LayoutEntry(name="n.running_mean", shape=(2,), kind="buffer"),
            LayoutEntry(name="b", shape=(1,), kind="bias"),
        ],
    )
    weights = np.array([[1, 2, 2, 100, 100, 4]], dtype=np.float32)
    assert trainable(weights, layout).tolist() == [[1, 2, 2, 4]]
    assert l2_norm(trainable(weights, layout))[0] == 5


def test_large_weights_do_not_overflow():
    assert l2_norm(np.full((1, 4), 1e30, np.float32))[0] == pytest.approx(2e30)


def reasons_where(subject, change):
    weights, checkpoints = subject.weights.copy(), subject.checkpoints.copy()
    checkpoints = change(weights, checkpoints)
    kept = checkpoints.index
    checkpoints = checkpoints.reset_index(drop=True)
    changed = dataclasses.replace(subject, weights=weights[kept], checkpoints=checkpoints, predictions=None)
    return NORMS.compute(changed).frame.set_index("checkpoint_id")


def test_without_epoch_0_there_is_a_norm_but_no_distance(subject):
    row = reasons_where(subject, lambda weights, checkpoints: checkpoints.drop(index=0)).loc["hot-seed0@3"]
    assert row["weight_norm"] > 0
    assert np.isnan(row["distance_from_init"])
    assert row["norms_reason"] == "epoch 0 of the model is not in the shard, or not finite"


def test_zero_initial_weights_leave_the_relative_distance_undefined(subject):
    def change(weights, checkpoints):
        weights[0] = 0
        return checkpoints

    row = reasons_where(subject, change).loc["hot-seed0@3"]
    assert row["distance_from_init"] == row["weight_norm"]
    assert np.isnan(row["relative_distance_from_init"])
    assert row["norms_reason"] == "initial weights are zero"


@pytest.mark.parametrize(
    ("row", "bad", "reason"),
    [
        (1, np.nan, "weights are not finite"),
        (1, np.inf, "weights are not finite"),
        (0, np.inf, "initial weights are not finite"),
        (0, np.nan, "epoch 0 of the model is not in the shard, or not finite"),
    ],
)
def test_weights_that_are_no_numbers_give_a_reason(row, bad, reason, subject):
    def change(weights, checkpoints):
        weights[row, 5] = bad
        return checkpoints

    frame = reasons_where(subject, change)
    assert np.isnan(frame["distance_from_init"]["hot-seed0@3"])
    assert frame["norms_reason"]["hot-seed0@3"] == reason
