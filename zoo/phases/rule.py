"""A rule that tells phases apart is data: three columns, where each is cut, and for which protocols."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zoo.errors import FormatError, UnknownNameError, unknown_name
from zoo.spec import describe, parse_json

PHASES = ("I", "II", "III", "IV-A", "IV-B")
"""Underfitted and undersized; underfitted; undersized; overfitted; generalizing."""
QUANTITIES = ("train_loss", "mode_connectivity", "cka")
"""What every rule looks at, by the names of the public contract; a rule may read each from another column."""
ID_PATTERN = r"^[a-z0-9][a-z0-9.-]*-v[1-9][0-9]*$"
"""A name and a version: what an id means never changes."""

_Text = Annotated[str, Field(min_length=1)]


class Criterion(BaseModel):
    """One quantity of a rule, and where it is cut.

    Attributes:
        column: The column that it is read from.
        protocols: Ids of the protocols under which its values mean the same.
        threshold: Where it is cut, in the column's unit.
        spread: Standard deviation across the seeds of a cell near the threshold: of the natural logarithm for
            the loss, in the column's unit for the others.
        spread_source: How the spread was obtained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: _Text
    protocols: tuple[_Text, ...] = Field(min_length=1)
    threshold: float = Field(allow_inf_nan=False)
    spread: float = Field(gt=0, allow_inf_nan=False)
    spread_source: _Text


class PhaseRule(BaseModel):
    """A rule: which networks are in which phase.

    A train loss above its threshold is high, a mode connectivity below its own is a barrier, and a CKA of at
    least its own means that networks are alike. High loss is phase I with a barrier and II without; low loss
    with a barrier is III; without one, alike networks are IV-B and others IV-A. So exactly on a threshold the
    loss is low, there is no barrier, and networks are alike.

    Attributes:
        id: Name and version, such as `yang2021-v1`; a changed rule is a new id.
        description: What it is for, in a sentence or two.
        source: Where its thresholds come from.
        train_loss: Mean training loss in nats.
        mode_connectivity: `(v(0) + v(1)) / 2 - v(t*)` of the train error along a curve, in percentage points.
        cka: Similarity of the networks of a cell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=ID_PATTERN)
    description: _Text
    source: _Text
    train_loss: Criterion
    mode_connectivity: Criterion
    cka: Criterion

    @model_validator(mode="after")
    def _is_whole(self) -> PhaseRule:
        if self.train_loss.threshold <= 0:
            raise ValueError(
                f"the threshold of train_loss must be above 0, got {self.train_loss.threshold}: "
                "distances to it are taken on a logarithmic scale"
            )
        columns = [criterion.column for criterion in self.criteria.values()]
        if any(column.startswith("phase") for column in columns):
            raise ValueError(f"a rule reads measurements, not labels; got the columns {', '.join(columns)}")
        if len(set(columns)) < len(columns):
            raise ValueError(f"expected three different columns, got {', '.join(columns)}")
        return self

    @property
    def criteria(self) -> Mapping[str, Criterion]:
        """The three criteria by quantity, in the order in which they are asked."""
        return {name: getattr(self, name) for name in QUANTITIES}

    @property
    def cuts(self) -> dict[str, float]:
        """Threshold by the column that it cuts."""
        return {criterion.column: criterion.threshold for criterion in self.criteria.values()}

    def to_json(self) -> str:
        """Write the rule as its file has it.

        Returns:
            Indented JSON, keys in their order, a newline at the end.
        """
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str) -> PhaseRule:
        """Read a rule that anyone may have written.

        Args:
            text: The file's text.
            source: Its path, for the message.

        Returns:
            The checked rule.

        Raises:
            FormatError: It is not JSON or not a rule; all faults are listed.
        """
        raw = parse_json(text, source=source)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise FormatError(f"{source} is not a rule of phases:\n{describe(error, cls)}") from None


def _bundled() -> Iterable[tuple[str, str]]:
    folder = resources.files("zoo") / "phases" / "rules"
    for file in folder.iterdir():
        if file.name.endswith(".json"):
            yield file.name.removesuffix(".json"), file.read_text(encoding="utf-8")


def list_rules() -> list[str]:
    """List the rules that come with the package.

    Returns:
        Their ids, sorted.

    Example:
        >>> list_rules()
        ['digits-mlp-v1', 'yang2021-v1']
    """
    return sorted(name for name, _ in _bundled())


def get_rule(name: str | Path) -> PhaseRule:
    """Find a rule.

    Args:
        name: Id of a rule of the package or of a file `<id>.json` here, or path of such a file.

    Returns:
        The rule.

    Raises:
        UnknownNameError: There is no such rule or file.
        FormatError: The file is no rule.

    Example:
        >>> get_rule("yang2021-v1").cuts
        {'fit_loss': 0.05, 'yang2021_mode_connectivity': -1.0, 'yang2021_cka': 0.65}
    """
    path = Path(name)
    if isinstance(name, str) and name not in list_rules() and Path(f"{name}.json").is_file():
        path = Path(f"{name}.json")  # what `phasezoo calibrate --id NAME` has written here
    if isinstance(name, Path) or path.suffix == ".json":
        if not path.is_file():
            raise UnknownNameError(
                f"there is no rule file {path}; expected JSON that PhaseRule.to_json() wrote, or a rule of "
                f"the package: {', '.join(list_rules())}"
            )
        text = path.read_text(encoding="utf-8", errors="replace")
        return PhaseRule.from_json(text, source=str(path))
    known = dict(_bundled())
    if name not in known:
        raise unknown_name("rule", name, known, way_out="(the path of a file ends with .json)")
    return PhaseRule.from_json(known[name], source=f"the rule {name}")
