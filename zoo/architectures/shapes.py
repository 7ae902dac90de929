"""Checks that an architecture and its inputs fit each other."""

from __future__ import annotations

from zoo.errors import SpecificationError
from zoo.spec import DataShape


def need_images(name: str, data: DataShape) -> tuple[int, int, int]:
    """Check that inputs are images.

    Args:
        name: The architecture that needs them, as the message is to name it.
        data: Shape of the inputs.

    Returns:
        Channels, height and width.

    Raises:
        SpecificationError: They are no images.

    Example:
        >>> need_images("cnn", DataShape((1, 28, 20), 10))
        (1, 28, 20)
    """
    if len(data.inputs) != 3 or data.tokens is not None:
        raise wrong_inputs(name, "images", data)
    channels, height, width = data.inputs
    return channels, height, width


def wrong_inputs(name: str, wanted: str, data: DataShape) -> SpecificationError:
    """Build the error for inputs that an architecture cannot take.

    Args:
        name: The architecture.
        wanted: What it takes, such as `images`.
        data: What it got.

    Returns:
        The error to raise.

    Example:
        >>> print(wrong_inputs("mlp", "vectors", DataShape((12,), 50, tokens=50)))
        the mlp takes vectors, this dataset has tokens of shape (12,); choose another architecture, or a dataset of vectors
    """  # noqa: E501 - a message is one line
    full = wanted.replace("images", "images (channels, height, width)")
    got = "inputs" if data.tokens is None else "tokens"
    return SpecificationError(
        f"the {name} takes {full}, this dataset has {got} of shape {data.inputs}; choose another "
        f"architecture, or a dataset of {wanted}"
    )
