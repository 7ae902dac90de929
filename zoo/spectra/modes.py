"""Whose numbers: ours, or those of the code that FARMS was released with."""

from __future__ import annotations

from typing import Literal, cast, get_args

from zoo.errors import unknown_name

Mode = Literal["clamped", "paper"]
"""`clamped`: windows never leave the matrix. `paper`: as the released code of Hu et al. 2025 computes."""


def chosen_mode(mode: str) -> Mode:
    """Check the name of a mode.

    Args:
        mode: The name.

    Returns:
        The mode.

    Raises:
        UnknownNameError: There is no such mode.
    """
    if mode not in get_args(Mode):
        raise unknown_name("mode", mode, get_args(Mode))
    return cast("Mode", mode)
