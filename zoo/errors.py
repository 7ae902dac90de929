"""Every error that a user can meet: what happened, what was expected, what was got, and the way out.

All of them derive from `ZooError`; the command line prints their message and exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Base of all errors raised on purpose; its message is meant for the user."""

    def __str__(self) -> str:
        """Return the message as written, also where a built-in base class would quote it."""
        return str(self.args[0]) if self.args else ""


class SpecificationError(ZooError, ValueError):
    """A recipe or a specification has an unknown key, a bad value or an empty axis."""


class FormatError(ZooError, ValueError):
    """A manifest, table or shard does not follow the zoo format."""


class IntegrityError(ZooError):
    """A file is missing, truncated, or its hash is not the one in the manifest."""


class DataMissingError(ZooError):
    """The files of a dataset are not on this machine; the message says where to put which ones."""


class UnsafeFileError(ZooError):
    """A file from elsewhere tries to reach outside of itself or of its zoo."""


class StorageError(ZooError, OSError):
    """The file system refused a write: a full disk, a quota, a folder without permission."""


class ClusterError(ZooError):
    """The machines that should train do not answer, or run other versions of the code."""


class QueryError(ZooError, ValueError):
    """A `where` expression has a typo, an unknown column or code in it."""


class AmbiguousLayoutError(ZooError, ValueError):
    """One matrix was asked of a view whose models have several layouts."""


class UnknownNameError(ZooError, KeyError):
    """No zoo, recipe, task, split, checkpoint or metric goes by this name."""


class UndefinedMetricError(ZooError, ValueError):
    """A metric has no value for this input; over a population it becomes a missing value and a reason."""


class MeasurementError(ZooError, RuntimeError):
    """Some measurements raised an error; all others are stored."""


class MethodError(ZooError, ValueError):
    """A method under evaluation returned something that cannot be scored."""


def unknown_name(kind: str, name: str, known: Iterable[str], *, way_out: str = "") -> UnknownNameError:
    """Build the error for a name that is not in a list of known ones.

    Args:
        kind: What the name should have been, such as "split".
        name: The name as given.
        known: The names that exist.
        way_out: A sentence to append, such as the command that lists the names.

    Returns:
        The error to raise; it names the nearest known names, or all of them where they are few.

    Example:
        >>> print(unknown_name("split", "iid-v2", ["iid-v1"]))
        unknown split 'iid-v2'; did you mean 'iid-v1'?
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        hint = "did you mean " + " or ".join(map(repr, close)) + "?"
    elif len(names) <= 12:
        hint = "known: " + (", ".join(names) or "none")
    else:
        hint = f"known: {', '.join(names[:6])}, ... ({len(names)} in all)"
    return UnknownNameError(f"unknown {kind} {name!r}; {hint} {way_out}".rstrip())
