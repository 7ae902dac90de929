"""Figures and summaries show what the tables hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import zoo
from generators import Recipe, generate
from zoo.errors import QueryError, UnknownNameError
from zoo.report.phase_diagram import phase_diagram, save
from zoo.report.summary import summary


def test_panels_hold_the_cells(tiny_zoo: Path) -> None:
    opened = zoo.open(tiny_zoo)
    figure = phase_diagram(opened)
    panel = figure.axes[0]
    grid = opened.cells.pivot_table(index="learning_rate", columns="width", values="test_accuracy")
    np.testing.assert_allclose(panel.images[0].get_array().filled(np.nan), grid.to_numpy())
    assert panel.get_xlabel() == "load: width"
    assert panel.get_ylabel() == "temperature: learning rate"
    assert [tick.get_text() for tick in panel.get_xticklabels()] == [str(w) for w in grid.columns]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_figures_are_saved(tiny_zoo: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / "figures" / f"phases.{ending}"
    save(phase_diagram(zoo.open(tiny_zoo)), path)
    assert path.stat().st_size > 5000


def test_bad_requests_are_explained(tiny_zoo: Path, tmp_path: Path) -> None:
    opened = zoo.open(tiny_zoo)
    with pytest.raises(UnknownNameError, match="unknown load axis 'rank'; known: width"):
        phase_diagram(opened, load="rank")
    with pytest.raises(QueryError, match=r"expected a name that ends with .png or .svg"):
        save(phase_diagram(opened), tmp_path / "phases.bmp")
    with pytest.raises(QueryError, match="no metrics to draw; run `phasezoo measure"):
        phase_diagram(opened.where("epoch < 0"))


def test_summary_fits_one_screen(tiny_zoo: Path) -> None:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(summary(zoo.open(tiny_zoo)))
    text = console.export_text()
    console.file.close()
    assert "8 in 4 cells (8 finished, 0 diverged, 0 failed)" in text
    assert "learning_rate: 0.01, 0.1" in text
    assert len(text.splitlines()) < 40


def test_hot_stays_on_top_for_batch_sizes(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    axes = {"load": {"architecture.width": [2]}, "temperature": {"training.batch_size": [32, 512]}}
    recipe = tiny_recipe(axes=axes, training={"learning_rate": 0.1})
    figure = phase_diagram(generate(recipe, tmp_path / "zoo", device="cpu"))
    assert figure.axes[0].yaxis_inverted()
