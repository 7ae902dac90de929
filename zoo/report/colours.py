"""The colours of the five phases, of what is undefined, and of what is judged against zero."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.colors import Colormap


class PhaseStyle(NamedTuple):
    """How a phase is drawn.

    Attributes:
        colour: Its colour, as `#rrggbb`.
        name: What the colour is called.
        ink: Colour of text on it.
        meaning: What networks of this phase are.
        signs: What they are told by.
    """

    colour: str
    name: str
    ink: str
    meaning: str
    signs: str


PHASES: Mapping[str, PhaseStyle] = MappingProxyType(
    {
        "I": PhaseStyle(
            "#d55e00", "vermillion", "black", "underfitted, undersized", "high loss, barriers between seeds"
        ),
        "II": PhaseStyle("#f0c419", "yellow", "black", "underfitted", "high loss, seeds connected"),
        "III": PhaseStyle("#882255", "wine", "white", "undersized", "low loss, barriers between seeds"),
        "IV-A": PhaseStyle("#56b4e9", "sky blue", "black", "overfitted", "seeds connected but unlike"),
        "IV-B": PhaseStyle("#0060a8", "blue", "white", "generalizing", "seeds connected and alike"),
    }
)
"""The phases in their order. People who see two colours of three tell them apart as well: a test says so."""
UNDEFINED = "0.85"
"""Grey of a cell that has no value."""


def phase_colours() -> Colormap:
    """Make the colour map of the phases.

    Returns:
        The map from the place of a phase in `PHASES` to its colour; grey where there is none.
    """
    from matplotlib.colors import ListedColormap

    colours = [style.colour for style in PHASES.values()]
    return ListedColormap(colours, name="phases").with_extremes(bad=UNDEFINED)


def around_zero() -> Colormap:
    """Make the colour map of what is judged against zero: vermillion below, white at it, blue above.

    Returns:
        The map; an odd number of colours, so that the one in the middle is white itself.
    """
    from matplotlib.colors import LinearSegmentedColormap

    # places at which lightness falls evenly from white to either end
    stops = [(0, "#8a2c02"), (0.15, "#d55e00"), (0.5, "#ffffff"), (0.89, "#0072b2"), (1, "#00507f")]
    return LinearSegmentedColormap.from_list("around-zero", stops, N=257).with_extremes(bad=UNDEFINED)
