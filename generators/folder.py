"""The folder that a zoo is made in: begun, continued, or refused."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from generators.engine.provenance import code_commit, numerics
from generators.engine.state import FOLDER, state_path
from generators.grid import Stack, count_models, examples, recipe_axes
from generators.recipe import Recipe
from zoo import datasets
from zoo.assembly import MANIFEST, read_manifest
from zoo.errors import SpecificationError, UnsafeFileError
from zoo.spec import Counts, Manifest
from zoo.storage import JOURNAL, TEMPORARY_PREFIX, write_file


def prepare(root: Path, recipe: Recipe, *, device: str, resume: bool) -> None:
    """Make the zoo's folder with its first manifest, or check that the one there is this recipe's.

    Args:
        root: The folder.
        recipe: The recipe.
        device: Torch device.
        resume: Whether a zoo begun earlier may be continued.

    Raises:
        SpecificationError: The folder holds another recipe's zoo, other files, a published zoo, a zoo
            although `resume` is off, or one whose axes stood in another order or whose parents had other
            weights.
    """
    if (root / MANIFEST).exists():
        found = read_manifest(root)
        if found.recipe_hash != recipe.hash:
            raise SpecificationError(
                f"{root} holds the zoo {found.name!r} of another recipe (hash {found.recipe_hash[:8]}, this "
                f"one has {recipe.hash[:8]}); choose another folder, or delete this one"
            )
        if found.axes != recipe_axes(recipe):
            raise SpecificationError(
                f"{root} was begun with the axes in the order {found.axis_names()}, this recipe has them in "
                f"another, {[axis.name for axis in recipe_axes(recipe)]}: ids and shards would be named "
                "otherwise. Restore the order of the axes, or choose another folder"
            )
        if found.files and not (root / JOURNAL).exists():
            raise SpecificationError(f"{root} was published: its tables are final; choose another folder")
        if not resume:
            raise SpecificationError(f"{root} already holds this zoo; drop resume=False to continue it")
        if found.provenance.get("parents", {}) != _parents(recipe):
            raise SpecificationError(
                f"{root} was begun with parents of other weights; the rest would begin elsewhere. Use the "
                "parent zoo that it was begun with, or choose another folder"
            )
        return
    if root.exists() and (not root.is_dir() or any(p for p in root.iterdir() if not _ours(p))):
        raise SpecificationError(f"{root} is not empty and holds no zoo; choose a new folder")
    write_file(root / MANIFEST, _first_manifest(recipe, device).to_json().encode())


def _parents(recipe: Recipe) -> dict[str, str]:
    """Name the weights that the models of a recipe begin at: sha256 by checkpoint."""
    parents = [spec.parent for spec in examples(recipe, "parent")]
    return {parent.checkpoint: parent.sha256 for parent in parents if parent is not None}


def _ours(path: Path) -> bool:
    return path.name.startswith(TEMPORARY_PREFIX)


def _first_manifest(recipe: Recipe, device: str) -> Manifest:
    data = datasets.load(next(examples(recipe, "dataset")).dataset)
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
            planned=count_models(recipe),
        ),
        layouts={},
        protocols={},
        splits={},
        files={},
        journal_bytes=0,
        provenance={
            "phasezoo": version("phasezoo"),
            "commit": code_commit(),
            "numerics": [numerics()],
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": device,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "dataset": {"sha256": data.sha256, "licence": data.licence, "source": data.source},
            **({"parents": parents} if (parents := _parents(recipe)) else {}),
        },
    )


def check_numerics(root: Path, *, accept: bool) -> None:
    """Refuse to go on with code that would give other numbers than those that are there.

    Args:
        root: The zoo.
        accept: Go on all the same; the manifest records it.

    Raises:
        SpecificationError: It was begun by an engine or a torch of another version.
    """
    manifest = read_manifest(root)
    # before engine 2 the manifest named torch alone
    begun: list[dict[str, Any]] = manifest.provenance.get("numerics") or [
        {"engine": "1", "torch": manifest.provenance.get("torch", "unknown")}
    ]
    if begun[-1] == numerics():
        return
    if not accept:
        raise SpecificationError(
            f"{root} was begun with {_text(begun[-1])}, this is {_text(numerics())}: the rest would have "
            "other numbers. Go on with the versions that it was begun with, choose another folder, or pass "
            "accept_other_code=True (--accept-other-code), which the manifest then records"
        )
    provenance = {**manifest.provenance, "numerics": [*begun, numerics()]}
    write_file(root / MANIFEST, manifest.model_copy(update={"provenance": provenance}).to_json().encode())


def _text(found: dict[str, Any]) -> str:
    return f"engine {found.get('engine')} and torch {found.get('torch')}"


def remove_leftovers(root: Path, pending: list[Stack]) -> None:
    """Delete what a killed writer left behind; the lock says that no writer is alive.

    Args:
        root: The zoo.
        pending: Stacks that are not done: the state of their training is kept.

    Raises:
        UnsafeFileError: The folder of states is a link to another place.
    """
    states = root / FOLDER
    if states.is_symlink():
        raise UnsafeFileError(
            f"{states} is a link, expected a folder of this zoo; remove the link, and do not use this zoo "
            "unless you trust its source"
        )
    for path in root.rglob(f"{TEMPORARY_PREFIX}*"):  # which does not follow links
        path.unlink()
    wanted = {state_path(root, stack.shard) for stack in pending}
    for path in states.glob("*"):
        if path not in wanted and (path.is_symlink() or path.is_file()):
            path.unlink()
    if states.is_dir() and not any(states.iterdir()):
        states.rmdir()
