"""The same families on a GPU: one process and one large stack against one model at a time on that GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.engine import MLPS, OTHERS
from benchmarks.families import Family
from benchmarks.paired import Comparison, compare, repeats, seconds
from benchmarks.ways import PlainModel, Setting, stack_trainer

MODELS = 1024
"""Networks of the stack."""
_PEERS = 2
PEAKS = {
    "H200": (66.9e12, 4.8e12),
    "H100 80GB HBM3": (66.9e12, 3.35e12),
    "H100 PCIe": (51.2e12, 2.0e12),
    "A100-SXM4-80GB": (19.5e12, 2.04e12),
    "A100-SXM4-40GB": (19.5e12, 1.56e12),
    "A100 80GB PCIe": (19.5e12, 1.94e12),
    "A100-PCIE-40GB": (19.5e12, 1.56e12),
    "L40S": (91.6e12, 0.86e12),
    "L4": (30.3e12, 0.30e12),
    "A10G": (31.2e12, 0.60e12),
    "V100-SXM2": (15.7e12, 0.90e12),
    "T4": (8.1e12, 0.32e12),
    "RTX 4090": (82.6e12, 1.01e12),
    "RTX 3090": (35.6e12, 0.94e12),
}
"""FLOP/s in float32 without tensor cores, and bytes/s of the memory, from NVIDIA's data sheets, by a part of
the name that torch gives. More than one may fit: the first counts."""
HEAD = [
    "| work | faster, median (range) | ours, steps/s | peer, steps/s | of peak FLOP/s | of peak bytes/s |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
]


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of what each operation reads and writes; a view does neither."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        if not function.is_view:
            flat, _ = torch.utils._pytree.tree_flatten((args, kwargs, found))
            self.bytes += sum(one.nbytes for one in flat if isinstance(one, Tensor))
        return found


def step_cost(family: Family) -> tuple[float, float]:
    """Count what a step of the stack costs one of its networks, on the CPU.

    Args:
        family: The family.

    Returns:
        Floating-point operations of matrix products and convolutions, and bytes read and written by all
        operations.
    """
    trainer = stack_trainer(family, range(2), setting=Setting())
    counter, traffic = FlopCounterMode(display=False), _Traffic()
    with counter:
        trainer.run_steps(1)
    with traffic:
        trainer.run_steps(1)
    return counter.get_total_flops() / 2, traffic.bytes / 2


def peaks(name: str) -> tuple[float, float] | None:
    """Look up what a GPU can do.

    Args:
        name: As torch gives it.

    Returns:
        FLOP/s and bytes/s; nothing for one that is not in the table.

    Example:
        >>> peaks("NVIDIA A100-SXM4-80GB"), peaks("NVIDIA of tomorrow")
        ((19500000000000.0, 2040000000000.0), None)
    """
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def rows(device: str, *, pairs: int, wanted: float) -> list[str]:
    """Measure every family.

    Args:
        device: A CUDA device.
        pairs: Number of pairs.
        wanted: Seconds that a side should take at a time.

    Returns:
        Rows of Markdown.
    """
    peak = peaks(torch.cuda.get_device_name(device))
    families = [*MLPS, *(family for family, _ in OTHERS)]
    return [_row(family, _compare(family, device, pairs, wanted), peak) for family in families]


def _compare(family: Family, device: str, pairs: int, wanted: float) -> Comparison:
    setting = Setting(device=device)
    trainer = stack_trainer(family, range(MODELS), setting=setting)
    singles = [PlainModel(family, model, setting) for model in range(_PEERS)]

    def ours(epochs: int) -> float:
        return _seconds(lambda: [trainer.run_epoch() for _ in range(epochs)]) / epochs

    def peer(count: int) -> float:
        taken = _seconds(lambda: [singles[number % _PEERS].run_epoch() for number in range(count)])
        return taken / count * MODELS

    epochs, count = (repeats(min(once(1), once(1)), wanted) for once in (ours, lambda n: peer(n) / MODELS))
    return compare(lambda: ours(epochs), lambda: peer(count), pairs=pairs)


def _seconds(work: Any) -> float:
    torch.cuda.synchronize()

    def whole() -> None:
        work()
        torch.cuda.synchronize()

    return seconds(whole)


def _row(family: Family, found: Comparison, peak: tuple[float, float] | None) -> str:
    steps = MODELS * family.steps_per_epoch
    ours, peer = (steps / sorted(side)[len(side) // 2] for side in (found.ours, found.peer))
    shares = ["n/a", "n/a"]
    if peak is not None:
        shares = [f"{ours * cost / most:.1%}" for cost, most in zip(step_cost(family), peak, strict=True)]
    ratio = f"{found.ratio:.1f}x ({min(found.ratios):.1f} to {max(found.ratios):.1f})"
    return "| " + " | ".join([family.title, ratio, f"{ours:,.0f}", f"{peer:,.0f}", *shares]) + " |"
