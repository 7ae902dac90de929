"""Rounds of refinement: chosen from what is measured, and written into the zoo before they are trained."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from generators.axes import Value
from generators.description import Recipe
from generators.kinds import first_metric, recipe_kind
from generators.lazy import Cells
from generators.refinement import Number, Point, Refinement, Scale, Step, scale_of, steepest
from zoo import architectures, datasets
from zoo import metrics as known_metrics
from zoo import open as open_zoo
from zoo.assembly import MANIFEST, read_manifest
from zoo.errors import IntegrityError, SpecificationError, unknown_name
from zoo.spec import describe
from zoo.storage import Entry, commit, read_journal, sha256_of, write_file

ROUNDS = "refinement.json"


class ChosenCell(BaseModel):
    """A further cell, and why it is there.

    Attributes:
        values: Its values, by field.
        axis: Field along which the metric changes.
        between: Values of its two neighbours there.
        difference: Absolute difference of the metric between them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: dict[str, Value]
    axis: str
    between: tuple[Number, Number]
    difference: float


class Rounds(BaseModel):
    """All rounds so far.

    Attributes:
        metric: The metric that chose them.
        rounds: Cells of each round, steepest first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    rounds: tuple[tuple[ChosenCell, ...], ...] = ()

    @property
    def cells(self) -> list[list[dict[str, Any]]]:
        """Value by field of each cell of each round."""
        return [[dict(cell.values) for cell in cells] for cells in self.rounds]


def check_refinement(refine: Refinement, cells: Cells) -> None:
    """Refuse a refinement by a metric that nobody measures, or of axes that have no middle.

    Args:
        refine: What the recipe asks for.
        cells: The cells of its grid.

    Raises:
        UnknownNameError: `generate` measures no such metric.
        SpecificationError: No axis can be halved.
    """
    first = known_metrics.get(first_metric(recipe_kind(cells.recipe.model_dump(mode="json"))))
    columns = [column.name for column in first.columns if column.dtype == "float64"]
    if refine.metric not in columns:
        raise unknown_name("metric to refine by", refine.metric, columns)
    if not scales(cells):
        raise SpecificationError(
            "refine has no axis to refine: none has two numbers or more (seeds do not count); give one more "
            "values, or leave refine out"
        )


def scales(cells: Cells) -> list[Scale]:
    """Say which axes of a grid can be halved, and how.

    Args:
        cells: The cells of the grid.

    Returns:
        The axes with at least two numbers.
    """
    return [
        scale_of(axis, values)
        for axis, (field, values) in enumerate(zip(cells.fields, cells.values, strict=True))
        if len(values) > 1 and isinstance(values[0], int | float) and not field.endswith("_seed")
    ]


def read_rounds(root: Path, recipe: Recipe) -> Rounds | None:
    """Read the rounds of a zoo.

    Args:
        root: The zoo.
        recipe: Its recipe.

    Returns:
        The rounds, without any where none was chosen; nothing where the recipe asks for none.

    Raises:
        IntegrityError: The file is missing, was changed, or is none of this kind.
    """
    if recipe.refine is None:
        return None
    journal, path = read_journal(root), root / ROUNDS
    entry = journal.entries.get(ROUNDS) if journal else None
    if entry is None:  # one that was cut off before its commit is chosen again, from the same numbers
        return Rounds(metric=recipe.refine.metric)
    if not path.is_file() or sha256_of(path) != entry.record.sha256:
        raise IntegrityError(
            f"{path} says which cells were refined, and is missing or was changed; restore it, or begin "
            "again in another folder"
        )
    try:
        return Rounds.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise IntegrityError(
            f"{path} is no list of refined cells, it was written by another version:\n{describe(error)}\n"
            "go on with that version, or begin again in another folder"
        ) from None


def choose_round(root: Path, recipe: Recipe) -> bool:
    """Choose the cells of the next round from what is measured, and write them down.

    Args:
        root: The zoo.
        recipe: Its recipe.

    Returns:
        Whether there is another round.

    Raises:
        StorageError: The disk is full.
        IntegrityError: The file of earlier rounds is missing or was changed.
    """
    rounds = read_rounds(root, recipe)
    if recipe.refine is None or rounds is None or len(rounds.rounds) >= recipe.refine.rounds:
        return False
    parts = [Cells(recipe), *(Cells(recipe, cells) for cells in rounds.cells)]
    steps = _trainable(
        steepest(_measured(root, recipe, parts), scales(parts[0])), parts[0], recipe.refine.cells
    )
    if not steps:
        return False
    fields = parts[0].fields
    chosen = tuple(
        ChosenCell(
            values=dict(zip(fields, step.cell, strict=True)),
            axis=fields[step.axis],
            between=step.between,
            difference=step.difference,
        )
        for step in steps
    )
    _write(root, rounds.model_copy(update={"rounds": (*rounds.rounds, chosen)}))
    return True


def _trainable(steps: list[Step], cells: Cells, at_most: int) -> list[Step]:
    """Take the first whose values go together: the middle of two widths may not divide by the heads."""
    found = []
    for step in steps:
        try:
            spec = cells.recipe.specification(
                dict(zip(cells.fields, step.cell, strict=True)), cells.recipe.seeds[0]
            )
            architectures.layout(spec.architecture, datasets.shape(spec.dataset))
        except SpecificationError:
            continue
        found.append(step)
        if len(found) == at_most:
            break
    return found


def _measured(root: Path, recipe: Recipe, parts: list[Cells]) -> dict[Point, float]:
    """Give the metric of every planned cell: the mean of its finished models, or NaN."""
    assert recipe.refine is not None
    names = parts[0].names
    table = open_zoo(root).cells
    points = zip(*(table[name].tolist() for name in names), strict=True)
    means = dict(zip(points, table[recipe.refine.metric].astype(float).tolist(), strict=True))
    measured: dict[Point, float] = {}
    for cells in parts:
        columns = [[v[code] for code in cells.codes(a).tolist()] for a, v in enumerate(cells.values)]
        measured |= {point: means.get(point, math.nan) for point in zip(*columns, strict=True)}
    return measured


def _write(root: Path, rounds: Rounds) -> None:
    text = json.dumps(rounds.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
    record = write_file(root / ROUNDS, text.encode())
    commit(root, Entry(kind="refinement", path=ROUNDS, shard=ROUNDS, record=record))


def count_planned(root: Path, planned: int) -> None:
    """Let the manifest say how many models there will be.

    Args:
        root: The zoo.
        planned: Models of the grid and of the rounds so far.
    """
    manifest = read_manifest(root)
    if manifest.counts.planned != planned:
        counts = manifest.counts.model_copy(update={"planned": planned})
        write_file(root / MANIFEST, manifest.model_copy(update={"counts": counts}).to_json().encode())
