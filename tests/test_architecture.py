"""The arrows between the packages hold, and the checks that say so can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("zoo", "generators", "wsl_tasks")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).parent / "lint-imports"
    if not command.exists():
        pytest.skip("import-linter is not installed; it comes with the extra 'dev'")
    # No path but the folder itself: an installed copy of the packages must not be looked at instead.
    return subprocess.run(
        [command, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def copy_packages(folder: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def loaded_by(statement: str, folder: Path = ROOT) -> set[str]:
    """Top-level modules that a fresh interpreter has after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_the_arrows_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("zoo/errors.py", "import generators", "zoo knows neither the makers nor the questions"),
        ("wsl_tasks/result.py", "import generators", "makers and questions do not know each other"),
        ("zoo/spec/hashing.py", "import zoo.storage", "inside zoo, arrows point down"),
    ],
)
def test_an_arrow_against_the_rules_is_found(tmp_path: Path, file: str, line: str, contract: str) -> None:
    copy_packages(tmp_path)
    with (tmp_path / file).open("a", encoding="utf-8") as handle:
        handle.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0
    assert f"{contract} BROKEN" in done.stdout


def test_the_specification_itself_needs_no_torch() -> None:
    # An empty package in place of zoo/__init__.py, so that only what zoo.spec imports is seen.
    stub = (
        "import types; zoo = sys.modules['zoo'] = types.ModuleType('zoo'); "
        f"zoo.__path__ = [{str(ROOT / 'zoo')!r}]"
    )
    loaded = loaded_by(f"{stub}\nimport zoo.spec")
    assert "pydantic" in loaded
    assert "torch" not in loaded


def test_the_specification_loads_without_torch() -> None:
    assert "torch" not in loaded_by("import zoo.spec")


def test_zoo_loads_neither_makers_nor_questions() -> None:
    loaded = loaded_by("import zoo")
    assert "zoo" in loaded
    assert not loaded & {"generators", "wsl_tasks"}


def test_what_is_loaded_is_seen(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text("import torch, generators, wsl_tasks", encoding="utf-8")
    for package in ("torch", "generators", "wsl_tasks"):
        (tmp_path / f"{package}.py").touch()
    assert {"torch", "generators", "wsl_tasks"} <= loaded_by("import careless", tmp_path)
