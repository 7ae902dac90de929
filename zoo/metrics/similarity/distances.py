"""How far two networks are apart in their weights, as they are and after relabelling hidden units."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zoo.alignment import align
from zoo.architectures import DataShape, Symmetry, symmetry
from zoo.errors import SpecificationError
from zoo.metrics.base import Measurement, Metric, Subject
from zoo.metrics.evaluation import MAX_BYTES
from zoo.metrics.networks import networks
from zoo.metrics.norms import trainable
from zoo.metrics.similarity.pairs import Pairs
from zoo.spec import ArchitectureSpecification, Column, Layout
from zoo.training import NetworkStack


def l2_distance(a: Float[np.ndarray, params_a], b: Float[np.ndarray, params_b]) -> float:
    """Measure how far two weight vectors are apart: `sqrt(sum_i (a_i - b_i)^2)`, in float64.

    Args:
        a: `(n_params,)`.
        b: `(n_params,)`, of the same layout.

    Returns:
        At least 0; relabelled hidden units count as far apart.

    Raises:
        SpecificationError: Their shapes differ.

    Example:
        >>> l2_distance(np.array([0.0, 3.0]), np.array([4.0, 0.0]))
        5.0
    """
    if a.shape != b.shape:
        raise SpecificationError(
            f"a distance is between vectors of one layout: expected equal shapes, got {a.shape} and "
            f"{b.shape}; compare networks of the same architecture"
        )
    return float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64)))


def aligned_l2_distance(
    architecture: ArchitectureSpecification, shape: DataShape, reference: NetworkStack, other: NetworkStack
) -> Float[Tensor, " pairs"]:
    """Measure how far weights are apart once the units of one network are in the order that fits the other.

    The order is that of weight matching (`zoo.alignment.align`), a local optimum: what is given is an upper
    bound of the minimum over all orders. Numbers that never matter are left out: buffers, and what the
    symmetry of the architecture calls invisible, such as biases of keys.

    Args:
        architecture: The architecture of all networks.
        shape: Shape of their data.
        reference: Networks.
        other: As many networks, row i to be compared with row i of the reference.

    Returns:
        `(n_pairs,)` float64, at least 0; 0 for a copy with its units in another order.

    Raises:
        UnknownNameError: No architecture has this name.
        SpecificationError: The stacks differ in layout or length, weights are not finite, or the architecture
            is another one.
    """
    aligned = align(architecture, shape, reference, other)
    apart = reference.weights.double() - aligned.weights.double()
    kept = _visible(reference.layout, symmetry(architecture, shape))
    return apart[:, kept].square().sum(dim=1).sqrt()


def _visible(layout: Layout, found: Symmetry) -> Bool[Tensor, " params"]:
    """Say which numbers can matter."""
    kept = torch.ones(layout.size, dtype=torch.bool)
    for entry, start in zip(layout.entries, layout.offsets, strict=True):
        if entry.kind == "buffer":
            kept[start : start + entry.size] = False
        if entry.name in found.invisible:
            first, last = found.invisible[entry.name]
            row = entry.size // entry.shape[0]
            kept[start + first * row : start + last * row] = False
    return kept


def _compute_l2(subject: Subject) -> Measurement:
    pairs, vectors = Pairs(subject, L2_DISTANCE), trainable(subject.weights, subject.layout)
    rows = pairs.rows[pairs.open]
    pairs.set("l2_distance", np.array([l2_distance(vectors[a], vectors[b]) for a, b in rows]))
    return pairs.measurement()


def _compute_aligned(subject: Subject) -> Measurement:
    pairs, stack = Pairs(subject, ALIGNED_L2_DISTANCE), networks(subject)
    rows, together = pairs.rows[pairs.open], max(1, MAX_BYTES // (8 * subject.layout.size))
    found = []
    for start in range(0, len(rows), together):
        first, second = (stack.select(ends.tolist()) for ends in rows[start : start + together].T)
        distances = aligned_l2_distance(subject.architecture, subject.judged.shape, first, second)
        found += distances.tolist()
    pairs.set("aligned_l2_distance", np.array(found))
    return pairs.measurement()


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
ALIGNED_L2_DISTANCE = Metric(
    name="aligned_l2_distance",
    protocol_id="distance/l2-aligned-v1",
    table="pairs",
    columns=(
        Column(
            name="aligned_l2_distance",
            dtype="float64",
            description="L2 distance of all trainable entries that matter, after weight matching; an upper "
            "bound of the least over all orders of hidden units, at least 0",
        ),
    ),
    settings={
        "norm": "l2",
        "entries": ["weight", "bias", "norm"],
        "left_out": "entries that never matter, such as biases of keys",
        "accumulate": "float64",
        "aligned": "weight matching of the second network, the better of two starts",
    },
    properties=frozenset({"seed_deterministic", "symmetric", "permutation_invariant"}),
    denied=frozenset({"in_unit_interval"}),
    compute=_compute_aligned,
    scope="last",
)
