"""A result: what a method scored on a task, with all that is needed to compare it and to get it again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zoo.errors import FormatError
from zoo.spec import describe, parse_json
from zoo.storage import write_file

SCHEMA_VERSION: Literal[1] = 1

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Record):
    """One number with its interval.

    Attributes:
        value: The score; missing where it is undefined.
        low: Lower end of the 95 % bootstrap interval; missing where there is none.
        high: Upper end.
        reason: Why value or interval is missing.

    Example:
        >>> Score(value=0.5, low=0.4, high=0.6).text()
        '0.500 [0.400, 0.600]'
        >>> Score(reason="all predictions are equal").text()
        'undefined'
    """

    value: Finite | None = None
    low: Finite | None = None
    high: Finite | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _what_is_missing_is_explained(self) -> Score:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends")
        if self.value is None and self.low is not None:
            raise ValueError("an interval needs a value")
        if self.low is None and not self.reason:
            raise ValueError("a missing value or interval needs its reason")
        return self

    def text(self) -> str:
        """Write the score for a table.

        Returns:
            Value and interval, three decimals.
        """
        if self.value is None:
            return "undefined"
        span = "" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{span}"


class ZooStamp(_Record):
    """Which zoo and split a result was scored on.

    Attributes:
        name: Name of the zoo.
        recipe_hash: SHA-256 of its recipe.
        split: Id of the split.
        split_sha256: SHA-256 of the split's file.
    """

    name: str
    recipe_hash: str
    split: str
    split_sha256: str


class Result(_Record):
    """What a method scored on a task.

    Attributes:
        schema_version: Version of this record.
        task: Id of the task.
        method: Name of the method.
        reference: Whether this is a reference row, such as real models in a table of generated ones.
        scores: Score by name; the task's metadata say which is the main one.
        breakdown: Scores by temperature band, where the task has test models at several temperatures.
        n: Number of items that were scored.
        n_cells: Number of cells that they come from; 0 where they come from none.
        seeds: Seeds of the evaluation.
        wall_seconds: Time that fitting, answering and scoring took.
        versions: Version by package.
        zoo: Zoo and split.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    method: Annotated[str, Field(min_length=1, max_length=100)]
    reference: bool = False
    scores: dict[str, Score]
    breakdown: dict[str, dict[str, Score]]
    n: Annotated[int, Field(ge=0)]
    n_cells: Annotated[int, Field(ge=0)]
    seeds: tuple[int, ...]
    wall_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    versions: dict[str, str]
    zoo: ZooStamp

    @property
    def file_name(self) -> str:
        """File name that tells results of other tasks and methods apart."""
        return re.sub(r"[^A-Za-z0-9@_.-]+", ".", f"{self.task}.{self.method}") + ".json"

    def save(self, path: str | Path) -> None:
        """Write the result as JSON, whole or not at all.

        Args:
            path: The file; its folder is made where missing.

        Raises:
            StorageError: The disk is full, or the folder refuses the write.
        """
        text = json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
        write_file(Path(path), text.encode())

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """Read a result that anyone may have written.

        Args:
            path: The file.

        Returns:
            The checked result.

        Raises:
            FormatError: There is no such file, it is not JSON, or not a result; all faults are listed.
        """
        path = Path(path)
        if not path.is_file():
            raise FormatError(f"there is no result {path}; write one with `phasezoo evaluate`")
        raw = parse_json(path.read_text(encoding="utf-8", errors="replace"), source=str(path))
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise FormatError(f"{path} is not a result:\n{describe(error)}") from None


def schema_text() -> str:
    """Write the JSON Schema of a result, as docs/result.schema.json holds it.

    Returns:
        Indented JSON, a newline at the end.
    """
    return json.dumps(Result.model_json_schema(), indent=1) + "\n"
