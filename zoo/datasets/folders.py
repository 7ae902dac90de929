"""Where the files of datasets are looked for."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def data_folder() -> Path:
    """Say where the files of datasets lie; each dataset has a folder of its own in it.

    Returns:
        `$PHASEZOO_DATA`; else `$PHASEZOO_HOME/data`, or `data` in the platform's cache folder.
    """
    given = os.environ.get("PHASEZOO_DATA")
    if given:
        return Path(given)
    home = os.environ.get("PHASEZOO_HOME")
    return (Path(home) if home else user_cache_path("phasezoo")) / "data"
