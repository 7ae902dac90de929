"""CKA as two papers take it, to compare numbers with theirs."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import UndefinedMetricError
from zoo.metrics.base import Measurement, Metric, Subject
from zoo.metrics.networks import networks
from zoo.metrics.similarity.mixup import ALPHA, draw_shares, mix
from zoo.metrics.similarity.pairs import Pairs
from zoo.metrics.similarity.representations import Comparison, softmax
from zoo.metrics.similarity.standard import numeric_items
from zoo.spec import Column
from zoo.training import stream

BATCH = 128
PTMZ_BATCHES = 10
YANG_BATCHES = 6
"""Five are asked for; the loop of the released code takes one more."""


def yang2021_points(subject: Subject) -> Float[Tensor, "points ..."]:
    """Give the points of `yang2021_cka`: batches of training items, each mixed within itself by one share.

    As the released code does, but for its generator: training items in random order, six batches of 128,
    in each one share from Beta(16, 16) and a random permutation, in which an item may be its own partner.
    Where the items end before, so do the batches.

    Args:
        subject: Networks that saw the same items.

    Returns:
        `(at most 768, ...)`, the same for all networks.

    Raises:
        UndefinedMetricError: The inputs are tokens.
    """
    generator = stream(0, "yang2021-cka")
    x = numeric_items(subject)
    order = torch.randperm(len(x), generator=generator)[: BATCH * YANG_BATCHES]
    mixed = []
    for batch in torch.split(x[order], BATCH):
        share = draw_shares(1, generator).expand(len(batch))
        mixed.append(mix(batch, torch.randperm(len(batch), generator=generator), share))
    return torch.cat(mixed)


def _compute_yang2021(subject: Subject) -> Measurement:
    pairs = Pairs(subject, YANG2021_CKA)
    try:
        points = yang2021_points(subject)
    except UndefinedMetricError as error:
        pairs.refuse(str(error))
    else:
        Comparison(networks(subject), [points], {"yang2021_cka": False}, softmax).fill(pairs)
    return pairs.measurement()


def _compute_ptmz(subject: Subject) -> Measurement:
    pairs, x = Pairs(subject, PTMZ_CKA), subject.judged.test.x
    batches = [batch for batch in torch.split(x, BATCH) if len(batch) == BATCH][:PTMZ_BATCHES]
    if batches:
        Comparison(networks(subject), batches, {"ptmz_cka": False}).fill(pairs)
    else:
        pairs.refuse(f"the protocol looks at batches of {BATCH} test items, there are {len(x)}")
    return pairs.measurement()


PTMZ_CKA = Metric(
    name="ptmz_cka",
    protocol_id="ptmz-cka/v1",
    table="pairs",
    columns=(
        Column(
            name="ptmz_cka",
            dtype="float64",
            description="linear CKA of the logits, mean over at most 10 batches of 128 test items, in [0, 1]",
        ),
    ),
    settings={
        "estimator": "biased, of each batch; mean over batches",
        "kernel": "linear",
        "features": "logits",
        "items": "test, in the order of the data",
        "batch_size": BATCH,
        "batches": PTMZ_BATCHES,
        "fewer_items": "as many whole batches as there are",
    },
    properties=frozenset({"permutation_invariant", "seed_deterministic", "symmetric", "in_unit_interval"}),
    compute=_compute_ptmz,
    kinds=frozenset({"classification", "sequence"}),
    scope="last",
    suite="ptmz",
)
YANG2021_CKA = Metric(
    name="yang2021_cka",
    protocol_id="yang2021-cka/v1",
    table="pairs",
    columns=(
        Column(
            name="yang2021_cka",
            dtype="float64",
            description="linear CKA of the probabilities at 768 points between training items, in [0, 1]",
        ),
    ),
    settings={
        "estimator": "biased, of all batches together",
        "kernel": "linear",
        "features": "softmax",
        "items": "mixup of training items that were seen, in random order",
        "share": f"Beta({ALPHA}, {ALPHA}), one a batch",
        "partners": "a random permutation of the batch",
        "batch_size": BATCH,
        "batches": YANG_BATCHES,
        "fewer_items": "as many batches as there are, the last one shorter",
    },
    properties=frozenset({"permutation_invariant", "seed_deterministic", "symmetric", "in_unit_interval"}),
    compute=_compute_yang2021,
    kinds=frozenset({"classification"}),
    scope="last",
    suite="yang2021",
)
