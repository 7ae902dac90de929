"""The load x temperature plane that a figure shows, cut out of a grid that may have more axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from zoo.errors import QueryError, unknown_name
from zoo.spec import Axis


@dataclass(frozen=True)
class Plane:
    """Cells over two axes.

    Attributes:
        x: Load axis, drawn to the right.
        y: Temperature axis, drawn upwards.
        cells: The cells: axes and metrics.
        fixed: Value of each axis that is held fixed.
        colder_upwards: Whether higher values of `y` are colder, so that the axis must be turned round.
    """

    x: str
    y: str
    cells: pd.DataFrame
    fixed: Mapping[str, object]
    colder_upwards: bool = False

    def grid(self, column: str) -> pd.DataFrame:
        """Lay a metric out over the plane.

        Args:
            column: A column of numbers; one that the cells lack is missing everywhere.

        Returns:
            Its mean over the cells of each point; rows are the values of `y`, columns those of `x`.
        """
        cells = self.cells.reindex(columns=[self.x, self.y, column])
        return cells.pivot_table(index=self.y, columns=self.x, values=column, dropna=False)

    def labels(self, column: str = "phase") -> Shaped[np.ndarray, "rows columns"]:
        """Lay labels out over the plane.

        Args:
            column: A column of text.

        Returns:
            The label of each point in rows and columns as those of `grid`; missing where there is none.
        """
        table = self.cells.pivot_table(
            index=self.y, columns=self.x, values=column, aggfunc="first", dropna=False
        )
        return table.to_numpy(object)

    @property
    def where(self) -> str:
        """What is held fixed, in words; empty where nothing is."""
        return describe(self.fixed)


def describe(values: Mapping[str, object]) -> str:
    """Write values of axes as people read them.

    Args:
        values: Value by axis.

    Returns:
        The words.

    Example:
        >>> describe({"label_noise": 0.20, "width": 8})
        'label noise 0.2, width 8'
    """
    return ", ".join(f"{axis.replace('_', ' ')} {tick(value)}" for axis, value in values.items())


def tick(value: object) -> str:
    """Write one value of an axis.

    Args:
        value: A number or text.

    Returns:
        The shortest form of a number, other values as they are.

    Example:
        >>> tick(0.10), tick(128), tick("adam")
        ('0.1', '128', 'adam')
    """
    return f"{value:g}" if isinstance(value, float) else str(value)


def choose_axis(axes: Sequence[Axis], kind: str, name: str | None) -> str:
    """Choose what goes to the right, or up.

    Args:
        axes: The zoo's axes.
        kind: `load` or `temperature`.
        name: The axis; nothing for the first of this kind.

    Returns:
        Its name.

    Raises:
        UnknownNameError: There is no such axis of this kind.
    """
    names = [axis.name for axis in axes if axis.kind == kind]
    if name is not None and name not in names:
        raise unknown_name(f"{kind} axis", name, names)
    return name or names[0]


def parse_fixed(words: Iterable[str]) -> dict[str, str]:
    """Read what someone typed after `--at`.

    Args:
        words: Such as `label_noise=0.2`.

    Returns:
        Value by axis, as text.

    Raises:
        QueryError: A word has no axis or no value, or an axis stands twice.

    Example:
        >>> parse_fixed(["label_noise=0.2"])
        {'label_noise': '0.2'}
    """
    found: dict[str, str] = {}
    for word in words:
        axis, _, value = word.partition("=")
        if not axis or not value or axis in found:
            raise QueryError(
                f"--at {word}: expected AXIS=VALUE, each axis once, such as --at label_noise=0.2; "
                "repeat --at to fix several axes"
            )
        found[axis] = value
    return found


def select(
    cells: pd.DataFrame, names: Sequence[str], fixed: Mapping[str, str]
) -> tuple[pd.DataFrame, dict[str, object]]:
    """Keep the cells at given values of some axes.

    Args:
        cells: The cells.
        names: Axes that may be fixed.
        fixed: Value by axis, as text.

    Returns:
        The cells that are left, and the values as the cells have them.

    Raises:
        UnknownNameError: An axis is not among those that may be fixed.
        QueryError: No cell has the value.
    """
    held: dict[str, object] = {}
    for axis, text in fixed.items():
        if axis not in names:
            raise unknown_name("axis to fix", axis, names)
        held[axis] = _value(cells, axis, text)
    for axis, value in held.items():
        cells = cells[cells[axis] == value]
    return cells, held


def _value(cells: pd.DataFrame, axis: str, text: str) -> object:
    """Find the value of an axis that someone typed: as text, or as a number that is equal."""
    values = sorted(cells[axis].dropna().unique().tolist())
    for value in values:
        if text == str(value) or (not isinstance(value, str) and _number(text) == value):
            return value
    known = ", ".join(tick(value) for value in values[:12])
    more = f", ... ({len(values)} in all)" if len(values) > 12 else ""
    raise QueryError(f"no cell has {axis} {text}; expected one of its values: {known}{more}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def choose_plane(
    cells: pd.DataFrame,
    axes: Sequence[Axis],
    *,
    load: str | None = None,
    temperature: str | None = None,
    at: Mapping[str, str] | None = None,
) -> Plane:
    """Choose one plane: an average over more axes would mix phases.

    Args:
        cells: All cells.
        axes: The zoo's axes.
        load: Axis to the right; by default the first load axis.
        temperature: Axis upwards; by default the first temperature axis.
        at: Value of other axes, as text; each that is not given stays at its first value, the
            share of the data at its largest.

    Returns:
        The plane.

    Raises:
        UnknownNameError: There is no such axis, or it is drawn and cannot be fixed.
        QueryError: No cell has a value that is asked for.
    """
    x, y = choose_axis(axes, "load", load), choose_axis(axes, "temperature", temperature)
    others = [axis.name for axis in axes if axis.name not in {x, y}]
    left, held = select(cells, others, at or {})
    fields = {axis.name: axis.field for axis in axes}
    for name in (name for name in others if name not in held):
        plain = left[name].max() if fields[name] == "dataset.fraction" else left[name].min()
        first = plain if left[name].notna().any() else None
        left, held[name] = left[left[name].isna() if first is None else left[name] == first], first
    turned = any(axis.name == y and axis.colder_when_higher for axis in axes)
    return Plane(x, y, left, {name: held[name] for name in others}, turned)
