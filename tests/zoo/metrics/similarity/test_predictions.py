import dataclasses

import numpy as np
import pytest
import torch

from zoo.errors import SpecificationError, UndefinedMetricError
from zoo.metrics.similarity import (
    DISAGREEMENT,
    ERROR_IOU,
    disagreement,
    disagreements,
    error_iou,
    error_ious,
)

RNG = np.random.default_rng(0)
PREDICTED, LABELS = RNG.integers(0, 3, size=(4, 50)), RNG.integers(0, 3, size=50)


@pytest.mark.parametrize("wrap", [np.array, torch.tensor])
def test_disagreement_counts(wrap):
    assert disagreement(wrap([1, 2, 3]), wrap([1, 2, 3])) == 0
    assert disagreement(wrap([1, 2, 3]), wrap([3, 1, 2])) == 1
    assert disagreement(wrap([1, 2, 3, 4]), wrap([1, 2, 3, 0])) == 0.25


def test_disagreement_refuses_other_items():
    with pytest.raises(SpecificationError, match="expected equal lengths, got 2 and 3"):
        disagreement(np.array([1, 2]), np.array([1, 2, 3]))


def test_disagreement_of_nothing_is_undefined():
    with pytest.raises(UndefinedMetricError, match="expected at least 1, got 0"):
        disagreement(np.array([], dtype=int), np.array([], dtype=int))


def iou(p, q, y):
    """Item by item."""
    first = {i for i, (one, label) in enumerate(zip(p, y, strict=True)) if one != label}
    second = {i for i, (one, label) in enumerate(zip(q, y, strict=True)) if one != label}
    return len(first & second) / len(first | second)


@pytest.mark.parametrize("wrap", [np.array, torch.tensor])
def test_error_iou_compares_where_networks_err(wrap):
    p, q = PREDICTED[:2]
    assert error_iou(wrap(p), wrap(q), wrap(LABELS)) == pytest.approx(iou(p, q, LABELS), rel=1e-14)
    assert error_iou(wrap([0, 1]), wrap([1, 0]), wrap([0, 0])) == 0
    assert error_iou(wrap([0, 1]), wrap([0, 2]), wrap([0, 0])) == 1
    assert error_iou(wrap([0, 0]), wrap([0, 2]), wrap([0, 0])) == 0


def test_error_iou_refuses_other_items():
    with pytest.raises(SpecificationError, match="expected equal lengths, got 2, 2 and 3; run both"):
        error_iou(np.zeros(2, int), np.zeros(2, int), np.zeros(3, int))


@pytest.mark.parametrize("labels", [[0, 1, 2], []])
def test_error_iou_without_errors_is_undefined(labels):
    right = np.array(labels, dtype=int)
    with pytest.raises(UndefinedMetricError, match="got two without an error; there is nothing to share"):
        error_iou(right, right, right)


def test_all_networks_at_once_give_what_loops_give():
    agree, share = disagreements(PREDICTED), error_ious(PREDICTED, LABELS)
    for i, p in enumerate(PREDICTED):
        for j, q in enumerate(PREDICTED):
            assert agree[i, j] == np.mean([a != b for a, b in zip(p, q, strict=True)])
            assert share[i, j] == pytest.approx(iou(p, q, LABELS), rel=1e-14)


def test_only_pairs_without_any_error_have_no_error_iou():
    predicted = np.stack([LABELS, PREDICTED[0], LABELS])
    undefined = np.array([[True, False, True], [False, False, False], [True, False, True]])
    assert np.array_equal(np.isnan(error_ious(predicted, LABELS)), undefined)


@pytest.mark.parametrize("metric", [DISAGREEMENT, ERROR_IOU], ids=lambda metric: metric.name)
def test_predictions_that_are_missing_say_what_to_do(metric, subject):
    with pytest.raises(SpecificationError, match=f"{metric.name} reads .* measure 'evaluation' first"):
        metric.compute(dataclasses.replace(subject, predictions=None))


def test_two_perfect_networks_have_a_reason(subject):
    predictions = subject.predictions.copy()
    places = [list(subject.checkpoints["checkpoint_id"]).index(f"hot-seed{seed}@3") for seed in (0, 2)]
    predictions[places] = subject.judged.test.y.numpy()
    frame = ERROR_IOU.compute(dataclasses.replace(subject, predictions=predictions)).frame
    undefined = frame[frame["error_iou"].isna()]
    assert undefined[["checkpoint_a", "checkpoint_b"]].to_numpy().tolist() == [["hot-seed0@3", "hot-seed2@3"]]
    assert undefined["error_iou_reason"].str.contains("nothing to share").all()
    assert frame["error_iou_reason"].notna().sum() == 1
    assert (frame["error_iou"] == 0).sum() == 2  # one that errs beside one that does not
