"""A plane is cut where one says, and says where it was cut."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from zoo.errors import QueryError, UnknownNameError
from zoo.report.plane import choose_plane, parse_fixed
from zoo.spec import Axis


def test_other_axes_stay_at_their_first_value(grid: pd.DataFrame, axes: tuple[Axis, ...]) -> None:
    plane = choose_plane(grid, axes)
    assert (plane.x, plane.y) == ("width", "learning_rate")
    assert set(plane.cells["label_noise"]) == {0.0}
    assert plane.where == "label noise 0"


@pytest.mark.parametrize("value", ["0.2", "0.20", "2e-1"])
def test_an_axis_is_held_where_it_is_told_to(grid: pd.DataFrame, axes: tuple[Axis, ...], value: str) -> None:
    plane = choose_plane(grid, axes, at={"label_noise": value})
    expected = grid[grid["label_noise"] == 0.2]
    assert plane.cells.equals(expected)
    table = plane.grid("train_loss")
    assert table.loc[0.04, 16] == expected.query("learning_rate == 0.04 and width == 16")["train_loss"].item()
    assert plane.labels()[0, 0] == expected.query("learning_rate == 0.001 and width == 2")["phase"].item()
    assert plane.labels()[-1, -1] is None or pd.isna(plane.labels()[-1, -1])


def test_any_axis_of_its_kind_can_be_drawn(grid: pd.DataFrame, axes: tuple[Axis, ...]) -> None:
    plane = choose_plane(grid, axes, load="label_noise", at={"width": "8"})
    assert plane.grid("train_loss").shape == (8, 2)
    assert plane.where == "width 8"


def test_axes_of_text_can_be_held(grid: pd.DataFrame, axes: tuple[Axis, ...]) -> None:
    named = (*axes[::2], Axis(name="optimizer", field="training.optimizer", kind="other", dtype="string"))
    cells = pd.concat([grid[grid["label_noise"] == 0].assign(optimizer=name) for name in ("sgd", "adam")])
    assert choose_plane(cells, named).where == "optimizer adam"
    assert set(choose_plane(cells, named, at={"optimizer": "sgd"}).cells["optimizer"]) == {"sgd"}


def test_a_column_that_was_not_measured_is_missing_everywhere(
    grid: pd.DataFrame, axes: tuple[Axis, ...]
) -> None:
    table = choose_plane(grid, axes).grid("cka_mixup")
    assert table.shape == (8, 8)
    assert np.isnan(table.to_numpy()).all()


def test_bad_choices_are_explained(grid: pd.DataFrame, axes: tuple[Axis, ...]) -> None:
    with pytest.raises(UnknownNameError, match="unknown load axis 'widht'; did you mean 'width'"):
        choose_plane(grid, axes, load="widht")
    with pytest.raises(UnknownNameError, match="unknown axis to fix 'width'; known: label_noise"):
        choose_plane(grid, axes, at={"width": "8"})
    with pytest.raises(QueryError, match=r"no cell has label_noise 0.3; expected one of its values: 0, 0.2$"):
        choose_plane(grid, axes, at={"label_noise": "0.3"})
    with pytest.raises(QueryError, match="no cell has label_noise high"):
        choose_plane(grid, axes, at={"label_noise": "high"})
    many = pd.DataFrame({"width": range(30), "label_noise": 0.0, "learning_rate": 0.1})
    with pytest.raises(QueryError, match=r"10, 11, \.\.\. \(30 in all\)"):
        choose_plane(many, axes, load="label_noise", at={"width": "99"})


@pytest.mark.parametrize("words", [["width"], ["width="], ["=2"], ["width=2", "width=4"]])
def test_what_stands_after_at_must_be_an_axis_and_a_value(words: list[str]) -> None:
    with pytest.raises(
        QueryError, match=r"expected AXIS=VALUE, each axis once, such as --at label_noise=0\.2"
    ):
        parse_fixed(words)
