"""Measure speed and memory against plain peers, side by side on this machine; prints Markdown tables."""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file runs from anywhere

from benchmarks import data, engine, gpu, landscape, memory, ray_workers, reading, spectra, training
from benchmarks.pool import Pool

EPOCHS = 3
TRAINED_EACH = 4
TOLERANCE = 1e-4
WORKERS = 2


def engine_lines(*, quick: bool) -> list[engine.Line]:
    """Measure what the engine must reach, and tell each line as it is found.

    Args:
        quick: Whether fewer pairs will do.

    Returns:
        Lines of the table.
    """
    pairs, wanted = (2, 0.1) if quick else (5, 0.3)
    lines = []
    with Pool(WORKERS) as pool:
        parts = (
            engine.family_lines(pool, pairs=pairs, wanted=wanted),
            engine.auto_lines(pool, pairs=1 if quick else pairs, wanted=wanted),
            ray_lines(quick=quick),
            memory_lines(quick=quick),
            data.data_lines(quick=quick),
            landscape.landscape_lines(quick=quick),
            spectra.spectra_lines(quick=quick),
        )
        for line in itertools.chain(*parts):
            print(line.row(), file=sys.stderr, flush=True)
            lines.append(line)
    return lines


def ray_lines(*, quick: bool) -> Iterator[engine.Line]:
    """Compare two Ray workers with one.

    Args:
        quick: Whether fewer pairs will do.

    Yields:
        A line of the table.
    """
    work = "2 Ray workers against 1, strategy loop"
    if not ray_workers.installed():
        yield engine.Line(work, "1.6x", "ray is not installed", None)
        return
    found = ray_workers.compare_workers(pairs=1 if quick else 5, epochs=2 if quick else 5)
    seconds = [f"{statistics.median(side):.1f}" for side in (found.ours, found.peer)]
    yield engine.ratio_line(work, 1.6, found, f"{seconds[0]} s against {seconds[1]} s, 8 equal tasks")


def memory_lines(*, quick: bool) -> Iterator[engine.Line]:
    """Compare the peak memory of runs with their estimates.

    Args:
        quick: Whether one recipe will do, the one that takes least time.

    Yields:
        Lines of the table.
    """
    recipes = list(memory.recipes().items())
    for title, recipe in recipes[1:2] if quick else recipes:
        promised, peak = memory.measure(recipe)
        how = f"{peak / 1e6:,.0f} MB, promised {promised / 1e6:,.0f}; {memory.describe(recipe)}"
        met = peak <= 1.2 * promised
        yield engine.Line(f"Peak memory, {title}", "at most 1.2x", f"{peak / promised:.2f}x", met, how)


def training_rows(*, pairs: int) -> list[str]:
    """Compare training of the demo grid.

    Args:
        pairs: Pairs.

    Returns:
        Rows of the table.
    """
    stacks = training.demo_stacks(epochs=EPOCHS)
    models = sum(len(stack.models) for stack in stacks)
    cells = training.benchmark(stacks, pairs=pairs, each=TRAINED_EACH, workers=WORKERS).describe()
    return [_row(f"Train the demo grid, {models} models, {EPOCHS} epochs, {WORKERS} workers", cells, pairs)]


def agreement() -> str:
    """Check that stacked and plain training end at the same weights.

    Returns:
        Sentences.

    Raises:
        RuntimeError: They do not, in double precision.
    """
    exact = engine.agreement(epochs=EPOCHS, tolerance=TOLERANCE)
    drawn = training.sample(training.demo_stacks(epochs=EPOCHS), each=TRAINED_EACH, seed=0)
    rounded = training.differences(drawn)
    close = [found for found in rounded if found <= TOLERANCE]
    return (
        f"{exact} Of {len(drawn)} models of the demo grid, {TRAINED_EACH} of each width, {len(close)} end "
        f"within {TOLERANCE:g} in float32 too (median {statistics.median(rounded):.1g}); any others train so "
        "hot that they amplify float32 rounding."
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
        reading.write_zoo(large, models=2000, layout=reading.flat(2000))
        reading.write_zoo(wide, models=200, layout=reading.flat(20_286))
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


def machine() -> str:
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
        f"load average at the start {os.getloadavg()[0]:.1f}."
    )


def report(*, quick: bool) -> str:
    """Run everything on the CPU.

    Args:
        quick: Whether fewer pairs will do.

    Returns:
        Markdown.
    """
    where = machine()
    others = [*training_rows(pairs=2 if quick else 7), *reading_rows(pairs=2 if quick else 25)]
    lines = [
        *(where, "", *engine.HEAD, *(line.row() for line in engine_lines(quick=quick)), ""),
        "| what | phasezoo, median | peer, median | faster, median | range | runs |",
        "| --- | ---: | ---: | ---: | --- | ---: |",
        *(*others, "", agreement(), "", f"Load average at the end {os.getloadavg()[0]:.1f}.", ""),
    ]
    return "\n".join(lines)


def gpu_report(device: str, *, quick: bool) -> str:
    """Run what there is for a GPU.

    Args:
        device: A CUDA device.
        quick: Whether fewer pairs will do.

    Returns:
        Markdown.
    """
    pairs, wanted = (2, 0.1) if quick else (5, 0.3)
    name = f"{torch.cuda.get_device_name(device)}, a stack of {gpu.MODELS} networks; {machine()}"
    rows = gpu.rows(device, pairs=pairs, wanted=wanted)
    same = engine.agreement(epochs=EPOCHS, tolerance=TOLERANCE, device=device)
    return "\n".join([name, "", *gpu.HEAD, *rows, "", same, ""])


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a run or two of everything: a look, no measurement"
    )
    parser.add_argument("--device", default="cpu", help="cpu (default), or cuda to measure the GPU instead")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables to this file too")
    chosen = parser.parse_args()
    on_gpu = torch.device(chosen.device).type == "cuda"
    text = gpu_report(chosen.device, quick=chosen.quick) if on_gpu else report(quick=chosen.quick)
    print(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
