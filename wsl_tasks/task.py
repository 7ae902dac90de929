"""What every task shares: metadata, the zoo that it pins, and the way from a method to a result."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

import zoo as zoos
from wsl_tasks.checks import check_has
from wsl_tasks.result import Result, Score, ZooStamp
from wsl_tasks.scoring import temperature_bands
from zoo import Split, Zoo
from zoo.errors import FormatError, unknown_name

PACKAGES = ("phasezoo", "torch", "numpy", "scikit-learn")


class TaskMetadata(BaseModel):
    """What a task is; published, it is never edited but superseded.

    Attributes:
        id: `<family>/<zoo>/<name>@v<version>`.
        family: `property-prediction`, `weight-generation` or `averaging`.
        zoo: Name of the zoo.
        split: Id of the zoo's split.
        target: Column that the task is about.
        main_score: The score that orders the leaderboard.
        direction: Which way it is better.
        protocol: Id of the evaluation's frozen settings.
        description: What is asked, in a few sentences.
        citation: Where the question comes from.
        superseded_by: Id of the task that replaces this one.
        split_sha256: SHA-256 of the split's file in the published zoo, once it is published.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    family: str
    zoo: str
    split: str
    target: str
    main_score: str
    direction: Literal["higher", "lower"]
    protocol: str
    description: str
    citation: str
    superseded_by: str | None = None
    split_sha256: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What scoring one method gave.

    Attributes:
        scores: Score by name.
        breakdown: Scores by temperature band.
        n: Items scored.
        n_cells: Cells that they come from.
    """

    scores: dict[str, Score]
    breakdown: dict[str, dict[str, Score]]
    n: int
    n_cells: int


class Task(ABC):
    """A question to weights, with its data and its evaluator.

    Args:
        metadata: What it is.
        zoo: The zoo, its folder or its name; by default the one that the metadata name, opened when first
            needed.

    Attributes:
        calls: Functions that a method of this family must have.
    """

    calls: ClassVar[tuple[str, ...]]

    def __init__(self, metadata: TaskMetadata, zoo: Zoo | str | Path | None = None) -> None:
        self.metadata = metadata
        self._source = metadata.zoo if zoo is None else zoo

    def __repr__(self) -> str:
        """Name the task."""
        return f"<Task {self.metadata.id}>"

    @cached_property
    def zoo(self) -> Zoo:
        """The zoo that the task is about.

        Raises:
            UnknownNameError: There is no such zoo, or it lacks the split.
            FormatError: Its split is not the published one.
        """
        opened = self._source if isinstance(self._source, Zoo) else zoos.open(self._source)
        self._check_split(opened)
        return opened

    def _check_split(self, opened: Zoo) -> None:
        splits, expected = opened.manifest.splits, self.metadata.split_sha256
        if self.metadata.split not in splits:
            way_out = f"(the zoo {opened.manifest.name} gets its splits when its generation is complete)"
            raise unknown_name("split", self.metadata.split, splits, way_out=way_out)
        got = opened.manifest.files[splits[self.metadata.split]].sha256
        if expected is not None and got != expected:
            raise FormatError(
                f"{self.metadata.id} is defined on the published zoo {self.metadata.zoo}, whose split "
                f"{self.metadata.split} has sha256 {expected[:12]}..., got {got[:12]}...: this zoo differs "
                "from the published one; generate that from the bundled recipe"
            )

    @cached_property
    def views(self) -> Split:
        """The three sides, restricted to the last checkpoints of models that were trained to the end."""
        return self.zoo.where("status == 'finished' and epoch == last_epoch").split(self.metadata.split)

    @cached_property
    def band(self) -> Callable[[float], str]:
        """From a value on the zoo's first temperature axis to its band: cold, mid or hot."""
        axis = next(axis for axis in self.zoo.manifest.axes if axis.name == self.temperature)
        levels = self.zoo.models[self.temperature].astype(float).tolist()
        return temperature_bands(levels, colder_when_higher=axis.colder_when_higher)

    @property
    def temperature(self) -> str:
        """Name of the zoo's first temperature axis."""
        return self.zoo.manifest.axis_names("temperature")[0]

    @abstractmethod
    def baselines(self) -> Mapping[str, Callable[[], Any]]:
        """Give the baselines.

        Returns:
            By name, what makes a fresh method; asking for them does not open the zoo.
        """

    def evaluate(self, method: Any, *, name: str | None = None, seed: int = 0) -> Result:
        """Fit a method, ask it, score its answers.

        Args:
            method: An object with the functions in `calls`; `wsl_tasks.methods` has their signatures.
            name: Name in the result; by default the method's class.
            seed: Seed of the order of items, of the samples and of the bootstrap.

        Returns:
            Scores with intervals, and what is needed to get them again.

        Raises:
            MethodError: The method lacks a function, or gives something that cannot be scored.
            FormatError: The zoo is not the one that the task pins, or has no test models for it.
        """
        check_has(method, self.calls, task=self.metadata.id)
        stamp = self._stamp()
        start = time.perf_counter()
        outcome = self._run(method, seed)
        return Result(
            task=self.metadata.id,
            method=name or type(method).__name__,
            reference=bool(getattr(method, "reference", False)),
            scores=outcome.scores,
            breakdown=outcome.breakdown,
            n=outcome.n,
            n_cells=outcome.n_cells,
            seeds=(seed,),
            wall_seconds=round(time.perf_counter() - start, 3),
            versions={package: version(package) for package in PACKAGES},
            zoo=stamp,
        )

    @abstractmethod
    def _run(self, method: Any, seed: int) -> Outcome:
        """Fit, ask and score; called with a method that has all functions."""

    def _stamp(self) -> ZooStamp:
        manifest, split = self.zoo.manifest, self.metadata.split
        return ZooStamp(
            name=manifest.name,
            recipe_hash=manifest.recipe_hash,
            split=split,
            split_sha256=manifest.files[manifest.splits[split]].sha256,
        )

    def _nothing_to_score(self, what: str) -> FormatError:
        return FormatError(
            f"{self.metadata.id}: expected {what} in the split {self.metadata.split} of the zoo "
            f"{self.zoo.manifest.name}, got none; generate the zoo to its end, or use a larger one"
        )
