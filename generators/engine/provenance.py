"""Which code trains: version, commit, and the revision of the engine that numbers depend on."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import generators

ENGINE = 3
"""Revision of the training code; a change that changes what a specification becomes is a new one."""


def numerics() -> dict[str, str]:
    """Name what the numbers of a run depend on, beside specification and device.

    Returns:
        Revision of the engine and version of torch.
    """
    return {"engine": str(ENGINE), "torch": torch.__version__}


def library_versions() -> dict[str, str]:
    """Name the versions that all workers of a run must share.

    Returns:
        Version by library, and the revision of the engine.
    """
    return {
        **numerics(),
        "phasezoo": version("phasezoo"),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": np.__version__,
    }


@cache
def code_commit() -> str | None:
    """Name the commit of the code, where it runs from a checkout.

    Returns:
        The commit, followed by `-dirty` where tracked files were changed; nothing for an installed package.
    """
    folder = Path(generators.__file__).parent
    try:
        # an environment may lie inside of a repository that is not ours: ours tracks this very file
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
