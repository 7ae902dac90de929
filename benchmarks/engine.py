"""What the engine must reach on two cores, family by family, and whether it does."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.families import Family, cnn, mlp, pinn
from benchmarks.paired import Comparison, compare
from benchmarks.pool import Pool
from benchmarks.sides import MODELS, STEPS, Ours, Peer, hold
from benchmarks.ways import differences

MLPS = [mlp(width, batch) for batch in (16, 128) for width in (8, 16, 32, 64, 128)]
OTHERS = [(pinn(), 6.0), *((cnn(w, batch), need) for batch, need in ((16, 2.5), (128, 1.4)) for w in (8, 16))]
AUTO = [mlp(8, 16), mlp(128, 128), mlp(256, 128), pinn(), cnn(8, 16), cnn(16, 128)]
HEAD = ["| work | needed | measured, median (range) | | how |", "| --- | ---: | ---: | --- | --- |"]


@dataclass(frozen=True)
class Line:
    """A row of the table of targets.

    Attributes:
        work: What was done.
        needed: The target.
        found: What was measured, with its range.
        met: Whether that meets the target; nothing where it was not measured.
        how: What else there is to say.
    """

    work: str
    needed: str
    found: str
    met: bool | None
    how: str = ""

    def row(self) -> str:
        """Write it.

        Returns:
            A row of Markdown.
        """
        met = {True: "met", False: "**missed**", None: ""}[self.met]
        return f"| {self.work} | {self.needed} | {self.found} | {met} | {self.how} |"


def ratio_line(work: str, needed: float, found: Comparison, how: str = "") -> Line:
    """Hold a comparison to a target.

    Args:
        work: What was done.
        needed: Smallest median ratio that will do.
        found: The comparison.
        how: What else there is to say.

    Returns:
        The line.
    """
    text = f"{found.ratio:.2f}x ({min(found.ratios):.2f} to {max(found.ratios):.2f})"
    return Line(work, f"{needed:g}x", text, found.ratio >= needed, how)


# families


def compare_family(pool: Pool, family: Family, *, pairs: int, wanted: float) -> tuple[Comparison, str]:
    """Train a family in stacks in the workers, and in a plain loop here.

    Args:
        pool: The workers.
        family: The family.
        pairs: Number of pairs.
        wanted: Seconds that a side should take at a time.

    Returns:
        Seconds of an epoch of all models, and how they were spent.
    """
    models = MODELS * pool.workers
    ours, peer = Ours(pool, family, "auto", wanted), Peer(family, models, wanted)
    found = compare(ours, peer, pairs=pairs)
    steps = models * family.steps_per_epoch
    rates = [f"{steps / statistics.median(side):,.0f}" for side in (found.ours, found.peer)]
    how = (
        f"{rates[0]} against {rates[1]} steps/s; {' and '.join(map(str, ours.chunks))} at once; peer's "
        f"threads: {statistics.mode(peer.best)}; by CPU time {min(peer.cpu) / min(ours.cpu):.1f}x"
    )
    return found, how


def family_lines(pool: Pool, *, pairs: int, wanted: float) -> Iterator[Line]:
    """Measure every family.

    Args:
        pool: The workers.
        pairs: Number of pairs.
        wanted: Seconds that a side should take at a time.

    Yields:
        Lines of the table.
    """
    logarithms = []
    for family in MLPS:
        found, how = compare_family(pool, family, pairs=pairs, wanted=wanted)
        logarithms.append(math.log(found.ratio))
        yield ratio_line(family.title, 2, found, how)
    mean = math.exp(statistics.fmean(logarithms))
    yield Line("MLP, geometric mean", "6x", f"{mean:.2f}x", mean >= 6, "of the rows above")
    for family, needed in OTHERS:
        yield ratio_line(family.title, needed, *compare_family(pool, family, pairs=pairs, wanted=wanted))


# auto


def auto_lines(pool: Pool, *, pairs: int, wanted: float) -> Iterator[Line]:
    """Compare the strategy `auto`, its probe included, with the better of `stacked` and `loop`.

    Args:
        pool: The workers.
        pairs: Number of pairs, each with a probe of its own.
        wanted: Seconds that a side should take at a time.

    Yields:
        Lines of the table.
    """
    for family in AUTO:
        yield _auto_line(pool, family, pairs=pairs, wanted=wanted)


def _auto_line(pool: Pool, family: Family, *, pairs: int, wanted: float) -> Line:
    sides = {"stacked": Ours(pool, family, "stacked", wanted), "loop": Ours(pool, family, "loop", wanted)}
    auto, turns = Ours(pool, family, "auto", wanted), iter(range(1, pairs + 2))
    epochs = STEPS / family.steps_per_epoch
    better: list[str] = []
    probes: list[float] = []
    chunks: set[int] = set()

    def ours() -> float:
        held = pool.call(hold, family, "auto", next(turns))
        chunks.update(chunk for chunk, _ in held)
        probes.append(max(taken for _, taken in held))
        return probes[-1] + epochs * auto()

    def peer() -> float:
        times = {name: side() for name, side in sides.items()}
        better.append(min(times, key=times.__getitem__))
        return epochs * min(times.values())

    found = compare(ours, peer, pairs=pairs)
    how = (
        f"probe {statistics.median(probes):.2f} s of {statistics.median(found.ours):.1f} s; chose "
        f"{' or '.join(map(str, sorted(chunks)))} of {MODELS}; better of both: {statistics.mode(better)}"
    )
    return ratio_line(f"auto, {family.title}", 0.95, found, how)


# agreement


def agreement(*, epochs: int, tolerance: float, device: str = "cpu") -> str:
    """Check that every family ends at the same weights both ways, in double precision.

    Args:
        epochs: Epochs to train.
        tolerance: Largest difference of any weight.
        device: Torch device.

    Returns:
        One sentence.

    Raises:
        RuntimeError: One does not.
    """
    families = [*MLPS, *(family for family, _ in OTHERS)]
    found = [max(differences(family, range(3), epochs=epochs, device=device, chunk=2)) for family in families]
    for family, difference in zip(families, found, strict=True):
        if not difference <= tolerance:
            raise RuntimeError(
                f"{family.title}: stack and plain loop ended {difference:.2g} apart, expected {tolerance:g}"
            )
    return (
        f"Same weights: 3 models of each of the {len(families)} families above, {epochs} epochs in float64, "
        f"end within {max(found):.1g} of the plain loop."
    )
