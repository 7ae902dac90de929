"""The seven panels show the numbers of the cells, under colours that mean what they should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from zoo.errors import FormatError, QueryError
from zoo.labelling import rule_protocol
from zoo.phases import get_rule
from zoo.population import Zoo
from zoo.report.outlines import borders
from zoo.report.panels import Panel, balanced_limit, draw_panel, magnitude
from zoo.report.phase_diagram import save
from zoo.report.phases import draw_phases, phases_figure
from zoo.report.plane import Plane, choose_plane
from zoo.report.rule import RuleColumns, rule_columns
from zoo.spec import Axis as ZooAxis


@pytest.fixture
def plane(grid: pd.DataFrame, axes: tuple[ZooAxis, ...]) -> Plane:
    return choose_plane(grid, axes, at={"label_noise": "0.2"})


def panel(figure: Figure, letter: str) -> Axes:
    (found,) = [place for place in figure.axes if place.get_title().startswith(f"({letter})")]
    return found


def drawn(figure: Figure, letter: str) -> np.ndarray:
    return panel(figure, letter).images[0].get_array().filled(np.nan)


def test_every_panel_shows_its_column(plane: Plane) -> None:
    figure = phases_figure(plane, RuleColumns(), "title")
    columns = {"a": "test_accuracy", "b": "train_loss", "e": "mode_connectivity", "f": "cka"}
    for letter, column in columns.items():
        np.testing.assert_allclose(drawn(figure, letter), plane.grid(column).to_numpy())
    logarithms = {"c": "hessian_top_eigenvalue", "d": "hessian_trace", "g": "hessian_test_trace"}
    for letter, column in logarithms.items():
        np.testing.assert_allclose(drawn(figure, letter), np.log10(plane.grid(column).abs().to_numpy()))
    assert isinstance(panel(figure, "b").images[0].norm, LogNorm)
    assert panel(figure, "d").get_xlabel() == "load: width"
    assert panel(figure, "a").get_ylabel() == "temperature: learning rate"
    bars = [place.get_ylabel() for place in figure.axes if place.get_label() == "<colorbar>"]
    assert len(bars) == 7
    assert all(bars)


def test_no_connectivity_and_no_barrier_is_white(plane: Plane) -> None:
    plane.cells.iloc[:3, plane.cells.columns.get_loc("mode_connectivity")] = [-500.0, 0.0, 4.0]
    image = panel(phases_figure(plane, RuleColumns(), "title"), "e").images[0]
    colours = image.cmap(image.norm(np.array([-500.0, -4.0, 0.0, 4.0])))
    assert colours[2].tolist() == [1, 1, 1, 1]
    assert colours[1][0] > colours[1][2]  # barriers are red,
    assert colours[3][0] < colours[3][2]  # their opposite blue,
    assert 2 < image.norm.vmax < 20  # and one cell does not wash out the rest
    assert image.norm.vmin == -image.norm.vmax


def test_limits_hold_all_but_a_few() -> None:
    assert balanced_limit(np.array([[0.0, 0.0], [np.nan, 0.0]])) == 1
    assert balanced_limit(np.array([[np.nan]])) == 1
    assert balanced_limit(np.array([[-3.0]])) == 3
    values = np.zeros((10, 10))
    values[0, 0] = 5
    assert balanced_limit(values) == 5  # the percentile is zero: any colour beats none


def test_negative_eigenvalues_are_hatched_and_zero_has_no_logarithm(plane: Plane) -> None:
    place = panel(phases_figure(plane, RuleColumns(), "title"), "c")
    hatched = {p.get_xy() for p in place.patches if isinstance(p, Rectangle) and p.get_hatch()}
    assert hatched == {(j - 0.5, -0.5) for j in range(8)}  # the coldest row
    assert np.isnan(magnitude(np.array([[0.0, np.nan]]))).all()


def test_phases_are_outlined_and_named(plane: Plane) -> None:
    figure = phases_figure(plane, RuleColumns(), "title")
    expected = borders(plane.labels())
    for letter in "abcdefg":
        lines = [c for c in panel(figure, letter).collections if isinstance(c, LineCollection)]
        assert len(lines) == 2  # a halo, and the line on it
        np.testing.assert_allclose(np.array(lines[1].get_segments()), expected)
    names = {text.get_text() for text in panel(figure, "a").texts}
    assert names == set(plane.cells["phase"].dropna())
    legend = " ".join(text.get_text() for text in figure.axes[7].texts)
    for phase, count in plane.cells["phase"].value_counts().items():
        assert f"{phase} {count} cells: " in legend
    assert "1 cells without a phase" in legend


def test_a_zoo_without_labels_is_drawn_without_outlines(plane: Plane) -> None:
    bare = Plane(plane.x, plane.y, plane.cells.drop(columns="phase"), {})
    figure = phases_figure(bare, RuleColumns(), "title")
    assert not panel(figure, "a").collections
    assert not panel(figure, "a").texts
    assert "no cell has a phase yet" in figure.axes[7].texts[-1].get_text()


def test_what_was_not_measured_stays_grey_and_says_so(plane: Plane) -> None:
    cells = plane.cells.drop(columns="hessian_test_trace").assign(cka=np.nan)
    figure = phases_figure(Plane(plane.x, plane.y, cells, {}), RuleColumns(), "title")
    for letter, why in (("g", "not measured"), ("f", "undefined in all cells")):
        assert not panel(figure, letter).images
        assert [text.get_text() for text in panel(figure, letter).texts] == [why]
        assert panel(figure, letter).get_facecolor()[:3] == (0.85, 0.85, 0.85)
        assert len(panel(figure, letter).get_xticks()) == 8


@pytest.mark.parametrize(
    ("query", "ending"),
    [("width == 8", "png"), ("learning_rate == 0.1", "svg"), ("width == 8 and learning_rate == 0.1", "svg")],
)
def test_one_value_of_an_axis_and_a_single_cell_are_drawn(
    plane: Plane, query: str, ending: str, tmp_path: Path
) -> None:
    cells = plane.cells.query(query)
    figure = phases_figure(Plane(plane.x, plane.y, cells, {}), RuleColumns(), "title")
    assert drawn(figure, "b").size == len(cells)
    save(figure, tmp_path / f"figure.{ending}")
    assert (tmp_path / f"figure.{ending}").stat().st_size > 5000


def test_a_loss_of_zero_is_drawn_as_the_smallest_there_is() -> None:
    cells = pd.DataFrame({"x": [1, 2, 3], "y": 0, "loss": [0.0, 0.1, 1.0]})
    figure = Figure()
    place = figure.subplots()
    draw_panel(figure, place, Plane("x", "y", cells, {}), Panel("loss", "", "", scale="log"))
    np.testing.assert_allclose(place.images[0].get_array(), [[0.1, 0.1, 1.0]])


def test_many_values_are_not_all_written() -> None:
    cells = pd.DataFrame({"x": np.arange(100) * 1000, "y": np.arange(100), "loss": 1.0})
    figure = Figure()
    place = figure.subplots()
    draw_panel(figure, place, Plane("x", "y", cells, {}), Panel("loss", "", ""))
    names = [text.get_text() for text in place.get_xticklabels()]
    assert len(names) < 12
    assert names[1] == str(1000 * int(place.get_xticks()[1]))
    assert len(place.get_yticks()) <= 17


def test_the_columns_are_those_that_the_rule_reads(landscape: Callable[..., Zoo]) -> None:
    opened = landscape(yang2021_cka=[0.1, 0.2, 0.3, 0.4], fit_loss=[1.0, 0.5, 0.2, 0.1])
    assert rule_columns(opened.manifest) == RuleColumns()
    name, protocol = rule_protocol(get_rule("yang2021-v1"))
    opened.manifest = opened.manifest.model_copy(update={"protocols": {name: protocol}})
    told = rule_columns(opened.manifest)
    assert told[:3] == ("fit_loss", "yang2021_mode_connectivity", "yang2021_cka")
    assert told.cuts == {"fit_loss": 0.05, "yang2021_mode_connectivity": -1.0, "yang2021_cka": 0.65}
    figure = draw_phases(opened)
    np.testing.assert_allclose(np.sort(drawn(figure, "f").ravel()), [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(np.sort(drawn(figure, "b").ravel()), [0.1, 0.2, 0.5, 1.0])
    titles = [place.get_title() for place in figure.axes]
    assert {"(b) Train loss, labels as trained on", "(f) yang2021 CKA between seeds"} <= set(titles)


def test_bad_zoos_are_explained(landscape: Callable[..., Zoo]) -> None:
    with pytest.raises(
        QueryError, match=r"none of the seven panels measured; run `phasezoo measure .*tiny` first"
    ):
        draw_phases(landscape().where("epoch < 0"))
    with pytest.raises(FormatError, match="the zoo has phases V; expected I, II, III, IV-A, IV-B"):
        draw_phases(landscape(phase=["I", "II", "V", None]))
