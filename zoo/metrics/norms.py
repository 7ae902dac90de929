"""Size of the weights and how far training has moved them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from zoo.metrics.base import Measurement, Metric, Subject, measured
from zoo.spec import Column, Layout


def trainable(
    weights: Float32[np.ndarray, "models params"], layout: Layout
) -> Float32[np.ndarray, "models trained"]:
    """Leave out the buffers: state that no gradient reaches, such as running means.

    Args:
        weights: `(n, n_params)`.
        layout: Their layout.

    Returns:
        `(n, n_trainable)`: entries of kind weight, bias and norm; the input itself where there is no buffer.
    """
    kept = np.repeat([e.kind != "buffer" for e in layout.entries], [e.size for e in layout.entries])
    return weights if kept.all() else weights[:, kept]


def l2_norm(vectors: Float32[np.ndarray, "models params"]) -> Float[np.ndarray, " models"]:
    """Measure the length of vectors: `sqrt(sum_i w_i^2)`, summed in float64.

    Args:
        vectors: `(n, n_params)`.

    Returns:
        `(n,)` float64, at least 0; not finite where an entry is not.

    Example:
        >>> l2_norm(np.array([[3, 4]], dtype=np.float32))
        array([5.])
    """
    return np.array([np.linalg.norm(row.astype(np.float64)) for row in vectors], dtype=np.float64)


def distance_from_init(subject: Subject) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Measure how far each checkpoint is from its model's epoch 0.

    Args:
        subject: The checkpoints; epoch 0 of the same models among them.

    Returns:
        L2 distance over trainable entries `(n,)`, and the norm of the initial weights `(n,)`; NaN where the
        model's epoch 0 is not among the checkpoints.
    """
    vectors = trainable(subject.weights, subject.layout)
    epochs = subject.checkpoints["epoch"].to_numpy()
    first = {m: row for row, m in enumerate(subject.checkpoints["model_id"]) if epochs[row] == 0}
    distance, size = np.full(len(vectors), np.nan), np.full(len(vectors), np.nan)
    for row, model in enumerate(subject.checkpoints["model_id"]):
        if model in first:
            start = vectors[first[model]].astype(np.float64)
            distance[row] = np.linalg.norm(vectors[row] - start)
            size[row] = np.linalg.norm(start)
    return distance, size


def _compute(subject: Subject) -> Measurement:
    with np.errstate(all="ignore"):  # weights that are not finite become missing values below
        distance, size = distance_from_init(subject)
        values = {
            "weight_norm": l2_norm(trainable(subject.weights, subject.layout)),
            "distance_from_init": distance,
            "relative_distance_from_init": np.where(size == 0, np.nan, distance / size),
        }
    finite = subject.finite()
    for numbers in values.values():
        numbers[~finite | ~np.isfinite(numbers)] = np.nan
    reasons = [_reason(*row) for row in zip(finite.tolist(), distance.tolist(), size.tolist(), strict=True)]
    return Measurement(measured("norms", subject.checkpoints[["checkpoint_id"]], values, reasons))


def _reason(finite: bool, distance: float, size: float) -> str | None:
    if not finite:
        return "weights are not finite"
    if np.isnan(size):
        return "epoch 0 of the model is not in the shard, or not finite"
    if not np.isfinite(distance) or np.isinf(size):
        return "initial weights are not finite"
    return "initial weights are zero" if size == 0 else None


NORMS = Metric(
    name="norms",
    protocol_id="norms/l2-v1",
    table="checkpoints",
    columns=(
        Column(name="weight_norm", dtype="float64", description="L2 norm of all trainable entries"),
        Column(
            name="distance_from_init",
            dtype="float64",
            description="L2 distance of all trainable entries from the model's epoch 0",
        ),
        Column(
            name="relative_distance_from_init",
            dtype="float64",
            description="distance_from_init over the norm at epoch 0",
        ),
    ),
    settings={"norm": "l2", "entries": ["weight", "bias", "norm"], "accumulate": "float64"},
    properties=frozenset({"permutation_invariant", "seed_deterministic"}),
    denied=frozenset({"in_unit_interval"}),
    compute=_compute,
    needs_origin=True,
)
