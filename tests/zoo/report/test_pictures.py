"""Densities, paths between networks and trajectories show what was stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import stats
from scipy.integrate import trapezoid

from zoo import phases
from zoo.errors import QueryError, UnknownNameError
from zoo.population import Zoo
from zoo.report.barriers import draw_barriers
from zoo.report.calibration import calibration_figure
from zoo.report.colours import PHASES
from zoo.report.density import draw_density, spectral_density
from zoo.report.phase_diagram import save
from zoo.report.trajectories import by_epoch, draw_trajectories, strip_rows
from zoo.report.transitions import seed_means, transitions_figure

Series = dict[str, dict[tuple[str, ...], dict[str, np.ndarray]]]
T = np.linspace(0, 1, 5)


def spectra(opened: Zoo) -> Series:
    """The same three eigenvalues everywhere, and nothing for the first checkpoint of all."""
    rows = {(name,): three() for name in opened.checkpoints["checkpoint_id"]}
    rows[next(iter(rows))] = {"nodes": np.empty(0), "weights": np.empty(0)}
    return {"hessian_density": rows}


def three() -> dict[str, np.ndarray]:
    return {"nodes": np.array([-1.0, 0.0, 100.0, np.nan]), "weights": np.array([0.1, 0.89, 0.01, 0.0])}


def paths(opened: Zoo, *, aligned: bool = True) -> Series:
    keys = list(opened.pairs[["cell_id", "checkpoint_a", "checkpoint_b"]].itertuples(index=False, name=None))
    lines = {key: {"t": T, "train_points": 40 * T * (1 - T)} for key in keys}
    if aligned:
        lines = {key: {**row, "aligned_train_points": 20 * T * (1 - T)} for key, row in lines.items()}
    curves = {key: {"t": T, "train_points": np.full(5, float(place))} for place, key in enumerate(keys)}
    # a pair of later seeds, as it were: it is not the first
    curves |= {(cell, b, a): {"t": T, "train_points": np.full(5, 99.0)} for cell, a, b in keys}
    return {"linear_barrier": lines, "mode_connectivity": curves}


def test_a_density_integrates_to_one_wherever_its_mass_lies() -> None:
    nodes, weights = np.array([-3.0, 0.0, 0.2, 500.0]), np.array([1.0, 5.0, 3.0, 1.0])
    at = 0.1 * np.sinh(np.linspace(-12, 12, 40001))
    density = spectral_density(nodes, weights, at, linear=0.1)
    assert trapezoid(density, at) == pytest.approx(1, rel=1e-5)
    assert trapezoid(density[at > 100], at[at > 100]) == pytest.approx(0.1, rel=1e-5)
    assert trapezoid(density[at < -1], at[at < -1]) == pytest.approx(0.1, rel=1e-5)


def test_a_density_of_each_phase_is_drawn_in_its_colour(landscape: Callable[..., Zoo]) -> None:
    figure = draw_density(landscape(spectra(landscape())))
    assert [place.get_title(loc="left").split(":")[0] for place in figure.axes] == ["I", "II", "III", "IV-B"]
    colours = [to_hex(place.lines[0].get_color()) for place in figure.axes]
    assert colours == [PHASES[phase].colour for phase in ("I", "II", "III", "IV-B")]
    at, density = figure.axes[0].lines[0].get_data()
    expected = spectral_density(three()["nodes"][:3], three()["weights"][:3], at, linear=0.1)
    np.testing.assert_allclose(density, expected)
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_xscale() == "asinh"


def test_a_spectrum_of_zeros_is_drawn(landscape: Callable[..., Zoo], tmp_path: Path) -> None:
    rows = {
        key: {"nodes": np.zeros(1), "weights": np.ones(1)} for key in spectra(landscape())["hessian_density"]
    }
    save(draw_density(landscape({"hessian_density": rows})), tmp_path / "density.png")


def test_the_clearest_member_of_a_phase_stands_for_it(landscape: Callable[..., Zoo]) -> None:
    chosen = {"phase": ["I", "I", "I", None], "phase_I": [0.5, 0.9, 0.6, np.nan]}
    opened = landscape(spectra(landscape()), **chosen)
    (place,) = draw_density(opened).axes
    clear = opened.cells.iloc[1]
    assert (
        place.get_title(loc="left") == f"I: width {clear['width']}, learning rate {clear['learning_rate']:g}"
    )


def test_without_phases_cells_from_all_over_are_drawn_in_grey(landscape: Callable[..., Zoo]) -> None:
    figure = draw_density(landscape(spectra(landscape()), phase=[None] * 4))
    assert len(figure.axes) == 4
    assert {place.lines[0].get_color() for place in figure.axes} == {"0.3"}


def test_cells_can_be_asked_for(landscape: Callable[..., Zoo]) -> None:
    opened = landscape(spectra(landscape()))
    cell = opened.cells["cell_id"].iloc[2]
    assert len(draw_density(opened, cell=[cell]).axes) == 1
    assert len(draw_density(opened, at={"width": "2"}).axes) == 2
    with pytest.raises(UnknownNameError, match=r"unknown cell 'nothing'.*see .cells.cell_id"):
        draw_density(opened, cell=["nothing"])
    with pytest.raises(QueryError, match="no cell that was asked for has what this figure shows"):
        draw_density(opened, cell=[cell], at={"width": "2"})


def test_paths_between_the_first_pair_are_drawn(landscape: Callable[..., Zoo]) -> None:
    opened = landscape(paths(landscape()))
    figure = draw_barriers(opened)
    assert len(figure.axes) == 4
    straight, aligned, curve = figure.axes[0].lines
    np.testing.assert_allclose(straight.get_ydata(), 40 * T * (1 - T))
    np.testing.assert_allclose(aligned.get_ydata(), 20 * T * (1 - T))
    place = opened.pairs.index[opened.pairs["cell_id"] == opened.cells["cell_id"].iloc[0]][-1]
    np.testing.assert_allclose(curve.get_ydata(), place)  # of the last epoch, not of an earlier one
    assert curve.get_color() == PHASES["I"].colour
    assert len(figure.legends[0].get_texts()) == 3


def test_paths_that_were_not_measured_are_left_out(landscape: Callable[..., Zoo]) -> None:
    found = paths(landscape(), aligned=False) | {"mode_connectivity": {}}
    assert [len(place.lines) for place in draw_barriers(landscape(found)).axes] == [1] * 4


def test_phases_go_by_most_seeds_and_pairs_by_their_epoch(landscape: Callable[..., Zoo]) -> None:
    opened = landscape()
    table = by_epoch(opened, ["train_loss", "mode_connectivity", "cka_mixup"])
    assert len(table) == 4 * 3
    np.testing.assert_allclose(table["mode_connectivity"], -table["epoch"])
    assert table["cka_mixup"].isna().all()
    row = table.iloc[-1]
    members = opened.models.loc[opened.models["cell_id"] == row["cell_id"], "model_id"]
    seen = opened.checkpoints
    seen = seen[seen["model_id"].isin(members) & (seen["epoch"] == row["epoch"])]
    assert row["train_loss"] == pytest.approx(seen["train_loss"].mean())
    assert row["phase"] == "IV-B"


def test_trajectories_are_coloured_by_phase(landscape: Callable[..., Zoo]) -> None:
    figure = draw_trajectories(landscape())
    steps, strips = figure.axes
    colours = [to_hex(line.get_color()) for line in steps.lines if line.get_linewidth() > 1]
    last = colours[1::2]  # two steps a cell: to epoch 1, which is made up to be in II, and to the last
    assert colours[0::2] == [PHASES["II"].colour] * 4
    assert last == [PHASES[phase].colour for phase in ("I", "II", "III", "IV-B")]
    assert steps.get_xscale() == "log"
    assert "mode connectivity" in steps.get_ylabel()
    np.testing.assert_array_equal(strips.images[0].get_array(), [[1, 1, 0], [1, 1, 1], [1, 1, 2], [1, 1, 4]])


def test_trajectories_go_over_similarity_where_connectivity_is_known_at_the_end_only(
    landscape: Callable[..., Zoo],
) -> None:
    opened = landscape()
    early = ~opened.pairs["checkpoint_a"].str.endswith("@2")
    opened.pairs.loc[early, "mode_connectivity"] = np.nan
    assert draw_trajectories(opened).axes[0].get_ylabel() == "cka between seeds"


@pytest.mark.parametrize(
    "kept", [["cell_id", "checkpoint_a", "checkpoint_b"], ["cell_id", "checkpoint_a", "checkpoint_b", "cka"]]
)
def test_strips_are_drawn_where_there_are_no_pairs(landscape: Callable[..., Zoo], kept: list[str]) -> None:
    opened = landscape()
    opened.__dict__["pairs"] = opened.pairs.iloc[:0].reindex(columns=kept).astype(object)
    paths, strips = draw_trajectories(opened).axes
    assert all(len(offsets.get_offsets()) == 0 for offsets in paths.collections)
    assert strips.images[0].get_array().shape == (4, 3)


def test_strips_are_ordered_by_the_end_and_by_since_when() -> None:
    phases = {"late": "I II IV-B", "early": "I IV-B IV-B", "poor": "II I I", "none": "I I ."}
    rows = [
        {"cell_id": cell, "epoch": epoch, "phase": None if phase == "." else phase}
        for cell, path in phases.items()
        for epoch, phase in enumerate(path.split())
    ]
    assert strip_rows(pd.DataFrame(rows)) == ["poor", "early", "late", "none"]


@pytest.mark.parametrize(
    ("draw", "way_out"),
    [
        (draw_density, "--metrics hessian_density` first"),
        (draw_barriers, "--metrics mode_connectivity,linear_barrier` first"),
    ],
)
def test_figures_without_their_arrays_say_what_to_run(
    landscape: Callable[..., Zoo], draw: Callable[[Zoo], object], way_out: str
) -> None:
    with pytest.raises(QueryError, match=way_out):
        draw(landscape())


def test_trajectories_without_phases_say_what_to_run(landscape: Callable[..., Zoo]) -> None:
    opened = landscape()
    opened.checkpoints["phase"] = None
    with pytest.raises(
        QueryError, match=r"no phases of checkpoints to draw; run `phasezoo calibrate .*` first"
    ):
        draw_trajectories(opened)


@pytest.mark.parametrize(
    ("draw", "ending"), [(draw_density, "svg"), (draw_barriers, "png"), (draw_trajectories, "svg")]
)
def test_pictures_are_saved(
    landscape: Callable[..., Zoo], tmp_path: Path, draw: Callable[[Zoo], Figure], ending: str
) -> None:
    opened = landscape(spectra(landscape()) | paths(landscape()))
    save(draw(opened), tmp_path / f"picture.{ending}")
    assert (tmp_path / f"picture.{ending}").stat().st_size > 5000


def test_a_calibration_shows_histogram_and_cut() -> None:
    edges = np.geomspace(0.001, 10, 5)
    quantities = {
        "train_loss": (edges, np.array([3, 1, 0, 4]), 0.1),
        "cka": (np.linspace(0, 1, 5), np.array([1, 2, 3, 4]), 0.65),
    }
    loss, cka = calibration_figure(quantities, "rule").axes
    assert [bar.get_height() for bar in loss.patches] == [3, 1, 0, 4]
    np.testing.assert_allclose([bar.get_x() for bar in loss.patches], edges[:-1])
    assert loss.lines[0].get_xdata() == [0.1, 0.1]
    assert (loss.get_xscale(), cka.get_xscale()) == ("log", "linear")
    assert [bar.get_facecolor()[0] for bar in cka.patches] == [0.45, 0.45, 0.45, 0.75]
    assert cka.texts[0].get_text() == "0.65"


def test_a_quantity_without_cells_has_its_cut_alone() -> None:
    (place,) = calibration_figure({"cka": (np.empty(0), np.empty(0, np.int64), 0.65)}, "rule").axes
    assert not place.patches
    assert place.lines[0].get_xdata() == [0.65, 0.65]


def lines_of(**axes: list[float]) -> pd.DataFrame:
    """Five seeds a point: a step around 4 on the first axis where the second is 1, flat where it is 0."""
    (first, points), (second, lines) = axes.items()
    generator = np.random.default_rng(0)
    rows = [
        {first: point, second: line, "cka": line / (1 + (4 / point) ** 4) + 0.01 * generator.normal()}
        for line in lines
        for point in points
        for _ in range(5)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("axis", "other"), [("width", "rate"), ("rate", "width")])
def test_transitions_are_marked_where_there_is_one(axis: str, other: str) -> None:
    values = lines_of(**{axis: [1.0, 2.0, 4.0, 8.0, 16.0], other: [0.0, 1.0]})
    names = {"order_parameter": "cka", "others": [other]}
    places = phases.transitions(values, axis, **names)
    figure = transitions_figure(values, places, axis=axis, **names, title="title")
    flat, step = figure.axes
    means = values[values[other] == 1].groupby(axis)["cka"].mean()
    np.testing.assert_allclose(step.lines[0].get_xydata(), means.reset_index())
    ends = step.lines[2].get_xdata()
    assert step.lines[1].get_xdata()[0] == pytest.approx(np.sqrt(np.prod(ends)))
    assert ends[1] - ends[0] == pytest.approx(places["extent"][1])
    assert 3 < step.lines[1].get_xdata()[0] < 5
    assert (step.get_title(), step.get_xscale()) == (f"{other} 1", "log")
    assert [text.get_text() for text in step.get_xticklabels()] == ["1", "2", "4", "8", "16"]
    assert len(flat.lines) == 1
    assert flat.texts[0].get_text() == "no transition"


def test_the_width_of_a_transition_on_a_linear_axis_stands_around_its_place() -> None:
    values = lines_of(fraction=[2.0, 3.0, 4.0, 5.0, 6.0], rate=[1.0]).groupby("fraction").head(1)
    places = phases.transitions(values, "fraction", order_parameter="cka")
    figure = transitions_figure(values, places, axis="fraction", order_parameter="cka", title="title")
    (panel,) = figure.axes
    ends = panel.lines[2].get_xdata()
    assert np.mean(ends) == pytest.approx(places["place"].item())
    assert np.ptp(ends) == pytest.approx(places["extent"].item())
    assert panel.get_xscale() == "linear"
    assert not [patch for patch in panel.patches if patch.get_alpha() == 0.2]  # one seed gives no interval


def test_intervals_of_means_are_those_of_student() -> None:
    seeds = np.array([0.1, 0.4, 0.2, 0.7])
    values = pd.DataFrame({"width": 2, "cka": [*seeds, np.nan]})
    row = seed_means(values, "width", "cka").iloc[0]
    interval = stats.ttest_1samp(seeds, 0).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx(tuple(interval))
