"""Loss and accuracy on clean labels, the loss that training minimised, and the predicted classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from zoo.datasets import Items
from zoo.metrics.base import Measurement, Metric, Subject, measured
from zoo.spec import Column
from zoo.training import evaluate_logits

MAX_BYTES = 64 << 20
"""What the widest activation of some models on some items may take."""


def cross_entropy(
    logits: Float[Tensor, "models items classes"], labels: Int[Tensor, " items"]
) -> Float[Tensor, " models"]:
    """Average the cross-entropy: `mean_i (log sum_c exp z_ic - z_i,y_i)`, in float64.

    Args:
        logits: `(n, n_items, n_classes)`.
        labels: `(n_items,)`, shared.

    Returns:
        `(n,)` float64 in nats, at least 0, lower is better; not finite where a logit is not.

    Example:
        >>> cross_entropy(torch.zeros(1, 3, 2), torch.tensor([0, 1, 1]))  # log 2
        tensor([0.6931], dtype=torch.float64)
    """
    log_shares = functional.log_softmax(logits.double(), dim=-1)
    return -log_shares[:, torch.arange(len(labels)), labels].mean(dim=1)


def accuracy(
    logits: Float[Tensor, "models items classes"], labels: Int[Tensor, " items"]
) -> Float[Tensor, " models"]:
    """Count how often the largest logit is the label's; the first one counts among equals.

    Args:
        logits: `(n, n_items, n_classes)`.
        labels: `(n_items,)`, shared.

    Returns:
        `(n,)` float64 in [0, 1], higher is better; NaN where a logit is not finite.

    Example:
        >>> accuracy(torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]), torch.tensor([0, 0]))
        tensor([0.5000], dtype=torch.float64)
    """
    share = (logits.argmax(dim=-1) == labels).double().mean(dim=1)
    return torch.where(logits.isfinite().flatten(1).all(dim=1), share, torch.nan)


class _Side(NamedTuple):
    """What networks say of one side of a split.

    Attributes:
        loss: `(n,)` against the true labels.
        accuracy: `(n,)`.
        fit_loss: `(n,)` against the labels trained on, of the items seen; not a number where there are none.
        predicted: `(n, n_items)`, places of an item one after another.
    """

    loss: Tensor
    accuracy: Tensor
    fit_loss: Tensor
    predicted: Tensor


@dataclass(frozen=True)
class _Fit:
    """The labels that networks were trained on: -100 for an item that they did not see."""

    labels: Tensor

    @classmethod
    def of(cls, subject: Subject) -> _Fit:
        spec, whole = subject.dataset_specification, subject.dataset
        seen = whole.training_items(spec)
        labels = torch.full_like(whole.train.y, -100)
        labels[seen] = whole.training_labels(spec)[seen]
        return cls(labels[whole.training_items(spec.model_copy(update={"fraction": 1.0}))])


def _batch_sizes(subject: Subject) -> tuple[int, int]:
    """Say how many models and how many items to take at once, such that one activation stays small."""
    judged = subject.judged
    units = max([e.shape[0] for e in subject.layout.entries if e.shape] + [judged.classes])
    places = math.prod(judged.input_shape[1:]) if len(judged.input_shape) == 3 else 1
    if judged.tokens is not None:
        places = math.prod(judged.input_shape)
    numbers = 4 * units * places
    items = max(map(len, (judged.train, judged.val, judged.test)))
    together = min(items, max(1, MAX_BYTES // numbers))
    return max(MAX_BYTES // (together * numbers), 1), together


def _run(
    subject: Subject, weights: Float[Tensor, "models params"], items: Items, batch: int, fit: _Fit | None
) -> _Side:
    """Run some models over one side, some items at a time."""
    module, sums, predicted, seen = subject.skeleton(), torch.zeros(3, len(weights)).double(), [], 0
    for start in range(0, len(items), batch):
        some = slice(start, start + batch)
        labels = items.y[some].flatten()
        logits = evaluate_logits(module, subject.layout, weights, items.x[some]).flatten(1, -2)
        sums[0] += cross_entropy(logits, labels) * len(labels)
        sums[1] += accuracy(logits, labels) * len(labels)
        if fit is not None:
            trained = fit.labels[some].flatten()
            known = trained >= 0
            if known.any():
                sums[2] += cross_entropy(logits[:, known], trained[known]) * known.sum()
                seen += int(known.sum())
        predicted.append(logits.argmax(dim=-1))
    loss, right = sums[:2] / items.y.numel()
    return _Side(
        loss, right, sums[2] / seen if seen else torch.full_like(loss, torch.nan), torch.cat(predicted, 1)
    )


def _evaluate(
    subject: Subject, weights: Float[Tensor, "models params"], batch: int, fit: _Fit
) -> tuple[dict[str, Tensor], Tensor]:
    judged = subject.judged
    sides = {
        "train": _run(subject, weights, judged.train, batch, fit),
        "val": _run(subject, weights, judged.val, batch, None),
        "test": _run(subject, weights, judged.test, batch, None),
    }
    found = {f"{name}_loss": side.loss for name, side in sides.items()}
    found |= {f"{name}_accuracy": side.accuracy for name, side in sides.items()}
    found["fit_loss"] = sides["train"].fit_loss
    found["generalization_gap"] = found["train_accuracy"] - found["test_accuracy"]
    return found, sides["test"].predicted


def prediction_dtype(classes: int) -> np.dtype[np.uint8] | np.dtype[np.int16] | np.dtype[np.int32]:
    """Choose the smallest type that holds every class.

    Args:
        classes: Number of classes.

    Returns:
        uint8, int16 or int32.

    Example:
        >>> prediction_dtype(10), prediction_dtype(1000)
        (dtype('uint8'), dtype('int16'))
    """
    if classes <= 2**8:
        return np.dtype(np.uint8)
    return np.dtype(np.int16) if classes <= 2**15 else np.dtype(np.int32)


def _compute(subject: Subject) -> Measurement:
    together, batch = _batch_sizes(subject)
    fit = _Fit.of(subject)
    parts = [
        _evaluate(subject, torch.tensor(subject.weights[start : start + together]), batch, fit)
        for start in range(0, len(subject.weights), together)
    ]
    names = [column.name for column in EVALUATION.columns]
    values = {name: np.concatenate([found[name].numpy() for found, _ in parts]) for name in names}
    defined = subject.finite() & np.all([np.isfinite(numbers) for numbers in values.values()], axis=0)
    for numbers in values.values():
        numbers[~defined] = np.nan
    reasons = [None if good else "weights or logits are not finite" for good in defined]
    predictions = np.concatenate([predicted.numpy() for _, predicted in parts])
    return Measurement(
        measured("evaluation", subject.checkpoints[["checkpoint_id"]], values, reasons),
        predictions.astype(prediction_dtype(subject.judged.classes)),
    )


def _side(side: str) -> tuple[Column, Column]:
    labels = f"true labels of the {side} items, eval mode"
    return (
        Column(
            name=f"{side}_loss",
            dtype="float64",
            description=f"mean cross-entropy in nats; {labels}",
            direction="lower",
        ),
        Column(
            name=f"{side}_accuracy",
            dtype="float64",
            description=f"share predicted right, in [0, 1]; {labels}",
            direction="higher",
        ),
    )


EVALUATION = Metric(
    name="evaluation",
    protocol_id="evaluation/clean-v1",
    table="checkpoints",
    columns=(
        *_side("train"),
        *_side("val"),
        *_side("test"),
        Column(
            name="fit_loss",
            dtype="float64",
            description="mean cross-entropy in nats; train items and labels as trained on, eval mode",
            direction="lower",
        ),
        # no direction: an untrained network has no gap either
        Column(
            name="generalization_gap",
            dtype="float64",
            description="train_accuracy - test_accuracy, in [-1, 1]",
        ),
    ),
    settings={
        "labels": "true",
        "mode": "eval",
        "augmentation": "none",
        "loss": "cross-entropy",
        "unit": "nats",
    },
    properties=frozenset({"permutation_invariant", "seed_deterministic"}),
    denied=frozenset({"in_unit_interval"}),
    compute=_compute,
    kinds=frozenset({"classification", "sequence"}),
    gives_predictions=True,
)
"""Also gives the predicted class of every test item; where the reason is set, these carry no meaning."""
