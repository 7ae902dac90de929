"""Measure speed against plain loops and files, side by side on this machine; prints a Markdown table."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file runs from anywhere

from benchmarks import reading, training

EPOCHS = 3
TRAINED_EACH = 4
TOLERANCE = 1e-4


def training_rows(*, pairs: int) -> list[str]:
    """Compare training, on all threads and on one.

    Args:
        pairs: Pairs of each row.

    Returns:
        Rows of the table.
    """
    stacks = training.demo_stacks(epochs=EPOCHS)
    models = sum(len(stack.models) for stack in stacks)
    rows, threads = [], torch.get_num_threads()
    for count in sorted({threads, 1}, reverse=True):
        torch.set_num_threads(count)
        cells = training.benchmark(stacks, pairs=pairs, each=TRAINED_EACH).describe()
        rows.append(
            _row(f"Train the demo grid, {models} models, {EPOCHS} epochs, threads: {count}", cells, pairs)
        )
    torch.set_num_threads(threads)
    return rows


def agreement() -> str:
    """Check that stacked and plain training end at the same weights.

    Returns:
        One sentence.

    Raises:
        RuntimeError: They do not, in double precision.
    """
    drawn = training.sample(training.demo_stacks(epochs=EPOCHS), each=TRAINED_EACH, seed=0)
    exact = training.differences(drawn, dtype=torch.float64)
    if not max(exact) <= TOLERANCE:
        raise RuntimeError(f"stacked and plain training ended {max(exact):.2g} apart, expected {TOLERANCE:g}")
    rounded = training.differences(drawn, dtype=torch.float32)
    close = [found for found in rounded if found <= TOLERANCE]
    return (
        f"Same result: of {len(drawn)} models, {TRAINED_EACH} of each width, all end within {max(exact):.1g} "
        f"of the plain loop in float64, and {len(close)} within {TOLERANCE:g} in float32 (median "
        f"{statistics.median(rounded):.1g}); any others train so hot that they amplify float32 rounding."
    )


def reading_rows(*, pairs: int) -> list[str]:
    """Measure opening, and compare reading.

    Args:
        pairs: Pairs, or repeats.

    Returns:
        Rows of the table.
    """
    with tempfile.TemporaryDirectory() as folder:
        large, wide = Path(folder) / "large", Path(folder) / "wide"
        reading.write_zoo(large, models=2000, params=2000)
        reading.write_zoo(wide, models=200, params=20_286)
        alone, tables = reading.time_opening(large, repeats=pairs)
        matrices = reading.compare_reading(wide, Path(folder) / "files", pairs=pairs, batch=64)
    return [
        _row("Open a zoo of 10,000 checkpoints", _once(alone), pairs),
        _row("... and read its checkpoints and models", _once(tables), pairs),
        _row("Read 64 shuffled vectors of 20,286 weights", matrices.describe(), pairs),
    ]


def _once(times: list[float]) -> tuple[str, str, str, str]:
    return f"{statistics.median(times) * 1e3:.2f} ms", "", "", ""


def _row(name: str, cells: tuple[str, ...], pairs: int) -> str:
    return "| " + " | ".join([name, *cells, str(pairs)]) + " |"


def device() -> str:
    """Describe the machine.

    Returns:
        One sentence.
    """
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.machine()
    return (
        f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__} with {torch.get_num_threads()} threads, {datetime.now(UTC):%Y-%m-%d}; "
        f"other work on the machine: load average {os.getloadavg()[0]:.1f}."
    )


def report(*, quick: bool) -> str:
    """Run everything.

    Args:
        quick: Whether fewer pairs will do.

    Returns:
        Markdown.
    """
    pairs = 2 if quick else 7
    where = device()
    rows = [*training_rows(pairs=pairs), *reading_rows(pairs=2 if quick else 25)]
    lines = [
        where,
        "",
        "| what | phasezoo, median | peer, median | faster, median | range | runs |",
        "| --- | ---: | ---: | ---: | --- | ---: |",
        *rows,
        "",
        agreement(),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two runs of everything: a look, no measurement")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table to this file too")
    chosen = parser.parse_args()
    text = report(quick=chosen.quick)
    print(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
