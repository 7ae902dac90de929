"""Axes: the fields on which the models of a recipe differ, and the values or ranges that they take."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    Tag,
    model_validator,
)

from zoo.spec import AxisKind, GrowingSpecification

_EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


def _number(value: Any) -> Any:
    """Read `1e-3`, which YAML takes for a text, as a number; any other text stays one, such as `0-1`."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


Value = Annotated[
    StrictBool | StrictInt | StrictFloat | str, Field(union_mode="left_to_right"), BeforeValidator(_number)
]
PARTS = ("dataset", "architecture", "training", "fork", "parent")
"""Parts of a recipe whose fields may be axes."""


def no_boolean(value: Any) -> Any:
    """Refuse true and false where a number is meant: YAML reads `yes` and `no` as these.

    Args:
        value: What a recipe gives.

    Returns:
        The same.

    Raises:
        ValueError: It is a boolean; pydantic collects these.
    """
    if isinstance(value, bool):
        raise ValueError("expected a number, got a boolean")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


Bound = Annotated[float, BeforeValidator(no_boolean), Field(allow_inf_nan=False)]


class Range(BaseModel):
    """All values between two bounds, for recipes that draw their cells.

    Attributes:
        low: Lower bound, included.
        high: Upper bound, included.
        scale: `linear`, or `log`: each factor is as likely as any other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Bound
    high: Bound
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(
                f"a range of scale log lies above 0, got low {self.low:g}; or take scale: linear"
            )
        return self


def _form(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "values"


AxisValues = Annotated[
    Annotated[tuple[Value, ...], Tag("values")] | Annotated[Range, Tag("range")], Discriminator(_form)
]
"""Values or a range; told apart first, so that a fault is named once."""


class Axes(GrowingSpecification):
    """The axes: every field of a specification may be one.

    Attributes:
        load: Values by field, such as `architecture.width: [8, 16]`.
        temperature: Values by field, such as `training.learning_rate: [0.01, 0.1]`.
        other: Values by field of what is neither, such as `fork.epoch: [1, 5, 20]`.
    """

    added: ClassVar[frozenset[str]] = frozenset({"other"})

    load: dict[str, AxisValues] = Field(min_length=1)
    temperature: dict[str, AxisValues] = Field(min_length=1)
    other: dict[str, AxisValues] = Field(default_factory=dict)

    @property
    def kinds(self) -> dict[AxisKind, dict[str, tuple[Value, ...] | Range]]:
        """Values by field of each kind, load first."""
        return {"load": self.load, "temperature": self.temperature, "other": self.other}

    @property
    def fields(self) -> dict[str, tuple[Value, ...] | Range]:
        """Values by field, load first."""
        return {**self.load, **self.temperature, **self.other}


def axis_name(field: str) -> str:
    """Name the column of an axis.

    Args:
        field: Field of the specification.

    Returns:
        Its last part; the whole where the last part alone would be taken for something else.

    Example:
        >>> axis_name("training.learning_rate"), axis_name("fork.epoch")
        ('learning_rate', 'fork_epoch')
    """
    return field.replace(".", "_") if field.startswith(("fork.", "parent.")) else field.rpartition(".")[2]


def check_axis(field: str, values: tuple[Value, ...] | Range) -> None:
    """Refuse an axis that is no field of a specification, or whose values are none or repeat.

    Args:
        field: The field.
        values: Its values.

    Raises:
        ValueError: What is wrong; pydantic collects these.
    """
    part, _, key = field.partition(".")
    if part not in PARTS or not key:
        expected = ", ".join(f"{name}.<key>" for name in PARTS)
        raise ValueError(f"axis {field!r}: expected one of {expected}")
    if field == "parent.zoo":
        raise ValueError("axis 'parent.zoo': a recipe has one parent zoo; take parent.checkpoint as axis")
    if isinstance(values, Range):
        return
    if not values:
        raise ValueError(f"axis {field!r} is empty; give at least one value")
    if len(set(values)) < len(values):
        raise ValueError(f"axis {field!r} has a value twice: {list(values)}")
