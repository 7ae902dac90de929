import dataclasses
import math

import numpy as np
import pytest
import torch

from zoo.errors import SpecificationError, UndefinedMetricError
from zoo.metrics.similarity import CKA, DISAGREEMENT, L2_DISTANCE, disagreement, l2_distance, linear_cka
from zoo.training import evaluate_logits

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 5))
Y = X @ RNG.normal(size=(5, 7)) + 0.5 * RNG.normal(size=(30, 7))


def hsic_cka(x, y):
    """The kernel form: HSIC of doubly centred Gram matrices, in float64."""
    centre = np.eye(len(x)) - 1 / len(x)
    k, l = (centre @ (z @ z.T) @ centre for z in (x, y))  # noqa: E741
    return np.trace(k @ l) / math.sqrt(np.trace(k @ k) * np.trace(l @ l))


@pytest.mark.parametrize("widths", [(5, 7), (1, 1), (100, 3), (100, 200)])
def test_cka_agrees_with_its_kernel_form(widths):
    x, y = (RNG.normal(size=(30, width)) + 3 for width in widths)
    assert linear_cka(x, y) == pytest.approx(hsic_cka(x, y), rel=1e-10)


def test_cka_takes_arrays_and_tensors():
    x, y = torch.tensor(X, dtype=torch.float32, requires_grad=True), torch.tensor(Y)
    assert linear_cka(x, y) == pytest.approx(linear_cka(X, Y), rel=1e-6)
    assert linear_cka(np.arange(6).reshape(3, 2), np.arange(3).reshape(3, 1)) == pytest.approx(1)


def test_cka_is_blind_to_rotation_scale_and_shift_only():
    rotation = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    value = linear_cka(X, Y)
    assert linear_cka(X @ rotation, Y) == pytest.approx(value, rel=1e-12)
    assert linear_cka(1e-200 * X, 1e150 * Y + 1e150) == pytest.approx(value, rel=1e-6)
    assert linear_cka(Y, X) == pytest.approx(value, rel=1e-12)
    assert abs(linear_cka(X * np.array([100, 1, 1, 1, 1]), Y) - value) > 0.01


def test_cka_is_one_with_itself_and_never_more():
    assert all(linear_cka(x, x) <= 1 for x in RNG.normal(size=(50, 9, 4)))
    assert linear_cka(X, X) == pytest.approx(1, abs=1e-12)
    assert 0 <= linear_cka(X, RNG.normal(size=(30, 5))) < 0.6


def test_cka_refuses_other_items():
    with pytest.raises(SpecificationError, match="expected equal lengths, got 30 and 29; run both"):
        linear_cka(X, Y[:29])


@pytest.mark.parametrize("constant", [np.full((30, 2), 0.1), np.tile([0.1, 0.7], (30, 1))])
def test_cka_of_constant_features_is_undefined(constant):
    with pytest.raises(UndefinedMetricError, match="expected items that differ, got the same for all"):
        linear_cka(constant, Y)
    with pytest.raises(UndefinedMetricError, match="expected items that differ"):
        linear_cka(X, constant)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (4, 0)])
def test_cka_of_too_little_is_undefined(shape):
    with pytest.raises(UndefinedMetricError, match="expected items that differ"):
        linear_cka(np.ones(shape), np.ones(shape))


def test_cka_of_what_is_no_number_is_undefined():
    with pytest.raises(UndefinedMetricError, match="expected finite numbers"):
        linear_cka(np.where(X > 2, np.nan, X) + np.inf, Y)


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


def test_l2_distance_is_the_euclidean_one():
    a, b = RNG.normal(size=(2, 1000)).astype(np.float32)
    assert l2_distance(a, b) == pytest.approx(math.dist(a.tolist(), b.tolist()), rel=1e-12)


def rows_of(subject, frame):
    place = {name: row for row, name in enumerate(subject.checkpoints["checkpoint_id"])}
    return [(place[a], place[b]) for a, b in zip(frame["checkpoint_a"], frame["checkpoint_b"], strict=True)]


def test_pairs_are_the_last_checkpoints_within_a_cell_lower_seed_first(subject):
    frame = L2_DISTANCE.compute(subject).frame
    expected = [
        (cell, f"{cell}-seed{a}@3", f"{cell}-seed{b}@3")
        for cell in ("cold", "hot")
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert list(frame.iloc[:, :3].itertuples(index=False, name=None)) == expected


def test_tables_hold_what_the_functions_give(subject):
    logits = evaluate_logits(
        subject.skeleton(), subject.layout, torch.tensor(subject.weights), subject.dataset.test.x
    ).numpy()
    for metric, values, function, rel in (
        (CKA, logits, hsic_cka, 1e-5),
        (DISAGREEMENT, subject.predictions, lambda p, q: (p != q).sum() / len(p), 0),
        (L2_DISTANCE, subject.weights, math.dist, 1e-6),
    ):
        frame = metric.compute(subject).frame
        wanted = [
            function(values[a].astype(float), values[b].astype(float)) for a, b in rows_of(subject, frame)
        ]
        assert frame[metric.name].tolist() == pytest.approx(wanted, rel=rel, abs=0)
        assert min(wanted) > 0


@pytest.mark.parametrize("metric", [CKA, DISAGREEMENT, L2_DISTANCE], ids=lambda metric: metric.name)
def test_pairs_of_a_model_that_did_not_finish_have_a_reason(metric, subject):
    checkpoints = subject.checkpoints.copy()
    gone = checkpoints["model_id"] == "hot-seed1"
    checkpoints.loc[gone, ["status", "last_epoch"]] = ["diverged", 0]
    frame = metric.compute(dataclasses.replace(subject, checkpoints=checkpoints)).frame
    touched = frame[f"{metric.name}_reason"].notna()
    assert frame.loc[touched, ["checkpoint_a", "checkpoint_b"]].to_numpy().tolist() == [
        ["hot-seed0@3", "hot-seed1@0"],
        ["hot-seed1@0", "hot-seed2@3"],
    ]
    assert (frame.loc[touched, f"{metric.name}_reason"] == "model hot-seed1 is diverged").all()
    assert (frame[metric.name].isna() == touched).all()


@pytest.mark.parametrize("metric", [CKA, DISAGREEMENT, L2_DISTANCE], ids=lambda metric: metric.name)
def test_weights_that_are_no_numbers_give_a_reason(metric, subject):
    weights = subject.weights.copy()
    weights[1, 3] = np.nan
    frame = metric.compute(dataclasses.replace(subject, weights=weights)).frame
    assert (frame[f"{metric.name}_reason"] == "weights or logits are not finite").sum() == 2


def test_constant_logits_have_no_cka(subject):
    weights = subject.weights.copy()
    weights[1] = 0
    frame = CKA.compute(dataclasses.replace(subject, weights=weights)).frame
    assert frame["cka_reason"].str.contains("the same for all").sum() == 2


def test_disagreement_without_predictions_says_what_to_do(subject):
    with pytest.raises(SpecificationError, match="got none; measure 'evaluation' first"):
        DISAGREEMENT.compute(dataclasses.replace(subject, predictions=None))
