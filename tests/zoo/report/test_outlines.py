"""Borders run between phases, names stand inside their regions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.report.outlines import borders, regions


def cells(*rows: str) -> np.ndarray:
    return np.array([[None if cell == "." else cell for cell in row] for row in rows], dtype=object)


def edges(labels: np.ndarray) -> set[tuple[tuple[float, float], ...]]:
    return {tuple(sorted((float(x), float(y)) for x, y in segment)) for segment in borders(labels)}


def test_a_corner_is_walled_off_on_two_sides() -> None:
    assert edges(cells("ab", "aa")) == {((0.5, -0.5), (0.5, 0.5)), ((0.5, 0.5), (1.5, 0.5))}


@pytest.mark.parametrize(
    "labels", [cells("a"), cells("aaa"), cells("a", "a"), cells("a.b"), cells("..", "..")]
)
def test_no_border_where_nothing_changes_or_nothing_is_known(labels: np.ndarray) -> None:
    assert borders(labels).shape == (0, 2, 2)


@given(st.lists(st.text("abc.", min_size=4, max_size=4), min_size=1, max_size=5))
def test_every_border_parts_two_labels_and_no_such_place_is_left_out(rows: list[str]) -> None:
    labels = cells(*rows)
    expected = set()
    for i in range(len(rows)):
        for j in range(4):
            if j < 3 and {rows[i][j], rows[i][j + 1]} & {"."} == set() and rows[i][j] != rows[i][j + 1]:
                expected.add(((j + 0.5, i - 0.5), (j + 0.5, i + 0.5)))
            if i + 1 < len(rows) and "." not in rows[i][j] + rows[i + 1][j] and rows[i][j] != rows[i + 1][j]:
                expected.add(((j - 0.5, i + 0.5), (j + 0.5, i + 0.5)))
    assert edges(labels) == expected
    assert len(borders(labels)) == len(expected)


def test_names_stand_at_centres_of_mass() -> None:
    found = regions(cells("aab", "aab", "..b"))
    assert [(region.phase, region.x, region.y, region.cells) for region in found] == [
        ("a", 0.5, 0.5, 4),
        ("b", 2, 1, 3),
    ]


def test_the_name_of_a_bent_region_stands_on_one_of_its_cells() -> None:
    labels = cells("aaaa", "abbb", "abbb", "abbb")
    bent, square = regions(labels)
    assert labels[int(bent.y), int(bent.x)] == "a"
    assert (square.x, square.y) == (2, 2)


def test_parts_of_a_phase_that_do_not_touch_have_a_name_each_and_small_ones_none() -> None:
    found = regions(cells("aaab", "...b", "aaab", "b...", ".b.."))
    assert [(region.phase, region.cells) for region in found] == [("a", 3), ("a", 3), ("b", 3)]
    assert len(regions(cells("aa"), smallest=2)) == 1
