"""Specifications that can get new fields while the ids of what exists stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_serializer


class GrowingSpecification(BaseModel):
    """A part of a specification that may get new fields without changing the ids of what exists.

    A field that a later version added is left out of the JSON where it holds its default, so old
    specifications keep their hash.

    Attributes:
        added: Names of these fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    added: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _leave_out_added_defaults(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        written = write(self)
        fields = type(self).model_fields
        defaults = {name: fields[name].get_default(call_default_factory=True) for name in self.added}
        silent = {name for name, default in defaults.items() if getattr(self, name) == default}
        return {name: value for name, value in written.items() if name not in silent}
