import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from zoo.datasets import Items
from zoo.metrics import evaluation
from zoo.metrics.evaluation import EVALUATION, accuracy, cross_entropy, prediction_dtype
from zoo.weights import unflatten


def reference_logits(subject, row, x):
    """A plain loop in float64 numpy: linear, relu, linear, relu, linear."""
    tensors = unflatten(torch.tensor(subject.weights[row]), subject.layout)
    hidden = x.numpy().astype(np.float64)
    for layer in ("0", "2", "4"):
        weight, bias = (tensors[f"{layer}.{part}"].double().numpy() for part in ("weight", "bias"))
        hidden = (np.maximum(hidden, 0) if layer != "0" else hidden) @ weight.T + bias
    return hidden


def reference_loss(logits, labels):
    return np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels])


def test_every_value_agrees_with_plain_float64(subject):
    frame = EVALUATION.compute(subject).frame
    data = subject.dataset
    noisy = data.training_labels(subject.dataset_specification)
    assert not torch.equal(noisy, data.train.y)
    for row, found in frame.iterrows():
        for side in ("train", "val", "test"):
            items = getattr(data, side)
            logits = reference_logits(subject, row, items.x)
            assert found[f"{side}_loss"] == pytest.approx(reference_loss(logits, items.y.numpy()), rel=1e-5)
            assert found[f"{side}_accuracy"] == np.mean(logits.argmax(1) == items.y.numpy())
        logits = reference_logits(subject, row, data.train.x)
        assert found["fit_loss"] == pytest.approx(reference_loss(logits, noisy.numpy()), rel=1e-5)
        assert found["generalization_gap"] == found["train_accuracy"] - found["test_accuracy"]


def test_predictions_are_the_largest_logit(subject):
    predictions = EVALUATION.compute(subject).predictions
    assert predictions.dtype == np.uint8
    for row in range(len(subject.weights)):
        expected = reference_logits(subject, row, subject.dataset.test.x).argmax(1)
        assert np.array_equal(predictions[row], expected)


@pytest.mark.parametrize(("limit", "sizes"), [(4 * 40 * 10 * 5, (5, 40)), (4 * 10 * 7, (1, 7)), (1, (1, 1))])
def test_some_models_and_items_at_a_time_do_not_change_the_values(limit, sizes, subject, monkeypatch):
    whole = {side: getattr(subject.dataset, side) for side in ("train", "val", "test")}
    sides = {name: Items(side.x[:40], side.y[:40]) for name, side in whole.items()}
    subject = dataclasses.replace(subject, dataset=dataclasses.replace(subject.dataset, **sides))
    whole = EVALUATION.compute(subject)
    monkeypatch.setattr(evaluation, "MAX_BYTES", limit)
    assert evaluation._batch_sizes(subject) == sizes
    parts = EVALUATION.compute(subject)
    names = [column.name for column in EVALUATION.columns]
    np.testing.assert_allclose(parts.frame[names], whole.frame[names], rtol=1e-6)
    assert np.array_equal(parts.predictions, whole.predictions)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38], ids=["nan", "inf", "overflow"])
def test_weights_that_give_no_numbers_give_a_reason(bad, subject):
    weights = subject.weights.copy()
    weights[2] = bad
    frame = EVALUATION.compute(dataclasses.replace(subject, weights=weights)).frame
    names = [column.name for column in EVALUATION.columns]
    assert frame.loc[2, names].isna().all()
    assert frame.loc[2, "evaluation_reason"] == "weights or logits are not finite"
    assert frame.drop(index=2)[names].notna().all(axis=None)


def test_cross_entropy_of_certainty():
    logits = torch.tensor([[[800.0, 0.0], [0.0, 800.0]]])
    assert cross_entropy(logits, torch.tensor([0, 1])).item() == 0
    assert cross_entropy(logits, torch.tensor([1, 1])).item() == 400


def test_accuracy_is_undefined_where_logits_are():
    logits = torch.tensor([[[1.0, 0.0]], [[torch.nan, 0.0]]])
    found = accuracy(logits, torch.tensor([0]))
    assert found[0] == 1
    assert found[1].isnan()


@pytest.mark.parametrize(
    ("classes", "name"), [(2, "uint8"), (256, "uint8"), (257, "int16"), (40000, "int32")]
)
def test_predictions_take_the_smallest_type_that_holds_the_classes(classes, name):
    dtype = prediction_dtype(classes)
    assert dtype == name
    assert np.iinfo(dtype).max >= classes - 1
