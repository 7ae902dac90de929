"""The layout of a network: the ordered list that turns a flat vector into a state dict."""

from __future__ import annotations

import json
import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from zoo.spec.hashing import digest

EntryKind = Literal["weight", "bias", "norm", "buffer"]


class LayoutEntry(BaseModel):
    """One tensor of a layout.

    Attributes:
        name: Key in the state dict, such as `0.weight`.
        shape: Shape of the tensor; `()` for a scalar.
        kind: `weight` (matrices and kernels), `bias`, `norm` (gain and shift of a normalisation)
            or `buffer` (state that no gradient reaches).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    shape: tuple[int, ...]
    kind: EntryKind

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class Layout(BaseModel):
    """An ordered list of named tensors; two networks with equal layouts share one weight matrix.

    Attributes:
        architecture: Name of the architecture that the tensors belong to.
        entries: The tensors, in the order of the flat vector.

    Example:
        >>> layout = Layout(architecture="mlp", entries=[
        ...     LayoutEntry(name="0.weight", shape=(2, 3), kind="weight"),
        ...     LayoutEntry(name="0.bias", shape=(2,), kind="bias")])
        >>> layout.size, layout.offsets
        (8, (0, 6))
        >>> layout.id
        'mlp-8-cb36e4af'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    entries: tuple[LayoutEntry, ...]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Layout:
        names = [entry.name for entry in self.entries]
        if len(set(names)) < len(names):
            raise ValueError(f"a layout names each tensor once, got {names}")
        return self

    @property
    def size(self) -> int:
        """Length of the flat vector."""
        return sum(entry.size for entry in self.entries)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each entry begins in the flat vector."""
        starts, start = [], 0
        for entry in self.entries:
            starts.append(start)
            start += entry.size
        return tuple(starts)

    @property
    def id(self) -> str:
        """Readable and stable name: architecture, length and a short hash of the entries."""
        return f"{self.architecture}-{self.size}-{digest(self.model_dump(mode='json'))[:8]}"

    def to_json(self) -> str:
        """Write the layout as JSON.

        Returns:
            One line, as the shards store it.
        """
        return json.dumps(self.model_dump(mode="json"), separators=(",", ":"))
