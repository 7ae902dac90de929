import copy

import pytest
import torch
from torch import nn

from zoo.architectures import DataShape, build, initialise, layout
from zoo.errors import SpecificationError
from zoo.metrics.similarity import feature_networks
from zoo.spec import ArchitectureSpecification
from zoo.training import NetworkStack, stream
from zoo.training.layers import stackable
from zoo.weights import flatten

VECTORS, IMAGES, BIG = DataShape((8,), 3), DataShape((1, 8, 8), 3), DataShape((1, 20, 20), 3)
TOKENS, TEXT = DataShape((4,), 3, tokens=5), DataShape((4,), 5, tokens=5)
NETWORKS = {
    "mlp": ({"name": "mlp", "width": 5}, VECTORS),
    "mlp with batch norm": ({"name": "mlp", "width": 5, "normalisation": "batch"}, VECTORS),
    "cnn": ({"name": "cnn", "width": 3}, IMAGES),
    "model-zoo-cnn": ({"name": "model-zoo-cnn"}, BIG),
    "resnet18": ({"name": "resnet", "width": 1}, IMAGES),
    "resnet50": ({"name": "resnet", "layers": 50, "width": 1}, IMAGES),
    "twins full": ({"name": "twins", "connection": "full", "width": 2}, IMAGES),
    "twins local": ({"name": "twins", "connection": "local", "width": 2}, IMAGES),
    "twins convolutional": ({"name": "twins", "width": 2}, IMAGES),
    "residual of vectors": ({"name": "residual", "width": 4, "depth": 2}, VECTORS),
    "residual of images": ({"name": "residual", "width": 4, "form": "parallel", "depth": 2}, IMAGES),
    "vit": ({"name": "vit", "model_dim": 8, "depth": 1}, IMAGES),
    "transformer of vectors": ({"name": "transformer", "model_dim": 8, "depth": 1}, VECTORS),
    "transformer of tokens": ({"name": "transformer", "model_dim": 8, "depth": 1, "norm": "post"}, TOKENS),
    "gpt": ({"name": "gpt", "model_dim": 8, "depth": 1}, TEXT),
    "pinn": ({"name": "pinn", "width": 4, "depth": 2}, DataShape((2,), 1)),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def made(name):
    """Two networks with random weights, and items."""
    options, shape = NETWORKS[name]
    spec = ArchitectureSpecification.model_validate(options)
    modules = [build(spec, shape).eval() for _ in range(2)]
    for seed, module in enumerate(modules):
        initialise(spec, module, stream(seed, "init"))
        for kind, buffer in module.named_buffers():
            if "running" in kind:
                drawn = torch.rand(buffer.shape, generator=stream(seed, kind))
                buffer.copy_(drawn / 10 if "mean" in kind else drawn + 0.5)
    found = layout(spec, shape)
    weights = torch.stack([flatten(module.state_dict(), found) for module in modules])
    draw = stream(0, "items")
    x = torch.rand(6, *shape.inputs, generator=draw)
    if shape.tokens:
        x = torch.randint(0, shape.tokens, (6, *shape.inputs), generator=draw)
    return NetworkStack(build(spec, shape), found, weights), modules, x


@torch.no_grad()
def captured(module, x):
    """What a hook sees go into the last linear layer, of a gpt what comes out of the last normalisation."""
    seen = []
    if hasattr(module, "wte"):
        module.ln_f.register_forward_hook(lambda _m, _inputs, output: seen.append(output))
    else:
        linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        linear[-1].register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    module(x)
    return seen[0]


@every_network
def test_features_are_what_the_last_linear_layer_sees(name):
    stack, modules, x = made(name)
    found = feature_networks(stack).evaluate(x)
    expected = torch.stack([captured(module, x) for module in modules])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.std() > 0


@every_network
def test_the_last_linear_layer_makes_the_logits_of_the_features(name):
    stack, modules, x = made(name)
    features = feature_networks(stack).evaluate(x)
    for row, module in enumerate(modules):
        state = module.state_dict()
        weight = [name for name in state if state[name].ndim == 2][-1]
        logits = features[row] @ state["wte.weight" if "wte.weight" in state else weight].T
        if "wte.weight" not in state:
            logits += state[weight.replace("weight", "bias")]
        torch.testing.assert_close(logits, stack.evaluate(x)[row], rtol=1e-4, atol=1e-5)


def test_a_plain_sequence_of_layers_stays_fast_and_the_networks_stay_as_they_are():
    stack, _, x = made("cnn")
    before = stack.evaluate(x), copy.deepcopy(stack.module.state_dict())
    cut = feature_networks(stack)
    assert stackable(cut.module.eval())
    assert torch.equal(stack.evaluate(x), before[0])
    assert list(stack.module.state_dict()) == list(before[1])


def test_a_linear_layer_alone_sees_the_inputs():
    x = torch.rand(3, 2, generator=stream(0, "items"))
    found = feature_networks(NetworkStack.of(nn.Sequential(nn.Linear(2, 3)))).evaluate(x)
    assert torch.equal(found, x[None])


@pytest.mark.parametrize("name", ["resnet18", "gpt"])
def test_cutting_leaves_the_skeleton_as_it_is(name):
    stack, _, x = made(name)
    before = stack.evaluate(x)
    feature_networks(stack)
    assert torch.equal(stack.evaluate(x), before)


@pytest.mark.parametrize(
    ("module", "got"),
    [
        (nn.Sequential(nn.Linear(2, 3), nn.Conv1d(3, 2, 1)), "1.weight"),
        (nn.Sequential(nn.Linear(2, 3), nn.Softmax(1)), "0.weight and more"),
        (nn.ModuleList([nn.BatchNorm1d(2)]), "none"),
    ],
)
def test_networks_that_end_otherwise_are_refused(module, got):
    with pytest.raises(SpecificationError, match=f"which has the last weight, got {got}; cut such networks"):
        feature_networks(NetworkStack.of(module))
