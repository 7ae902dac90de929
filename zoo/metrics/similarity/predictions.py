"""Where two networks predict alike, and where they err alike."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer
from torch import Tensor

from zoo.errors import SpecificationError, UndefinedMetricError
from zoo.metrics.base import Measurement, Metric, Subject
from zoo.metrics.similarity.pairs import Pairs
from zoo.spec import Column


def disagreement(
    p: Integer[Tensor, " items_p"] | Integer[np.ndarray, " items_p"],
    q: Integer[Tensor, " items_q"] | Integer[np.ndarray, " items_q"],
) -> float:
    """Count how often two networks predict different classes: `mean_i [p_i != q_i]`.

    Undefined when there is no item.

    Args:
        p: Predicted class of each item `(n_items,)`.
        q: The same of the other network, for the same items.

    Returns:
        In [0, 1]; 0 where they always agree.

    Raises:
        SpecificationError: The sides have different numbers of items.
        UndefinedMetricError: There is no item.

    Example:
        >>> disagreement(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]))
        0.25
    """
    if len(p) != len(q):
        raise SpecificationError(
            f"disagreement compares the same items: expected equal lengths, got {len(p)} and {len(q)}; "
            "run both networks on the same inputs"
        )
    if len(p) == 0:
        raise UndefinedMetricError("disagreement of no items: expected at least 1, got 0; give test items")
    return float(np.mean(np.asarray(p) != np.asarray(q)))


def error_iou(
    p: Integer[Tensor, " items_p"] | Integer[np.ndarray, " items_p"],
    q: Integer[Tensor, " items_q"] | Integer[np.ndarray, " items_q"],
    y: Integer[Tensor, " items"] | Integer[np.ndarray, " items"],
) -> float:
    """Measure how far two networks err on the same items: `|E_p & E_q| / |E_p | E_q|`.

    `E_p` are the items that the first one predicts wrong. What they predict instead does not matter.
    Undefined when neither errs.

    Args:
        p: Predicted class of each item `(n_items,)`.
        q: The same of the other network, for the same items.
        y: True class of each.

    Returns:
        In [0, 1]; 0 where they err on different items, 1 where on the same ones.

    Raises:
        SpecificationError: The numbers of items differ.
        UndefinedMetricError: Neither network errs.

    Example:
        >>> error_iou(np.array([0, 1, 1, 0]), np.array([0, 1, 2, 1]), np.array([0, 0, 0, 0]))
        0.6666666666666666
    """
    if not len(p) == len(q) == len(y):
        raise SpecificationError(
            f"error IoU compares the same items: expected equal lengths, got {len(p)}, {len(q)} and "
            f"{len(y)}; run both networks on the same inputs"
        )
    value = float(error_ious(np.stack([np.asarray(p), np.asarray(q)]), np.asarray(y))[0, 1])
    if np.isnan(value):
        raise UndefinedMetricError(f"error IoU of {len(p)} items: {_NO_ERROR}")
    return value


_NO_ERROR = "expected a network that errs, got two without an error; there is nothing to share"


def disagreements(predicted: Integer[np.ndarray, "models items"]) -> Float[np.ndarray, "models models"]:
    """Compare all networks of a stack by `disagreement`.

    Args:
        predicted: Predicted class of each item `(n_models, n_items)`.

    Returns:
        `(n_models, n_models)` in [0, 1], symmetric.

    Example:
        >>> disagreements(np.array([[0, 1], [0, 2]]))
        array([[0. , 0.5],
               [0.5, 0. ]])
    """
    return np.stack([(predicted != one).mean(axis=1) for one in predicted])


def error_ious(
    predicted: Integer[np.ndarray, "models items"], y: Integer[np.ndarray, " items"]
) -> Float[np.ndarray, "models models"]:
    """Compare all networks of a stack by `error_iou`.

    Args:
        predicted: Predicted class of each item `(n_models, n_items)`.
        y: True class of each.

    Returns:
        `(n_models, n_models)` in [0, 1], symmetric; NaN where neither network errs.

    Example:
        >>> error_ious(np.array([[0, 1], [1, 1]]), np.array([0, 0]))
        array([[1. , 0.5],
               [0.5, 1. ]])
    """
    wrong = (predicted != y).astype(np.float64)
    both, count = wrong @ wrong.T, wrong.sum(axis=1)
    either = count[:, None] + count - both
    return np.asarray(both / np.where(either > 0, either, np.nan))


def _predicted(subject: Subject, metric: Metric) -> Integer[np.ndarray, "checkpoints items"]:
    if subject.predictions is None:
        raise SpecificationError(
            f"{metric.name} reads stored predictions: expected them in the subject, got none; "
            "measure 'evaluation' first"
        )
    return subject.predictions


def _compute_disagreement(subject: Subject) -> Measurement:
    predicted, pairs = _predicted(subject, DISAGREEMENT), Pairs(subject, DISAGREEMENT)
    for clique in pairs.cliques():
        some = predicted[clique.rows]
        pairs.fill("disagreement", clique, disagreements(some), [None] * len(some))
    return pairs.measurement()


def _compute_error_iou(subject: Subject) -> Measurement:
    predicted, pairs = _predicted(subject, ERROR_IOU), Pairs(subject, ERROR_IOU)
    y = subject.judged.test.y.flatten().numpy()
    for clique in pairs.cliques():
        some = predicted[clique.rows]
        pairs.fill("error_iou", clique, error_ious(some, y), [_NO_ERROR] * len(some))
    return pairs.measurement()


DISAGREEMENT = Metric(
    name="disagreement",
    protocol_id="disagreement/test-v1",
    table="pairs",
    columns=(
        Column(
            name="disagreement",
            dtype="float64",
            description="share of test items that get different classes, in [0, 1]",
        ),
    ),
    settings={"items": "test"},
    properties=frozenset({"permutation_invariant", "seed_deterministic", "symmetric", "in_unit_interval"}),
    compute=_compute_disagreement,
    kinds=frozenset({"classification", "sequence"}),
    needs_predictions=True,
)
ERROR_IOU = Metric(
    name="error_iou",
    protocol_id="error_iou/test-v1",
    table="pairs",
    columns=(
        Column(
            name="error_iou",
            dtype="float64",
            description="test items that both predict wrong over those that either does, in [0, 1]",
        ),
    ),
    settings={"items": "test", "labels": "true"},
    properties=frozenset({"permutation_invariant", "seed_deterministic", "symmetric", "in_unit_interval"}),
    compute=_compute_error_iou,
    kinds=frozenset({"classification", "sequence"}),
    needs_predictions=True,
)
