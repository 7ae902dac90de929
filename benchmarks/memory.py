"""Peak memory of a run of `generate`, all its processes together, against what `estimate` promised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from generators import load_recipe
from generators.estimate import dry_run
from generators.recipe import Recipe

_SECONDS = 0.01
"""Between two looks at the processes."""
_ESTIMATE = """
import json, sys
from generators import LocalExecutor, Recipe, estimate
recipe = Recipe.model_validate(json.loads(sys.argv[1]))
print(estimate(recipe, device="cpu", executor=LocalExecutor(2)).bytes)
"""
_GENERATE = """
import json, sys
from generators import LocalExecutor, Recipe, generate
generate(Recipe.model_validate(json.loads(sys.argv[1])), sys.argv[2], device="cpu", executor=LocalExecutor(2))
"""


def recipes() -> dict[str, Recipe]:
    """Give the recipes whose memory is measured.

    Returns:
        Recipe by what the table calls it.
    """
    many = {"seeds": list(range(4)), "checkpoints": list(range(1, 10))}
    large = {"seeds": list(range(64)), "checkpoints": []}
    return {
        "the demo": load_recipe("digits-mlp-demo"),
        "wide MLPs, many checkpoints": _wide(epochs=10, rates=[0.001, 0.0025, 0.006, 0.015], **many),
        "wide MLPs, large stacks": _wide(epochs=2, rates=[0.001, 0.0025], **large),
    }


def _wide(*, epochs: int, rates: list[float], **fields: Any) -> Recipe:
    """Change the demo: 301,066 weights a model."""
    whole = {**load_recipe("digits-mlp-demo").model_dump(mode="json"), **fields}
    whole["training"]["epochs"] = epochs
    whole["axes"] = {
        "load": {"architecture.width": [512]},
        "temperature": {"training.learning_rate": rates},
    }
    return Recipe.model_validate(whole)


def measure(recipe: Recipe) -> tuple[int, int]:
    """Estimate a recipe in one fresh process, and generate it on two workers in another.

    Args:
        recipe: The recipe.

    Returns:
        Bytes promised, and largest sum of the resident memory of all processes of the run.
    """
    given = json.dumps(recipe.model_dump(mode="json"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    promised = subprocess.check_output([sys.executable, "-c", _ESTIMATE, given], env=environment)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _GENERATE, given, str(Path(folder) / "zoo")]
        most = peak(
            subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
    return int(promised), most


def peak(run: subprocess.Popen[bytes]) -> int:
    """Watch a process until it ends.

    Args:
        run: The process.

    Returns:
        Largest sum of the resident memory of it and all that descend from it, in bytes.

    Raises:
        RuntimeError: It failed.
    """
    most = 0
    while run.poll() is None:
        most = max(most, sum(resident(pid) for pid in family(run.pid)))
        time.sleep(_SECONDS)
    if run.returncode:
        raise RuntimeError(f"the process ended with exit code {run.returncode}")
    return most


def resident(pid: int) -> int:
    """Say how much memory of a process is resident.

    Args:
        pid: The process.

    Returns:
        Bytes, libraries that it shares included; 0 where it has ended.
    """
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """List a process and all that descend from it.

    Args:
        pid: The process.

    Returns:
        Their numbers.
    """
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # the name of a process, in brackets, may hold anything
            fields = (
                (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            )
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
    found = [pid]
    for one in found:  # grows as it goes
        found += [child for child, parent in parents.items() if parent == one]
    return found


def describe(recipe: Recipe) -> str:
    """Say how large a recipe is.

    Args:
        recipe: The recipe.

    Returns:
        Models, stacks, size of all checkpoints.
    """
    counts = dry_run(recipe)
    return (
        f"{counts['models']} models in {counts['stacks']} stacks, {counts['bytes'] / 1e6:.0f} MB of weights"
    )
