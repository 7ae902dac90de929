"""Figures of exponents show the table's numbers, and say where there are none and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from zoo.population import Zoo
from zoo.report.alpha_plane import draw_alpha_plane
from zoo.report.exponents import draw_exponents
from zoo.report.farms import draw_farms, farms_figure
from zoo.report.outlines import borders
from zoo.report.phase_diagram import save
from zoo.report.plane import choose_plane

LAYERS = ["0.weight", "2.weight", "4.weight"]


@pytest.fixture
def opened(wide: Callable[..., Zoo]) -> Zoo:
    return wide()


def change(opened: Zoo, where: pd.Series[bool], **values: object) -> Zoo:
    """Change layers, as if that had been measured."""
    layers = opened.layers.copy()
    for column, value in values.items():
        layers.loc[where, column] = value
    opened.__dict__["layers"] = layers
    return opened


def legend(place: Axes) -> list[str]:
    return [text.get_text() for text in place.get_legend().get_texts()]


# exponents along training


def by_seed(opened: Zoo, cell: str, layer: str, epoch: int) -> pd.DataFrame:
    models = opened.models.loc[opened.models["cell_id"] == cell, "model_id"]
    keys = [f"{model}@{epoch}" for model in models]
    layers = opened.layers
    return layers[layers["checkpoint_id"].isin(keys) & (layers["layer"] == layer)]


def test_exponents_are_means_over_seeds_with_their_spread(opened: Zoo) -> None:
    cell = opened.cells["cell_id"].iloc[0]
    (place,) = draw_exponents(opened, cell=[cell]).axes
    lines, bands = place.lines[::2], place.collections
    assert len(lines) == len(bands) == 3
    assert place.get_xscale() == "symlog"
    assert [text.get_text() for text in place.get_xticklabels()] == ["0", "1", "2"]
    for layer, line, null, band in zip(LAYERS, lines, place.lines[1::2], bands, strict=True):
        seeds = [by_seed(opened, cell, layer, epoch) for epoch in (0, 1, 2)]
        alphas = np.array([rows["farms_alpha"].to_numpy() for rows in seeds])
        assert alphas.shape == (3, 2)
        np.testing.assert_allclose(line.get_ydata(), alphas.mean(axis=1))
        assert line.get_xdata().tolist() == [0, 1, 2]
        spread = np.abs(alphas[:, 0] - alphas[:, 1]) / np.sqrt(2)  # of two numbers
        corners = band.get_paths()[0].vertices[:, 1]
        assert corners.max() == pytest.approx((alphas.mean(axis=1) + spread).max())
        assert corners.min() == pytest.approx((alphas.mean(axis=1) - spread).min())
        np.testing.assert_allclose(null.get_ydata(), seeds[0]["farms_alpha_null"].iloc[0])
        assert null.get_linestyle() == "--"
        assert null.get_color() == line.get_color()


def test_of_one_seed_the_band_is_the_standard_error(opened: Zoo) -> None:
    cell = opened.cells["cell_id"].iloc[0]
    figure = draw_exponents(opened.where("seed == 0"), cell=[cell])
    row = by_seed(opened.where("seed == 0"), cell, "0.weight", 2).iloc[0]
    place = figure.axes[0]
    assert place.lines[0].get_ydata()[-1] == pytest.approx(row["farms_alpha"])
    ends = place.collections[0].get_paths()[0].vertices
    last = ends[ends[:, 0] == 2, 1]
    assert (last.max() - last.min()) / 2 == pytest.approx(row["farms_alpha_sem"])
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == [
        *LAYERS,
        "random matrices of the same shape",
        "± standard deviation over seeds; of one, standard error of the fit",
    ]


def test_layers_without_an_exponent_are_named_with_the_reason(opened: Zoo) -> None:
    cell = opened.cells["cell_id"].iloc[0]
    last = opened.layers["layer"] == "4.weight"
    reason = {"farms_alpha": np.nan, "farms_reason": "9 eigenvalues, a fit takes 20"}
    figure = draw_exponents(change(opened, last, **reason), cell=[cell])
    assert "no exponent: 4.weight (9 eigenvalues" in figure.axes[0].texts[0].get_text()
    assert "4.weight" not in [text.get_text() for text in figure.legends[0].get_texts()]
    everywhere = opened.layers["layer"].notna()
    figure = draw_exponents(change(opened, everywhere, **reason), cell=[cell])
    grey = figure.axes[0]
    assert not figure.legends
    assert not grey.lines
    assert not len(grey.get_yticks())
    assert grey.get_facecolor()[:3] == (0.85, 0.85, 0.85)
    assert "no exponent: 0.weight, 2.weight, 4.weight" in grey.texts[0].get_text().replace("\n", " ")


def test_one_epoch_without_the_null_is_drawn(opened: Zoo, tmp_path: Path) -> None:
    view = opened.where("epoch == last_epoch")
    view.__dict__["layers"] = view.layers.drop(columns="farms_alpha_null")
    figure = draw_exponents(view)
    panels = [place for place in figure.axes if place.axison]
    assert [len(place.lines) for place in panels] == [3] * 4
    assert [place.get_xscale() for place in panels] == ["linear"] * 4
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "random matrices: no spectrum_null measured" in words
    assert len({line.get_color() for line in figure.axes[0].lines}) == 3
    assert len({line.get_marker() for line in figure.axes[0].lines}) == 3
    save(figure, tmp_path / "exponents.svg")


# exponents over the plane


def panel(figure: Figure, letter: str) -> Axes:
    (found,) = [place for place in figure.axes if place.get_title().startswith(f"({letter})")]
    return found


def drawn(figure: Figure, letter: str) -> np.ndarray:
    return panel(figure, letter).images[0].get_array().filled(np.nan)


def by_hand(opened: Zoo, value: Callable[[pd.DataFrame], pd.Series[float]]) -> np.ndarray:
    """Rates upwards, widths to the right: means over the layers of each network, then over networks."""
    grid = np.full((2, 2), np.nan)
    models = opened.models
    for i, rate in enumerate((0.01, 0.1)):
        for j, width in enumerate((24, 80)):
            these = models.loc[(models["width"] == width) & (models["learning_rate"] == rate), "model_id"]
            layers = [opened.layers[opened.layers["checkpoint_id"] == f"{model}@2"] for model in these]
            assert [len(rows) for rows in layers] == [3, 3]
            grid[i, j] = np.mean([value(rows).dropna().mean() for rows in layers])
    return grid


def test_panels_are_means_over_layers_and_seeds(opened: Zoo) -> None:
    figure = draw_alpha_plane(opened)
    np.testing.assert_allclose(drawn(figure, "b"), by_hand(opened, lambda rows: rows["farms_alpha"]))
    np.testing.assert_allclose(drawn(figure, "c"), by_hand(opened, lambda rows: rows["alpha"]))
    away = by_hand(
        opened, lambda rows: (rows["farms_alpha"] - rows["farms_alpha_null"]) / rows["farms_alpha_null_sd"]
    )
    np.testing.assert_allclose(drawn(figure, "d"), away)
    plane = choose_plane(opened.cells, opened.manifest.axes)
    np.testing.assert_allclose(drawn(figure, "a"), plane.grid("test_accuracy").to_numpy())
    assert panel(figure, "b").get_xlabel() == "load: width"
    assert panel(figure, "b").get_ylabel() == "temperature: learning rate"
    image = panel(figure, "d").images[0]
    assert image.cmap(image.norm(0.0))[:3] == (1, 1, 1)  # as random: white


def test_one_layer_can_be_drawn_over_the_plane(opened: Zoo) -> None:
    figure = draw_alpha_plane(opened, layer="2.weight")
    two = by_hand(opened, lambda rows: rows.loc[rows["layer"] == "2.weight", "alpha"])
    np.testing.assert_allclose(drawn(figure, "c"), two)
    grey = panel(draw_alpha_plane(opened, layer="4.weight"), "c")
    assert not grey.images
    assert grey.texts[0].get_text() == "undefined in all cells"
    assert grey.get_title().endswith("grey: 10 eigenvalues, a fit takes 20")


def test_grey_cells_have_a_reason(opened: Zoo) -> None:
    narrow = opened.models.loc[opened.models["width"] == 24, "model_id"]
    where = opened.layers["checkpoint_id"].str.split("@").str[0].isin(narrow)
    changed = change(opened, where, farms_alpha=np.nan, farms_reason="the matrix is zero")
    figure = draw_alpha_plane(changed)
    assert np.isnan(drawn(figure, "b")[:, 0]).all()
    assert np.isfinite(drawn(figure, "b")[:, 1]).all()
    for letter in "bd":
        assert panel(figure, letter).get_title().endswith("\ngrey: the matrix is zero")
    assert "grey" not in panel(figure, "c").get_title()
    changed.layers.loc[where & (changed.layers["layer"] == "0.weight"), "farms_reason"] = "small"
    assert panel(draw_alpha_plane(changed), "b").get_title().endswith("is zero, or other reasons")


def test_a_null_without_spread_tells_nothing(opened: Zoo) -> None:
    everywhere = opened.layers["layer"].notna()
    changed = change(opened, everywhere, farms_alpha_null_sd=0.0)
    figure = draw_alpha_plane(changed)
    assert not panel(figure, "d").images
    assert np.isfinite(drawn(figure, "b")).all()


def test_cells_without_a_finished_network_are_grey(opened: Zoo) -> None:
    models = opened.models
    models.loc[models["width"] == 24, "status"] = "diverged"
    opened.__dict__["models"] = models
    figure = draw_alpha_plane(opened)
    assert np.isnan(drawn(figure, "b")[:, 0]).all()
    assert panel(figure, "b").get_title().endswith("grey: no finished network with such a layer")


def test_phases_are_outlined_and_named_where_there_are_some(wide: Callable[..., Zoo]) -> None:
    assert not any(place.collections for place in draw_alpha_plane(wide()).axes[:4])
    phases = wide("I", "I", "II", "II")
    figure = draw_alpha_plane(phases)
    labels = choose_plane(phases.cells, phases.manifest.axes).labels()
    for letter in "abcd":
        _halo, lines = (c for c in panel(figure, letter).collections if isinstance(c, LineCollection))
        np.testing.assert_allclose(np.array(lines.get_segments()), borders(labels))
    assert not panel(figure, "a").texts  # no region of three cells
    same = draw_alpha_plane(wide("I", "I", "I", None))
    assert [text.get_text() for text in panel(same, "a").texts] == ["I"]


def test_equations_have_an_error_in_place_of_an_accuracy(opened: Zoo) -> None:
    opened.__dict__["cells"] = opened.cells.assign(test_error=[0.1, 0.2, 0.3, 0.4])
    figure = draw_alpha_plane(opened)
    assert panel(figure, "a").get_title() == "(a) Relative L2 error on the test grid"
    np.testing.assert_allclose(np.sort(drawn(figure, "a").ravel()), [0.1, 0.2, 0.3, 0.4])


# FARMS against whole matrices


def points(**columns: Any) -> pd.DataFrame:
    reasons = {"farms_reason": None, "eigenspectrum_reason": None}
    return pd.DataFrame({**reasons, **columns})


def test_each_layer_of_a_last_checkpoint_is_a_point(opened: Zoo) -> None:
    figure = draw_farms(opened)
    place = figure.axes[0]
    (cloud,) = place.collections
    last = opened.layers[opened.layers["checkpoint_id"].str.endswith("@2")]
    known = last.dropna(subset=["alpha", "farms_alpha"])
    assert 0 < len(known) < len(last)
    ratio = known["shape"].map({"24x64": 64 / 24, "80x64": 1.25, "24x24": 1.0, "80x80": 1.0})
    expected = np.column_stack([known["alpha"], known["farms_alpha"], ratio])
    found = np.column_stack([cloud.get_offsets(), cloud.get_array()])
    np.testing.assert_allclose(sorted(found.tolist()), sorted(expected.tolist()))
    assert isinstance(cloud.norm, LogNorm)
    assert (cloud.norm.vmin, cloud.norm.vmax) == (1, 64 / 24)
    across, up = place.lines[0].get_data()
    np.testing.assert_array_equal(across, up)
    assert legend(place) == [f"{len(known)} matrices", "both are equal"]
    lacking = f"{len(last) - len(known)} of {len(last)} layers of last checkpoints lack one of the two"
    assert place.get_title() == f"{lacking}: 10 eigenvalues, a fit takes 20"
    square = known["shape"].isin(["24x24", "80x80"])  # whose only window is the whole matrix
    np.testing.assert_allclose(known.loc[square, "alpha"], known.loc[square, "farms_alpha"])


def test_only_networks_of_cells_asked_for_are_points(opened: Zoo) -> None:
    figure = draw_farms(opened, at={"width": "24", "learning_rate": "0.1"})
    (cloud,) = figure.axes[0].collections
    assert len(cloud.get_offsets()) == 4  # two seeds, two layers
    assert "at width 24, learning rate 0.1" in figure.get_suptitle()


def test_kernels_are_told_apart_from_matrices() -> None:
    rows = points(shape=["8x4x3x3", "100x10"], alpha=[2.0, 3.0], farms_alpha=[2.1, 2.2])
    place = farms_figure(rows, "title").axes[0]
    matrices, kernels = place.collections
    assert matrices.get_offsets().tolist() == [[3.0, 2.2]]
    assert kernels.get_offsets().tolist() == [[2.0, 2.1]]
    assert kernels.get_array().tolist() == [2.0]
    assert len(matrices.get_paths()[0]) != len(kernels.get_paths()[0])
    assert legend(place)[:2] == ["1 matrices", "1 kernels of convolutions"]
    assert place.get_title() == "all 2 layers of last checkpoints"


def test_without_both_exponents_the_panel_is_grey_and_says_why(tmp_path: Path) -> None:
    rows = points(shape=["2x2"], alpha=[np.nan], farms_alpha=[np.nan]).assign(farms_reason="too small")
    figure = farms_figure(rows, "title")
    place = figure.axes[0]
    assert place.get_facecolor()[:3] == (0.85, 0.85, 0.85)
    assert place.get_title() == "1 of 1 layers of last checkpoints lack one of the two: too small"
    save(figure, tmp_path / "farms.png")
    assert farms_figure(rows.iloc[:0], "title").axes[0].get_title() == "no network has finished"


def test_huge_exponents_and_many_shapes_fit(tmp_path: Path) -> None:
    shapes = [f"{rows}x64" for rows in range(2, 60)]
    alphas = np.geomspace(1.5, 1e6, len(shapes))
    figure = farms_figure(points(shape=shapes, alpha=alphas, farms_alpha=2.0), "title")
    place, bar = figure.axes
    assert (place.get_xscale(), place.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in bar.get_yticklabels()] == ["1", "2", "4", "8", "16", "32"]
    save(figure, tmp_path / "farms.svg")
