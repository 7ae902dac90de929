"""How fast data are loaded and recipes written out, and what class subsets share."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator

from benchmarks.engine import Line
from generators.engine.data import training_data
from generators.grid import expand
from generators.recipe import Recipe
from zoo import datasets
from zoo.errors import DataMissingError
from zoo.spec import DatasetSpecification

_LOAD = """
import time
from zoo import datasets
begin = time.perf_counter()
datasets.load("fashion-mnist")
print(time.perf_counter() - begin)
"""
SUBSETS, CELLS = 1000, 1_000_000
_TOGETHER = 64


def data_lines(*, quick: bool) -> Iterator[Line]:
    """Measure loading, sharing and expansion.

    Args:
        quick: Whether fewer repeats will do.

    Yields:
        Lines of the table.
    """
    yield loading(repeats=2 if quick else 5)
    yield sharing()
    yield expansion()


def loading(*, repeats: int) -> Line:
    """Load Fashion-MNIST, checks and all, each time in a fresh process.

    Args:
        repeats: How often.

    Returns:
        A line of the table.
    """
    work, needed = "Load Fashion-MNIST, hashes checked", "under 1 s"
    try:
        datasets.load("fashion-mnist")
    except DataMissingError:
        return Line(work, needed, "its files are not here: make data", None)
    runs = [
        subprocess.run([sys.executable, "-c", _LOAD], check=True, capture_output=True) for _ in range(repeats)
    ]
    seconds = [float(run.stdout) for run in runs]
    found = statistics.median(seconds)
    how = f"{repeats} fresh processes, {min(seconds):.2f} to {max(seconds):.2f} s"
    return Line(work, needed, f"{found:.2f} s", found < 1, how)


def sharing() -> Line:
    """Prepare 1,000 subsets of the digits' classes for training, and count the copies of their inputs.

    Returns:
        A line of the table.
    """
    chosen = [c for k in range(2, 9) for c in itertools.combinations(range(10), k)][:SUBSETS]
    specs = [DatasetSpecification(name="digits", classes="-".join(map(str, classes))) for classes in chosen]
    stacks = []
    for _, alike in itertools.groupby(specs, key=datasets.used):
        members = list(alike)
        stacks += [
            training_data(members[at : at + _TOGETHER], "cpu") for at in range(0, len(members), _TOGETHER)
        ]
    copies = len({stack.x.data_ptr() for stack in stacks})
    size = stacks[0].x.nbytes
    how = f"{size / 1e3:,.0f} kB of inputs in {len(stacks)} stacks"
    return Line(f"Inputs of {SUBSETS:,} class subsets", "one copy", f"{copies}", copies == 1, how)


def expansion() -> Line:
    """Write out every model of a recipe of a million cells.

    Returns:
        A line of the table.
    """
    side = [round(0.001 * 1.01**i, 9) for i in range(1000)]
    recipe = Recipe.model_validate(
        {
            "name": "million",
            "description": "A million cells.",
            "dataset": {"name": "digits"},
            "architecture": {"name": "mlp", "width": 8},
            "training": {"batch_size": 32, "epochs": 1},
            "axes": {
                "load": {"dataset.label_noise": [round(i / 1000, 3) for i in range(1000)]},
                "temperature": {"training.learning_rate": side},
            },
            "seeds": [0],
        }
    )
    begin = time.perf_counter()
    count = sum(1 for _ in expand(recipe))
    seconds = time.perf_counter() - begin
    tracemalloc.start()
    for _ in itertools.islice(expand(recipe), CELLS // 10):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    how = f"{count:,} models; peak of the first tenth {peak / 1e6:.1f} MB"
    return Line(f"Expand a recipe to {CELLS:,} cells", "under 5 s", f"{seconds:.1f} s", seconds < 5, how)
