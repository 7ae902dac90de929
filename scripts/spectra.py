"""Write what docs/spectra.md shows of our zoos: how well exponents predict.

    for NAME in digits-mlp mnist1d-mlp fashion-cnn digits-richlazy modadd-mlp kjv-gpt:
        phasezoo generate NAME --out zoos/NAME && phasezoo measure zoos/NAME
    python scripts/spectra.py zoos

Everything between the marks `<!-- begin X -->` and `<!-- end X -->` of the page is replaced. The sections
`bias` and `tempbalance` have scripts of their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from phases import picture
from scipy.stats import kendalltau
from zoos import replaced

import zoo
from zoo.phases import PHASES, correlations

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "spectra.md"
ZOOS = ("digits-mlp", "mnist1d-mlp", "fashion-cnn", "digits-richlazy", "modadd-mlp", "kjv-gpt")
PHASED = "digits-mlp"
Layers = Callable[[pd.DataFrame], "pd.Series[float]"]
MEASURES: Mapping[str, Layers] = {
    "FARMS alpha": lambda layers: layers["farms_alpha"],
    "alpha of whole matrices": lambda layers: layers["alpha"],
    "FARMS alpha less its null": lambda layers: layers["farms_alpha"] - layers["farms_alpha_null"],
    "alpha less its null": lambda layers: layers["alpha"] - layers["alpha_null"],
    "alpha-hat": lambda layers: layers["alpha_hat"],
    "log-alpha-norm": lambda layers: layers["log_alpha_norm"],
    "log spectral norm": lambda layers: np.log10(layers["spectral_norm"]),
    "stable rank": lambda layers: layers["stable_rank"],
    "log Frobenius norm": lambda layers: np.log10(layers["frobenius_norm"]),
    "effective rank": lambda layers: layers["effective_rank"],
    "null: FARMS alpha of random matrices": lambda layers: layers["farms_alpha_null"],
    "null: alpha of random matrices": lambda layers: layers["alpha_null"],
    "null: spectral norm of random matrices": lambda layers: np.log10(layers["spectral_norm_null"]),
}
"""The mean over layers of each is what predicts; logarithms, so that no layer drowns the others."""
TARGETS = {"test_accuracy": "test accuracy", "generalization_gap": "generalization gap"}
FEWEST, RESAMPLES = 8, 500


def cell_means(opened: zoo.Zoo, *, need_whole: bool = True) -> pd.DataFrame:
    """Average measures over the layers of each network at its end, and networks over the seeds of a cell.

    Args:
        opened: The zoo.
        need_whole: Whether only layers count that have an exponent of the whole matrix too.

    Returns:
        A row a cell: `phase` where labelled, the targets, and each of `MEASURES`.
    """
    last = opened.where("status == 'finished' and epoch == last_epoch")
    layers = last.layers
    fitted = layers["farms_alpha"].notna() & (layers["alpha"].notna() if need_whole else True)
    layers = layers[fitted]
    table = pd.DataFrame({name: measure(layers) for name, measure in MEASURES.items()})
    models = table.groupby(layers["checkpoint_id"]).mean()
    ends = last.checkpoints.merge(last.models[["model_id", "cell_id"]], on="model_id").set_index(
        "checkpoint_id"
    )
    targets = [name for name in TARGETS if name in ends]
    joined = models.join(ends[["cell_id", *targets]], how="inner")
    cells = joined.groupby("cell_id").mean().reset_index()
    if "phase" in opened.cells:
        cells = cells.merge(opened.cells[["cell_id", "phase"]], on="cell_id", how="left")
    return cells


def within(cells: pd.DataFrame, measure: str, target: str) -> tuple[float, float, float, int]:
    """Compute Kendall's tau within phases: the mean over phases, by their cells.

    Args:
        cells: With `phase`; phases of fewer than 8 cells do not count.
        measure: Column of the measure.
        target: Column of the target.

    Returns:
        Tau, the ends of its 95 % bootstrap interval (cells drawn within phases), and the number of cells.
    """
    parts = [
        some[[measure, target]].dropna().to_numpy()
        for _, some in cells.groupby("phase")
        if len(some) >= FEWEST
    ]
    parts = [part for part in parts if len(part) >= FEWEST]
    if not parts:
        return np.nan, np.nan, np.nan, 0
    generator = np.random.default_rng(0)
    drawn = [
        _mean_tau([part[generator.integers(len(part), size=len(part))] for part in parts])
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return _mean_tau(parts), low, high, sum(map(len, parts))


def _mean_tau(parts: list[np.ndarray]) -> float:
    taus = [kendalltau(*part.T).statistic if np.ptp(part, axis=0).all() else 0.0 for part in parts]
    return float(np.average(taus, weights=[len(part) for part in parts]))


def prediction_table(cells: Mapping[str, pd.DataFrame], target: str) -> str:
    """Tabulate how each measure orders the cells of each zoo against a target.

    Args:
        cells: Cells by zoo; the one with phases also within them.
        target: Column of the target.

    Returns:
        A Markdown table; the strongest measure of a column, the null aside, is bold.
    """
    columns: dict[str, dict[str, tuple[float, str]]] = {}
    for name, some in cells.items():
        if target not in some or some[target].isna().all():
            continue
        found = correlations(some, list(MEASURES), target=target).set_index("metric")
        rows = {m: tuple(found.loc[m, ["tau", "low", "high"]]) for m in MEASURES}
        columns[f"{name}, {len(some)} cells"] = {m: _cell(*row) for m, row in rows.items()}
        if "phase" in some:
            inside = {m: within(some, m, target) for m in MEASURES}
            count = max(row[3] for row in inside.values())
            columns[f"{name}, within phases, {count} cells"] = {
                m: _cell(*row[:3]) for m, row in inside.items()
            }
    best = {
        head: max((m for m in MEASURES if not m.startswith("null")), key=lambda m, c=column: c[m][0])
        for head, column in columns.items()
    }
    lines = [f"| mean over layers of | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for m in MEASURES:
        texts = [
            f"**{column[m][1]}**" if best[head] == m else column[m][1] for head, column in columns.items()
        ]
        lines.append(f"| {m} | {' | '.join(texts)} |")
    return "\n".join(lines)


def _cell(tau: float, low: float, high: float) -> tuple[float, str]:
    if np.isnan(tau):
        return -1.0, "-"
    return abs(tau), f"{tau:+.2f} [{low:+.2f}, {high:+.2f}]"


def phase_table(cells: pd.DataFrame) -> str:
    """Tabulate the mean of exponents in each phase, and how they order its cells.

    Args:
        cells: Cells of the zoo with phases, of all layers with an exponent of windows.

    Returns:
        A Markdown table.
    """
    lines = [
        "| phase | cells | FARMS alpha | of random matrices | tau with test accuracy | tau with gap |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for phase in PHASES:
        some = cells[cells["phase"] == phase]
        mean, spread = some["FARMS alpha"].mean(), some["FARMS alpha"].std()
        null = some["null: FARMS alpha of random matrices"].mean()
        taus = [correlations(some, ["FARMS alpha"], target=target).iloc[0] for target in TARGETS]
        told = [_cell(row["tau"], row["low"], row["high"])[1] for row in taus]
        lines.append(
            f"| {phase} | {len(some)} | {mean:.2f} ± {spread:.2f} | {null:.2f} | {' | '.join(told)} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Rewrite the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoos", type=Path, help="folder with the measured zoos, each in a folder of its name")
    place = parser.parse_args().zoos
    mpl.use("Agg")
    opened = {name: zoo.open(place / name) for name in ZOOS}
    cells = {name: cell_means(z) for name, z in opened.items()}
    # initial weights of low rank have exponents that measure the missing rank
    cells["digits-richlazy, full rank"] = cell_means(opened["digits-richlazy"].where("init_rank == 64"))
    sections = {
        "prediction": "\n\n".join(
            f"Kendall's tau with the {words}:\n\n{prediction_table(cells, target)}"
            for target, words in TARGETS.items()
        ),
        "phases": phase_table(cell_means(opened[PHASED], need_whole=False)),
        "pictures": "\n\n".join(
            [
                picture(
                    opened[PHASED],
                    "spectrum",
                    "Spectrum of a layer in each phase, with its power law and bulk",
                ),
                picture(
                    opened[PHASED],
                    "exponents",
                    "FARMS alpha of each layer over training, a cell of each phase",
                ),
                picture(
                    opened[PHASED], "alpha-plane", "FARMS alpha over width and learning rate, beside accuracy"
                ),
                picture(
                    opened["kjv-gpt"], "farms", "FARMS alpha against alpha of whole matrices, by aspect ratio"
                ),
            ]
        ),
    }
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), sections), encoding="utf-8")


if __name__ == "__main__":
    main()
