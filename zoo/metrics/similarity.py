"""How alike two networks are: in their logits, in their predictions, in their weights."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Integer, Real
from numpy.typing import NDArray
from torch import Tensor

from zoo.errors import SpecificationError, UndefinedMetricError
from zoo.metrics.base import Measurement, Metric, Subject, measured
from zoo.metrics.norms import trainable
from zoo.metrics.pairing import model_pairs
from zoo.spec import Column
from zoo.training import evaluate_logits

NOT_FINITE = "weights or logits are not finite"


def linear_cka(
    x: Real[Tensor, "items_x features_x"] | Real[np.ndarray, "items_x features_x"],
    y: Real[Tensor, "items_y features_y"] | Real[np.ndarray, "items_y features_y"],
) -> float:
    """Compare two representations of the same items by linear CKA (Kornblith et al. 2019, eq. 5).

    `||Y'X||_F^2 / (||X'X||_F ||Y'Y||_F)` with centred features: the biased estimator. Rotating or scaling
    either side changes nothing.

    Undefined when a side is the same for all items, or not finite.

    Args:
        x: `(n_items, p)`.
        y: `(n_items, q)`, the same items in the same order.

    Returns:
        In [0, 1]; 1 where one is a rotated and scaled copy of the other.

    Raises:
        SpecificationError: The sides have different numbers of items.
        UndefinedMetricError: A side is constant or not finite.

    Example:
        >>> features = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 0.0]])
        >>> round(linear_cka(features, -2 * features), 6)
        1.0
    """
    if len(x) != len(y):
        raise SpecificationError(
            f"linear CKA compares the same items: expected equal lengths, got {len(x)} and {len(y)}; "
            "run both networks on the same inputs"
        )
    a, b = _centred(x), _centred(y)
    similarity = _cross(a, b) / np.sqrt(_cross(a, a) * _cross(b, b))
    return min(float(similarity), 1.0)  # rounding may end at 1 + 1e-16


def _centred(features: Tensor | NDArray[np.number]) -> NDArray[np.float64]:
    plain = features.detach().cpu().numpy() if isinstance(features, Tensor) else features
    wide = plain.astype(np.float64)
    if not np.isfinite(wide).all():
        raise UndefinedMetricError(
            f"linear CKA of {wide.shape} features: expected finite numbers; {NOT_FINITE}"
        )
    if wide.size == 0 or (wide == wide[0]).all():
        raise UndefinedMetricError(
            f"linear CKA of {wide.shape} features: expected items that differ, got the same for all; "
            "such a representation is like no other"
        )
    centred = wide - wide.mean(axis=0)
    return np.asarray(centred / np.abs(centred).max())  # CKA is blind to scale; squares of squares are not


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Give `||B'A||_F^2`, by whichever of features and items are fewer."""
    if a.shape[1] * b.shape[1] <= len(a) ** 2:
        return float(np.square(a.T @ b).sum())
    return float(((a @ a.T) * (b @ b.T)).sum())


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


def l2_distance(a: Float[np.ndarray, " params"], b: Float[np.ndarray, " params"]) -> float:
    """Measure how far two weight vectors are apart: `sqrt(sum_i (a_i - b_i)^2)`, in float64.

    Args:
        a: `(n_params,)`.
        b: `(n_params,)`, of the same layout.

    Returns:
        At least 0; relabelled hidden units count as far apart.

    Example:
        >>> l2_distance(np.array([0.0, 3.0]), np.array([4.0, 0.0]))
        5.0
    """
    return float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64)))


class _Pairs:
    """The pairs of a subject and what is known of each: a reason, or in the end a number."""

    def __init__(self, subject: Subject) -> None:
        self.table = model_pairs(subject.checkpoints)
        self.reasons = [None if pd.isna(reason) else str(reason) for reason in self.table["reason"]]
        self.rows = list(zip(self.table["row_a"], self.table["row_b"], strict=True))
        finite = subject.finite()
        for place, (a, b) in self.open():
            if not (finite[a] and finite[b]):
                self.reasons[place] = NOT_FINITE

    def open(self) -> list[tuple[int, tuple[int, int]]]:
        """List the pairs that nothing is known against, with the rows of their members."""
        return [(i, rows) for i, rows in enumerate(self.rows) if self.reasons[i] is None]

    def measurement(self, name: str, values: dict[int, float]) -> Measurement:
        numbers = np.array([values.get(i, np.nan) for i in range(len(self.rows))], dtype=np.float64)
        keys = self.table[["cell_id", "checkpoint_a", "checkpoint_b"]]
        return Measurement(measured(name, keys, {name: numbers}, self.reasons))


def _compute_cka(subject: Subject) -> Measurement:
    pairs, module, values = _Pairs(subject), subject.skeleton(), {}
    logits: dict[int, NDArray[np.float32]] = {}
    for row in sorted({row for _, rows in pairs.open() for row in rows}):
        weights = torch.tensor(subject.weights[[row]])
        logits[row] = (
            evaluate_logits(module, subject.layout, weights, subject.judged.test.x)[0].flatten(0, -2).numpy()
        )
    for place, (a, b) in pairs.open():
        try:
            values[place] = linear_cka(logits[a], logits[b])
        except UndefinedMetricError as error:
            pairs.reasons[place] = str(error)
    return pairs.measurement("cka", values)


def _compute_disagreement(subject: Subject) -> Measurement:
    predictions = subject.predictions
    if predictions is None:
        raise SpecificationError(
            "disagreement reads stored predictions: expected them in the subject, got none; "
            "measure 'evaluation' first"
        )
    pairs = _Pairs(subject)
    values = {place: disagreement(predictions[a], predictions[b]) for place, (a, b) in pairs.open()}
    return pairs.measurement("disagreement", values)


def _compute_l2(subject: Subject) -> Measurement:
    pairs, vectors = _Pairs(subject), trainable(subject.weights, subject.layout)
    values = {place: l2_distance(vectors[a], vectors[b]) for place, (a, b) in pairs.open()}
    return pairs.measurement("l2_distance", values)


CKA = Metric(
    name="cka",
    protocol_id="cka/logits-test-v1",
    table="pairs",
    columns=(
        Column(
            name="cka", dtype="float64", description="linear CKA of the logits of all test items, in [0, 1]"
        ),
    ),
    settings={"estimator": "biased", "kernel": "linear", "features": "logits", "items": "test"},
    properties=frozenset({"permutation_invariant", "seed_deterministic", "symmetric", "in_unit_interval"}),
    compute=_compute_cka,
)
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
L2_DISTANCE = Metric(
    name="l2_distance",
    protocol_id="distance/l2-v1",
    table="pairs",
    columns=(
        Column(
            name="l2_distance",
            dtype="float64",
            description="L2 distance of all trainable entries, at least 0",
        ),
    ),
    settings={"norm": "l2", "entries": ["weight", "bias", "norm"], "accumulate": "float64", "aligned": False},
    properties=frozenset({"seed_deterministic", "symmetric"}),
    denied=frozenset({"permutation_invariant", "in_unit_interval"}),
    compute=_compute_l2,
)
