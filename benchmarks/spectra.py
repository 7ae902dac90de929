"""How fast spectra are measured: FARMS against a loop of SVDs, and a zoo of 10,000 checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.engine import Line, ratio_line
from benchmarks.memory import peak
from benchmarks.paired import Comparison, compare, seconds
from benchmarks.reading import EPOCHS, write_zoo
from zoo.architectures import layout
from zoo.metrics import farms
from zoo.spec import ArchitectureSpecification, DataShape
from zoo.spectra import Windows, windowed_eigenvalues
from zoo.spectra.measures import of_fits

NETWORKS, SHAPES = 10, ((256, 784), (256, 256))
WINDOW, PER_DIM = 100, 9
CHECKPOINTS, MINUTES, GROWTH = 10_000, 5, 1.3
_AGREE = 1e-5
_MEASURE = """
import sys
import generators
generators.measure(sys.argv[1], metrics=["spectrum", "eigenspectrum", "farms", "spectrum_null"])
"""


def spectra_lines(*, quick: bool) -> Iterator[Line]:
    """Measure FARMS and whole zoos.

    Args:
        quick: Whether fewer pairs and a smaller zoo will do.

    Yields:
        Lines of the table.
    """
    pairs = 2 if quick else 5
    weights = networks()
    yield farms_line(weights, 25, threads=None, pairs=pairs)
    yield farms_line(weights, None, threads=1, pairs=pairs)
    yield three_fits_line(weights, pairs=1 if quick else 3)
    yield from zoo_lines(CHECKPOINTS // 10 if quick else CHECKPOINTS)


def networks() -> list[Tensor]:
    """Draw the layers of the networks.

    Returns:
        A stack of matrices for each layer.
    """
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(NETWORKS, *shape, generator=generator) / shape[1] ** 0.5 for shape in SHAPES]


def spectrum_by_loop(matrix: Tensor) -> Tensor:
    """Compute the eigenvalues of all windows of a matrix, one SVD a window, as people write it first.

    Args:
        matrix: Larger than a window either way.

    Returns:
        The eigenvalues, ascending.
    """
    steps = [(side - WINDOW) // (PER_DIM - 1) for side in matrix.shape]
    found = []
    for i in range(PER_DIM):
        for j in range(PER_DIM):
            top, left = i * steps[0], j * steps[1]
            part = matrix[top : top + WINDOW, left : left + WINDOW]
            found.append(torch.linalg.svdvals(part).square())
    return torch.cat(found).sort().values


def median_by_loop(values: Tensor) -> float:
    """Compute Hill's estimator on the upper half.

    Args:
        values: Ascending.

    Returns:
        The exponent.
    """
    upper = values[len(values) // 2 :]
    return 1 + len(upper) / float((upper / upper[0]).log().sum())


def best_by_loop(values: Tensor, allowed: Tensor) -> float:
    """Try every allowed start of the tail, as the fits `xmin_peak` and `goodness_of_fit` are written first.

    Args:
        values: Ascending, float64.
        allowed: Where a tail may begin.

    Returns:
        The exponent of the tail with the smallest Kolmogorov-Smirnov distance.
    """
    logs, count, best = values.log(), len(values), (float("inf"), float("nan"))
    for i in range(count - 1):
        if allowed[i]:
            n = count - i
            alpha = 1 + n / float(logs[i:].sum() - n * logs[i])
            gap = 1 - (values[i:] / values[i]) ** (1 - alpha) - torch.arange(n) / n
            best = min(best, (float(gap.abs().max()), alpha))
    return best[1]


def farms_line(weights: list[Tensor], needed: float | None, *, threads: int | None, pairs: int) -> Line:
    """Compare the exponents of all layers, median fit, with a loop of SVDs.

    Args:
        weights: Stacks of matrices.
        needed: The target; nothing where the row is there for comparison.
        threads: Threads of the loop; nothing for torch's own choice.
        pairs: Timed pairs.

    Returns:
        A line of the table.

    Raises:
        RuntimeError: The two ways give different exponents.
    """
    default = torch.get_num_threads()

    def ours() -> list[list[float]]:
        torch.set_num_threads(default)
        return [farms.alpha(stack).tolist() for stack in weights]

    def peer() -> list[list[float]]:
        torch.set_num_threads(threads or default)
        return [[median_by_loop(spectrum_by_loop(matrix)) for matrix in stack] for stack in weights]

    try:
        if not torch.allclose(torch.tensor(ours()), torch.tensor(peer()), rtol=_AGREE):
            raise RuntimeError("the loop gives other exponents than ours")
        times = compare(partial(seconds, ours), partial(seconds, peer), pairs=pairs)
    finally:
        torch.set_num_threads(default)
    asked = f"{threads or default} threads" if (threads or default) > 1 else "1 thread"
    work = f"FARMS, median fit, {NETWORKS} networks 784-256-256, against a loop of SVDs on {asked}"
    how = f"{times.describe()[0]} against {times.describe()[1]}; alphas within {_AGREE:g}"
    return told(work, needed, times, how)


def told(work: str, needed: float | None, found: Comparison, how: str) -> Line:
    """Hold a comparison to a target, where there is one.

    Args:
        work: What was done.
        needed: Smallest median ratio that will do; nothing where the row is there for comparison.
        found: The comparison.
        how: What else there is to say.

    Returns:
        The line.
    """
    line = ratio_line(work, needed or 0, found, how)
    return line if needed else replace(line, needed="", met=None)


def three_fits_line(weights: list[Tensor], *, pairs: int) -> Line:
    """Compare the exponents of one network, all three fits, with loops over windows and tails.

    Args:
        weights: Stacks of matrices.
        pairs: Timed pairs.

    Returns:
        A line of the table.
    """
    one = [stack[0] for stack in weights]

    def ours() -> None:
        for matrix in one:
            of_fits(windowed_eigenvalues(matrix, Windows()))

    def peer() -> None:
        for matrix in one:
            values = spectrum_by_loop(matrix).double()
            median_by_loop(values)
            everywhere = torch.ones_like(values, dtype=torch.bool)
            best_by_loop(values, everywhere)
            best_by_loop(values, (values > values.median()) & (values < 1.5 * values.median()))

    default = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = compare(partial(seconds, ours), partial(seconds, peer), pairs=pairs)
    finally:
        torch.set_num_threads(default)
    how = f"{times.describe()[0]} against {times.describe()[1]} a network, 1 thread each"
    return told("FARMS, all three fits, against loops over windows and tails", None, times, how)


def zoo_lines(checkpoints: int) -> Iterator[Line]:
    """Measure all spectra of a zoo on disk, with `generators.measure`, and of one a fifth as large.

    Args:
        checkpoints: How many it has.

    Yields:
        Lines of the table: time and memory.
    """
    (large, most), (_, least) = measure_zoo(checkpoints), measure_zoo(checkpoints // 5)
    limit = 60 * MINUTES * checkpoints / CHECKPOINTS
    work = f"All spectra of {checkpoints:,} checkpoints of 64-64-64-10, stored"
    how = f"{os.cpu_count()} cores: eigenvalues, three fits whole and by windows, bulk, null"
    yield Line(work, f"under {limit:.0f} s", f"{large:.0f} s", large < limit, how)
    how = f"{most / 1e6:.0f} MB against {least / 1e6:.0f} MB, all processes together"
    work = "... and its memory, for 5 times the checkpoints"
    yield Line(work, f"at most {GROWTH}x", f"{most / least:.2f}x", most <= GROWTH * least, how)


def measure_zoo(checkpoints: int) -> tuple[float, int]:
    """Write a zoo of random weights and measure it in a process of its own.

    Args:
        checkpoints: How many.

    Returns:
        Seconds, and the largest resident memory of the process and its children, in bytes.
    """
    of = layout(ArchitectureSpecification(name="mlp", width=64, depth=2), DataShape((64,), 10))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "zoo"
        write_zoo(root, models=checkpoints // len(EPOCHS), layout=of)
        begin = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        command = [sys.executable, "-c", _MEASURE, str(root)]
        most = peak(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
        return time.perf_counter() - begin, most
