"""Show the bias of the aspect ratio, and that FARMS does not have it: one experiment, a figure and a table.

    python scripts/aspect_ratio.py

Matrices of one short side and a long side 1 to 16 times as long, random and trained on the digits. The
exponent of whole matrices drifts with the ratio; that of windows does not, where the windows fit. Writes the
figure docs/figures/aspect-ratio.png and the section `bias` of docs/spectra.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor
from zoos import replaced

from zoo import datasets
from zoo.architectures import build, initialise, layout
from zoo.metrics import farms, spectrum
from zoo.report.phase_diagram import save
from zoo.spec import ArchitectureSpecification, DatasetSpecification, TrainingSpecification
from zoo.training import StackData, stream, train_stack
from zoo.weights import flatten, unflatten

ROOT = Path(__file__).resolve().parent.parent
PAGE, FIGURE = ROOT / "docs" / "spectra.md", ROOT / "docs" / "figures" / "aspect-ratio.png"
RATIOS = (1, 2, 4, 8, 16)
MEASURES: dict[str, Callable[[Tensor], Tensor]] = {
    "whole matrix": spectrum.alpha,
    "FARMS": farms.alpha,
    "FARMS, released code": lambda weight: farms.alpha(weight, mode="paper"),
}
COLOURS = {"whole matrix": "#d55e00", "FARMS": "#0072b2", "FARMS, released code": "#999999"}
DIGITS = DatasetSpecification(name="digits")
SHORT = 64
"""Pixels of the digits, the short side of the trained matrices: no window of 100 rows fits."""


def random_matrices(
    short: int, seeds: Sequence[int]
) -> Iterator[tuple[int, Float[Tensor, "seeds rows short"]]]:
    """Draw normal entries.

    Args:
        short: Short side.
        seeds: Seed of each matrix.

    Yields:
        Ratio, and matrices with `ratio * short` rows.
    """
    for ratio in RATIOS:
        drawn = [
            torch.randn(ratio * short, short, generator=stream(seed, f"random:{ratio}")) for seed in seeds
        ]
        yield ratio, torch.stack(drawn)


def trained(width: int, seeds: Sequence[int], *, epochs: int) -> Float[Tensor, "seeds width 64"]:
    """Train perceptrons with one hidden layer on the digits.

    Args:
        width: Hidden units.
        seeds: Seed of each network.
        epochs: Passes over the data.

    Returns:
        The weights of the hidden layer.
    """
    spec, shape = ArchitectureSpecification(name="mlp", width=width, depth=1), datasets.shape(DIGITS)
    module = build(spec, shape)
    of = layout(spec, shape)
    start = []
    for seed in seeds:
        initialise(spec, module, stream(seed, "init"))
        start.append(flatten(module.state_dict(), of))
    items = datasets.load(DIGITS).train
    data = StackData(items.x, items.y.expand(len(seeds), -1))
    how = TrainingSpecification(
        learning_rate=0.1, momentum=0.9, weight_decay=5e-4, batch_size=64, epochs=epochs, schedule="cosine"
    )
    weights = train_stack(
        module, of, torch.stack(start), data, training=[how] * len(seeds), order_seeds=list(seeds)
    )
    return unflatten(weights, of)[of.entries[0].name]


def exponents(seeds: Sequence[int], *, epochs: int = 60) -> pd.DataFrame:
    """Measure matrices of all ratios in all ways.

    Args:
        seeds: Seed of each matrix of a kind and ratio.
        epochs: Passes over the data for the trained ones.

    Returns:
        A row a matrix and measure: `kind`, `ratio`, `seed`, `measure`, `alpha`.
    """
    widest = trained(SHORT * max(RATIOS), seeds, epochs=epochs)
    kinds = {
        "random, short side 128": random_matrices(128, seeds),
        f"random, short side {SHORT}": random_matrices(SHORT, seeds),
        # units are drawn and trained alike: some of them differ from all by their number alone
        "trained, some units of one layer": ((ratio, widest[:, : ratio * SHORT]) for ratio in RATIOS),
        "trained, layers of that width": (
            (ratio, trained(SHORT * ratio, seeds, epochs=epochs)) for ratio in RATIOS
        ),
    }
    rows = []
    for kind, matrices in kinds.items():
        for ratio, stack in matrices:
            for measure, function in MEASURES.items():
                found = function(stack).tolist()
                rows += [
                    (kind, ratio, seed, measure, alpha) for seed, alpha in zip(seeds, found, strict=True)
                ]
    return pd.DataFrame(rows, columns=["kind", "ratio", "seed", "measure", "alpha"])


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """Fit the drift of each seed by a line over the logarithm of the ratio.

    Args:
        table: What `exponents` gives.

    Returns:
        A row a kind and measure: mean `slope`, the change of alpha when the ratio doubles; `low` and `high`,
        its 95 % interval by Student's t over seeds; `n` seeds; mean alpha at the smallest and largest ratio.
    """
    rows = []
    for (kind, measure), some in table.groupby(["kind", "measure"], sort=False):
        grid = some.pivot_table(index="ratio", columns="seed", values="alpha")
        lines = np.polyfit(np.log2(grid.index.to_numpy(float)), grid.to_numpy(), 1)[0]
        reach = stats.sem(lines) * stats.t.ppf(0.975, len(lines) - 1)
        ends = grid.mean(axis=1).iloc[[0, -1]].tolist()
        rows.append(
            (kind, measure, lines.mean(), lines.mean() - reach, lines.mean() + reach, len(lines), *ends)
        )
    return pd.DataFrame(rows, columns=["kind", "measure", "slope", "low", "high", "n", "first", "last"])


def figure_of(table: pd.DataFrame) -> Figure:
    """Draw alpha over the ratio, a panel a kind.

    Args:
        table: What `exponents` gives.

    Returns:
        The figure.
    """
    from matplotlib import pyplot as plt

    kinds = table["kind"].unique()
    figure, panels = plt.subplots(1, len(kinds), figsize=(3.2 * len(kinds), 3.4), layout="constrained")
    for axes, kind in zip(panels, kinds, strict=True):
        for measure, some in table[table["kind"] == kind].groupby("measure", sort=False):
            means = some.groupby("ratio")["alpha"].agg(["mean", "std"])
            released = measure not in {"whole matrix", "FARMS"}
            look = {"markersize": 9, "linestyle": "--", "zorder": 1} if released else {"zorder": 2}
            axes.errorbar(
                means.index,
                means["mean"],
                means["std"],
                marker="o",
                color=COLOURS[measure],
                label=measure,
                **look,
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(RATIOS, [f"{ratio}" for ratio in RATIOS])
        axes.set_title(kind, fontsize=9)
        axes.set_xlabel("long side over short side")
    panels[0].set_ylabel("alpha, mean over seeds")
    panels[0].legend(fontsize=8)
    figure.suptitle("The exponent of whole matrices drifts with their aspect ratio, that of windows does not")
    return figure


def slope_table(found: pd.DataFrame) -> str:
    """Write the slopes as Markdown.

    Args:
        found: What `slopes` gives.

    Returns:
        The table.
    """
    rows = [
        "| matrices | measure | alpha at ratio 1 | at ratio 16 | slope a doubling, 95 % interval | seeds |",
        "|---|---|---:|---:|---:|---:|",
    ]
    rows += [
        f"| {row.kind} | {row.measure} | {row.first:.2f} | {row.last:.2f} | "
        f"{row.slope:+.3f} [{row.low:+.3f}, {row.high:+.3f}] | {row.n} |"
        for row in found.itertuples()
    ]
    return "\n".join(rows)


def main() -> None:
    """Run the experiment and rewrite the section."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10, help="matrices of a kind and ratio (default: 10)")
    mpl.use("Agg")
    table = exponents(range(parser.parse_args().seeds))
    save(figure_of(table), FIGURE)
    words = "![Alpha over the aspect ratio, random and trained matrices](figures/aspect-ratio.png)"
    section = "\n\n".join([words, slope_table(slopes(table))])
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), {"bias": section}), encoding="utf-8")


if __name__ == "__main__":
    main()
