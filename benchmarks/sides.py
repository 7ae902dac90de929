"""Both sides of a comparison: stacks in worker processes as the engine trains them, and a plain loop here."""

from __future__ import annotations

import time

import torch

from benchmarks.families import Family
from benchmarks.paired import repeats, seconds
from benchmarks.pool import Pool
from benchmarks.ways import PlainModel, Setting, initial_weights, stack_trainer
from generators.engine.strategy import choose_chunk
from generators.engine.task import Strategy
from zoo.training import StackTrainer

MODELS = 64
"""Networks of a stack, one stack a worker: as many as the engine puts into one at most."""
STEPS = 1000
"""Steps of the run that a probe has to pay for: the shortest that the engine probes at all."""
_PEERS = 4
"""Models that the plain loop trains in turns; its time is scaled, since it takes each by itself."""
_LOOPED = 4
"""Models that a worker trains one after another; scaled likewise."""

# in the workers

_TRAINERS: dict[str, StackTrainer] = {}


def hold(place: int, family: Family, strategy: Strategy, turn: int) -> tuple[int, float]:
    """Set a worker's stack up, in place of the one that it held under this strategy.

    Args:
        place: The worker.
        family: The family.
        strategy: As the engine's; `loop` holds a few of the networks only.
        turn: What another turn has probed is not used again.

    Returns:
        Networks that a step takes at once, and the seconds of choosing that.
    """
    count = _LOOPED if strategy == "loop" else MODELS
    models = range(place * MODELS, place * MODELS + count)
    start = initial_weights(family, models)  # drawn once, as in the engine, not for each probe

    def make(size: int) -> StackTrainer:
        return stack_trainer(family, models[:size], setting=Setting(), chunk=size, weights=start[:size])

    begin = time.perf_counter()
    chunk = choose_chunk(strategy, make, rows=count, steps=STEPS, key=(family.title, turn))
    chosen = time.perf_counter() - begin
    _TRAINERS[strategy] = stack_trainer(family, models, setting=Setting(), chunk=chunk, weights=start)
    return chunk, chosen


def step(_place: int, strategy: Strategy, epochs: int) -> float:
    """Train the stack that a worker holds.

    Args:
        _place: The worker.
        strategy: Which.
        epochs: For how long.

    Returns:
        Seconds for which it had a core.
    """
    begin = time.process_time()
    for _ in range(epochs):
        _TRAINERS[strategy].run_epoch()
    return time.process_time() - begin


# from here


class Ours:
    """A family's population in the workers.

    Args:
        pool: The workers.
        family: The family.
        strategy: As the engine's.
        wanted: Seconds that a call should take.

    Attributes:
        chunks: Networks that each worker steps at once.
        cpu: For each call the seconds for which the slowest worker had a core, for an epoch of all models.
    """

    def __init__(self, pool: Pool, family: Family, strategy: Strategy, wanted: float) -> None:
        self._pool, self._strategy = pool, strategy
        self.chunks = [chunk for chunk, _ in pool.call(hold, family, strategy, 0)]
        self._share = _LOOPED / MODELS if strategy == "loop" else 1.0
        self.cpu: list[float] = []
        self._epochs = repeats(min(self._time(1), self._time(1)), wanted)

    def _time(self, epochs: int) -> float:
        begin = time.perf_counter()
        self.cpu.append(max(self._pool.call(step, self._strategy, epochs)) / epochs / self._share)
        return time.perf_counter() - begin

    def __call__(self) -> float:
        """Train.

        Returns:
            Seconds of an epoch of all models.
        """
        return self._time(self._epochs) / self._epochs / self._share


class Peer:
    """A plain loop in this process, on one thread and on as many as torch takes by default.

    Args:
        family: The family.
        models: Size of the population.
        wanted: Seconds that each of both should take in a call.

    Attributes:
        best: For each call the number of threads that was faster.
        cpu: For each call the seconds for which one thread had a core, for an epoch of all models.
    """

    def __init__(self, family: Family, models: int, wanted: float) -> None:
        self._models = models
        self._singles = [PlainModel(family, model, Setting()) for model in range(_PEERS)]
        self.best: list[int] = []
        self.cpu: list[float] = []
        self._counts = {
            threads: repeats(min(self._time(threads, 1), self._time(threads, 1)), wanted)
            for threads in sorted({1, torch.get_num_threads()})
        }

    def _time(self, threads: int, count: int) -> float:
        before, begin = torch.get_num_threads(), time.process_time()
        torch.set_num_threads(threads)
        taken = seconds(lambda: [self._singles[n % _PEERS].run_epoch() for n in range(count)])
        torch.set_num_threads(before)
        if threads == 1:
            self.cpu.append((time.process_time() - begin) / count * self._models)
        return taken

    def __call__(self) -> float:
        """Train some of the models.

        Returns:
            Seconds that an epoch of all models would take, on whichever number of threads is faster.
        """
        found = {threads: self._time(threads, count) / count for threads, count in self._counts.items()}
        self.best.append(min(found, key=found.__getitem__))
        return found[self.best[-1]] * self._models
