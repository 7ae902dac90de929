import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

import zoo.training.stack
from zoo.spec import TrainingSpecification
from zoo.training import StackData, stack_logits, train_stack
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


def test_gathering_batch_by_batch_changes_nothing(monkeypatch):
    module = perceptron(nn.ReLU())
    layout = layout_of(module, "mlp")
    generator = torch.Generator().manual_seed(0)
    data = StackData(torch.randn(20, 5, generator=generator), torch.randint(3, (2, 20), generator=generator))
    start = flatten(module.state_dict(), layout).repeat(2, 1)
    training = [TrainingSpecification(learning_rate=0.1, batch_size=6, epochs=2)] * 2
    whole = train_stack(module, layout, start, data, training=training, order_seeds=[0, 1])
    for limit in (1, 2 * 6 * 5 * 4 * 2):  # one batch, two batches at a time
        monkeypatch.setattr(zoo.training.stack, "_MAX_GATHERED_BYTES", limit)
        torch.testing.assert_close(
            train_stack(module, layout, start, data, training=training, order_seeds=[0, 1]),
            whole,
            atol=0,
            rtol=0,
        )
