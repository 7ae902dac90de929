"""CKA of all pairs of a subject: one pass of each network, one product a batch for all pairs of a cell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Num
from numpy.typing import NDArray
from torch import Tensor

from zoo.metrics.evaluation import MAX_BYTES
from zoo.metrics.similarity.cka import CKASums
from zoo.metrics.similarity.pairs import Clique, Pairs
from zoo.training import NetworkStack

Read = Callable[[Tensor], Float[Tensor, "models items features"]]
"""From what networks give to what is compared."""


def plain(outputs: Float[Tensor, "models items ..."]) -> Float[Tensor, "models things features"]:
    """Compare what networks give; each place of a sequence is an item.

    Args:
        outputs: `(n_models, n_items, ..., p)`.

    Returns:
        `(n_models, n_items', p)`.
    """
    return outputs.flatten(1, -2)


def softmax(outputs: Float[Tensor, "models items ..."]) -> Float[Tensor, "models things classes"]:
    """Compare the probabilities of the classes.

    Args:
        outputs: Logits `(n_models, n_items, ..., n_classes)`.

    Returns:
        `(n_models, n_items', n_classes)`.
    """
    return plain(outputs).softmax(dim=-1)


@dataclass(frozen=True)
class Comparison:
    """What of networks is compared, and how.

    Attributes:
        networks: All networks of the subject.
        sets: Sets of inputs; each has a CKA of its own, and a pair gets their mean.
        estimators: For each column whether it holds the debiased estimator.
        read: From outputs to what is compared.
    """

    networks: NetworkStack
    sets: Sequence[Num[Tensor, "items ..."]]
    estimators: Mapping[str, bool]
    read: Read = plain

    def fill(self, pairs: Pairs) -> None:
        """Give each open pair its numbers, or the reason why there are none.

        Args:
            pairs: The pairs of the subject.
        """
        for size, alike in itertools.groupby(pairs.cliques(), key=lambda clique: len(clique.rows)):
            cliques, step = list(alike), self._at_once(size)
            for start in range(0, len(cliques), step):
                self._fill(pairs, cliques[start : start + step], size)

    def _fill(self, pairs: Pairs, cliques: Sequence[Clique], size: int) -> None:
        sums = [self._sums(cliques, size, x) for x in self.sets]
        for column, debiased in self.estimators.items():
            matrices = torch.stack([one.matrix(debiased=debiased) for one in sums]).mean(dim=0).numpy()
            faults = _first([one.faults(debiased=debiased) for one in sums])
            for clique, matrix, fault in zip(cliques, matrices, faults, strict=True):
                pairs.fill(column, clique, matrix, fault.tolist())

    def _sums(self, cliques: Sequence[Clique], size: int, x: Num[Tensor, "items ..."]) -> CKASums:
        some = self.networks.select(np.concatenate([clique.rows for clique in cliques]).tolist())
        sums = CKASums()
        for batch in torch.split(x, max(1, MAX_BYTES // (len(some) * self._activation()))):
            compared = self.read(some.evaluate(batch))
            sums.update(compared.view(len(cliques), size, *compared.shape[1:]))
        return sums

    def _at_once(self, size: int) -> int:
        """Say how many cliques to take at once, such that activations and sums stay small."""
        first = self.read(self.networks.select([0]).evaluate(self.sets[0][:1]))
        items = max(map(len, self.sets))
        each = max(size * items * self._activation(), 8 * (size * first.shape[-1]) ** 2)
        return max(1, MAX_BYTES // each)

    def _activation(self) -> int:
        """Count the bytes of the widest activation of one network on one item, at most."""
        shape = self.sets[0].shape[1:]
        units = max([entry.shape[0] for entry in self.networks.layout.entries if entry.shape], default=1)
        tokens = not (self.sets[0].is_floating_point() or self.sets[0].dtype == torch.uint8)
        places = math.prod(shape) if tokens else math.prod(shape[1:])
        return 4 * units * places


def _first(faults: Sequence[NDArray[np.object_]]) -> NDArray[np.object_]:
    """Take the first fault that is known of each network."""
    found = faults[0]
    for others in faults[1:]:
        found = np.where(found.astype(bool), found, others)
    return found
