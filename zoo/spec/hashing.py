"""Hashes of specifications: the same content gives the same digest on any machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Write a JSON value in its one canonical form: sorted keys, no blanks, no NaN.

    Args:
        value: Anything that JSON can hold.

    Returns:
        The text whose UTF-8 bytes are hashed.

    Example:
        >>> canonical_json({"b": 1, "a": [0.1, None]})
        '{"a":[0.1,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def digest(value: Any) -> str:
    """Hash a JSON value.

    Args:
        value: Anything that JSON can hold.

    Returns:
        The SHA-256 of the canonical form, 64 hexadecimal digits.

    Example:
        >>> digest({"a": 1})[:8]
        '015abd7f'
    """
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
