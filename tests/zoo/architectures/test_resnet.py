import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from zoo.architectures import DataShape, build, layout
from zoo.errors import SpecificationError

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
SMALL = DataShape((3, 8, 8), 4)


def torchvision_shapes(layers, width, channels, classes):
    """Shapes of torchvision's state dict, from what its documentation and the paper say of each block."""
    shapes, expansion = {}, 1 if layers == 18 else 4

    def convolution(conv, norm, below, above, kernel):
        shapes[f"{conv}.weight"] = (above, below, kernel, kernel)
        shapes.update({f"{norm}.{k}": (above,) for k in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{norm}.num_batches_tracked"] = ()

    convolution("conv1", "bn1", channels, width, 3)
    below = width
    for stage, number in itertools.product(range(4), range(6)):
        if number >= BLOCKS[layers][stage]:
            continue
        block, w = f"layer{stage + 1}.{number}", width * 2**stage
        sizes = [(below, w, 3), (w, w, 3)] if layers == 18 else [(below, w, 1), (w, w, 3), (w, 4 * w, 1)]
        for place, (inside, outside, kernel) in enumerate(sizes, 1):
            convolution(f"{block}.conv{place}", f"{block}.bn{place}", inside, outside, kernel)
        if number == 0 and (stage > 0 or layers == 50):
            convolution(f"{block}.downsample.0", f"{block}.downsample.1", below, w * expansion, 1)
        below = w * expansion
    return shapes | {"fc.weight": (classes, below), "fc.bias": (classes,)}


def reference(state, x, layers):
    """The network in eval mode, from its state dict alone."""

    def convolve(conv, norm, x, stride=1):
        kernel = state[f"{conv}.weight"]
        x = functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        mean, variance = (state[f"{norm}.running_{k}"].view(-1, 1, 1) for k in ("mean", "var"))
        gain, shift = (state[f"{norm}.{k}"].view(-1, 1, 1) for k in ("weight", "bias"))
        return (x - mean) / (variance + 1e-5).sqrt() * gain + shift

    x = convolve("conv1", "bn1", x).relu()
    for stage, blocks in enumerate(BLOCKS[layers], 1):
        for number in range(blocks):
            block, convolutions = f"layer{stage}.{number}", 2 if layers == 18 else 3
            step = 2 if stage > 1 and number == 0 else 1
            out = x
            for place in range(1, convolutions + 1):
                strides = step if place == convolutions - 1 else 1  # first of two, second of three
                out = convolve(f"{block}.conv{place}", f"{block}.bn{place}", out, strides)
                out = out.relu() if place < convolutions else out
            if f"{block}.downsample.0.weight" in state:
                x = convolve(f"{block}.downsample.0", f"{block}.downsample.1", x, step)
            x = (x + out).relu()
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize(("layers", "names", "parameters"), [(18, 122, 11_173_962), (50, 320, 23_520_842)])
def test_names_and_shapes_are_those_of_torchvision(family, layers, names, parameters):
    found = layout(family.name("resnet", layers=layers), DataShape((3, 32, 32), 10))
    expected = torchvision_shapes(layers, 64, 3, 10)
    assert [(entry.name, entry.shape) for entry in found.entries] == list(expected.items())
    assert len(found.entries) == names
    assert sum(entry.size for entry in found.entries if entry.kind != "buffer") == parameters


@pytest.mark.parametrize(("width", "channels", "classes"), [(1, 1, 2), (2, 3, 10), (24, 5, 7)])
@pytest.mark.parametrize("layers", [18, 50])
def test_a_resnet_has_as_many_numbers_as_its_closed_form(family, layers, width, channels, classes):
    entries = layout(
        family.name("resnet", layers=layers, width=width), DataShape((channels, 8, 8), classes)
    ).entries
    quadratic, linear, statistics, last, norms = (
        (2724, 150, 150, 8, 20) if layers == 18 else (5724, 830, 830, 32, 53)
    )
    expected = quadratic * width**2 + (9 * channels + linear) * width + classes * (last * width + 1)
    assert sum(entry.size for entry in entries if entry.kind != "buffer") == expected
    assert sum(entry.size for entry in entries if entry.kind == "buffer") == statistics * width + norms


@pytest.mark.parametrize("layers", [18, 50])
def test_logits_are_those_of_the_formulas(family, layers):
    module = family.start(family.name("resnet", layers=layers, width=2), DataShape((3, 9, 12), 4))
    x = torch.randn(5, 3, 9, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    module(x)  # statistics that are not those of the start
    with torch.no_grad():
        got = module.eval()(x)
    assert got.shape == (5, 4)
    torch.testing.assert_close(got, reference(module.state_dict(), x, layers), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("layers", "epochs"), [(18, 2), (50, 1)])
def test_a_stack_of_resnets_trains_as_each_alone_and_as_a_plain_loop(family, layers, epochs):
    family.check_stack(family.name("resnet", layers=layers, width=2), SMALL, epochs=epochs)


def test_initial_weights_are_those_of_he(family):
    architecture = family.name("resnet", width=16)
    module = family.start(architecture, SMALL, dtype=torch.float32)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound, values = (6 / layer.weight[0].numel()) ** 0.5, layer.weight.detach().double()
            assert values.abs().max() <= bound
            # the mean of a uniform on (-b, b) has the error b / sqrt(3 n), its square the mean b^2 / 3 with
            # the error b^2 sqrt(4 / 45 / n)
            assert values.mean().abs() < 5 * bound / (3 * values.numel()) ** 0.5
            error = bound**2 * (4 / 45 / values.numel()) ** 0.5
            assert abs(values.square().mean() - bound**2 / 3) < 5 * error
    assert torch.equal(module.fc.bias, torch.full((4,), 0.01))
    assert torch.equal(module.layer2[0].downsample[1].weight, torch.ones(32))
    assert torch.equal(module.layer2[0].bn2.bias, torch.zeros(32))


def test_initial_weights_depend_on_their_seed_alone(family):
    family.check_seeds(family.name("resnet", width=2), SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 34}, "layers: Input should be 18 or 50"),
        ({"width": 0}, "width: Input should be greater than or equal to 1, got 0"),
        ({"depth": 18}, "depth: Extra inputs are not permitted"),
    ],
)
def test_bad_options_are_refused(family, options, message):
    with pytest.raises(SpecificationError, match=rf"architecture 'resnet':\n  {message}"):
        build(family.name("resnet", **options), SMALL)


@pytest.mark.parametrize(
    ("shape", "got"),
    [
        (DataShape((64,), 10), r"inputs of shape \(64,\)"),
        (DataShape((3, 8, 8), 10, tokens=9), r"tokens of shape \(3, 8, 8\)"),
    ],
)
def test_a_resnet_takes_images(family, shape, got):
    message = rf"the resnet takes images \(channels, height, width\), this dataset has {got}; choose"
    with pytest.raises(SpecificationError, match=message):
        build(family.name("resnet"), shape)
