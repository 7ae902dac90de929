"""Write what docs/spectra.md says of TempBalance: test accuracies, and differences seed by seed.

    phasezoo generate fashion-tempbalance --out zoos/fashion-tempbalance
    python scripts/tempbalance.py zoos/fashion-tempbalance

Everything between the marks `<!-- begin tempbalance -->` and `<!-- end tempbalance -->` is replaced.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from scipy import stats
from zoos import replaced

import zoo

PAGE = Path(__file__).resolve().parent.parent / "docs" / "spectra.md"
ARMS = {"none": "one rate", "full": "TempBalance", "farms": "TempBalance + FARMS"}


def main() -> None:
    """Rewrite the section and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoo", type=Path, help="folder of the generated zoo fashion-tempbalance")
    table = balance_table(last_values(zoo.open(parser.parse_args().zoo)))
    print(table)
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), {"tempbalance": table}), encoding="utf-8")


def last_values(opened: zoo.Zoo) -> pd.DataFrame:
    """Take the networks at their last epoch.

    Args:
        opened: The zoo.

    Returns:
        Axes, seed and `test_accuracy` of each network; no accuracy for one that diverged.
    """
    last = opened.where("status == 'finished' and epoch == last_epoch").checkpoints
    return opened.models.merge(last[["model_id", "test_accuracy"]], on="model_id", how="left")


def balance_table(networks: pd.DataFrame) -> str:
    """Tabulate test accuracy by learning rate and balance, beside the paired difference to one rate.

    Args:
        networks: With `learning_rate`, `temp_balance`, `temp_balance_spread`, `seed` and `test_accuracy`.

    Returns:
        A Markdown table.
    """
    rows = [
        "| learning rate | rates by layer | spread | networks | test accuracy | difference to one rate |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    arms = networks.assign(accuracy=100 * networks["test_accuracy"]).groupby(
        ["learning_rate", "temp_balance"]
    )
    for rate in sorted(networks["learning_rate"].unique()):
        base = arms.get_group((rate, "none")).set_index("seed")["accuracy"]
        for name, words in ARMS.items():
            arm = arms.get_group((rate, name)).set_index("seed")
            spread = "" if name == "none" else f"{arm['temp_balance_spread'].iloc[0]:g}"
            found = "" if name == "none" else difference(arm["accuracy"] - base)
            cells = [f"{rate:g}", words, spread, count(arm["accuracy"]), mean(arm["accuracy"]), found]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def count(accuracy: pd.Series) -> str:
    """Say how many networks there are, and how many of them diverged.

    Args:
        accuracy: Theirs; missing where one diverged.

    Returns:
        Such as `10`.
    """
    lost = int(accuracy.isna().sum())
    return f"{len(accuracy)}, {lost} diverged" if lost else str(len(accuracy))


def mean(accuracy: pd.Series) -> str:
    """Give the mean and its standard error.

    Args:
        accuracy: In percent.

    Returns:
        Such as `81.23 ± 0.41 %`.
    """
    return f"{accuracy.mean():.2f} ± {accuracy.sem():.2f} %"


def difference(differences: pd.Series) -> str:
    """Give the mean of paired differences and its 95 % interval by Student's t.

    Args:
        differences: In points, one for each seed; missing where one of the pair diverged.

    Returns:
        Such as `+0.52 [-0.10, +1.14]`; without an interval for fewer than two pairs.
    """
    pairs = differences.dropna()
    if len(pairs) < 2:
        return "-"
    half = stats.t.ppf(0.975, len(pairs) - 1) * pairs.sem()
    return f"{pairs.mean():+.2f} [{pairs.mean() - half:+.2f}, {pairs.mean() + half:+.2f}]"


if __name__ == "__main__":
    main()
