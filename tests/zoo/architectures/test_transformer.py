import re

import pytest
import torch

from zoo.architectures import DataShape, build, initialise, layout, names
from zoo.errors import SpecificationError
from zoo.spec import ArchitectureSpecification
from zoo.training import stream

VECTORS, TOKENS = DataShape((40,), 10), DataShape((3,), 5, tokens=7)


def transformer(**chosen):
    return ArchitectureSpecification.model_validate({"name": "transformer", **chosen})


@pytest.mark.parametrize("norm", ["pre", "post", "peri"])
@pytest.mark.parametrize(
    ("dim", "depth", "patch", "shape"), [(8, 2, 4, VECTORS), (12, 1, 10, VECTORS), (16, 3, 4, TOKENS)]
)
def test_the_transformer_has_as_many_parameters_as_its_closed_form(dim, depth, patch, shape, norm):
    spec = transformer(model_dim=dim, depth=depth, patch=patch, norm=norm)
    embedding = dim * shape.tokens if shape.tokens else dim * (patch + 1)
    places = shape.inputs[0] if shape.tokens else shape.inputs[0] // patch
    expected = embedding + dim * places + depth * (12 * dim**2 + 13 * dim) + 2 * dim
    expected += shape.classes * (dim + 1) + {"pre": 0, "post": -2 * dim, "peri": 4 * dim * depth}[norm]
    assert layout(spec, shape).size == expected
    module = build(spec, shape)
    assert sum(p.numel() for p in module.parameters()) == expected
    x = torch.zeros(6, *shape.inputs, dtype=torch.int32 if shape.tokens else torch.float32)
    assert module(x).shape == (6, shape.classes)


def test_places_see_each_other_in_both_directions():
    spec = transformer(model_dim=8)
    module = build(spec, TOKENS)
    initialise(spec, module, stream(0, "init"))
    one, other = module(torch.tensor([[1, 2, 3], [3, 2, 1]]))  # the same tokens at other places
    assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("norm", ["pre", "post", "peri"])
def test_each_place_of_the_norm_makes_another_network(norm):
    given = torch.randn(4, 40, generator=torch.Generator().manual_seed(0))
    found = {}
    for place in ("pre", "post", "peri"):
        spec = transformer(model_dim=8, norm=place)
        module = build(spec, VECTORS)
        initialise(spec, module, stream(0, "init"))
        found[place] = module(given).detach()
    assert all((found[norm] - found[other]).abs().max() > 1e-2 for other in found if other != norm)


def test_initial_embeddings_and_positions_have_variance_one_over_the_width():
    spec, shape = transformer(model_dim=64), DataShape((50,), 5, tokens=100)
    module = build(spec, shape)
    initialise(spec, module, stream(0, "init"))
    for table in (module.embed.weight, module.positions):
        error = 5 / (2 * table.numel()) ** 0.5
        assert float(table.detach().std()) == pytest.approx(64**-0.5, rel=error)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({}, "model_dim: Field required"),
        (
            {"model_dim": 10},
            "model_dim 10 does not divide into 4 heads; take a multiple of 4, or other heads",
        ),
        ({"model_dim": 8, "norm": "sandwich"}, "norm: Input should be 'pre', 'post' or 'peri'"),
        ({"model_dim": 8, "dropout": -0.1}, "dropout: Input should be greater than or equal to 0"),
    ],
)
def test_bad_options_are_refused(chosen, message):
    with pytest.raises(SpecificationError, match=f"architecture 'transformer':\n.*{re.escape(message)}"):
        build(transformer(**chosen), VECTORS)


def test_vectors_that_the_patch_does_not_divide_are_refused():
    message = "cuts vectors into patches of 7 numbers, which does not divide 40; choose a patch that does"
    with pytest.raises(SpecificationError, match=message):
        layout(transformer(model_dim=8, patch=7), VECTORS)
    assert layout(transformer(model_dim=8, patch=7), TOKENS).size  # tokens are one place each


def test_the_transformer_takes_vectors_and_tokens():
    assert "transformer" in names()
    message = r"the transformer takes vectors or sequences of tokens, .* has inputs of shape \(1, 8, 8\)"
    with pytest.raises(SpecificationError, match=message):
        layout(transformer(model_dim=8), DataShape((1, 8, 8), 10))
