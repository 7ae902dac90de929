"""The layer-wise scaling diagnostic: whether a spectral norm is what weight decay holds it at."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.metrics.base import Measurement, Metric, Subject
from zoo.metrics.spectrum.layers import Rows, layers_of
from zoo.metrics.spectrum.norms import spectral_norm
from zoo.spec import Column


def scaled_spectral_norm(
    weight: Float[Tensor, "*shape"], *, learning_rate: float, weight_decay: float, width: int
) -> Float[Tensor, "*batch"]:
    """Measure `sigma_top sqrt(weight_decay / learning_rate) width^-0.75`.

    Under AdamW the top singular value of a hidden matrix settles at a constant times
    `sqrt(learning_rate / weight_decay) width^0.75` (Fan et al. 2025): this number is then the same for all
    of them, after about `1 / (learning_rate * weight_decay)` steps.

    Args:
        weight: `(out, in)`, `(n, out, in)` or `(..., out, in, k, k)`.
        learning_rate: Peak learning rate, above 0.
        weight_decay: Weight decay, at least 0.
        width: Width of the network, or model dimension.

    Returns:
        `(...)` float64, at least 0; 0 without weight decay, where it says nothing.

    Raises:
        UndefinedMetricError: The weight is no matrix.

    Example:
        >>> weight = 8 * torch.eye(16)  # 8 sqrt(0.1 / 0.4) / 8
        >>> scaled_spectral_norm(weight, learning_rate=0.4, weight_decay=0.1, width=16)
        tensor(0.5000, dtype=torch.float64)
    """
    held_at = (learning_rate / weight_decay) ** 0.5 * width**0.75 if weight_decay else float("inf")
    return spectral_norm(weight) / held_at


def _compute(subject: Subject) -> Measurement:
    fields = subject.architecture.model_dump()
    width = fields.get("width", fields.get("model_dim"))
    rate, decay = (
        torch.tensor(subject.checkpoints[name].to_numpy(np.float64))
        for name in ("learning_rate", "weight_decay")
    )
    factor = (decay / rate).sqrt() * (width or float("nan")) ** -0.75
    rows = Rows(SCALING.name, ("scaled_spectral_norm",))
    for layer in layers_of(subject):
        norms = spectral_norm(layer.weight.flatten(2))
        scaled = torch.where(decay > 0, norms * factor, torch.nan)
        told = zip(norms.tolist(), decay.tolist(), strict=True)
        rows.add(layer, {"scaled_spectral_norm": scaled}, [_why(norm, some, width) for norm, some in told])
    return rows.measurement()


def _why(norm: float, decay: float, width: int | None) -> str | None:
    if np.isnan(norm):
        return "weights are not finite"
    if decay == 0:
        return "trained without weight decay"
    return "the architecture has no width" if width is None else None


SCALING = Metric(
    name="scaling",
    protocol_id="spectrum/scaling-v1",
    table="layers",
    columns=(
        Column(
            name="scaled_spectral_norm",
            dtype="float64",
            description="largest singular value times sqrt(weight decay / learning rate) times width^-0.75",
        ),
    ),
    settings={
        "matrix": "out x (in * kernel)",
        "learning_rate": "peak of the specification",
        "width": "width or model_dim of the architecture",
        "accumulate": "float64",
    },
    properties=frozenset({"permutation_invariant", "seed_deterministic"}),
    denied=frozenset({"in_unit_interval"}),
    compute=_compute,
)
