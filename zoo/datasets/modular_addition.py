"""Addition modulo p (Power et al. 2022): all pairs of numbers, of which a share is for training."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Int, Num
from pydantic import Field, model_validator
from torch import Tensor

from zoo.datasets.base import Dataset, DatasetFamily, DatasetOptions, Items, Sizes
from zoo.spec import DataShape

_WIDEST = 256
"""Largest modulus of vectors: all of them together have 2 p^3 numbers, 134 MB here."""


class ModularAdditionOptions(DatasetOptions):
    """Options of `modular-addition`.

    Attributes:
        modulus: p; it need not be prime.
        form: How a pair (a, b) is written. `one-hot`: 2p numbers, a one at a and one at p + b, for
            perceptrons, up to p = 256. `tokens`: the three tokens a, b and p, which is the sign `=`, for
            transformers.
    """

    modulus: int = Field(default=97, ge=2, le=1024)
    form: Literal["one-hot", "tokens"] = "one-hot"

    @model_validator(mode="after")
    def _vectors_fit_into_memory(self) -> ModularAdditionOptions:
        if self.form == "one-hot" and self.modulus > _WIDEST:
            raise ValueError(
                f"vectors are made up to modulus {_WIDEST}, not {self.modulus}; take form: tokens or a lower "
                "modulus"
            )
        return self


@lru_cache(maxsize=8)
def _pairs(modulus: int) -> Int[Tensor, "pairs 2"]:
    """Give all pairs in an order that depends on the modulus alone."""
    order = torch.randperm(modulus**2, generator=torch.Generator().manual_seed(0))
    return torch.stack([order // modulus, order % modulus], dim=1)


def _held_out(modulus: int) -> int:
    """Count the pairs of val, and of test: a tenth of all each."""
    return max(1, modulus**2 // 10)


def _written(pairs: Int[Tensor, "pairs 2"], options: ModularAdditionOptions) -> Num[Tensor, "pairs inputs"]:
    p = options.modulus
    if options.form == "tokens":
        return torch.cat([pairs, torch.full((len(pairs), 1), p)], dim=1)
    x = torch.zeros(len(pairs), 2 * p)
    return x.scatter_(1, pairs + torch.tensor([0, p]), 1.0)


class ModularAddition(DatasetFamily):
    """`(a, b) -> (a + b) mod p`.

    A tenth of the pairs is for val and a tenth for test, always the same. The others are the pool of the
    training items: the `fraction` of the specification is the share of this pool that a network sees, so
    that a share s of all pairs is the fraction s / 0.8.

    Licence: none is needed, these are facts of arithmetic. Source of the task: A. Power et al.,
    Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets, 2022.
    """

    name = "modular-addition"
    options = ModularAdditionOptions

    def shape(self, options: DatasetOptions, /) -> DataShape:
        """Give the shape of inputs and outputs.

        Args:
            options: Its `ModularAdditionOptions`.

        Returns:
            `(2p,)` numbers or three of p + 1 tokens; p classes.

        Example:
            >>> ModularAddition().shape(ModularAdditionOptions(modulus=5, form="tokens"))
            DataShape(inputs=(3,), classes=5, tokens=6)
        """
        own = ModularAdditionOptions.model_validate(options.model_dump())
        p = own.modulus
        return DataShape((3,), p, p + 1) if own.form == "tokens" else DataShape((2 * p,), p)

    def sizes(self, options: DatasetOptions, /) -> Sizes:
        """Count the training pairs, and those of the rarest sum, without their inputs.

        Args:
            options: Its `ModularAdditionOptions`.

        Returns:
            About `0.8 p^2`, and a little less than `0.8 p`.
        """
        p = ModularAdditionOptions.model_validate(options.model_dump()).modulus
        sums = _pairs(p)[: p**2 - 2 * _held_out(p)].sum(dim=1) % p
        return Sizes(len(sums), int(torch.bincount(sums, minlength=p).min()))

    def load(self, options: DatasetOptions, /) -> Dataset:
        """Make the pairs.

        Args:
            options: Its `ModularAdditionOptions`.

        Returns:
            Each pair once, on one side; int64 classes.
        """
        own = ModularAdditionOptions.model_validate(options.model_dump())
        pairs, each = _pairs(own.modulus), _held_out(own.modulus)
        sides = torch.split(pairs, [len(pairs) - 2 * each, each, each])
        train, val, test = (Items(_written(side, own), side.sum(dim=1) % own.modulus) for side in sides)
        shape = self.shape(own)
        return Dataset(
            name=self.name,
            train=train,
            val=val,
            test=test,
            classes=shape.classes,
            licence="none: facts of arithmetic",
            source="all pairs modulo p, as in A. Power et al., Grokking, 2022",
            tokens=shape.tokens,
        )


MODULAR_ADDITION = ModularAddition()
