"""Write what docs/phases.md shows: the published cells and a zoo of ours by the same words, and figures.

    phasezoo generate digits-mlp --out zoos/digits-mlp && phasezoo measure zoos/digits-mlp
    python scripts/phases.py zoos/digits-mlp

The zoo has to be labelled by its rule (`phasezoo label`). Everything between the marks `<!-- begin X -->` and
`<!-- end X -->` of the page is replaced.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from zoos import replaced

import zoo
from generators.calibration import calibrate
from zoo.phases import PHASES, correlations, label, transitions
from zoo.report.calibration import calibration_figure
from zoo.report.catalogue import draw
from zoo.report.phase_diagram import save
from zoo.report.transitions import transitions_figure

ROOT = Path(__file__).resolve().parent.parent
PAGE, FIGURES = ROOT / "docs" / "phases.md", ROOT / "docs" / "figures"
PUBLISHED = ROOT / "tests" / "data" / "yang2021_cells.csv"
NAMES = {
    "cka": "CKA",
    "hessian_top_eigenvalue": "top Hessian eigenvalue",
    "hessian_trace": "Hessian trace",
    "train_loss": "train loss",
    "mode_connectivity": "mode connectivity",
}
OURS = {**{name: name for name in NAMES}, "cka": "cka_mixup", "train_loss": "fit_loss"}
"""Our column for each of theirs: their CKA is of mixup points, their loss that of the labels trained on."""


def main() -> None:
    """Rewrite the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoo", type=Path, help="folder of the measured and labelled zoo digits-mlp")
    opened = zoo.open(parser.parse_args().zoo)
    mpl.use("Agg")
    published = read_published()
    sections = {
        "published": count_table(published.assign(phase=label(published)["phase"])),
        "tau": tau_table(published, opened.cells),
        "zoo": zoo_section(opened),
        "calibration": calibration_section(opened),
        "trajectories": picture(opened, "trajectories", "How cells pass through the phases while they train"),
        "spectra": "\n\n".join(
            [
                picture(opened, "density", "Spectral density of the Hessian, a cell of each phase"),
                picture(
                    opened, "barriers", "Train error along straight lines and curves, a cell of each phase"
                ),
            ]
        ),
        "transitions": transition_section(opened),
    }
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), sections), encoding="utf-8")


def read_published() -> pd.DataFrame:
    """Read the 169 cells of Yang et al. 2021 that their figures show.

    Returns:
        Cells of width 2 to 128, accuracy in percent.
    """
    cells = pd.read_csv(PUBLISHED)
    return cells[cells["width"] >= 2].reset_index(drop=True)


def count_table(cells: pd.DataFrame) -> str:
    """Count the cells of each phase.

    Args:
        cells: With `phase` and `test_accuracy`.

    Returns:
        A Markdown table.
    """
    rows = ["| phase | cells | share | mean test accuracy |", "|---|---:|---:|---:|"]
    scale = 100 if cells["test_accuracy"].max() <= 1 else 1
    for phase in PHASES:
        some = cells[cells["phase"] == phase]
        mean = scale * some["test_accuracy"].mean()
        rows.append(f"| {phase} | {len(some)} | {len(some) / len(cells):.0%} | {mean:.1f} % |")
    return "\n".join(rows)


def tau_table(published: pd.DataFrame, cells: pd.DataFrame) -> str:
    """Tabulate how each metric orders cells against test accuracy, published and ours.

    Args:
        published: Published cells.
        cells: Cells of the zoo.

    Returns:
        A Markdown table.
    """
    reach = published["train_loss"].max()
    near = cells[cells["fit_loss"] <= reach]
    whole = near[near["fraction"] == 1]
    parts = {
        "clean labels, all items*": whole[whole["label_noise"] == 0],
        "10 % wrong labels, all items*": whole[whole["label_noise"] > 0],
        "30 % of the items*": near[near["fraction"] < 1],
        "all cells": cells,
    }
    theirs = correlations(published, list(NAMES))["tau"].tolist()
    columns = [correlations(some, [OURS[name] for name in NAMES]) for some in parts.values()]
    head = [
        "metric",
        "published, 169 cells",
        *(f"ours, {name}, {len(some)} cells" for name, some in parts.items()),
    ]
    rows = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for place, name in enumerate(NAMES.values()):
        found = [
            f"{column['tau'][place]:+.2f} [{column['low'][place]:+.2f}, {column['high'][place]:+.2f}]"
            for column in columns
        ]
        rows.append(f"| {name} | {theirs[place]:+.2f} | {' | '.join(found)} |")
    note = f"\\* Cells whose train loss is within the published range, up to {reach:.2f} nats."
    return "\n".join([*rows, "", note])


def zoo_section(opened: zoo.Zoo) -> str:
    """Show the phases of the zoo, plane by plane.

    Args:
        opened: The zoo.

    Returns:
        A table and figures.
    """
    parts = [count_table(opened.cells)]
    for noise, fraction in ((0.0, 1.0), (0.1, 1.0), (0.0, 0.3)):
        words = f"{100 * noise:g} % wrong labels, {100 * fraction:g} % of the items"
        at = {"label_noise": noise, "fraction": fraction}
        parts.append(picture(opened, "phases", f"Seven panels: {words}", at=at))
    return "\n\n".join(parts)


def picture(opened: zoo.Zoo, figure: str, text: str, at: dict[str, float] | None = None) -> str:
    """Draw a figure of the zoo.

    Args:
        opened: The zoo.
        figure: Its name.
        text: What stands for it where it is not seen.
        at: Where to hold other axes.

    Returns:
        The Markdown that shows it.
    """
    suffix = "" if at is None else "-" + "-".join(f"{value:g}" for value in at.values())
    name = f"{figure}-{opened.manifest.name}{suffix}.png"
    save(draw(figure, opened, {"at": at} if at else {}), FIGURES / name)
    return f"![{text}](figures/{name})"


def calibration_section(opened: zoo.Zoo) -> str:
    """Show what the rule's cuts divide.

    Args:
        opened: The zoo.

    Returns:
        Figure and tables.
    """
    found = calibrate(opened, id="digits-mlp-again-v1")
    name = f"calibration-{opened.manifest.name}.png"
    save(calibration_figure(found.histograms, "digits-mlp: what each cut divides"), FIGURES / name)
    cuts = ["| quantity | column | cut | how | spread across seeds |", "|---|---|---:|---|---:|"]
    for quantity, report in found.quantities.items():
        how = "given" if report.method == "fixed" else f"Otsu, {report.explained:.0%} of the variance"
        cuts.append(f"| {quantity} | `{report.column}` | {report.cut:.4g} | {how} | {report.spread:.2g} |")
    moved = [f"| threshold moved | {' | '.join(PHASES)} |", "|---|" + "---:|" * len(PHASES)]
    for row in found.sensitivity.to_dict("records"):
        what = "none" if row["moved"] == "none" else f"{row['moved']} to {row['threshold']:.3g}"
        moved.append(f"| {what} | {' | '.join(str(row[phase]) for phase in PHASES)} |")
    return "\n\n".join([f"![Histograms with their cuts](figures/{name})", "\n".join(cuts), "\n".join(moved)])


def transition_section(opened: zoo.Zoo) -> str:
    """Show where the training loss falls fastest along width, clean labels and all items.

    Args:
        opened: The zoo.

    Returns:
        A figure and a table.
    """
    last = opened.where("status == 'finished' and epoch == last_epoch and label_noise == 0 and fraction == 1")
    axes = ["width", "learning_rate"]
    values = last.checkpoints.merge(last.models[["model_id", "seed", *axes]], on="model_id")
    values["log10 train loss"] = np.log10(values["fit_loss"])
    found = transitions(values, "width", order_parameter="log10 train loss", others=["learning_rate"])
    figure = transitions_figure(
        values,
        found,
        axis="width",
        order_parameter="log10 train loss",
        others=["learning_rate"],
        title="Where the train loss falls fastest with width",
    )
    name = f"transitions-{opened.manifest.name}.png"
    save(figure, FIGURES / name)
    rows = ["| learning rate | place (width) | 95 % interval | |", "|---:|---:|---|---|"]
    for row in found.to_dict("records"):
        known = pd.notna(row["place"])
        place = f"{row['place']:.1f}" if known else "-"
        interval = f"{row['place_low']:.1f} to {row['place_high']:.1f}" if known else ""
        rows.append(
            f"| {row['learning_rate']:g} | {place} | {interval} | {row['reason'] if not known else ''} |"
        )
    return "\n\n".join([f"![Train loss over width](figures/{name})", "\n".join(rows)])


if __name__ == "__main__":
    main()
