"""Figures are asked for by name, and take what they can use."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

import zoo
from zoo.cli import main as cli
from zoo.errors import QueryError, UnknownNameError
from zoo.population import Zoo
from zoo.report.catalogue import FIGURES, default_figure, draw


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_takes_the_options_that_it_names(name: str) -> None:
    module, function = FIGURES[name].home.split(":")
    arguments = list(inspect.signature(getattr(import_module(module), function)).parameters)
    assert arguments[0] == "zoo"
    assert set(arguments[1:]) == FIGURES[name].options
    assert len(FIGURES[name].description) < 72


def test_phases_are_drawn_where_the_landscape_was_measured(
    tiny_zoo: Path, landscape: Callable[..., Zoo]
) -> None:
    assert default_figure(zoo.open(tiny_zoo)) == "metrics"
    assert default_figure(landscape()) == "phases"
    figure = draw("phases", landscape(), {"load": "width"})
    assert figure.axes[0].get_title() == "(a) Test accuracy"


def test_unknown_figures_and_options_are_explained(landscape: Callable[..., Zoo]) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown figure 'pases'; did you mean 'phases'\?"):
        draw("pases", landscape(), {})
    with pytest.raises(QueryError, match="'density' takes no --load; expected some of --at, --cell"):
        draw("density", landscape(), {"load": "width"})


def test_help_lists_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["plot", "--help"]) == 0
    shown = capsys.readouterr().out
    for name, entry in FIGURES.items():
        assert f"{name}: {entry.description}" in shown


def test_figures_are_named_by_what_they_show_and_of_whom(
    tiny_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["plot", str(tiny_zoo)]) == 0
    assert cli.run(["plot", str(tiny_zoo), "--figure", "phases"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics-tiny.png", "phases-tiny.png"]
    assert "phases: phases-tiny.png" in capsys.readouterr().out


def test_no_name_of_a_zoo_leads_out_of_the_folder(
    landscape: Callable[..., Zoo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = landscape()
    opened.manifest = opened.manifest.model_copy(update={"name": "../../home/a b" + "c" * 300})
    monkeypatch.setattr("zoo.population.open_zoo", lambda source: opened)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert cli.run(["plot", "anything"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    (written,) = (tmp_path / "here").iterdir()
    assert written.name.startswith("phases-..-..-home-a-b")


def test_the_command_passes_on_what_was_chosen(
    tiny_zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plot", str(tiny_zoo), "--out", str(tmp_path / "x.svg")]
    assert cli.run([*words, "--figure", "pases"]) == 2
    assert "did you mean 'phases'?" in capsys.readouterr().err
    assert cli.run([*words, "--at", "width=2"]) == 2
    assert "unknown axis to fix 'width'; known: none" in capsys.readouterr().err
    assert cli.run([*words, "--cell", "x"]) == 2
    assert "'metrics' takes no --cell" in capsys.readouterr().err
    assert cli.run([*words, "--load", "width", "--temperature", "learning_rate"]) == 0
