"""Where zoos lie: folders that were named, and the cache."""

from __future__ import annotations

import os
import re
from pathlib import Path

from platformdirs import user_cache_path

from zoo.errors import unknown_name


def cache_folder() -> Path:
    """Say where zoos are kept that were named, not placed.

    Returns:
        `$PHASEZOO_HOME/zoos`, or the platform's cache folder.
    """
    home = os.environ.get("PHASEZOO_HOME")
    return (Path(home) if home else user_cache_path("phasezoo")) / "zoos"


def find_zoo(source: str | Path) -> Path:
    """Find the folder of a zoo.

    Args:
        source: A folder, or the name of a zoo in `./zoos`, `./demo` or the cache.

    Returns:
        The first of these that exists.

    Raises:
        UnknownNameError: None does.
    """
    if re.match(r"[a-z0-9]+://", str(source)):
        way_out = "(this version opens folders: download the zoo, then open its folder)"
        raise unknown_name("zoo", str(source), (), way_out=way_out)
    places = [Path(source)]
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", str(source)):
        places += [Path("zoos") / source, Path("demo") / source, cache_folder() / source]
    for place in places:
        if place.is_dir():
            return place
    looked = ", ".join(str(place) for place in places)
    way_out = f"(looked at {looked}; make one with `phasezoo generate`)"
    raise unknown_name("zoo", str(source), (), way_out=way_out)
