"""The manifest: what a zoo holds, under which licence, measured by which protocols, in which files."""

from __future__ import annotations

import difflib
import json
import re
from typing import Annotated, Any, Literal, NoReturn, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from zoo.errors import FormatError, UnsafeFileError
from zoo.spec.columns import Column, DType, TableName
from zoo.spec.layout import Layout

AxisKind = Literal["load", "temperature", "other"]
FORMAT_VERSION: Literal[1] = 1
MAX_MANIFEST_BYTES = 64 << 20
_SAFE_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*(/[A-Za-z0-9_][A-Za-z0-9_.=+-]*)*")


def check_path(path: str) -> str:
    """Refuse a file name that could reach outside of the zoo.

    Args:
        path: Path from a manifest, relative to the zoo.

    Returns:
        The same path.

    Raises:
        UnsafeFileError: The path is absolute, climbs, or has characters that no zoo file name has.

    Example:
        >>> check_path("weights/mlp-722-1a2b3c4d-00000.h5")
        'weights/mlp-722-1a2b3c4d-00000.h5'
    """
    if len(path) > 200 or not _SAFE_PATH.fullmatch(path):
        raise UnsafeFileError(
            f"the manifest names the file {path[:200]!r}; expected a relative path of letters, digits and "
            "'_.=+-' that stays inside the zoo. Do not use this zoo unless you trust its source"
        )
    return path


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Record):
    """One file of a zoo.

    Attributes:
        sha256: Digest of its bytes.
        bytes: Its size.
        rows: Rows of the table or of the weight matrix; missing for other files.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0, le=2**50)]
    rows: Annotated[int, Field(ge=0, le=2**40)] | None = None


class Protocol(_Record):
    """A metric's settings, frozen under an id.

    Attributes:
        metric: Name of the metric.
        table: Table that its columns stand in.
        columns: The columns.
        settings: Whatever decides the numbers.
    """

    metric: str
    table: TableName
    columns: tuple[Column, ...]
    settings: dict[str, Any]


class Axis(_Record):
    """One axis of the grid.

    Attributes:
        name: Column in the table of models.
        field: Path in the specification, such as `training.learning_rate`.
        kind: `load`, `temperature`, or `other`, such as the epoch of a fork.
        dtype: Type of its values.
    """

    name: str
    field: str
    kind: AxisKind
    dtype: DType

    @property
    def colder_when_higher(self) -> bool:
        """Whether the temperature falls as the value rises: large batches average the noise away."""
        return self.field == "training.batch_size"


class Counts(_Record):
    """How much a zoo holds.

    Attributes:
        models: Models, whatever became of them.
        finished: Models trained to the end.
        diverged: Models whose loss left the numbers.
        failed: Models whose training raised an error.
        checkpoints: Stored weight vectors.
        cells: Grid points.
        planned: Models that the recipe asks for.
    """

    models: int
    finished: int
    diverged: int
    failed: int
    checkpoints: int
    cells: int
    planned: int


class Manifest(_Record):
    """The manifest of a zoo, format version 1.

    Attributes:
        format: Always `phasezoo`.
        format_version: Always 1.
        name: Name of the zoo.
        description: One paragraph.
        licence: SPDX id of the licence of the data.
        recipe: The recipe, all defaults written out.
        recipe_hash: SHA-256 of the recipe's canonical JSON.
        axes: The axes, load first.
        counts: How much is in it.
        layouts: Layout by id.
        protocols: Protocol by id.
        splits: File by split id.
        files: Every file but the manifest itself and the maker's working files.
        journal_bytes: How much of the maker's journal the tables reflect.
        provenance: Versions, device, times.
    """

    format: Literal["phasezoo"] = "phasezoo"
    format_version: Literal[1] = FORMAT_VERSION
    name: str
    description: str
    licence: str
    recipe: dict[str, Any]
    recipe_hash: str
    axes: tuple[Axis, ...]
    counts: Counts
    layouts: dict[str, Layout]
    protocols: dict[str, Protocol]
    splits: dict[str, str]
    files: dict[Annotated[str, AfterValidator(check_path)], FileRecord]
    journal_bytes: int
    provenance: dict[str, Any]

    @model_validator(mode="after")
    def _parts_agree(self) -> Manifest:
        folded = [path.casefold() for path in self.files]
        if len(set(folded)) < len(folded):
            raise ValueError("two files differ in case only, which not every file system can hold")
        if not {"load", "temperature"} <= {axis.kind for axis in self.axes}:
            raise ValueError("a zoo has at least one load axis and one temperature axis")
        for key, layout in self.layouts.items():
            if key != layout.id:
                raise ValueError(f"layout {key!r} has entries whose id is {layout.id!r}")
        for split, path in self.splits.items():
            if path not in self.files:
                raise ValueError(f"split {split!r} points to {path!r}, which is not among the files")
        return self

    @property
    def complete(self) -> bool:
        """Whether every model of the recipe has its row."""
        return self.counts.models == self.counts.planned

    def axis_names(self, kind: str | None = None) -> list[str]:
        """List the axes.

        Args:
            kind: `load`, `temperature`, `other`, or nothing for all.

        Returns:
            Their names, in the recipe's order.
        """
        return [axis.name for axis in self.axes if kind in {None, axis.kind}]

    def to_json(self) -> str:
        """Write the manifest as the file has it.

        Returns:
            Indented JSON, keys in the order of the format.
        """
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str) -> Manifest:
        """Read a manifest that anyone may have written.

        Args:
            text: The file's text.
            source: Its path, for the message.

        Returns:
            The checked manifest.

        Raises:
            FormatError: It is not JSON, or not a manifest of this version; all faults are listed.
            UnsafeFileError: It names a file outside of the zoo.
        """
        raw = parse_json(text, source=source)
        version = raw.get("format_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise FormatError(
                f"{source} has format version {version}, this phasezoo reads up to {FORMAT_VERSION}; "
                "install a newer phasezoo to open it"
            )
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise FormatError(f"{source} is not a zoo manifest:\n{describe(error)}") from None


def describe(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Write every fault that pydantic found, one a line, as path: message, got.

    Args:
        error: The validation error.
        model: What was to be read: its nearest key is named where one is unknown.

    Returns:
        The lines, indented by two blanks.
    """
    lines = []
    for fault in error.errors(include_url=False):
        where = ".".join(map(str, fault["loc"])) or "the whole"
        got = repr(fault["input"])
        got = got if len(got) <= 60 else got[:57] + "..."
        line = f"  {where}: {fault['msg']}" + ("" if fault["type"] == "missing" else f", got {got}")
        lines.append(line + (_nearest_key(model, fault["loc"]) if fault["type"] == "extra_forbidden" else ""))
    return "\n".join(lines)


def _nearest_key(model: type[BaseModel] | None, where: tuple[int | str, ...]) -> str:
    """Say which known key an unknown one may have meant, if there is one like it."""
    for part in where[:-1]:
        field = model.model_fields.get(str(part)) if model else None
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    close = difflib.get_close_matches(str(where[-1]), model.model_fields, n=1) if model else []
    return f"; did you mean {close[0]!r}?" if close else ""


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key stands twice among {[key for key, _ in pairs][:8]}")
    return found


def parse_json(text: str, *, source: str) -> Any:
    """Parse JSON strictly: no NaN, no key twice, no nesting without end.

    Args:
        text: The text.
        source: Where it came from, for the message.

    Returns:
        The value.

    Raises:
        FormatError: It is not strict JSON.

    Example:
        >>> parse_json('{"a": 1}', source="example")
        {'a': 1}
    """
    if len(text) > MAX_MANIFEST_BYTES:
        raise FormatError(f"{source} has {len(text)} characters, expected at most {MAX_MANIFEST_BYTES}")
    try:
        return json.loads(text, parse_constant=_reject_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{source} is not valid JSON: {error}; replace it by a whole copy") from None
