import math
import re

import pytest
import torch

from zoo.architectures import DataShape, build, initialise, layout, names, options
from zoo.errors import SpecificationError
from zoo.spec import ArchitectureSpecification
from zoo.training import stream

TEXT = DataShape((6,), 11, tokens=11)


def gpt(**chosen):
    return ArchitectureSpecification.model_validate({"name": "gpt", **chosen})


@pytest.mark.parametrize(
    ("dim", "depth", "places", "tokens"), [(8, 2, 6, 11), (128, 1, 3, 2), (10, 3, 16, 256)]
)
def test_the_gpt_has_as_many_parameters_as_its_closed_form(dim, depth, places, tokens):
    spec, shape = gpt(model_dim=dim, depth=depth), DataShape((places,), tokens, tokens)
    expected = dim * (tokens + places) + depth * (12 * dim**2 + 13 * dim) + 2 * dim
    assert layout(spec, shape).size == expected
    module = build(spec, shape)
    assert sum(p.numel() for p in module.parameters()) == expected
    assert module(torch.zeros(4, places, dtype=torch.int64)).shape == (4, places, tokens)


def test_gpt_2_small_has_124439808_parameters():
    spec = gpt(model_dim=768)
    assert (options(spec).depth, options(spec).heads) == (12, 12)
    assert layout(spec, DataShape((1024,), 50_257, tokens=50_257)).size == 124_439_808


def test_names_are_those_of_gpt_2_and_the_tied_matrix_stands_once():
    block = ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"]
    layers = [f"h.{number}.{layer}" for number in range(2) for layer in block] + ["ln_f"]
    expected = ["wte.weight", "wpe.weight"]
    expected += [f"{layer}.{last}" for layer in layers for last in ("weight", "bias")]
    found = layout(gpt(model_dim=8, depth=2), TEXT).entries
    assert [entry.name for entry in found] == expected
    assert {entry.name.split(".")[-2] for entry in found if entry.kind == "norm"} == {"ln_1", "ln_2", "ln_f"}
    assert "gpt" in names()


def make(**chosen):
    spec = gpt(**{"model_dim": 8, "head_dim": 4, "depth": 2, **chosen})
    module = build(spec, TEXT)
    initialise(spec, module, stream(0, "init"))
    return module


def test_a_later_token_changes_no_earlier_logits():
    module = make().double()
    tokens = torch.randint(11, (3, 6), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 11
    before, after = module(tokens), module(changed)
    torch.testing.assert_close(after[:, :4], before[:, :4], atol=1e-14, rtol=0)
    assert (after[:, 4:] - before[:, 4:]).abs().amax(dim=(0, 2)).min() > 1e-6
    torch.testing.assert_close(module(tokens[:, :3]), before[:, :3], atol=1e-14, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_tokens_may_be_of_any_integer_type(dtype):
    module, tokens = make(), torch.arange(6).unsqueeze(0)
    assert torch.equal(module(tokens.to(dtype)), module(tokens))


def test_initial_weights_have_the_deviations_of_gpt_2():
    module = make(model_dim=64, depth=8)
    for name, parameter in module.named_parameters():
        values = parameter.detach()
        if parameter.ndim == 1:
            gain = "ln_" in name and name.endswith("weight")
            assert torch.equal(values, torch.full_like(values, float(gain)))
            continue
        std = 0.02 / math.sqrt(2 * 8) if "c_proj" in name else 0.02
        assert float(values.std()) == pytest.approx(std, rel=5 / math.sqrt(2 * values.numel())), name
        assert abs(float(values.mean())) < 5 * std / math.sqrt(values.numel())


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({}, "model_dim: Field required"),
        ({"model_dim": 200}, "model_dim 200 does not divide into 3 heads; take a multiple of head_dim 64"),
        ({"model_dim": 8, "depth": 0}, "depth: Input should be greater than or equal to 1, got 0"),
        ({"model_dim": 8, "heads": 2}, "heads: Extra inputs are not permitted"),
    ],
)
def test_bad_options_are_refused(chosen, message):
    with pytest.raises(SpecificationError, match=f"architecture 'gpt':\n.*{re.escape(message)}"):
        build(gpt(**chosen), TEXT)


@pytest.mark.parametrize("shape", [DataShape((64,), 10), DataShape((2, 3), 5, tokens=5)])
def test_the_gpt_takes_sequences_of_tokens(shape):
    message = rf"the gpt takes sequences of tokens, .* of shape {re.escape(str(shape.inputs))}; choose"
    with pytest.raises(SpecificationError, match=message):
        layout(gpt(model_dim=8), shape)


def test_the_gpt_predicts_the_tokens_that_it_reads():
    message = "one of its 11 tokens at each place, this dataset has 5 classes; choose another"
    with pytest.raises(SpecificationError, match=message):
        layout(gpt(model_dim=8), DataShape((6,), 5, tokens=11))
