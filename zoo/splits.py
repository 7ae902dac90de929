"""Standard splits: files of sorted cell ids, so that all seeds and checkpoints of a cell fall on one side."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from zoo.errors import FormatError, SpecificationError
from zoo.spec import describe, parse_json

SIDES = ("train", "val", "test")


def _sum_to_one(fractions: tuple[float, float, float]) -> tuple[float, float, float]:
    if not (min(fractions) > 0 and math.isclose(sum(fractions), 1, abs_tol=1e-9)):
        raise SpecificationError(
            f"expected three positive fractions (train, val, test) that sum to 1, got {tuple(fractions)}; "
            "such as (0.6, 0.2, 0.2)"
        )
    return fractions


def _sorted_once(cells: list[str]) -> list[str]:
    if any(a >= b for a, b in itertools.pairwise(cells)):
        raise ValueError("expected cell ids in sorted order, each once")
    return cells


Fractions = Annotated[tuple[float, float, float], AfterValidator(_sum_to_one)]
CellIds = Annotated[list[str], AfterValidator(_sorted_once)]


class SplitFile(BaseModel):
    """A split as its file has it: which cells are on which side.

    A model has one cell, and the file names cells only: no seed or checkpoint can fall on another side
    than the rest of its cell.

    Attributes:
        id: Name and version, such as `iid-v1`; a changed split is a new id.
        kind: `iid`: cells are drawn alike; `subset`: so are subsets of classes, and test holds unseen ones.
        group: What stays together: the cell, or all cells whose networks know the same classes.
        fractions: Shares of train, val and test that were asked for; they sum to 1.
        train: Sorted cell ids that a method may fit.
        val: Sorted cell ids that choices may see.
        test: Sorted cell ids for the final number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    kind: Literal["iid", "subset"] = "iid"
    group: Literal["cell", "classes"] = "cell"
    fractions: Fractions
    train: CellIds
    val: CellIds
    test: CellIds

    def to_json(self) -> str:
        """Write the split as its file has it.

        Returns:
            Indented JSON, keys in the order of the format, a newline at the end.
        """
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str) -> SplitFile:
        """Read a split that anyone may have written.

        Args:
            text: The file's text.
            source: Its path, for the message.

        Returns:
            The checked split; `check_leakage` compares it with the table of models.

        Raises:
            FormatError: It is not JSON or not a split; all faults are listed.
        """
        raw = parse_json(text, source=source)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise FormatError(f"{source} is not a split file:\n{describe(error)}") from None


def iid_split(
    cell_ids: Iterable[str],
    *,
    split_id: str = "iid-v1",
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
) -> SplitFile:
    """Divide cells at random, by a hash: the same cells give the same split on any machine, in any order.

    Cells are ordered by SHA-256 of `<split_id>:<cell_id>` and cut at the rounded cumulative fractions,
    moved where a side would be empty.

    Args:
        cell_ids: Ids of the cells; repeated ones count once.
        split_id: Name of the split; another name is another draw.
        fractions: Shares of train, val and test; they sum to 1.

    Returns:
        The split; no side is empty.

    Raises:
        SpecificationError: There are fewer than three cells, or the fractions are not shares of one.

    Example:
        >>> split = iid_split(f"width{w}" for w in range(10))
        >>> len(split.train), len(split.val), len(split.test)
        (6, 2, 2)
    """
    share = _sum_to_one(fractions)
    sides = _cut(cell_ids, split_id, share, what="cells")
    return SplitFile(id=split_id, fractions=share, **sides)


def subset_split(
    classes: Mapping[str, str],
    *,
    split_id: str = "subset-v1",
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
) -> SplitFile:
    """Divide cells by the classes that their networks know: those of a test cell were never seen together.

    Subsets of classes are ordered by SHA-256 of `<split_id>:<classes>` and cut as `iid_split` cuts cells.

    Args:
        classes: The classes, such as `0-3-7`, by cell id.
        split_id: Name of the split; another name is another draw.
        fractions: Shares of train, val and test among the subsets; they sum to 1.

    Returns:
        The split; no side is empty.

    Raises:
        SpecificationError: There are fewer than three subsets, or the fractions are not shares of one.

    Example:
        >>> split = subset_split({f"{one}-cell{n}": one for one in ("0-1", "0-2", "1-2") for n in range(2)})
        >>> [len({cell.split("-cell")[0] for cell in side}) for side in (split.train, split.val, split.test)]
        [1, 1, 1]
    """
    share = _sum_to_one(fractions)
    subsets = _cut(classes.values(), split_id, share, what="subsets of classes")
    sides = {
        side: sorted(cell for cell, known in classes.items() if known in set(chosen))
        for side, chosen in subsets.items()
    }
    return SplitFile(id=split_id, kind="subset", group="classes", fractions=share, **sides)


def _cut(
    names: Iterable[str], split_id: str, share: tuple[float, float, float], *, what: str
) -> dict[str, list[str]]:
    """Order names by their hash, and cut them at the rounded cumulative shares."""
    ordered = sorted(set(names), key=lambda name: hashlib.sha256(f"{split_id}:{name}".encode()).digest())
    count = len(ordered)
    if count < len(SIDES):
        raise SpecificationError(
            f"a split needs at least 3 {what}, one for each of train, val and test, got {count}; "
            "give an axis of the recipe more values"
        )
    first = min(max(round(share[0] * count), 1), count - 2)
    second = min(max(round((share[0] + share[1]) * count), first + 1), count - 1)
    return {
        "train": sorted(ordered[:first]),
        "val": sorted(ordered[first:second]),
        "test": sorted(ordered[second:]),
    }


def check_leakage(split: SplitFile, models: pd.DataFrame) -> list[str]:
    """Compare a split with the models that it divides.

    A model whose seed falls elsewhere than its cell cannot occur: the file names cells, not models.

    Args:
        split: The split.
        models: Table with a column `cell_id`, and `classes` for a split by subsets of them.

    Returns:
        One sentence a fault: a cell on two sides, on none, or that no model belongs to, classes on two sides;
        empty where clean.

    Example:
        >>> models = pd.DataFrame({"cell_id": ["a", "b", "c", "c"]})
        >>> leaky = SplitFile(id="x-v1", fractions=(0.6, 0.2, 0.2), train=["a", "b"], val=["b"], test=["c"])
        >>> check_leakage(leaky, models)
        ["split 'x-v1': cell 'b' is in train and val; expected one side"]
    """
    sides: dict[str, list[str]] = {}
    for side in SIDES:
        for cell in getattr(split, side):
            sides.setdefault(cell, []).append(side)
    known = set(models["cell_id"])
    faults = [
        f"cell {cell!r} is in {' and '.join(found)}; expected one side"
        for cell, found in sides.items()
        if len(found) > 1
    ]
    faults += [f"cell {cell!r} of the table of models is on no side" for cell in sorted(known - sides.keys())]
    faults += [f"cell {cell!r} is not in the table of models" for cell in sorted(sides.keys() - known)]
    if split.group == "classes":
        of_subset = models.groupby("classes")["cell_id"]
        found = {known: {s for c in cells for s in sides.get(c, ())} for known, cells in of_subset}
        faults += [
            f"the classes {known!r} are in {' and '.join(sorted(on))}; expected one side"
            for known, on in found.items()
            if len(on) > 1
        ]
    return [f"split {split.id!r}: {fault}" for fault in faults]
