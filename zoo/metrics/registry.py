"""The metrics by name; a new one adds its file and one line here."""

from __future__ import annotations

from zoo.errors import unknown_name
from zoo.metrics import connectivity, evaluation, farms, hessian, norms, similarity, solution, spectrum
from zoo.metrics.base import Metric

_METRICS = (
    evaluation.EVALUATION,
    solution.SOLUTION,
    norms.NORMS,
    *spectrum.METRICS,
    *farms.METRICS,
    *similarity.METRICS,
    *hessian.METRICS,
    *connectivity.METRICS,
)


def all_metrics() -> dict[str, Metric]:
    """List every metric.

    Returns:
        Metric by name.

    Example:
        >>> [name for name, metric in all_metrics().items() if metric.suite == "ptmz" and "cka" in name]
        ['ptmz_cka']
    """
    return {metric.name: metric for metric in _METRICS}


def get(name: str) -> Metric:
    """Look up a metric.

    Args:
        name: Its name.

    Returns:
        The metric.

    Raises:
        UnknownNameError: No metric has this name.

    Example:
        >>> get("evaluation").protocol_id
        'evaluation/clean-v1'
    """
    known = all_metrics()
    if name not in known:
        raise unknown_name("metric", name, known)
    return known[name]
