"""Landscapes made up for figures: a grid with all five phases, and a small zoo that has them measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import zoo
from generators import Recipe, generate, measure
from zoo.population import Zoo
from zoo.spec import Axis
from zoo.storage import Arrays

PHASES = ("I", "II", "III", "IV-A", "IV-B")
WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256)
RATES = (0.001, 0.0025, 0.006, 0.015, 0.04, 0.1, 0.25, 0.6)


@pytest.fixture
def axes() -> tuple[Axis, ...]:
    return (
        Axis(name="width", field="architecture.width", kind="load", dtype="int64"),
        Axis(name="label_noise", field="dataset.label_noise", kind="load", dtype="float64"),
        Axis(name="learning_rate", field="training.learning_rate", kind="temperature", dtype="float64"),
    )


def rule(loss: float, connectivity: float, cka: float) -> str:
    if loss > 0.05:
        return "I" if connectivity < -1 else "II"
    if connectivity < -1:
        return "III"
    return "IV-B" if cka >= 0.65 else "IV-A"


@pytest.fixture
def grid() -> pd.DataFrame:
    """Eight widths, eight learning rates, two label noises: 128 cells in five phases, the last one dead."""
    rows = []
    for noise in (0.0, 0.2):
        for i, rate in enumerate(RATES):
            for j, width in enumerate(WIDTHS):
                hot, wide = i / 7 - 0.5, j / 7 - 0.5
                loss = 10 ** (-1.3 - 3.8 * wide + 4 * max(hot - 0.1, 0) + noise)
                connectivity = 6 * hot if wide > 0.1 else 12 * wide + 9 * hot
                cka = 0.62 + 0.3 * hot + 0.1 * wide
                sharpness = 10 ** (2 - 2 * wide - hot)
                rows.append(
                    {
                        "cell_id": f"w{width}-n{noise}-l{rate}",
                        "width": width,
                        "label_noise": noise,
                        "learning_rate": rate,
                        "test_accuracy": 0.95 - 0.1 * np.log10(1 + 20 * loss),
                        "train_loss": loss,
                        "hessian_top_eigenvalue": sharpness if i else -sharpness,
                        "hessian_trace": 6 * sharpness,
                        "hessian_test_trace": 9 * sharpness,
                        "mode_connectivity": connectivity,
                        "cka": cka,
                        "phase": rule(loss, connectivity, cka),
                    }
                )
    frame = pd.DataFrame(rows)
    frame.loc[frame.index[-1], frame.columns[4:-1]] = np.nan
    frame.loc[frame.index[-1], "phase"] = None
    assert set(frame["phase"].dropna()) == set(PHASES)
    return frame


@pytest.fixture
def landscape(tiny_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Zoo]:
    """Factory: the tiny zoo with four phases made up for its cells and checkpoints, and series as given."""

    def make(series: dict[str, dict[tuple[str, ...], Arrays]] | None = None, **columns: object) -> Zoo:
        opened = zoo.open(tiny_zoo)
        phases = {"phase": ["I", "II", "III", "IV-B"], "mode_connectivity": [-8.0, 3.0, -2.0, 0.5]}
        opened.__dict__["cells"] = opened.cells.assign(**{**phases, **columns})
        of_model = opened.models.merge(opened.cells[["cell_id", "phase"]], on="cell_id")
        last = opened.checkpoints.merge(of_model[["model_id", "phase", "last_epoch"]], on="model_id")
        opened.__dict__["checkpoints"] = opened.checkpoints.assign(
            phase=last["phase"].where(last["epoch"] == last["last_epoch"], "II").to_numpy()
        )
        opened.__dict__["pairs"] = pairs_of(opened)
        if series is not None:
            monkeypatch.setattr(opened._store, "series", lambda metric: series[metric])
        return opened

    return make


def pairs_of(opened: Zoo) -> pd.DataFrame:
    """The pair of each cell at each epoch: connectivity and similarity that rise with the epoch."""
    table = opened.checkpoints.merge(opened.models[["model_id", "cell_id", "seed"]], on="model_id")
    wide = table.pivot(index=["cell_id", "epoch"], columns="seed", values="checkpoint_id").reset_index()
    names = {0: "checkpoint_a", 1: "checkpoint_b"}
    pairs = wide.rename(columns=names).rename_axis(columns=None)
    return pairs.assign(cka=0.1 * pairs["epoch"], mode_connectivity=-1.0 * pairs["epoch"]).drop(
        columns="epoch"
    )


@pytest.fixture(scope="session")
def wide_zoo(tiny_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a zoo wide enough for exponents: 24 and 80 units, but for the layer of ten outputs."""
    root = tmp_path_factory.mktemp("spectra") / "wide"
    generate(tiny_recipe(widths=[24, 80], checkpoints=[0, 1]), root, device="cpu")
    measure(root, metrics=["eigenspectrum", "farms", "spectrum_null"])
    return root


@pytest.fixture
def wide(wide_zoo: Path) -> Callable[..., Zoo]:
    """Factory: that zoo with phases made up for its four cells, and without some columns of its layers."""

    def make(*phases: str | None, without: tuple[str, ...] = ()) -> Zoo:
        opened = zoo.open(wide_zoo)
        if phases:
            opened.__dict__["cells"] = opened.cells.assign(phase=phases)
        opened.__dict__["layers"] = opened.layers.drop(columns=list(without))
        return opened

    return make
