"""How well networks solve the equation that they were trained on, beside its exact solution."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.datasets import Items
from zoo.metrics.base import Measurement, Metric, Subject, measured
from zoo.spec import Column
from zoo.training import OBJECTIVES, StackNetwork, evaluate_logits
from zoo.training.step import Batch, training_losses

_MODELS = 64
"""Networks that run at once."""


def relative_error(
    found: Float[Tensor, "models items"], exact: Float[Tensor, " items"]
) -> Float[Tensor, " models"]:
    """Compare solutions with the exact one: `||u - u*|| / ||u*||` over all items, in float64.

    Args:
        found: `(n, n_items)`.
        exact: `(n_items,)`, shared; not all zero.

    Returns:
        `(n,)`, at least 0, lower is better; 1 for a network that gives 0 everywhere.

    Example:
        >>> relative_error(torch.tensor([[3.0, 5.0]]), torch.tensor([3.0, 4.0]))
        tensor([0.2000], dtype=torch.float64)
    """
    truth = exact.double()
    distance = torch.linalg.vector_norm(found.double() - truth, dim=1)
    share: Tensor = distance / torch.linalg.vector_norm(truth)
    return share


def _loss(subject: Subject, weights: Float[Tensor, "models params"]) -> Float[Tensor, " models"]:
    """Give what training minimised, on all training points at once."""
    train, count = subject.dataset.train, len(weights)
    network = StackNetwork(subject.skeleton(), subject.layout)
    keys = network.dropout_keys([0] * count, 0, steps=1, device=weights.device)[0]
    x, y = (tensor.expand(count, *tensor.shape) for tensor in (train.x, train.y))
    return training_losses(network, OBJECTIVES["convection"], weights, Batch(x, y, keys)).double()


def _evaluate(subject: Subject, weights: Float[Tensor, "models params"]) -> dict[str, Tensor]:
    found = {"train_loss": _loss(subject, weights)}
    module = subject.skeleton()

    def run(side: str, items: Items) -> None:
        values = evaluate_logits(module, subject.layout, weights, items.x).squeeze(-1)
        found[f"{side}_loss"] = (values.double() - items.y.double()).square().mean(dim=1)
        found[f"{side}_error"] = relative_error(values, items.y)

    run("val", subject.dataset.val)
    run("test", subject.dataset.test)
    return found


def _compute(subject: Subject) -> Measurement:
    parts = [
        _evaluate(subject, torch.tensor(subject.weights[start : start + _MODELS]))
        for start in range(0, len(subject.weights), _MODELS)
    ]
    values = {c.name: torch.cat([part[c.name] for part in parts]).numpy() for c in SOLUTION.columns}
    defined = subject.finite() & np.all([np.isfinite(numbers) for numbers in values.values()], axis=0)
    for numbers in values.values():
        numbers[~defined] = np.nan
    reasons = [None if good else "weights or outputs are not finite" for good in defined]
    return Measurement(measured("solution", subject.checkpoints[["checkpoint_id"]], values, reasons))


def _column(name: str, text: str) -> Column:
    return Column(name=name, dtype="float64", description=text, direction="lower")


SOLUTION = Metric(
    name="solution",
    protocol_id="solution/exact-v1",
    table="checkpoints",
    columns=(
        _column("train_loss", "what training minimised, on all training points, at least 0"),
        _column("val_loss", "mean squared difference from the exact solution at the val points, at least 0"),
        _column("val_error", "relative L2 distance from the exact solution at the val points, at least 0"),
        _column("test_loss", "mean squared difference from the exact solution on the test grid, at least 0"),
        _column("test_error", "relative L2 distance from the exact solution on the test grid, at least 0"),
    ),
    settings={"loss": "residual + initial + boundary", "error": "relative L2", "mode": "eval"},
    properties=frozenset({"permutation_invariant", "seed_deterministic"}),
    denied=frozenset({"in_unit_interval"}),
    compute=_compute,
    kinds=frozenset({"convection"}),
)
