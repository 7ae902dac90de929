import pytest
import torch

from zoo.errors import SpecificationError
from zoo.metrics.connectivity import Curve, barrier, linear_barrier, mode_connectivity


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param((1, 4, 3), 2.0, id="above the chord"),
        pytest.param((1, 1, 3), 0.0, id="below it"),
        pytest.param((10, 9, 6, 5, 0), 2.5, id="not where values are greatest"),
        pytest.param((7, 7), 0.0, id="ends alone"),
    ],
)
def test_a_barrier_is_the_greatest_height_above_the_chord(values, expected):
    assert barrier(row(*values)).item() == pytest.approx(expected, abs=1e-12)


def test_a_barrier_is_undefined_where_a_value_is():
    nan = float("nan")
    assert barrier(torch.cat([row(0, nan, 0), row(nan, 0, 0), row(0, 1, 0)])).isnan().tolist() == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("values", "cancel", "first"),
    [
        pytest.param((1, 9, 3), -7, -7, id="barrier: negative"),
        pytest.param((9, 1, 7), 7, 7, id="valley: positive"),
        pytest.param((4, 4, 4), 0, 0, id="flat"),
        pytest.param((0, 6, -3, 2), -5, -5, id="the larger of both counts"),
        pytest.param((0, 4, 10), 0, 5, id="between its ends, rising"),
        pytest.param((10, 6, 0), 0, -5, id="between its ends, falling"),
        pytest.param((2, 5, -1, 2), 0, -3, id="as high as deep"),
        pytest.param((3, 1), 0, -1, id="ends alone"),
    ],
)
def test_mode_connectivity_of_curves_worked_out_by_hand(values, cancel, first):
    assert mode_connectivity(row(*values)).item() == cancel
    assert mode_connectivity(row(*values), ties="first").item() == first


def test_mode_connectivity_does_not_know_which_end_is_first():
    values = torch.rand(500, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values[::2, 1:-1] = (values[::2, 1:-1] + values[::2, :1]) / 2  # some stay between their ends
    assert torch.equal(mode_connectivity(values), mode_connectivity(values.flip(1)))
    assert not torch.equal(
        mode_connectivity(values, ties="first"), mode_connectivity(values.flip(1), ties="first")
    )


@pytest.mark.parametrize("ties", ["cancel", "first"])
def test_mode_connectivity_is_undefined_where_a_value_is(ties):
    values = torch.cat([row(0, float("nan"), 0), row(1, 2, 1)])
    assert mode_connectivity(values, ties=ties).isnan().tolist() == [True, False]


def test_a_curve_is_walked_from_its_other_end():
    curve = Curve(row(0, 0.5, 1)[0], row(1, 2, 4).repeat(2, 1), row(10, 20, 40).repeat(2, 1))
    turned = curve.turned(torch.tensor([False, True]))
    assert turned.nats.tolist() == [[1, 2, 4], [4, 2, 1]]
    assert turned.points.tolist() == [[10, 20, 40], [40, 20, 10]]


def test_a_path_has_two_ends():
    net = torch.nn.Linear(2, 2)
    with pytest.raises(SpecificationError, match="expected at least 2 points, got 1"):
        linear_barrier(net, net, torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), points=1)


@pytest.mark.parametrize("ties", ["cancel", "first"])
def test_what_only_rounding_tells_apart_is_equal(ties):
    items = 1000
    wrong = torch.tensor([[994.0, 994.0, 291.0], [120.0, 60.0, 60.0], [291.0, 994.0, 994.0]]).double()
    exact = mode_connectivity(wrong, ties=ties)
    rounded = mode_connectivity(100 * (1 - (items - wrong) / items), ties=ties)
    torch.testing.assert_close(rounded, 100 * exact / items)
    if ties == "cancel":
        assert (rounded == 0).all()


def test_a_value_that_is_no_number_leaves_none():
    values = torch.tensor([[0.0, torch.nan, 1.0]]).double()
    assert all(mode_connectivity(values, ties=ties).isnan().all() for ties in ("cancel", "first"))
