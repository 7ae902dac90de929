import math

import pytest
import torch
from torch.nn import functional

from zoo.architectures import DataShape, build, layout
from zoo.errors import SpecificationError

VECTORS, IMAGES = DataShape((5,), 3), DataShape((2, 4, 6), 3)
FORMS = ("sequential", "parallel")
SHAPES = pytest.mark.parametrize("shape", [VECTORS, IMAGES], ids=["vectors", "images"])


def inputs(shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(7, *shape.inputs, dtype=torch.float64, generator=generator)


def logits(family, shape, form, **options):
    """Of a network whose weights depend on neither its form nor its scale."""
    module = family.start(family.name("residual", form=form, width=6, **options), shape)
    with torch.no_grad():
        return module(inputs(shape))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("width", "depth", "classes"), [(1, 1, 2), (6, 3, 10), (17, 5, 3)])
@pytest.mark.parametrize("outer", [(5,), (2, 4, 6)])
def test_a_residual_stack_has_as_many_parameters_as_its_closed_form(
    family, form, width, depth, classes, outer
):
    n, k = (1 if len(outer) == 1 else 9), outer[0]
    expected = width * (n * k + 1) + 2 * depth * width * (n * width + 1) + classes * (width + 1)
    architecture = family.name("residual", form=form, width=width, depth=depth)
    assert layout(architecture, DataShape(outer, classes)).size == expected
    module = family.start(architecture, DataShape(outer, classes))
    assert module(inputs(DataShape(outer, classes))).shape == (7, classes)


@SHAPES
def test_both_forms_have_one_layout(family, shape):
    one, other = (layout(family.name("residual", form=form), shape) for form in FORMS)
    assert one == other
    names = [entry.name for entry in one.entries]
    assert names[:4] == ["stem.weight", "stem.bias", "branches.0.0.weight", "branches.0.0.bias"]


@pytest.mark.parametrize("form", FORMS)
@SHAPES
def test_logits_are_those_of_the_formulas(family, shape, form):
    architecture = family.name("residual", form=form, width=6, depth=3, activation="tanh", residual_scale=0.7)
    module = family.start(architecture, shape)
    state, images = module.state_dict(), shape is IMAGES

    def layer(name, x):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return functional.conv2d(x, weight, bias, padding=1) if images else x @ weight.T + bias

    flow = start = layer("stem", inputs(shape))
    for number in range(3):
        seen = flow if form == "sequential" else start
        hidden = torch.tanh(layer(f"branches.{number}.0", seen))
        flow = flow + 0.7 * layer(f"branches.{number}.2", hidden)
    flow = flow.mean((2, 3)) if images else flow
    expected = flow @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(module(inputs(shape)), expected, atol=1e-12, rtol=0)


@SHAPES
def test_with_one_branch_both_forms_compute_the_same(family, shape):
    one, other = (logits(family, shape, form, depth=1) for form in FORMS)
    torch.testing.assert_close(one, other, atol=0, rtol=0)
    one, other = (logits(family, shape, form, depth=2) for form in FORMS)
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
@SHAPES
def test_the_forms_differ_by_the_square_of_the_scale(family, shape, activation):
    def difference(scale):
        options = {"depth": 4, "activation": activation, "residual_scale": scale}
        one, other = (logits(family, shape, form, **options) for form in FORMS)
        return float((one - other).norm())

    exponent = math.log(difference(1e-2) / difference(1e-3)) / math.log(10)
    assert exponent == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("form", FORMS)
@SHAPES
def test_a_stack_trains_as_each_alone_and_as_a_plain_loop(family, shape, form):
    family.check_stack(family.name("residual", form=form, width=4, depth=3, residual_scale=0.5), shape)


@SHAPES
def test_initial_weights_depend_on_their_seed_alone(family, shape):
    family.check_seeds(family.name("residual"), shape)


def test_initial_weights_fill_the_interval_of_their_fan_in(family):
    module = family.start(family.name("residual", width=64, depth=1), VECTORS)
    for layer, fan_in in ((module.stem, 5), (module.branches[0][2], 64), (module.head, 64)):
        assert 0.9 * fan_in**-0.5 < layer.weight.detach().abs().max() <= fan_in**-0.5 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "ring"}, "form: Input should be 'sequential' or 'parallel'"),
        ({"depth": 0}, "depth: Input should be greater than or equal to 1, got 0"),
        ({"residual_scale": 0}, "residual_scale: Input should be greater than 0"),
        ({"scale": 0.5}, "scale: Extra inputs are not permitted"),
    ],
)
def test_bad_options_are_refused(family, options, message):
    with pytest.raises(SpecificationError, match=rf"architecture 'residual':\n  {message}"):
        build(family.name("residual", **options), VECTORS)


@pytest.mark.parametrize(
    ("shape", "got"),
    [
        (DataShape((8, 8), 10), r"inputs of shape \(8, 8\)"),
        (DataShape((8,), 10, tokens=10), r"tokens of shape \(8,\)"),
    ],
)
def test_a_residual_stack_takes_vectors_or_images(family, shape, got):
    message = rf"takes vectors or images \(channels, height, width\), this dataset has {got}; choose"
    with pytest.raises(SpecificationError, match=message):
        build(family.name("residual"), shape)
