"""Mergers to beat: the best member, two soups, and the ensemble that costs k times as much."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from wsl_tasks.methods import Members
from zoo import Zoo

Merged = Float[Tensor, "merged params"]


class _Untrained:
    """A merger that learns nothing from other cells."""

    def fit(self, train: Zoo, val: Zoo) -> None:
        """Learn nothing.

        Args:
            train: Not used.
            val: Not used.
        """


class BestMember(_Untrained):
    """The member with the highest validation accuracy, the first of equals: gain 0 by definition."""

    def merge(self, members: Members) -> Merged:
        """Choose a member.

        Args:
            members: The networks.

        Returns:
            `(1, n_params)`.
        """
        best = int(np.argmax(members.validation_accuracy(members.weights)))
        return members.weights[best : best + 1]


class UniformSoup(_Untrained):
    """The mean of all weights (Wortsman et al. 2022, arXiv 2203.05482); made for members of one basin."""

    def merge(self, members: Members) -> Merged:
        """Average.

        Args:
            members: The networks.

        Returns:
            `(1, n_params)`.
        """
        return members.weights.mean(dim=0, keepdim=True)


class GreedySoup(_Untrained):
    """Members, best first, enter the mean of the weights where validation accuracy does not fall.

    Source: Wortsman et al. 2022 (arXiv 2203.05482), recipe 1. Where members lie in different basins it is the
    best member.
    """

    def merge(self, members: Members) -> Merged:
        """Average greedily.

        Args:
            members: The networks.

        Returns:
            `(1, n_params)`.
        """
        accuracy = members.validation_accuracy(members.weights)
        first, *others = np.argsort(-accuracy, kind="stable").tolist()
        chosen, best = [first], accuracy[first]
        for candidate in others:
            soup = members.weights[[*chosen, candidate]].mean(dim=0, keepdim=True)
            reached = members.validation_accuracy(soup)[0]
            if reached >= best:
                chosen, best = [*chosen, candidate], reached
        return members.weights[chosen].mean(dim=0, keepdim=True)


class LogitEnsemble(_Untrained):
    """All members side by side; the mean of their logits decides."""

    def merge(self, members: Members) -> Merged:
        """Keep all.

        Args:
            members: The networks.

        Returns:
            `(n_members, n_params)`.
        """
        return members.weights
