import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from zoo.training import evaluate_logits, stack_logits
from zoo.training.attention import batched_attention
from zoo.training.layers import run_layers, stackable
from zoo.weights import flatten, layout_of, unflatten


def perceptron(activation, *, bias=True):
    return nn.Sequential(nn.Linear(5, 4), activation, nn.Linear(4, 3, bias=bias))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh(), nn.GELU(), nn.LeakyReLU()])
@pytest.mark.parametrize("bias", [True, False])
def test_every_path_gives_the_logits_and_gradients_of_vmap(activation, bias):
    module = perceptron(activation, bias=bias).double()
    layout = layout_of(module, "mlp")
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3, layout.size, dtype=torch.float64, generator=generator, requires_grad=True)
    inputs = torch.randn(3, 7, 5, dtype=torch.float64, generator=generator)
    expected = vmap(lambda t, x: functional_call(module, t, (x,)))(unflatten(weights, layout), inputs)
    got = stack_logits(module, layout, weights, inputs)
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)
    slopes = [torch.autograd.grad(logits.square().sum(), weights)[0] for logits in (got, expected)]
    torch.testing.assert_close(*slopes, atol=1e-10, rtol=0)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_take_sequences(bias):
    module = nn.Sequential(nn.Linear(5, 4, bias=bias), nn.ReLU()).double()
    layout, inputs = layout_of(module, "mlp"), torch.randn(2, 7, 3, 6, 5, dtype=torch.float64)
    weights = torch.randn(2, layout.size, dtype=torch.float64)
    expected = vmap(lambda t, x: functional_call(module, t, (x,)))(unflatten(weights, layout), inputs)
    got = run_layers(stackable(module), unflatten(weights, layout), inputs)
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["perceptron", "convolution"])
def test_logits_of_a_stack_are_those_of_each_module_in_eval_mode(make, build, kind):
    modules = make.modules(getattr(build, kind), 2, torch.float32)
    data = make.data(2, (5,) if kind == "perceptron" else (2, 6, 6), dtype=torch.float32)
    for module in modules:
        module(data.x)  # statistics that are not those of the start
    skeleton = getattr(build, kind)()
    layout = layout_of(skeleton, "test")
    weights = torch.stack([flatten(module.state_dict(), layout) for module in modules])
    shared = evaluate_logits(skeleton, layout, weights, data.x)
    own = stack_logits(skeleton, layout, weights, data.x.expand(2, *data.x.shape))
    for place, module in enumerate(modules):
        with torch.no_grad():
            expected = module.eval()(data.x)
        torch.testing.assert_close(shared[place], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(own[place], expected, atol=1e-5, rtol=1e-5)
    assert not skeleton.training


def test_logits_of_attention_are_those_of_the_module():
    encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    module = nn.Sequential(encoder, nn.Flatten(), nn.Linear(40, 3)).eval()
    layout, x = layout_of(module, "test"), torch.randn(4, 5, 8)
    weights = flatten(module.state_dict(), layout).repeat(2, 1)
    weights[1] *= 1.5
    got = evaluate_logits(module, layout, weights, x)
    for place in range(2):
        module.load_state_dict(unflatten(weights[place], layout))
        torch.testing.assert_close(got[place], module(x).detach(), atol=1e-5, rtol=1e-5)


def test_layers_of_plain_sequences_have_batched_kernels_and_no_other_has():
    known = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2, bias=False))
    assert [(layer.name, layer.tensors) for layer in stackable(known)] == [
        ("0", ("weight", "bias")),
        ("1", ()),
        ("2", ("weight",)),
    ]
    assert stackable(nn.Sequential(*known, nn.Softplus())) == []
    assert stackable(nn.Linear(2, 2)) == []
    assert stackable(nn.Sequential(nn.Linear(2, 2), known)) == []


def test_a_layer_that_stands_at_two_places_runs_at_both():
    activation = nn.Tanh()
    module = nn.Sequential(nn.Linear(2, 2), activation, nn.Linear(2, 2), activation)
    assert [layer.name for layer in stackable(module)] == ["0", "1", "2", "3"]


def test_torchs_fused_attention_is_as_before_afterwards():
    with batched_attention():
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled()
