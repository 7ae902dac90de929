"""What the documentation shows runs: the example script, the README, the reader of docs/format.md."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import zoo
from generators import Recipe, generate
from zoo import Zoo

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("any_zoo")]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tiny_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory that has a small zoo where `make demo` leaves one."""
    folder = tmp_path_factory.mktemp("examples")
    recipe = tiny_recipe(widths=[2, 16], learning_rates=[0.003, 0.01, 0.03, 0.1, 0.3])
    generate(recipe, folder / "demo" / "digits-mlp-demo", device="cpu")
    return folder


@pytest.fixture
def population(folder: Path) -> Zoo:
    return zoo.open(folder / "demo" / "digits-mlp-demo")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("first_steps", ROOT / "examples" / "first_steps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python_blocks(page: str) -> list[str]:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)
    assert blocks, f"{page} shows no Python"
    return blocks


def test_a_query_leaves_one_matrix_and_a_network(example: ModuleType, population: Zoo) -> None:
    view = example.query(population)
    assert view.weights().shape == (10, 166)
    assert example.load(view)(torch.zeros(3, 64)).shape == (3, 10)


def test_the_sides_of_the_split_hold_every_checkpoint(example: ModuleType, population: Zoo) -> None:
    assert sum(example.learn_from(population)) == len(population) == 60


def test_the_example_evaluates_its_own_method(example: ModuleType, population: Zoo) -> None:
    result = example.evaluate(population)
    assert result.method == "WeightScale"
    assert set(result.scores) == {"kendall_tau", "r2", "mae"}
    assert result.n == 4


def test_the_example_runs_as_a_whole(
    example: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example.main(str(folder / "demo" / "digits-mlp-demo"))
    assert "kendall_tau" in capsys.readouterr().out


def test_the_example_says_what_to_do_without_a_zoo(example: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="run `make demo` first"):
        example.main(str(tmp_path / "nowhere"))


def test_the_python_of_the_readme_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    for block in python_blocks("README.md"):
        exec(block, names)


def test_the_reader_of_the_format_page_reads_the_same(population: Zoo) -> None:
    reader: dict[str, Any] = {}
    exec(python_blocks("docs/format.md")[-1], reader)
    manifest, tables = reader["open_zoo"](population.root)
    assert tables["checkpoints"].equals(population.checkpoints)
    for checkpoint in population.checkpoints["checkpoint_id"].iloc[[0, -1]]:
        ours = population.state_dict(checkpoint)
        theirs = reader["state_dict"](population.root, manifest, tables, checkpoint)
        assert list(theirs) == list(ours)
        assert all(np.array_equal(theirs[name], ours[name].numpy()) for name in ours)


def test_the_reader_of_the_format_page_refuses_a_truncated_file(folder: Path, tmp_path: Path) -> None:
    reader: dict[str, Any] = {}
    exec(python_blocks("docs/format.md")[-1], reader)
    for path in (folder / "demo" / "digits-mlp-demo").rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(folder / "demo" / "digits-mlp-demo")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    with (tmp_path / "models.parquet").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(AssertionError, match=r"models\.parquet is truncated"):
        reader["open_zoo"](tmp_path)
