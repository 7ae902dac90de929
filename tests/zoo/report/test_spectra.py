"""The figure of a spectrum shows what was stored; all figures of spectra say what they need."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import StepPatch
from scipy.integrate import trapezoid

import zoo
from zoo.cli import main as cli
from zoo.errors import QueryError, UnknownNameError
from zoo.population import Zoo
from zoo.report.alpha_plane import draw_alpha_plane
from zoo.report.catalogue import draw
from zoo.report.colours import PHASES
from zoo.report.exponents import draw_exponents
from zoo.report.layers import layer_names, layer_rows, telling_cells
from zoo.report.phase_diagram import save
from zoo.report.selection import Chosen, last_checkpoints
from zoo.report.spectrum import LayerSpectrum, bulk_curve, draw_spectrum, law_curve, spectrum_figure

LAYERS = ["0.weight", "2.weight", "4.weight"]


@pytest.fixture
def opened(wide: Callable[..., Zoo]) -> Zoo:
    return wide()


def stored(opened: Zoo, title: str, layer: str, epoch: int) -> pd.Series[Any]:
    """The row of layers of the first seed of the cell that a panel's title names."""
    cells = opened.cells
    names = cells.apply(lambda row: f"width {row['width']}, learning rate {row['learning_rate']:g}", axis=1)
    (cell,) = cells.loc[[name in title for name in names], "cell_id"]
    models = opened.models[(opened.models["cell_id"] == cell) & (opened.models["seed"] == 0)]
    key = f"{models['model_id'].item()}@{epoch}"
    layers = opened.layers
    return layers[(layers["checkpoint_id"] == key) & (layers["layer"] == layer)].iloc[0]


def eigenvalues(opened: Zoo, row: pd.Series[Any]) -> np.ndarray:
    return opened.series("eigenspectrum")[row["checkpoint_id"], row["layer"], row["shape"]]["eigenvalues"]


def steps(place: Axes) -> list[StepPatch]:
    return [patch for patch in place.patches if isinstance(patch, StepPatch)]


def legend(place: Axes) -> list[str]:
    return [text.get_text() for text in place.get_legend().get_texts()]


def curves(place: Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {str(line.get_label()): line.get_data() for line in place.lines}


def of(values: np.ndarray, shape: str, **more: Any) -> LayerSpectrum:
    return LayerSpectrum(Chosen("c", "width 1", None), shape, 3, np.sort(values), **more)


def test_histograms_are_of_the_stored_eigenvalues(opened: Zoo) -> None:
    figure = draw_spectrum(opened)
    assert len(figure.axes) == 8
    for place in figure.axes[::2]:
        row = stored(opened, place.get_title(loc="left"), "2.weight", 2)
        first = stored(opened, place.get_title(loc="left"), "2.weight", 0)
        assert row["shape"] in place.get_title(loc="left")
        for step, source in zip(steps(place), (row, first), strict=True):
            heights, edges, _ = step.get_data()
            values = eigenvalues(opened, source)
            counts = [((values >= a) & (values < b)).sum() for a, b in pairwise(edges)]
            assert sum(counts) == len(values)  # all of them are above zero
            np.testing.assert_allclose(heights * np.diff(edges), np.array(counts) / len(values))
        assert (place.get_xscale(), place.get_yscale()) == ("log", "log")
    assert figure.axes[1].get_xscale() == "linear"


def test_the_legend_says_what_the_table_has(opened: Zoo) -> None:
    figure = draw_spectrum(opened, layer="0.weight")
    for left, right in zip(figure.axes[::2], figure.axes[1::2], strict=True):
        row = stored(opened, left.get_title(loc="left"), "0.weight", 2)
        words = legend(right)
        assert words[0] == f"{row['eigenvalues']:.0f} eigenvalues at epoch 2"
        assert words[1] == "the same at epoch 0"
        spikes = f"{row['spikes']:.0f} spike{'' if row['spikes'] == 1 else 's'} above"
        assert words[2] == f"Marchenko-Pastur bulk up to {row['bulk_edge']:.3g}: {spikes}"
        assert words[3] == (
            f"power law from the median on: alpha = {row['alpha']:.2f} ± {row['alpha_sem']:.2f}"
        )


def test_the_law_begins_at_the_median_and_holds_its_share(opened: Zoo) -> None:
    place = draw_spectrum(opened).axes[0]
    values = eigenvalues(opened, stored(opened, place.get_title(loc="left"), "2.weight", 2))
    tail = values[len(values) // 2 :]
    alpha = 1 + len(tail) / np.log(tail / tail[0]).sum()
    (name,) = [name for name in curves(place) if name.startswith("power law")]
    at, density = curves(place)[name]
    np.testing.assert_allclose((at[0], at[-1]), (tail[0], tail[-1]))
    np.testing.assert_allclose(np.diff(np.log(density)) / np.diff(np.log(at)), -alpha)
    beyond = density[-1] * at[-1] / (alpha - 1)  # of a power law, closed
    assert trapezoid(density, at) + beyond == pytest.approx(len(tail) / len(values), rel=1e-3)


@pytest.mark.parametrize(("rows", "columns", "slices"), [(60, 40, 1), (12, 30, 9)])
def test_the_bulk_holds_all_but_the_spikes(rows: int, columns: int, slices: int) -> None:
    draws = torch.randn(slices, rows, columns, generator=torch.Generator().manual_seed(0)).double()
    draws[0] += 3.0
    values = torch.linalg.svdvals(draws).square().flatten().sort().values.numpy()
    curve, edge, name = bulk_curve(values, rows, columns)
    assert curve is not None
    assert curve[0][-1] == pytest.approx(edge)
    share = 1 - (values > edge).sum() / len(values)
    assert share < 1
    assert f"{(values > edge).sum()} spike" in name
    assert trapezoid(curve[1], curve[0]) == pytest.approx(share, rel=1e-2)


def test_the_linear_axis_shows_the_bulk_and_tells_of_the_rest() -> None:
    draws = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).double()
    draws[:3] *= 30
    values = torch.linalg.svdvals(draws).square().numpy()
    figure = spectrum_figure([of(values, "64x64")], "title")
    _, edge, _ = bulk_curve(np.sort(values), 64, 64)
    left, right = figure.axes
    assert edge < right.get_xlim()[1] < 2.1 * edge
    assert left.get_xlim()[1] > values.max()
    beyond = (values > right.get_xlim()[1]).sum()
    assert beyond >= 3
    assert legend(right)[-1] == f"{beyond} more beyond the right end, up to {values.max():.3g}"
    heights, edges, _ = steps(right)[0].get_data()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1 - beyond / 64)  # the share of all


@pytest.mark.parametrize(
    ("values", "shape", "law", "bulk"),
    [
        (np.zeros(30), "30x30", "no power law: the matrix is zero", "no bulk: the matrix is zero"),
        (
            np.append(np.zeros(25), np.arange(1.0, 6)),
            "30x30",
            "no power law: more than half of the eigenvalues are zero",
            "no bulk: all 5 eigenvalues above zero are spikes",
        ),
        (np.ones(3), "64x3", "no power law: 3 eigenvalues, a fit takes 20", "Marchenko-Pastur bulk up to"),
        (np.ones(30), "30x30", "no power law: all eigenvalues of the tail are equal", "Marchenko-Pastur"),
        (np.array([2.0]), "1x9", "no power law: 1 eigenvalue, a fit takes 20", "Marchenko-Pastur"),
    ],
)
def test_what_is_undefined_is_told(
    values: np.ndarray, shape: str, law: str, bulk: str, tmp_path: Path
) -> None:
    figure = spectrum_figure([of(values, shape)], "title")
    words = legend(figure.axes[1])
    assert words[1].startswith(bulk)
    assert words[2] == law
    assert ("30 of them 0" in words[0]) == (not values.any())
    assert not any(len(line.get_xdata()) for line in figure.axes[0].lines if line.get_label() == law)
    save(figure, tmp_path / "spectrum.png")


def test_zeros_are_in_no_logarithmic_bin_and_count_all_the_same() -> None:
    values = np.append(np.zeros(10), np.geomspace(0.1, 10, 30))
    left, right = spectrum_figure([of(values, "40x40")], "title").axes
    heights, edges, _ = steps(left)[0].get_data()
    assert (heights * np.diff(edges)).sum() == pytest.approx(0.75)
    assert legend(right)[0] == "40 eigenvalues at epoch 3, 10 of them 0"
    assert law_curve(values)[0] is not None


def test_a_spectrum_of_each_phase_is_drawn_in_its_colour(wide: Callable[..., Zoo]) -> None:
    figure = draw_spectrum(wide("I", "II", "III", "IV-B"))
    titles = [place.get_title(loc="left").split(":")[0] for place in figure.axes[::2]]
    assert titles == ["I", "II", "III", "IV-B"]
    colours = [to_hex(steps(place)[0].get_facecolor()) for place in figure.axes[::2]]
    assert colours == [PHASES[phase].colour for phase in titles]


def test_of_a_phase_a_cell_with_enough_eigenvalues_is_shown(wide: Callable[..., Zoo]) -> None:
    opened = wide("I", "II", "I", None)
    first, second, third, fourth = names = opened.cells["cell_id"].tolist()
    score = pd.Series([3, 1, 7, 2], index=names)
    assert telling_cells(opened, score) == {second, third, fourth}
    assert telling_cells(opened, score[[first, second]]) == {first, second}
    assert telling_cells(wide(), score) == {third}  # no phases at all
    assert telling_cells(wide(), score * 0) == set(names)
    assert telling_cells(opened, score, cell=["any"]) == set(names)  # who asks for a cell gets it
    assert telling_cells(opened, score, at={"width": "24"}) == {first, second}
    assert telling_cells(opened, score[:0]) == set()


def test_one_epoch_is_enough(opened: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    last = {key: row for key, row in opened.series("eigenspectrum").items() if key[0].endswith("@2")}
    monkeypatch.setattr(opened._store, "series", lambda metric: last)
    figure = draw_spectrum(opened)
    assert [len(steps(place)) for place in figure.axes] == [1] * 8
    assert "epoch 0" not in " ".join(legend(figure.axes[1]))


def test_a_network_at_epoch_0_is_its_own_beginning(opened: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = opened.models.assign(last_epoch=0)
    opened.__dict__["models"] = begun
    figure = draw_spectrum(opened)
    assert len(steps(figure.axes[0])) == 1
    assert legend(figure.axes[1])[0].endswith("eigenvalues at epoch 0")


def test_layers_can_be_asked_for(opened: Zoo) -> None:
    assert layer_names(opened) == LAYERS
    assert "layer 0.weight" in draw_spectrum(opened, layer="0.weight").get_suptitle()
    assert "layer 2.weight" in draw_spectrum(opened).get_suptitle()  # of 80 x 80, with most
    with pytest.raises(UnknownNameError, match=r"unknown layer '0.wait'; did you mean '0.weight'"):
        draw_spectrum(opened, layer="0.wait")
    with pytest.raises(UnknownNameError, match=r"unknown layer 'x'; known: 0.weight, 2.weight, 4.weight"):
        draw_alpha_plane(opened, layer="x")


def test_cells_can_be_asked_for(opened: Zoo) -> None:
    cell = opened.cells["cell_id"].iloc[1]
    assert len(draw_spectrum(opened, cell=[cell]).axes) == 2
    assert len(draw_spectrum(opened, at={"width": "24"}).axes) == 4
    assert len(draw_exponents(opened, cell=[cell]).axes) == 1
    with pytest.raises(UnknownNameError, match="unknown cell 'nothing'"):
        draw_exponents(opened, cell=["nothing"])
    with pytest.raises(QueryError, match="no cell has width 7; expected one of its values: 24, 80"):
        draw_spectrum(opened, at={"width": "7"})
    with pytest.raises(QueryError, match="no cell that was asked for has what this figure shows"):
        draw_spectrum(opened, cell=[cell], at={"width": "80"})


# all of them


def test_layers_of_networks_that_did_not_finish_are_left_out(opened: Zoo) -> None:
    models = opened.models
    models.loc[0, "status"] = "diverged"
    opened.__dict__["models"] = models
    rows = layer_rows(opened, {"farms_alpha": "farms"})
    assert len(rows) == len(opened.layers) - 9
    assert not rows["checkpoint_id"].str.startswith(models["model_id"][0]).any()
    assert rows.loc[rows["last"], "epoch"].eq(2).all()


NULL = ("farms_alpha_null", "farms_alpha_null_sd")


@pytest.mark.parametrize(
    ("figure", "lacking", "message"),
    [
        (
            "spectrum",
            (),
            "no eigenspectrum to draw; run `phasezoo measure .*tiny --metrics eigenspectrum`",
        ),
        (
            "exponents",
            (),
            "no farms of layers to draw; run `phasezoo measure .*tiny --metrics farms`",
        ),
        ("farms", (), "no farms and eigenspectrum of layers.* --metrics farms,eigenspectrum` first"),
        ("alpha-plane", (), "--metrics farms,eigenspectrum,spectrum_null` first"),
        ("alpha-plane", NULL, "no spectrum_null of layers.*wide --metrics spectrum_null` first"),
    ],
)
def test_figures_say_what_to_measure(
    tiny_zoo: Path, wide: Callable[..., Zoo], figure: str, lacking: tuple[str, ...], message: str
) -> None:
    bare = wide(without=lacking) if lacking else zoo.open(tiny_zoo)
    with pytest.raises(QueryError, match=message):
        draw(figure, bare, {})


@pytest.mark.parametrize("figure", ["spectrum", "exponents", "alpha-plane", "farms"])
@pytest.mark.parametrize(("ending", "phases"), [("png", ("I", "II", "III", None)), ("svg", (None,) * 4)])
def test_pictures_are_saved_with_phases_and_without(
    wide: Callable[..., Zoo], tmp_path: Path, figure: str, ending: str, phases: tuple[str | None, ...]
) -> None:
    save(draw(figure, wide(*phases), {}), tmp_path / f"picture.{ending}")
    assert (tmp_path / f"picture.{ending}").stat().st_size > 5000


def test_the_command_takes_a_layer(
    wide_zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plot", str(wide_zoo), "--out", str(tmp_path / "x.svg"), "--layer"]
    assert cli.run([*words, "0.weight", "--figure", "spectrum"]) == 0
    assert cli.run([*words, "1.bias", "--figure", "spectrum"]) == 2
    assert "unknown layer '1.bias'; known: 0.weight, 2.weight, 4.weight" in capsys.readouterr().err
    assert cli.run([*words, "0.weight", "--figure", "farms"]) == 2
    assert "'farms' takes no --layer; expected some of --at" in capsys.readouterr().err


def test_a_network_that_diverged_has_no_last_spectrum(wide: Callable[..., Zoo]) -> None:
    opened = wide()
    lost = opened.models["model_id"].iloc[0]
    changed = opened.models.assign(
        status=opened.models["status"].mask(opened.models["model_id"] == lost, "diverged")
    )
    opened.__dict__["models"] = changed
    ids = last_checkpoints(opened)["checkpoint_id"]
    assert len(ids) == len(changed) - 1
    assert not ids.str.startswith(f"{lost}@").any()
