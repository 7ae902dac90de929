"""How fast the loss landscape of a population is measured, beside one network or pair at a time."""

from __future__ import annotations

import copy
import dataclasses
import math
import statistics
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchmarks.engine import Line, ratio_line
from benchmarks.paired import compare, seconds
from zoo import architectures, datasets
from zoo.metrics import connectivity, hessian
from zoo.metrics.connectivity import QUADRATIC
from zoo.metrics.similarity import CKASums, disagreement, disagreements, linear_cka
from zoo.spec import ArchitectureSpecification, DataShape, TrainingSpecification
from zoo.training import NetworkStack, StackData, stream, train_stack
from zoo.weights import flatten, unflatten

ITEMS, PROBES, TOLERANCE = 256, 32, 1e-3
CURVE_STEPS, CELLS, PER_CELL = 200, 8, 3
WIDTHS = (2, 8, 32, 128)
_GAP = 0.05
"""Power iteration ends where its value changes by less than the tolerance, some per cent short of the top."""
_ONE_BY_ONE = 4
"""Networks, or pairs, that the peer takes in a timed piece; its time is scaled."""


@dataclass(frozen=True)
class Population:
    """Trained networks of one architecture, and the items that they are looked at on.

    Attributes:
        title: How the table names them.
        stack: The networks.
        x: Inputs.
        y: Classes.
    """

    title: str
    stack: NetworkStack
    x: Tensor
    y: Tensor

    def module(self, place: int) -> nn.Module:
        """Give one of them as a module."""
        module = copy.deepcopy(self.stack.module)
        module.load_state_dict(unflatten(self.stack.weights[place], self.stack.layout))
        return module.eval()


def population(architecture: ArchitectureSpecification, shape: DataShape, *, count: int) -> Population:
    """Train some networks for a little while.

    Args:
        architecture: Their architecture.
        shape: Vectors for handwritten digits; images get random pixels, on which speed does not depend.
        count: How many.

    Returns:
        The networks, each from other initial weights.
    """
    if len(shape.inputs) == 1:
        train = datasets.load("digits").train
        x, y = train.x, train.y
    else:
        draw = torch.Generator().manual_seed(0)
        y = torch.randint(0, shape.classes, (512,), generator=draw)
        x = torch.randn(512, *shape.inputs, generator=draw) + y.view(-1, 1, 1, 1) / 4
    layout, rows = architectures.layout(architecture, shape), []
    for seed in range(count):
        module = architectures.build(architecture, shape)
        architectures.initialise(architecture, module, stream(seed, "init"))
        rows.append(flatten(module.state_dict(), layout))
    training = TrainingSpecification(learning_rate=0.05, batch_size=32, epochs=5, momentum=0.9)
    weights = train_stack(
        module,
        layout,
        torch.stack(rows),
        StackData(x, y.expand(count, -1)),
        training=[training] * count,
        order_seeds=list(range(count)),
    )
    title = f"{architecture.name}, {layout.size:,} parameters, {count} networks"
    return Population(title, NetworkStack(module, layout, weights), x[:ITEMS], y[:ITEMS])


def mlp(width: int, count: int = 64) -> Population:
    """Give perceptrons 64-w-w-10 on handwritten digits."""
    return population(ArchitectureSpecification(name="mlp", width=width), DataShape((64,), 10), count=count)


def cnn(width: int, count: int = 16) -> Population:
    """Give small convolutional networks on 28 x 28 pixels."""
    spec = ArchitectureSpecification(name="cnn", width=width)
    return population(spec, DataShape((1, 28, 28), 10), count=count)


def landscape_lines(*, quick: bool) -> Iterator[Line]:
    """Measure what the landscape metrics must reach.

    Args:
        quick: Whether fewer pairs will do.

    Yields:
        Lines of the table.
    """
    pairs = 2 if quick else 5
    torch.set_num_threads(1)
    yield from mean_lines("Hessian, MLP", 6, (hessian_line(mlp(width), 2, pairs=pairs) for width in WIDTHS))
    for width in (8, 16):
        yield hessian_line(cnn(width), 2, pairs=pairs)
    curves = (bezier_line(mlp(width, CELLS * PER_CELL), 2, pairs=pairs) for width in WIDTHS)
    yield from mean_lines("Bezier curves, MLP", 5, curves)
    yield similarity_line(mlp(32, 320), pairs=pairs)
    yield memory_line()


def mean_lines(work: str, needed: float, lines: Iterator[Line]) -> Iterator[Line]:
    """Tell lines, and then the geometric mean of their ratios.

    Args:
        work: What the mean is of.
        needed: Smallest mean that will do.
        lines: The lines.

    Yields:
        All of them.
    """
    logarithms = []
    for line in lines:
        logarithms.append(math.log(float(line.found.partition("x")[0])))
        yield line
    mean = math.exp(statistics.fmean(logarithms))
    yield Line(f"{work}, geometric mean", f"{needed:g}x", f"{mean:.2f}x", mean >= needed, "of the rows above")


# Hessian


def hessian_line(found: Population, needed: float, *, pairs: int) -> Line:
    """Compare eigenvalue and trace with PyHessian, one network at a time, on one thread each.

    Args:
        found: The networks.
        needed: Smallest ratio that will do.
        pairs: Timed pairs.

    Returns:
        A line of the table.

    Raises:
        RuntimeError: Both do not find the same numbers.
    """
    work = f"Hessian, {found.title}"
    told: dict[str, Tensor] = {}

    def ours() -> None:
        curvature = hessian.curvature(found.stack, found.x, found.y, tolerance=TOLERANCE, probes=PROBES)
        told["top"], told["trace"] = curvature.top_eigenvalue, curvature.trace.value
        told["error"] = curvature.trace.standard_error

    places = list(range(0, len(found.stack), len(found.stack) // _ONE_BY_ONE))
    theirs: list[tuple[float, list[float]]] = []

    def peer() -> None:
        theirs[:] = [_pyhessian(found.module(place), found.x, found.y) for place in places]

    scale = len(found.stack) / len(places)
    times = compare(lambda: seconds(ours), lambda: scale * seconds(peer), pairs=pairs)
    gaps = []
    for place, (top, traces) in zip(places, theirs, strict=True):
        own = statistics.stdev(traces) / len(traces) ** 0.5
        gaps.append(abs(float(told["top"][place]) / top - 1))
        apart = abs(float(told["trace"][place]) - statistics.fmean(traces))
        if gaps[-1] > _GAP or apart > 5 * (own**2 + float(told["error"][place]) ** 2) ** 0.5:
            raise RuntimeError(f"{work}: both sides disagree on network {place}")
    error = float((told["error"] / told["trace"]).median())
    theirs_error = statistics.median(
        statistics.stdev(traces) / len(traces) ** 0.5 / statistics.fmean(traces) for _, traces in theirs
    )
    how = (
        f"{1e3 * statistics.median(times.ours) / len(found.stack):.1f} against "
        f"{1e3 * statistics.median(times.peer) / len(found.stack):.1f} ms a network; eigenvalues within "
        f"{max(gaps):.1g}; standard error of the trace {error:.1%} against {theirs_error:.1%}"
    )
    return ratio_line(work, needed, times, how)


def _pyhessian(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, list[float]]:
    """Take the largest eigenvalue and the values of all probes of the trace, as PyHessian does."""
    from pyhessian import hessian as pyhessian

    with warnings.catch_warnings():  # of the graph that its gradients keep
        warnings.simplefilter("ignore", UserWarning)
        computer = pyhessian(model, nn.CrossEntropyLoss(), data=(x, y), cuda=False)
    torch.manual_seed(0)  # it draws from the global generator
    values, _ = computer.eigenvalues(maxIter=100, tol=TOLERANCE, top_n=1)
    traces = computer.trace(maxIter=PROBES, tol=0.0)
    for parameter in model.parameters():  # it keeps the graph of each gradient alive
        parameter.grad = None
    return values[0], traces


# Bezier


def bezier_line(found: Population, needed: float, *, pairs: int) -> Line:
    """Compare the curves of all pairs of some cells with one pair at a time, on one thread each.

    Args:
        found: The networks, three a cell.
        needed: Smallest ratio that will do.
        pairs: Timed pairs.

    Returns:
        A line of the table.
    """
    ends = [
        (cell * PER_CELL + a, cell * PER_CELL + b)
        for cell in range(CELLS)
        for a, b in combinations(range(PER_CELL), 2)
    ]
    a, b = (found.stack.select([pair[side] for pair in ends]) for side in (0, 1))
    fit = dataclasses.replace(QUADRATIC, steps=CURVE_STEPS)
    scale = len(ends) / _ONE_BY_ONE

    def ours() -> None:
        connectivity.bezier(a, b, found.x, found.y, fit=fit, points=2)

    def peer() -> None:
        for place in range(_ONE_BY_ONE):
            _plain_curve(found.module(ends[place][0]), found.module(ends[place][1]), found.x, found.y)

    times = compare(lambda: seconds(ours), lambda: scale * seconds(peer), pairs=pairs)
    how = (
        f"{1e6 * statistics.median(times.ours) / len(ends) / CURVE_STEPS:.0f} against "
        f"{1e6 * statistics.median(times.peer) / len(ends) / CURVE_STEPS:.0f} us a step and pair"
    )
    return ratio_line(f"Bezier curves, 3 pairs a cell, {CELLS} cells, {found.title}", needed, times, how)


def _plain_curve(a: nn.Module, b: nn.Module, x: Tensor, y: Tensor) -> None:
    """Train a curve as anyone would write it."""
    first, last = dict(a.named_parameters()), dict(b.named_parameters())
    bend = {name: ((value + last[name]) / 2).detach().requires_grad_() for name, value in first.items()}
    optimizer = torch.optim.SGD(bend.values(), lr=QUADRATIC.learning_rate, momentum=QUADRATIC.momentum)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, CURVE_STEPS)
    draw = torch.Generator().manual_seed(0)
    batches = QUADRATIC.batches(len(x))
    for step in range(CURVE_STEPS):
        if step % batches == 0:
            order = torch.randperm(len(x), generator=draw)
        some = order[step % batches :: batches]
        t = float(torch.rand((), generator=draw))
        point = {
            name: (1 - t) ** 2 * first[name].detach()
            + 2 * t * (1 - t) * bend[name]
            + t**2 * last[name].detach()
            for name in bend
        }
        loss = nn.functional.cross_entropy(functional_call(a, point, (x[some],)), y[some])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(bend.values(), QUADRATIC.clip or math.inf)
        optimizer.step()
        schedule.step()


# similarity and memory


def similarity_line(found: Population, *, pairs: int) -> Line:
    """Compare CKA and disagreement of all pairs of a cell with one pair at a time.

    Args:
        found: The networks, five a cell.
        pairs: Timed pairs.

    Returns:
        A line of the table.
    """

    def ours() -> None:
        logits = found.stack.evaluate(found.x).unflatten(0, (-1, 5))
        sums = CKASums()
        sums.update(logits)
        sums.matrix()
        for cell in logits.argmax(dim=-1).numpy():
            disagreements(cell)

    ends = [(5 * cell + a, 5 * cell + b) for cell in range(_ONE_BY_ONE) for a, b in combinations(range(5), 2)]

    def peer() -> None:
        for pair in ends:
            one, two = (found.stack.select([place]).evaluate(found.x)[0] for place in pair)
            linear_cka(one, two)
            disagreement(one.argmax(dim=-1), two.argmax(dim=-1))

    def passes() -> None:
        for place in range(len(found.stack)):
            found.stack.select([place]).evaluate(found.x)

    scale = len(found.stack) / 5 / _ONE_BY_ONE
    times = compare(lambda: seconds(ours), lambda: scale * seconds(peer), pairs=pairs)
    alone = statistics.median(times.ours) / min(seconds(passes) for _ in range(3))
    how = f"one pass a network, not one a pair; {alone:.1f} times the passes alone, one network at a time"
    return ratio_line(f"CKA and disagreement, all pairs of 5 seeds, {found.title}", 4, times, how)


_MEMORY = """
import re, sys, torch
from pathlib import Path
sys.path.insert(0, {root!r})
from zoo import architectures, datasets
from zoo.metrics import hessian
from zoo.spec import ArchitectureSpecification, DataShape
from zoo.training import NetworkStack
torch.set_num_threads(1)
spec, shape = ArchitectureSpecification(name="mlp", width=64), DataShape((64,), 10)
layout, train = architectures.layout(spec, shape), datasets.load("digits").train
weights = torch.randn({count}, layout.size) / 8
stack = NetworkStack(architectures.build(spec, shape), layout, weights)
def kilobytes(what):
    return int(re.search(what + r":\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
begin = kilobytes("VmRSS")
hessian.curvature(stack, train.x[:256], train.y[:256])
print((kilobytes("VmHWM") - begin) / 1024)
"""


def memory_line() -> Line:
    """Compare what measuring takes beside the weights for many networks and for few.

    Returns:
        A line of the table.
    """
    root = str(Path(__file__).resolve().parent.parent)

    def peak(count: int) -> float:
        code = _MEMORY.format(root=root, count=count)
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return float(run.stdout)

    few, many = peak(256), peak(2048)
    how = f"{many:.0f} MB for 2,048 networks of width 64, {few:.0f} MB for 256"
    return Line(
        "Memory of the Hessian, 8 times the networks",
        "at most 1.3x",
        f"{many / few:.2f}x",
        many <= 1.3 * few,
        how,
    )
