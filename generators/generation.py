"""Generate: from a recipe to a stored population, resumable at any moment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from generators.engine import Interrupted, Task, TaskSettings
from generators.engine.cost import check_last_batch, flops_per_epoch, resting_bytes, row_bytes
from generators.engine.memory import MEMORY_SHARE, capacity, free_bytes
from generators.engine.state import FOLDER, load_state, state_path
from generators.engine.task import Strategy
from generators.executors import Done, Executor, ExecutorName, Watch
from generators.executors.inline import InlineExecutor
from generators.executors.interrupt import deferred_interrupt
from generators.executors.local import LocalExecutor
from generators.folder import check_numerics, prepare, remove_leftovers
from generators.grid import Stack, alike, count_models, examples, plan, plan_rounds
from generators.kinds import first_metric, recipe_kind
from generators.labels import record_labels
from generators.measurement import measure
from generators.parents import parent_weights
from generators.progress import Bar
from generators.recipe import Recipe
from generators.rounds import Rounds, choose_round, count_planned, read_rounds
from zoo import Zoo
from zoo import open as open_zoo
from zoo.errors import IntegrityError, SpecificationError, unknown_name
from zoo.metrics import all_metrics
from zoo.report.progress import progress_bar
from zoo.storage import Entry, Journal, commit, read_journal, sha256_of, writer_lock
from zoo.storage.weights import write_weights

_STOPPING = "\nstopping after this epoch, what is in training is saved first; Ctrl-C again stops at once\n"
_WORTH_WORKERS = 8.0
"""Seconds of work below which starting worker processes costs more than it saves."""
STEP_SECONDS, FLOPS_PER_SECOND = 4e-5, 5e9
"""What a step of one network costs beside its arithmetic, and how fast a core computes: rough on purpose."""


def generate(
    recipe: Recipe,
    out: str | Path,
    *,
    device: str = "auto",
    executor: ExecutorName | Executor = "local",
    strategy: Strategy = "auto",
    resume: bool = True,
    accept_other_code: bool = False,
) -> Zoo:
    """Train and store a population; the same call goes on where an earlier one was cut off.

    Args:
        recipe: What to train.
        out: Folder of the zoo: new, empty, or begun with the same recipe.
        device: Torch device, or `auto` for the GPU where there is one.
        executor: Where to train: `local`, one process a core (or this process where there is little to do);
            `ray`, a cluster (`pip install phasezoo[ray]`); or an executor, such as
            `LocalExecutor(workers=4)`.
        strategy: `stacked` steps networks together, `loop` one after another, `auto` measures which is
            faster.
        resume: Whether a zoo begun earlier may be continued.
        accept_other_code: Whether it may be continued by code that gives other numbers; the manifest records
            it.

    Returns:
        The zoo, with every model's loss, accuracy and predictions; `measure` adds the rest.

    Raises:
        SpecificationError: The folder holds another recipe's zoo, other files, a zoo although `resume` is
            off, or one begun by other code; a model does not fit into memory; executor or device is unknown.
        UnknownNameError: There is no such strategy, dataset, architecture or parent.
        StorageError: The disk is full, or another process writes to the folder.
        ClusterError: The Ray cluster does not answer, or its libraries are of other versions.
    """
    chosen = choose_device(device)
    root, stacks = Path(out), plan(recipe)
    if isinstance(executor, str) and executor not in {"local", "ray"}:
        raise SpecificationError(f"unknown executor {executor!r}; choose 'local' or 'ray'")
    if strategy not in get_args(Strategy):
        raise unknown_name("strategy", strategy, get_args(Strategy))
    _check_stacks(stacks, chosen)
    prepare(root, recipe, device=chosen, resume=resume)
    settings = TaskSettings(device=chosen, strategy=strategy)
    with writer_lock(root):
        going_on = True
        while going_on:
            rounds = read_rounds(root, recipe)
            failed = _train_round(
                root, recipe, (stacks, rounds), executor, settings, accept=accept_other_code
            )
            # what is chosen is chosen for good: not while the next run may fill in more
            going_on = not failed and choose_round(root, recipe)
    return open_zoo(root)


def _train_round(
    root: Path,
    recipe: Recipe,
    planned: tuple[Sequence[Stack], Rounds | None],
    executor: ExecutorName | Executor,
    settings: TaskSettings,
    *,
    accept: bool,
) -> bool:
    """Train and measure what is pending of the grid and of the rounds so far; say whether any failed."""
    further, failed = planned[1].cells if planned[1] else [], []
    stacks = [*planned[0], *(added := plan_rounds(recipe, further))]
    if further:
        _check_stacks(added, settings.device)
        count_planned(root, count_models(recipe, further))
    journal = read_journal(root) or Journal({}, 0)
    pending = [stack for stack in stacks if not _is_done(root, stack, journal)]
    remove_leftovers(root, pending)
    if pending:
        check_numerics(root, accept=accept)
        where = executor
        if isinstance(where, str):
            where = choose_executor(where, stacks, settings.device, at_most=len(pending))
        title = f"round {len(further)} of {recipe.refine.rounds}, " if recipe.refine and further else ""
        failed = _train_pending(root, recipe, (stacks, pending), where, settings, title=title)
        remove_leftovers(root, failed)
    record_labels(root, (spec.dataset for spec in examples(recipe, "dataset", further)))
    first = first_metric(recipe_kind(recipe.model_dump(mode="json")))
    measure(root, metrics=sorted({first, *_measured(root)}), locked=True)
    return bool(failed)


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


def choose_executor(
    name: ExecutorName, stacks: Sequence[Stack], device: str, *, at_most: int | None = None
) -> Executor:
    """Settle on where to train.

    Args:
        name: `local` or `ray`.
        stacks: All stacks of the recipe, done or not: a run that goes on must not change from workers of one
            thread to this process with several, which would round otherwise.
        device: Torch device.
        at_most: Stacks that are to be trained, if fewer.

    Returns:
        For `local` one worker process a core that has a stack to train; this process alone on a GPU, which
        one process fills, for a single stack, and for work of a few seconds.

    Raises:
        ClusterError: Ray is not installed.
    """
    if name == "ray":
        from generators.executors.ray import RayExecutor

        return RayExecutor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    alone = min(cores, len(stacks)) == 1 or torch.device(device).type != "cpu"
    if alone or _rough_seconds(stacks) < _WORTH_WORKERS:
        return InlineExecutor()
    needed = max(resting_bytes(stack) + row_bytes(stack) for stack, _ in alike(stacks))
    fitting = max(1, int(MEMORY_SHARE * free_bytes(device)) // needed)
    return LocalExecutor(min(cores, fitting, at_most or len(stacks)))


def _rough_seconds(stacks: Sequence[Stack]) -> float:
    flops = sum(count * stack.model_epochs * flops_per_epoch(stack) for stack, count in alike(stacks))
    return sum(stack.model_steps for stack in stacks) * STEP_SECONDS + flops / FLOPS_PER_SECOND


def _check_stacks(stacks: Sequence[Stack], device: str) -> None:
    """Say before anything is made that a model fits nowhere, or cannot be trained on its batches."""
    free = free_bytes(device)
    for stack, _ in alike(stacks):
        capacity(stack, free)
    for stack in {stack.kind: stack for stack in stacks}.values():
        check_last_batch(stack)


def _train_pending(
    root: Path,
    recipe: Recipe,
    stacks: tuple[Sequence[Stack], Sequence[Stack]],
    executor: Executor,
    settings: TaskSettings,
    *,
    title: str = "",
) -> list[Stack]:
    """Train what is to be trained, and give the stacks that could not be."""
    failed: list[Stack] = []
    with progress_bar() as progress:
        bar = Bar(progress, *stacks, title=title)
        begun = begun_together(root, *stacks, warn=lambda text: progress.console.print(text, markup=False))
        tasks = make_tasks(root, recipe, stacks[1], settings.device, begun)
        with deferred_interrupt(_say_stopping) as pressed:
            try:
                with _closing(executor.run(tasks, settings, Watch(bar.after_epoch, pressed))) as results:
                    for trained in results:
                        _commit(root, trained)
                        failed += trained.task.stacks if trained.failed else ()
                        models = [model for shard in trained.content for model in shard.models]
                        bar.after_task(trained.task, sum(m["status"] == "diverged" for m in models))
                        for stack in trained.task.stacks:
                            stack.release()
                        if not progress.console.is_terminal:  # a log shows no bar until its end
                            done = ", ".join(stack.shard for stack in trained.task.stacks)
                            progress.console.print(f"{done} in {trained.seconds:.1f} s", highlight=False)
            except Interrupted:
                raise KeyboardInterrupt from None
    return failed


@contextmanager
def _closing(results: Iterator[Done]) -> Iterator[Iterator[Done]]:
    """End the executor's run with the block: an error keeps it alive in its traceback, workers and all."""
    try:
        yield results
    finally:
        if isinstance(results, Generator):
            results.close()


def _say_stopping() -> None:
    sys.stderr.write(_STOPPING)


def begun_together(
    root: Path, stacks: Sequence[Stack], pending: Sequence[Stack], *, warn: Callable[[str], None]
) -> list[list[Stack]]:
    """List the stacks that an earlier run trained together and left with a saved state.

    Args:
        root: The zoo.
        stacks: All stacks of the recipe.
        pending: Those that are not done.
        warn: Told of each state that is torn.

    Returns:
        Groups with at least one pending stack; the others of a group are trained again beside it, to the same
        bits, since what shares a stack may round otherwise.
    """
    by_shard, waiting = {stack.shard: stack for stack in stacks}, {stack.shard for stack in pending}
    groups = []
    for path in sorted((root / FOLDER).glob("*.state")):
        try:
            shards = load_state(path).shards
        except IntegrityError as torn:
            warn(f"warning: {torn}")
            continue
        if waiting & set(shards) and set(shards) <= by_shard.keys() and path == state_path(root, shards[0]):
            groups.append([by_shard[shard] for shard in shards])
            waiting -= set(shards)
    return groups


def make_tasks(
    root: Path,
    recipe: Recipe,
    pending: Sequence[Stack],
    device: str,
    begun: Sequence[Sequence[Stack]] = (),
) -> list[Task]:
    """Make the tasks of a run: one a stack on a CPU; on a GPU as many equal stacks as its memory holds.

    Args:
        root: The zoo.
        recipe: Says where the parents of fine-tuned models lie.
        pending: Stacks to train.
        device: Torch device.
        begun: Stacks that an earlier run has begun together.

    Returns:
        The tasks, those that were begun first.
    """
    groups: list[list[Stack]] = []
    taken = {stack.shard for group in begun for stack in group}
    room = free_bytes(device) if torch.device(device).type == "cuda" else 0
    for stack in (stack for stack in pending if stack.shard not in taken):
        if room and groups and groups[-1][0].kind == stack.kind:
            together = sum(len(one.models) for one in (*groups[-1], stack))
            beside = sum(resting_bytes(one) for one in groups[-1])
            if beside < room and together <= capacity(stack, room - beside):
                groups[-1].append(stack)
                continue
        groups.append([stack])
    return [
        Task(tuple(group), _starts(recipe, group), state_path(root, group[0].shard))
        for group in [*begun, *groups]
    ]


def _starts(recipe: Recipe, stacks: Sequence[Stack]) -> dict[str, NDArray[np.float32]]:
    place = str(recipe.parent.get("zoo", ""))
    if not recipe.parent and not any(field.startswith("parent.") for field in recipe.axes.fields):
        return {}
    models = [model for stack in stacks for model in stack.models]
    return {m.model_id: parent_weights(m.spec.parent, place) for m in models if m.spec.parent is not None}


def _commit(root: Path, trained: Done) -> None:
    """Put the shards of a task in place, then forget the state of its training."""
    for stack, shard in zip(trained.task.stacks, trained.content, strict=True):
        record = write_weights(root / stack.shard, shard)
        entry = Entry(
            kind="weights",
            path=stack.shard,
            shard=stack.shard,
            record=record,
            seconds=round(trained.seconds, 3),
            retry=trained.failed is not None,
        )
        commit(root, entry)
    if trained.task.state is not None and trained.failed is None:
        trained.task.state.unlink(missing_ok=True)


def _is_done(root: Path, stack: Stack, journal: Journal) -> bool:
    """Say whether a stack's shard is committed and still there; a failed stack is tried again."""
    entry = journal.entries.get(stack.shard)
    if entry is None or entry.retry:
        return False
    path = root / stack.shard
    return path.is_file() and sha256_of(path) == entry.record.sha256
