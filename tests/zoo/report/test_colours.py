"""Colours that everyone can tell apart, and a zero that is white."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from zoo import phases
from zoo.report.colours import PHASES, around_zero, phase_colours

EYES = {
    # Machado, Oliveira, Fernandes 2009, severity 1, linear RGB
    "all three cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(rgb: tuple[float, ...], eye: str = "all three cones") -> NDArray[np.float64]:
    """CIE L*a*b* of an sRGB colour, white D65, as an eye sees it."""
    values = np.array(rgb[:3])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(EYES[eye]) @ linear, 0, 1)
    x, y, z = np.cbrt(TO_XYZ @ seen / np.array([0.95047, 1, 1.08883]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
def test_any_two_phases_look_different_to_any_eye(eye: str) -> None:
    seen = [lab(to_rgb(style.colour), eye) for style in PHASES.values()]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 25


@pytest.mark.parametrize("phase", PHASES)
def test_names_of_phases_can_be_read_on_their_colour(phase: str) -> None:
    style = PHASES[phase]
    assert abs(lab(to_rgb(style.colour))[0] - lab(to_rgb(style.ink))[0]) > 50


def test_zero_is_white_and_both_sides_darken_evenly() -> None:
    colours = around_zero()
    assert colours(0.5) == (1, 1, 1, 1)
    lightness = np.array([lab(colours(i))[0] for i in range(257)])
    below, above = np.diff(lightness[:129]), -np.diff(lightness[128:])
    assert lightness[0] == pytest.approx(lightness[-1], abs=2)
    for side in (below, above):
        assert (side > 0).all()
        assert side.max() < 1.8 * side.min()


def test_there_is_a_colour_for_each_phase_in_its_order() -> None:
    assert tuple(PHASES) == phases.PHASES


def test_the_map_of_phases_gives_their_colours() -> None:
    colours = phase_colours()
    for place, style in enumerate(PHASES.values()):
        assert colours(place)[:3] == to_rgb(style.colour)
