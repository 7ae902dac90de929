"""Published tasks are pinned to a split that everyone who runs the recipe gets."""

from __future__ import annotations

import hashlib

import pytest

from generators import load_recipe
from generators.grid import expand
from wsl_tasks.registry import list_tasks, metadata
from zoo.splits import iid_split


@pytest.mark.parametrize("task_id", list_tasks())
def test_the_bundled_recipe_gives_the_pinned_split(task_id: str) -> None:
    task = metadata(task_id)
    cells = {model.cell_id for model in expand(load_recipe(task.zoo))}
    split = iid_split(cells)
    assert split.id == task.split
    assert hashlib.sha256(split.to_json().encode()).hexdigest() == task.split_sha256
