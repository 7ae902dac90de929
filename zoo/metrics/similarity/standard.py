"""CKA under our own protocols: of logits, of features, and of probabilities between training items."""

from __future__ import annotations

from jaxtyping import Float, Num
from torch import Tensor

from zoo.datasets import as_inputs
from zoo.errors import UndefinedMetricError
from zoo.metrics.base import Measurement, Metric, Subject
from zoo.metrics.networks import landscape_items, networks
from zoo.metrics.similarity.features import feature_networks
from zoo.metrics.similarity.mixup import ALPHA, draw_partners, draw_shares, mix
from zoo.metrics.similarity.pairs import Pairs
from zoo.metrics.similarity.representations import Comparison, softmax
from zoo.spec import Column
from zoo.training import NetworkStack, stream

POINTS = 256
"""Points between training items that `cka_mixup` looks at."""


def _on_test(
    subject: Subject, metric: Metric, stack: NetworkStack, estimators: dict[str, bool]
) -> Measurement:
    pairs = Pairs(subject, metric)
    Comparison(stack, [subject.judged.test.x], estimators).fill(pairs)
    return pairs.measurement()


def _compute_cka(subject: Subject) -> Measurement:
    return _on_test(subject, CKA, networks(subject), {"cka": False})


def _compute_debiased(subject: Subject) -> Measurement:
    return _on_test(subject, CKA_DEBIASED, networks(subject), {"cka_debiased": True})


def _compute_features(subject: Subject) -> Measurement:
    estimators = {"cka_features": False, "cka_features_debiased": True}
    return _on_test(subject, CKA_FEATURES, feature_networks(networks(subject)), estimators)


def numeric_items(subject: Subject, count: int | None = None) -> Num[Tensor, "items ..."]:
    """Give the training items as numbers that can be mixed.

    Args:
        subject: Networks that saw the same items.
        count: How many; nothing for all.

    Returns:
        `(n_items, ...)` floating point.

    Raises:
        UndefinedMetricError: The inputs are tokens, or there are fewer items.
    """
    if subject.judged.tokens is not None:
        raise UndefinedMetricError("the inputs are tokens: there is nothing between two of them")
    return as_inputs(landscape_items(subject, "train", count).x)


def mixup_points(subject: Subject) -> Float[Tensor, "points ..."]:
    """Give the points of `cka_mixup`: each of 256 training items mixed with another one of them.

    Args:
        subject: Networks that saw the same items.

    Returns:
        `(256, ...)`, the same for all networks.

    Raises:
        UndefinedMetricError: The inputs are tokens, or there are fewer items.
    """
    x = numeric_items(subject, POINTS)
    partners = draw_partners(POINTS, stream(0, "cka-mixup:partners"))
    return mix(x, partners, draw_shares(POINTS, stream(0, "cka-mixup:shares")))


def _compute_mixup(subject: Subject) -> Measurement:
    pairs = Pairs(subject, CKA_MIXUP)
    try:
        points = mixup_points(subject)
    except UndefinedMetricError as error:
        pairs.refuse(str(error))
    else:
        Comparison(networks(subject), [points], {"cka_mixup": False}, softmax).fill(pairs)
    return pairs.measurement()


def _column(name: str, text: str) -> Column:
    return Column(name=name, dtype="float64", description=text)


CKA = Metric(
    name="cka",
    protocol_id="cka/logits-test-v1",
    table="pairs",
    columns=(_column("cka", "linear CKA of the logits of all test items, in [0, 1]"),),
    settings={"estimator": "biased", "kernel": "linear", "features": "logits", "items": "test"},
    properties=frozenset({"permutation_invariant", "seed_deterministic", "symmetric", "in_unit_interval"}),
    compute=_compute_cka,
)
CKA_DEBIASED = Metric(
    name="cka_debiased",
    protocol_id="cka/logits-debiased-test-v1",
    table="pairs",
    columns=(
        _column(
            "cka_debiased",
            "linear CKA of the logits of all test items, debiased, in [-1, 1]; about 0 by chance",
        ),
    ),
    settings={"estimator": "debiased", "kernel": "linear", "features": "logits", "items": "test"},
    properties=frozenset({"permutation_invariant", "seed_deterministic", "symmetric"}),
    denied=frozenset({"in_unit_interval"}),
    compute=_compute_debiased,
)
CKA_FEATURES = Metric(
    name="cka_features",
    protocol_id="cka/features-test-v1",
    table="pairs",
    columns=(
        _column("cka_features", "linear CKA of what the last linear layer sees of all test items, in [0, 1]"),
        _column("cka_features_debiased", "the same, debiased, in [-1, 1]; about 0 by chance"),
    ),
    settings={
        "estimator": ["biased", "debiased"],
        "kernel": "linear",
        "features": "inputs of the last linear layer; of a gpt its states after the last normalisation",
        "items": "test",
    },
    properties=frozenset({"permutation_invariant", "seed_deterministic", "symmetric"}),
    denied=frozenset({"in_unit_interval"}),
    compute=_compute_features,
)
CKA_MIXUP = Metric(
    name="cka_mixup",
    protocol_id="cka/mixup-softmax-v1",
    table="pairs",
    columns=(
        _column(
            "cka_mixup", "linear CKA of the probabilities at 256 points between training items, in [0, 1]"
        ),
    ),
    settings={
        "estimator": "biased",
        "kernel": "linear",
        "features": "softmax",
        "items": "mixup of 256 training items that were seen",
        "share": f"Beta({ALPHA}, {ALPHA}), one a point",
        "partners": "one cycle through all of the items",
    },
    properties=frozenset({"permutation_invariant", "seed_deterministic", "symmetric", "in_unit_interval"}),
    compute=_compute_mixup,
    kinds=frozenset({"classification"}),
)
