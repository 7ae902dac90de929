"""Generate: from a recipe to a stored population, resumable at any moment."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from rich.progress import Progress

from generators.executors import local
from generators.grid import Stack, expand, plan, recipe_axes
from generators.measurement import measure
from generators.recipe import Recipe
from zoo import Zoo, datasets
from zoo import open as open_zoo
from zoo.assembly import MANIFEST, read_manifest
from zoo.errors import SpecificationError
from zoo.metrics import all_metrics
from zoo.report.progress import progress_bar
from zoo.spec import Counts, Manifest
from zoo.storage import (
    JOURNAL,
    TEMPORARY_PREFIX,
    Entry,
    Journal,
    commit,
    read_journal,
    sha256_of,
    write_file,
    writer_lock,
)
from zoo.storage.weights import write_weights

ExecutorName = Literal["local"]


def generate(
    recipe: Recipe,
    out: str | Path,
    *,
    device: str = "auto",
    executor: ExecutorName = "local",
    resume: bool = True,
) -> Zoo:
    """Train and store a population; the same call goes on where an earlier one was cut off.

    Args:
        recipe: What to train.
        out: Folder of the zoo: new, empty, or begun with the same recipe.
        device: Torch device, or `auto` for the GPU where there is one.
        executor: Where to train; `local` is this process.
        resume: Whether a zoo begun earlier may be continued.

    Returns:
        The zoo, with every model's loss, accuracy and predictions; `measure` adds the rest.

    Raises:
        SpecificationError: The folder holds another recipe's zoo, other files, or a zoo although `resume`
            is off; or the executor or device is unknown.
        StorageError: The disk is full, or another process writes to the folder.
    """
    if executor != "local":
        raise SpecificationError(f"unknown executor {executor!r}; this version has 'local'")
    chosen = choose_device(device)
    root = Path(out)
    _prepare(root, recipe, device=chosen, resume=resume)
    with writer_lock(root):
        _remove_temporaries(root)
        _train_pending(root, plan(recipe), device=chosen)
        measure(root, metrics=sorted({"evaluation", *_measured(root)}), locked=True)
    return open_zoo(root)


def _measured(root: Path) -> set[str]:
    """Name the metrics that this zoo was measured by: what a lost file held of them is made anew."""
    journal = read_journal(root) or Journal({}, 0)
    metrics = {entry.protocol.metric for entry in journal.entries.values() if entry.protocol}
    return metrics & all_metrics().keys()


def choose_device(device: str) -> str:
    """Settle on a torch device.

    Args:
        device: A torch device, or `auto`.

    Returns:
        `cuda` where `auto` finds one, else `cpu`; or the device as given.

    Raises:
        SpecificationError: Torch knows no such device, or this machine lacks it.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SpecificationError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); try auto or cpu"
        ) from None
    return device


def _prepare(root: Path, recipe: Recipe, *, device: str, resume: bool) -> None:
    """Make the zoo's folder with its first manifest, or check that the one there is this recipe's."""
    if (root / MANIFEST).exists():
        found = read_manifest(root)
        if found.recipe_hash != recipe.hash:
            raise SpecificationError(
                f"{root} holds the zoo {found.name!r} of another recipe (hash {found.recipe_hash[:8]}, this "
                f"one has {recipe.hash[:8]}); choose another folder, or delete this one"
            )
        if found.files and not (root / JOURNAL).exists():
            raise SpecificationError(f"{root} was published: its tables are final; choose another folder")
        if not resume:
            raise SpecificationError(f"{root} already holds this zoo; drop resume=False to continue it")
        return
    if root.exists() and (not root.is_dir() or any(p for p in root.iterdir() if not _ours(p))):
        raise SpecificationError(f"{root} is not empty and holds no zoo; choose a new folder")
    write_file(root / MANIFEST, _first_manifest(recipe, device).to_json().encode())


def _ours(path: Path) -> bool:
    return path.name.startswith(TEMPORARY_PREFIX)


def _first_manifest(recipe: Recipe, device: str) -> Manifest:
    data = datasets.load(next(expand(recipe)).spec.dataset.name)
    return Manifest(
        name=recipe.name,
        description=recipe.description,
        licence=recipe.licence,
        recipe=recipe.model_dump(mode="json"),
        recipe_hash=recipe.hash,
        axes=recipe_axes(recipe),
        counts=Counts(
            models=0,
            finished=0,
            diverged=0,
            failed=0,
            checkpoints=0,
            cells=0,
            planned=sum(len(stack.models) for stack in plan(recipe)),
        ),
        layouts={},
        protocols={},
        splits={},
        files={},
        journal_bytes=0,
        provenance={
            "phasezoo": version("phasezoo"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": device,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "dataset": {"sha256": data.sha256, "licence": data.licence, "source": data.source},
        },
    )


def _remove_temporaries(root: Path) -> None:
    """Delete what a killed writer left behind; the lock says that no writer is alive."""
    for path in root.rglob(f"{TEMPORARY_PREFIX}*"):
        path.unlink()


def _train_pending(root: Path, stacks: list[Stack], *, device: str) -> None:
    journal = read_journal(root) or Journal({}, 0)
    pending = [stack for stack in stacks if not _is_done(root, stack, journal)]
    with progress_bar() as progress:
        bar = _Bar(progress, stacks, pending)
        for trained in local.run(pending, device=device, on_epoch=bar.after_epoch):
            record = write_weights(root / trained.stack.shard, trained.shard)
            entry = Entry(
                kind="weights",
                path=trained.stack.shard,
                shard=trained.stack.shard,
                record=record,
                seconds=round(trained.seconds, 3),
                retry=trained.failed,
            )
            commit(root, entry)
            if not progress.console.is_terminal:  # a log shows no bar until its end
                progress.console.print(f"{trained.stack.shard} in {trained.seconds:.1f} s", highlight=False)


def _is_done(root: Path, stack: Stack, journal: Journal) -> bool:
    """Say whether a stack's shard is committed and still there; a failed stack is tried again."""
    entry = journal.entries.get(stack.shard)
    if entry is None or entry.retry:
        return False
    path = root / stack.shard
    return path.is_file() and sha256_of(path) == entry.record.sha256


class _Bar:
    """Progress in model-epochs, so that the time left is right although stacks differ in size."""

    def __init__(self, progress: Progress, stacks: list[Stack], pending: list[Stack]) -> None:
        self._progress = progress
        self._models = sum(len(stack.models) for stack in stacks)
        self._done = self._models - sum(len(stack.models) for stack in pending)
        self._diverged = 0
        done = sum(_model_epochs(stack) for stack in stacks if stack not in pending)
        total = sum(map(_model_epochs, stacks))
        self._task = progress.add_task(self._text(0, 0), total=total, completed=done)

    def after_epoch(self, stack: Stack, epoch: int, diverged: int) -> None:
        last = epoch == stack.checkpoints[-1]
        if last:
            self._done += len(stack.models)
            self._diverged += diverged
        text = self._text(epoch, stack.checkpoints[-1], 0 if last else diverged)
        self._progress.update(self._task, advance=len(stack.models), description=text)

    def _text(self, epoch: int, epochs: int, diverged: int = 0) -> str:
        return (
            f"{self._done}/{self._models} models, epoch {epoch}/{epochs}, "
            f"{self._diverged + diverged} diverged"
        )


def _model_epochs(stack: Stack) -> int:
    return len(stack.models) * stack.checkpoints[-1]


def dry_run(recipe: Recipe) -> dict[str, int]:
    """Say what a recipe would make, without training.

    Args:
        recipe: The recipe.

    Returns:
        Counts of `models`, `cells`, `stacks`, `checkpoints` (if none diverges), `parameters` (of all models
        together) and `bytes` (of all weights).
    """
    stacks = plan(recipe)
    return {
        "models": sum(len(stack.models) for stack in stacks),
        "cells": len({model.cell_id for stack in stacks for model in stack.models}),
        "stacks": len(stacks),
        "checkpoints": sum(len(stack.models) * len(stack.checkpoints) for stack in stacks),
        "parameters": sum(len(stack.models) * stack.layout.size for stack in stacks),
        "bytes": sum(stack.n_bytes for stack in stacks),
    }
