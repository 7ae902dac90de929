"""Loss and accuracy on clean labels, the loss that training minimised, and the predicted classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from zoo.datasets import Dataset, Items
from zoo.metrics.base import Measurement, Metric, Subject, measured
from zoo.spec import Column
from zoo.training import evaluate_logits

MAX_BYTES = 64 << 20
"""What the widest activation of one chunk of models may take."""


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


def _chunks(subject: Subject) -> Iterator[slice]:
    """Cut the models such that one activation of a chunk, on the largest split, stays small."""
    items = max(map(len, (subject.dataset.train, subject.dataset.val, subject.dataset.test)))
    widest = max(
        [entry.shape[0] for entry in subject.layout.entries if entry.shape] + [subject.dataset.classes]
    )
    size = max(MAX_BYTES // (4 * items * widest), 1)
    return (slice(start, start + size) for start in range(0, len(subject.weights), size))


def _evaluate(subject: Subject, chunk: slice, dataset: Dataset) -> tuple[dict[str, Tensor], Tensor]:
    weights = torch.tensor(subject.weights[chunk])
    module = subject.skeleton()
    found: dict[str, Tensor] = {}

    def run(side: str, items: Items) -> Tensor:
        logits = evaluate_logits(module, subject.layout, weights, items.x)
        found[f"{side}_loss"] = cross_entropy(logits, items.y)
        found[f"{side}_accuracy"] = accuracy(logits, items.y)
        return logits

    seen = dataset.training_items(subject.dataset_specification)
    trained_on = dataset.training_labels(subject.dataset_specification)[seen]
    found["fit_loss"] = cross_entropy(run("train", dataset.train)[:, seen], trained_on)
    run("val", dataset.val)
    predicted = run("test", dataset.test).argmax(dim=-1)
    found["generalization_gap"] = found["train_accuracy"] - found["test_accuracy"]
    return found, predicted


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
    parts = [_evaluate(subject, chunk, subject.dataset) for chunk in _chunks(subject)]
    names = [column.name for column in EVALUATION.columns]
    values = {name: np.concatenate([found[name].numpy() for found, _ in parts]) for name in names}
    defined = subject.finite() & np.all([np.isfinite(numbers) for numbers in values.values()], axis=0)
    for numbers in values.values():
        numbers[~defined] = np.nan
    reasons = [None if good else "weights or logits are not finite" for good in defined]
    predictions = np.concatenate([predicted.numpy() for _, predicted in parts])
    return Measurement(
        measured("evaluation", subject.checkpoints[["checkpoint_id"]], values, reasons),
        predictions.astype(prediction_dtype(subject.dataset.classes)),
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
)
"""Also gives the predicted class of every test item; where the reason is set, these carry no meaning."""
