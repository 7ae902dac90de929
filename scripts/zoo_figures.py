"""Figures and numbers of generated zoos, for docs/zoos.md."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

import zoo

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"
LEARNT, FOUND = math.log(2), 0.95
"""A network knows its pairs by heart below this loss, and the rule above this accuracy."""


def save(figure: plt.Figure, name: str, alt: str) -> str:
    """Save a figure.

    Args:
        figure: The figure.
        name: Name of its file.
        alt: What it shows, in words.

    Returns:
        Markdown that shows it.
    """
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / f"{name}.png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    return f"![{alt}](figures/{name}.png)"


def heat(axes: plt.Axes, table: pd.DataFrame, title: str, *, low: float | None, high: float | None) -> None:
    """Draw a table as a heat map with its numbers.

    Args:
        axes: Where to draw.
        table: Rows and columns are the values of two axes.
        title: Its title.
        low: Value at the lower end of the colours.
        high: Value at their upper end.
    """
    shown = table.iloc[::-1]
    image = axes.imshow(shown, cmap="viridis", vmin=low, vmax=high, aspect="auto")
    axes.set_xticks(range(shown.shape[1]), [f"{value:g}" for value in shown.columns], rotation=45)
    axes.set_yticks(range(shown.shape[0]), [f"{value:g}" for value in shown.index])
    axes.set_xlabel(str(table.columns.name).replace("_", " "))
    axes.set_ylabel(str(table.index.name).replace("_", " "))
    axes.set_title(title, fontsize=10)
    middle = sum(image.get_clim()) / 2
    for (row, column), value in np.ndenumerate(shown.to_numpy(dtype=float)):
        colour = "white" if value < middle else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)


def planes(z: zoo.Zoo, panels: list[tuple[str, str, str]], load: str, temperature: str, alt: str) -> str:
    """Draw seed averages over one load and one temperature.

    Args:
        z: The zoo.
        panels: Query over cells (or nothing), column, title, for each panel.
        load: Axis that goes up.
        temperature: Axis that goes to the right.
        alt: What it shows, in words.

    Returns:
        Markdown that shows it.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.2), layout="constrained")
    for place, (query, column, title) in zip(np.atleast_1d(axes), panels, strict=True):
        cells = z.cells.query(query) if query else z.cells
        table = cells.pivot_table(index=load, columns=temperature, values=column)
        heat(place, table, title, low=None, high=None)
    return save(figure, f"zoo-{z.manifest.name}", alt)


def counted(z: zoo.Zoo) -> str:
    """Say how many networks a zoo has and how they ended.

    Args:
        z: The zoo.

    Returns:
        A sentence.
    """
    counts = z.manifest.counts
    return (
        f"{counts.models:,} networks in {counts.cells:,} cells, {counts.checkpoints:,} checkpoints; "
        f"{counts.finished:,} finished, {counts.diverged} diverged, {counts.failed} failed."
    )


def trajectories(z: zoo.Zoo) -> pd.DataFrame:
    """Join checkpoints with the axes of their models.

    Args:
        z: The zoo.

    Returns:
        A row for each checkpoint.
    """
    axes = [axis.name for axis in z.manifest.axes]
    return z.checkpoints.merge(z.models[["model_id", "seed", *axes]], on="model_id")


def draw_digits(z: zoo.Zoo) -> str:
    """Draw the corners of digits-mlp, and error over width with and without label noise."""
    panels = [
        ("label_noise == 0", "test_accuracy", "test accuracy, true labels"),
        ("label_noise == 0.1", "test_accuracy", "test accuracy, 10 % wrong labels"),
        ("label_noise == 0.1", "fit_loss", "loss on the labels trained on, 10 % wrong"),
    ]
    whole = z.where("fraction == 1")
    plane = planes(whole, panels, "width", "learning_rate", "Heat maps over width and learning rate")
    noisy = whole.cells.query("label_noise == 0.1")
    under = noisy.query("width == 2 and learning_rate == 0.006").iloc[0]
    best = noisy.loc[noisy["test_accuracy"].idxmax()]
    over = noisy.loc[noisy[noisy["width"] >= 64]["fit_loss"].idxmin()]
    corners = [
        "| corner | width | learning rate | loss on labels trained on | train accuracy | test accuracy |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, cell in (("underfitted", under), ("generalizing", best), ("overfitted", over)):
        corners.append(
            f"| {name} | {cell['width']:.0f} | {cell['learning_rate']:g} | {cell['fit_loss']:.2f} "
            f"| {cell['train_accuracy']:.3f} | {cell['test_accuracy']:.3f} |"
        )
    return "\n\n".join([counted(z), plane, "\n".join(corners), draw_descent(whole)])


def draw_descent(z: zoo.Zoo) -> str:
    """Draw test error over width, with and without label noise, and say whether it comes down twice."""
    finals = z.models.merge(z.where("epoch == last_epoch").checkpoints, on="model_id")
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
    sentences = []
    for place, noise in zip(axes, (0.0, 0.1), strict=True):
        for rate in (0.006, 0.03, 0.1):
            some = finals[(finals["label_noise"] == noise) & (finals["learning_rate"] == rate)]
            error = (1 - some["test_accuracy"]).groupby(some["width"])
            mean, spread = error.mean(), error.std() / np.sqrt(error.size())
            place.errorbar(
                mean.index, mean, 2 * spread, marker="o", capsize=2, label=f"learning rate {rate:g}"
            )
            sentences.append(descent_sentence(noise, rate, mean, spread))
        place.set(xscale="log", xlabel="width", title=f"{100 * noise:g} % wrong labels", yscale="log")
    axes[0].set_ylabel("test error")
    axes[1].legend(fontsize=8)
    picture = save(figure, "zoo-digits-mlp-width", "Test error over width")
    return "\n\n".join([picture, "\n".join(f"- {sentence}" for sentence in sentences)])


def descent_sentence(noise: float, rate: float, mean: pd.Series, spread: pd.Series) -> str:
    """Say whether error over width rises by more than two standard errors and comes down again.

    Args:
        noise: Share of wrong labels.
        rate: Learning rate.
        mean: Error by width.
        spread: Its standard error by width.

    Returns:
        A sentence.
    """
    lowest_before = mean.cummin()
    rises = mean - lowest_before
    peak = rises.idxmax()
    valley = lowest_before.index[mean.index.get_loc(mean.loc[:peak].idxmin())]
    rise = rises.loc[peak]
    rise_error = float(np.hypot(spread.loc[peak], spread.loc[valley]))
    later = mean.loc[peak:]
    fall = mean.loc[peak] - later.min()
    fall_error = float(np.hypot(spread.loc[peak], spread.loc[later.idxmin()]))
    where = f"{100 * noise:g} % wrong labels, learning rate {rate:g}"
    if rise <= 2 * rise_error:
        return f"{where}: error never rises with width by more than two standard errors; no double descent."
    text = (
        f"{where}: error rises from width {valley} to {peak} by {rise:.3f} (standard error {rise_error:.3f})"
    )
    if fall > 2 * fall_error:
        return f"{text} and falls again by {fall:.3f} (standard error {fall_error:.3f}): double descent."
    return f"{text} and does not fall again on this grid; no double descent."


def draw_grokking(z: zoo.Zoo) -> str:
    """Draw how long after the training pairs the rule is found, by weight decay."""
    table = trajectories(z)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    shown = table[table["fraction"] == 0.75].groupby(["weight_decay", "epoch"])
    for decay, curve in shown["test_accuracy"].mean().groupby("weight_decay"):
        epochs = curve.index.get_level_values("epoch")
        axes[0].plot(epochs[1:], curve.to_numpy()[1:], marker="o", ms=3, label=f"weight decay {decay:g}")
    axes[0].set(xscale="log", xlabel="epoch", ylabel="test accuracy", title="share 0.75 of the pairs")
    axes[0].legend(fontsize=8)
    rows = [
        "| share | weight decay | pairs learnt at epoch | rule found at epoch | found in | delay |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    delays = grokking_delays(table)
    for (share, decay), some in delays.groupby(["fraction", "weight_decay"]):
        found = some["found"].notna()
        mean = some.loc[found, ["learnt", "found", "delay"]].mean()
        numbers = [f"{some['learnt'].mean():.0f}"]
        numbers += [f"{mean['found']:.0f}" if found.any() else "-", f"{found.sum()} of {len(some)}"]
        numbers += [f"{mean['delay']:.0f}" if found.any() else "-"]
        rows.append(f"| {share:g} | {decay:g} | {' | '.join(numbers)} |")
    for share, some in delays[delays["found"].notna()].groupby("fraction"):
        mean = some.groupby("weight_decay")["delay"].mean()
        axes[1].plot(mean.index, mean, marker="o", label=f"share {share:g}")
    axes[1].set(xlabel="weight decay", ylabel="delay in epochs", title="mean of the seeds that found it")
    axes[1].legend(fontsize=8)
    return "\n\n".join([counted(z), save(figure, "zoo-modadd-mlp", "Grokking"), "\n".join(rows)])


def grokking_delays(table: pd.DataFrame) -> pd.DataFrame:
    """Say when each network knew its pairs and when it knew the rule, to the next stored checkpoint.

    Args:
        table: Trajectories.

    Returns:
        A row for each model: share, weight decay, `learnt`, `found`, `delay` in epochs; missing if never.
    """

    def first(rows: pd.DataFrame, reached: pd.Series) -> float:
        return float(rows.loc[reached, "epoch"].min())

    found = []
    for _, rows in table.groupby("model_id"):
        learnt = first(rows, rows["fit_loss"] < LEARNT)
        rule = first(rows, rows["test_accuracy"] > FOUND)
        base = rows.iloc[0]
        found.append(
            {
                "fraction": base["fraction"],
                "weight_decay": base["weight_decay"],
                "learnt": learnt,
                "found": rule,
                "delay": rule - learnt,
            }
        )
    return pd.DataFrame(found)


def draw_convection(z: zoo.Zoo) -> str:
    """Draw the error of solutions over the coefficient."""
    finals = z.models.merge(z.where("epoch == last_epoch").checkpoints, on="model_id")
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    rows = [
        "| coefficient | " + " | ".join(f"learning rate {r:g}" for r in sorted(set(finals["learning_rate"])))
    ]
    rows = [rows[0] + " |", "|---:|" + "---:|" * finals["learning_rate"].nunique()]
    for rate, some in finals.groupby("learning_rate"):
        error = some.groupby("coefficient")["test_error"]
        low, high, mean = error.min(), error.max(), error.mean()
        axes.errorbar(
            mean.index,
            mean,
            [mean - low, high - mean],
            marker="o",
            capsize=2,
            label=f"learning rate {rate:g}",
        )
    axes.set(xlabel="coefficient", ylabel="relative L2 error", yscale="log")
    axes.legend(fontsize=8)
    table = finals.pivot_table(index="coefficient", columns="learning_rate", values="test_error")
    rows += [
        f"| {c:g} | " + " | ".join(f"{v:.3f}" for v in row) + " |"
        for c, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return "\n\n".join(
        [counted(z), save(figure, "zoo-convection-pinn-small", "Error over coefficient"), "\n".join(rows)]
    )


def plane_of(load: str, temperature: str, *panels: tuple[str, str, str]) -> Callable[[zoo.Zoo], str]:
    """Make what draws a zoo as planes.

    Args:
        load: Axis that goes up.
        temperature: Axis that goes to the right.
        panels: As `planes` takes them.

    Returns:
        A function from the zoo to Markdown.
    """

    def draw(z: zoo.Zoo) -> str:
        alt = f"Heat maps over {load} and {temperature}"
        return "\n\n".join([counted(z), planes(z, list(panels), load, temperature, alt)])

    return draw


def draw_subsets(z: zoo.Zoo) -> str:
    """Draw how accuracy spreads over subsets of classes."""
    finals = z.models.merge(z.where("epoch == last_epoch").checkpoints, on="model_id")
    figure, axes = plt.subplots(figsize=(5, 2.8), layout="constrained")
    for noise, some in finals.groupby("label_noise"):
        axes.hist(some["test_accuracy"], bins=30, alpha=0.6, label=f"{100 * noise:g} % wrong labels")
    axes.set(xlabel="test accuracy on its own classes", ylabel="networks")
    axes.legend(fontsize=8)
    split = {side: len(set(view.models["classes"])) for side, view in z.split("subset-v1")._asdict().items()}
    held = ", ".join(f"{count} {side}" for side, count in split.items())
    return "\n\n".join(
        [
            counted(z),
            f"Subsets of classes in the split `subset-v1`: {held}.",
            save(figure, f"zoo-{z.manifest.name}", "Histogram of test accuracy"),
        ]
    )


DRAWN: dict[str, Callable[[zoo.Zoo], str]] = {
    "digits-mlp": draw_digits,
    "modadd-mlp": draw_grokking,
    "convection-pinn-small": draw_convection,
    "mnist1d-mlp": plane_of(
        "width",
        "learning_rate",
        ("fraction == 0.25", "test_accuracy", "test accuracy, a quarter of the data"),
        ("fraction == 1", "test_accuracy", "test accuracy, all data"),
        ("fraction == 1", "generalization_gap", "generalization gap, all data"),
    ),
    "digits-subsets": draw_subsets,
    "digits-richlazy": plane_of(
        "init_scale",
        "init_rank",
        ("fraction == 1 and learning_rate == 0.1", "distance_from_init", "distance from the initial weights"),
        ("fraction == 1 and learning_rate == 0.1", "test_accuracy", "test accuracy, all data"),
        ("fraction == 0.1 and learning_rate == 0.1", "test_accuracy", "test accuracy, a tenth"),
    ),
    "kjv-gpt": plane_of(
        "model_dim",
        "learning_rate",
        ("", "train_loss", "train loss, nats a character"),
        ("", "test_loss", "test loss, nats a character"),
    ),
    "fashion-cnn": plane_of(
        "width",
        "learning_rate",
        ("batch_size == 32", "test_accuracy", "test accuracy, batch 32"),
        ("batch_size == 128", "test_accuracy", "test accuracy, batch 128"),
    ),
    "fashion-subsets": draw_subsets,
    "fashion-forks": plane_of(
        "fork_epoch",
        "learning_rate",
        ("width == 16", "test_accuracy", "test accuracy, width 16"),
        ("width == 16", "l2_distance", "L2 distance of siblings, width 16"),
        ("width == 16", "disagreement", "disagreement of siblings, width 16"),
    ),
    "fashion-resnet": plane_of(
        "width",
        "batch_size",
        ("", "train_loss", "train loss"),
        ("", "test_accuracy", "test accuracy"),
    ),
}
"""What draws each zoo."""
