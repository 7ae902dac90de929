import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.func import functional_call

from zoo.metrics import get
from zoo.metrics.similarity import (
    CKA,
    CKA_DEBIASED,
    CKA_FEATURES,
    CKA_MIXUP,
    DISAGREEMENT,
    ERROR_IOU,
    L2_DISTANCE,
    METRICS,
    PTMZ_CKA,
    YANG2021_CKA,
    disagreement,
    error_iou,
    linear_cka,
)
from zoo.metrics.similarity.papers import yang2021_points
from zoo.metrics.similarity.standard import mixup_points
from zoo.training import NetworkStack
from zoo.weights import unflatten

every_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


@torch.no_grad()
def outputs(subject, row, x, *, features=False):
    """One perceptron by itself."""
    module = subject.skeleton()
    tensors = unflatten(torch.tensor(subject.weights[row]), subject.layout)
    if not features:
        return functional_call(module, tensors, (x,))
    module.load_state_dict(tensors)
    return module[:-1](x)


def rows_of(subject, frame):
    place = {name: row for row, name in enumerate(subject.checkpoints["checkpoint_id"])}
    return [(place[a], place[b]) for a, b in zip(frame["checkpoint_a"], frame["checkpoint_b"], strict=True)]


def values(metric, frame):
    return frame[[column.name for column in metric.columns]].to_numpy()


def on_test(subject, a, b, *, features=False, debiased=False):
    one, two = (outputs(subject, row, subject.dataset.test.x, features=features) for row in (a, b))
    return linear_cka(one, two, debiased=debiased)


def probabilities(subject, a, b, points):
    one, two = (outputs(subject, row, points).softmax(dim=-1) for row in (a, b))
    return linear_cka(one, two)


def in_batches(subject, a, b):
    x = subject.dataset.test.x
    found = [
        linear_cka(*(outputs(subject, row, x[start : start + 128]) for row in (a, b)))
        for start in range(0, 384, 128)  # 500 test items: three whole batches
    ]
    return sum(found) / 3


BY_HAND = [
    (CKA, lambda s, a, b: [on_test(s, a, b)]),
    (CKA_DEBIASED, lambda s, a, b: [on_test(s, a, b, debiased=True)]),
    (
        CKA_FEATURES,
        lambda s, a, b: [
            on_test(s, a, b, features=True),
            on_test(s, a, b, features=True, debiased=True),
        ],
    ),
    (CKA_MIXUP, lambda s, a, b: [probabilities(s, a, b, mixup_points(s))]),
    (YANG2021_CKA, lambda s, a, b: [probabilities(s, a, b, yang2021_points(s))]),
    (PTMZ_CKA, lambda s, a, b: [in_batches(s, a, b)]),
    (DISAGREEMENT, lambda s, a, b: [disagreement(s.predictions[a], s.predictions[b])]),
    (ERROR_IOU, lambda s, a, b: [error_iou(s.predictions[a], s.predictions[b], s.dataset.test.y.numpy())]),
    (L2_DISTANCE, lambda s, a, b: [math.dist(s.weights[a].tolist(), s.weights[b].tolist())]),
]


@pytest.mark.parametrize(("metric", "by_hand"), BY_HAND, ids=lambda value: getattr(value, "name", ""))
def test_tables_hold_what_the_functions_give_pair_by_pair(metric, by_hand, whole):
    frame = metric.compute(whole).frame
    expected = [by_hand(whole, a, b) for a, b in rows_of(whole, frame)]
    np.testing.assert_allclose(values(metric, frame), expected, rtol=1e-4, atol=1e-6)
    assert np.ptp(expected) > 0.05
    assert frame[f"{metric.name}_reason"].isna().all()


@every_metric
def test_pairs_are_those_of_each_epoch_within_a_cell_lower_seed_first(metric, subject):
    frame = metric.compute(subject).frame
    expected = [
        (cell, f"{cell}-seed{a}@{epoch}", f"{cell}-seed{b}@{epoch}")
        for cell in ("cold", "hot")
        for epoch in (0, 3)
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert list(frame.iloc[:, :3].itertuples(index=False, name=None)) == expected


@every_metric
def test_last_checkpoints_of_other_epochs_are_compared_too(metric, whole):
    late = whole.checkpoints["checkpoint_id"] == "hot-seed1@3"
    checkpoints = whole.checkpoints.assign(
        epoch=whole.checkpoints["epoch"].mask(late, 4),
        last_epoch=whole.checkpoints["last_epoch"].mask(whole.checkpoints["model_id"] == "hot-seed1", 4),
    )
    plain, changed = (
        metric.compute(dataclasses.replace(whole, checkpoints=table)).frame
        for table in (whole.checkpoints, checkpoints)
    )
    keys = ["checkpoint_a", "checkpoint_b"]
    order = plain.sort_values(keys), changed.sort_values(keys)
    assert order[0][keys].to_numpy().tolist() == order[1][keys].to_numpy().tolist()
    np.testing.assert_allclose(*(values(metric, frame) for frame in order), rtol=1e-5, atol=1e-6)


@every_metric
def test_pairs_do_not_depend_on_who_else_is_measured(metric, whole, monkeypatch):
    frame = metric.compute(whole).frame.set_index(["checkpoint_a", "checkpoint_b"])
    cold = np.flatnonzero(whole.checkpoints["cell_id"] == "cold")
    alone = metric.compute(whole.rows(cold)).frame.set_index(["checkpoint_a", "checkpoint_b"])
    np.testing.assert_allclose(
        values(metric, alone), values(metric, frame.loc[alone.index]), rtol=1e-5, atol=1e-6
    )
    monkeypatch.setattr("zoo.metrics.similarity.representations.MAX_BYTES", 100_000)
    again = metric.compute(whole).frame
    np.testing.assert_allclose(values(metric, again), values(metric, frame), rtol=1e-5, atol=1e-6)


def test_items_and_cells_are_cut_into_what_fits(whole, monkeypatch):
    original, seen = NetworkStack.evaluate, []

    def evaluate(stack, x):
        seen.append((len(stack), len(x)))
        return original(stack, x)

    monkeypatch.setattr(NetworkStack, "evaluate", evaluate)
    # three networks of 10 units on 500 items need 60,000 bytes
    for budget, expected in ((120_000, (6, 500)), (60_000, (3, 500)), (30_000, (3, 250))):
        seen.clear()
        monkeypatch.setattr("zoo.metrics.similarity.representations.MAX_BYTES", budget)
        CKA.compute(whole)
        assert set(seen) == {(1, 1), expected}


@every_metric
def test_pairs_of_a_model_that_did_not_finish_have_a_reason(metric, whole):
    checkpoints = whole.checkpoints.copy()
    checkpoints.loc[checkpoints["model_id"] == "hot-seed1", "status"] = "diverged"
    frame = metric.compute(dataclasses.replace(whole, checkpoints=checkpoints)).frame
    touched = frame[f"{metric.name}_reason"].notna()
    assert frame.loc[touched, ["checkpoint_a", "checkpoint_b"]].to_numpy().tolist() == [
        [f"hot-seed{a}@{epoch}", f"hot-seed{b}@{epoch}"] for epoch in (0, 3) for a, b in ((0, 1), (1, 2))
    ]
    assert (frame.loc[touched, f"{metric.name}_reason"] == "model hot-seed1 is diverged").all()
    assert (np.isnan(values(metric, frame)) == touched.to_numpy()[:, None]).all()


@every_metric
def test_weights_that_are_no_numbers_give_a_reason(metric, whole):
    weights = whole.weights.copy()
    weights[1, 3] = np.nan
    frame = metric.compute(dataclasses.replace(whole, weights=weights)).frame
    touched = frame[f"{metric.name}_reason"] == "weights or logits are not finite"
    assert touched.sum() == 2
    assert (np.isnan(values(metric, frame)) == touched.to_numpy()[:, None]).all()


@every_metric
def test_a_single_seed_has_no_pair(metric, subject):
    checkpoints = subject.checkpoints.assign(cell_id=subject.checkpoints["model_id"])
    frame = metric.compute(dataclasses.replace(subject, checkpoints=checkpoints)).frame
    assert len(frame) == 0
    assert list(frame.columns) == [column.name for column in metric.stored_columns]


REPRESENTATIONS = [CKA, CKA_DEBIASED, CKA_FEATURES, CKA_MIXUP, PTMZ_CKA, YANG2021_CKA]


@pytest.mark.parametrize("metric", REPRESENTATIONS, ids=lambda metric: metric.name)
@pytest.mark.parametrize(
    ("weight", "reason"), [(0, "the same for all"), (1e30, "expected finite numbers")], ids=["zero", "huge"]
)
def test_constant_and_infinite_outputs_are_like_no_other(metric, weight, reason, whole):
    weights = whole.weights.copy()
    weights[1] = weight
    frame = metric.compute(dataclasses.replace(whole, weights=weights)).frame
    touched = frame[f"{metric.name}_reason"].notna()
    assert touched.sum() == 2
    assert frame.loc[touched, f"{metric.name}_reason"].str.contains(reason).all()
    assert (np.isnan(values(metric, frame)) == touched.to_numpy()[:, None]).all()


def test_three_items_have_a_biased_cka_of_features_alone(on_items, subject):
    frame = CKA_FEATURES.compute(on_items(subject, train=40, test=3)).frame
    assert frame["cka_features"].notna().all()
    assert frame["cka_features_debiased"].isna().all()
    assert frame["cka_features_reason"].str.contains("needs at least 4 items, got 3").all()


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (CKA_MIXUP, "the protocol looks at 256 train items, there are 255"),
        (PTMZ_CKA, "the protocol looks at batches of 128 test items, there are 127"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_too_few_items_are_a_reason(metric, reason, on_items, subject):
    frame = metric.compute(on_items(subject, train=255, test=127)).frame
    assert values(metric, frame).size > 0
    assert np.isnan(values(metric, frame)).all()
    assert (frame[f"{metric.name}_reason"] == reason).all()


@pytest.mark.parametrize("metric", [CKA_MIXUP, YANG2021_CKA], ids=lambda metric: metric.name)
def test_tokens_with_one_class_an_item_are_a_reason(metric, tokens):
    frame = metric.compute(tokens).frame
    assert frame[f"{metric.name}_reason"].tolist() == [
        "the inputs are tokens: there is nothing between two of them"
    ]


def test_each_place_of_a_sequence_is_an_item(text):
    logits = [outputs(text, row, text.dataset.test.x).flatten(0, 1) for row in range(2)]
    assert logits[0].shape == (32, 5)
    assert CKA.compute(text).frame["cka"].tolist() == pytest.approx([linear_cka(*logits)], rel=1e-4)
    share = error_iou(*text.predictions, text.dataset.test.y.flatten().numpy())
    assert ERROR_IOU.compute(text).frame["error_iou"].tolist() == [share]
    features = CKA_FEATURES.compute(text).frame["cka_features"]
    assert features.between(0, 1).all()


def test_debiased_cka_may_be_negative(on_items, subject):
    frame = CKA_DEBIASED.compute(on_items(subject, train=40, test=30)).frame
    assert frame["cka_debiased"].min() < 0


def test_solutions_of_equations_can_be_compared(convection):
    for metric in (CKA, CKA_DEBIASED, CKA_FEATURES, L2_DISTANCE):
        assert "convection" in metric.kinds
        assert metric.compute(convection).frame[f"{metric.name}_reason"].isna().all()


def test_protocols_that_have_results_under_them_stay_as_they_are():
    for metric, settings in (
        (CKA, {"estimator": "biased", "kernel": "linear", "features": "logits", "items": "test"}),
        (DISAGREEMENT, {"items": "test"}),
    ):
        assert metric.settings == settings
    ids = [CKA.protocol_id, DISAGREEMENT.protocol_id, L2_DISTANCE.protocol_id]
    assert ids == ["cka/logits-test-v1", "disagreement/test-v1", "distance/l2-v1"]
    assert all(get(metric.name) is metric for metric in (CKA, DISAGREEMENT, L2_DISTANCE))


def test_protocols_of_papers_are_measured_when_asked_for_alone():
    suites = {metric.name: metric.suite for metric in METRICS if metric.suite != "standard"}
    assert suites == {"ptmz_cka": "ptmz", "yang2021_cka": "yang2021"}
    assert {metric.name for metric in METRICS if metric.scope == "last"} == {*suites, "aligned_l2_distance"}
    classes = {metric.name for metric in METRICS if "convection" not in metric.kinds}
    assert classes == {*suites, "cka_mixup", "disagreement", "error_iou"}
    assert {"cka_mixup", "yang2021_cka"} == {m.name for m in METRICS if "sequence" not in m.kinds}
