import re

import pytest
import torch

from zoo.architectures import DataShape, build, initialise, layout, names, options
from zoo.errors import SpecificationError
from zoo.spec import ArchitectureSpecification
from zoo.training import stream

IMAGES = DataShape((3, 8, 12), 5)


def vit(**chosen):
    return ArchitectureSpecification.model_validate({"name": "vit", **chosen})


@pytest.mark.parametrize(
    ("dim", "depth", "patch", "inputs", "classes"),
    [(8, 2, 4, (3, 8, 12), 5), (16, 1, 2, (1, 4, 4), 10), (10, 3, 8, (2, 8, 8), 2)],
)
def test_the_vit_has_as_many_parameters_as_its_closed_form(dim, depth, patch, inputs, classes):
    spec, shape = vit(model_dim=dim, depth=depth, patch=patch), DataShape(inputs, classes)
    channels, height, width = inputs
    places = height * width // patch**2
    embedding = dim * (channels * patch**2 + 1) + dim * (places + 2)
    expected = embedding + depth * (12 * dim**2 + 13 * dim) + 2 * dim + classes * (dim + 1)
    assert layout(spec, shape).size == expected
    module = build(spec, shape)
    assert sum(p.numel() for p in module.parameters()) == expected
    assert module(torch.zeros(6, *inputs)).shape == (6, classes)


def test_vit_b_16_has_86567656_parameters():
    spec = vit(model_dim=768, depth=12, patch=16)
    assert options(spec).heads == 12
    assert layout(spec, DataShape((3, 224, 224), 1000)).size == 86_567_656


@pytest.mark.parametrize(
    ("dim", "head_dim", "heads"), [(8, 64, 1), (64, 64, 1), (127, 64, 1), (192, 64, 3), (12, 4, 3)]
)
def test_the_number_of_heads_grows_with_the_width(dim, head_dim, heads):
    spec = vit(model_dim=dim, head_dim=head_dim, depth=1)
    assert options(spec).heads == build(spec, IMAGES).h[0].attn.heads == heads


def test_the_vit_is_registered_and_its_width_has_no_default():
    assert "vit" in names()
    with pytest.raises(SpecificationError, match=r"architecture 'vit':\n  model_dim: Field required"):
        layout(vit(), IMAGES)


def test_initial_positions_have_the_deviation_of_the_paper():
    spec = vit(model_dim=64, patch=1, depth=1)
    module = build(spec, IMAGES)
    initialise(spec, module, stream(0, "init"))
    drawn = torch.cat([module.class_token, module.positions]).detach()
    assert float(drawn.std()) == pytest.approx(0.02, rel=5 / (2 * drawn.numel()) ** 0.5)
    assert torch.equal(module.head.bias, torch.zeros(5))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"model_dim": 200}, "model_dim 200 does not divide into 3 heads; take a multiple of head_dim 64"),
        ({"model_dim": 0}, "model_dim: Input should be greater than or equal to 1, got 0"),
        ({"model_dim": 8, "dropout": 1.0}, "dropout: Input should be less than 1"),
        ({"model_dim": 8, "width": 8}, "width: Extra inputs are not permitted"),
    ],
)
def test_bad_options_are_refused(chosen, message):
    with pytest.raises(SpecificationError, match=f"architecture 'vit':\n.*{re.escape(message)}"):
        build(vit(**chosen), IMAGES)


@pytest.mark.parametrize("inputs", [(3, 8, 10), (3, 10, 8)])
def test_images_that_the_patch_does_not_divide_are_refused(inputs):
    message = f"patches of side 4, which does not divide both sides of {inputs[1]} x {inputs[2]} images"
    with pytest.raises(SpecificationError, match=message):
        layout(vit(model_dim=8), DataShape(inputs, 5))


def test_the_vit_takes_images():
    with pytest.raises(
        SpecificationError, match=r"the vit takes images .*, this dataset has inputs of shape"
    ):
        layout(vit(model_dim=8), DataShape((64,), 10))
