import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from zoo.errors import SpecificationError
from zoo.training import StackNetwork, evaluate_logits
from zoo.training.dropout import SeededDropout, seed_dropout
from zoo.weights import flatten, layout_of

WIDE = 20_000


def two_layers(share=0.3):
    """Dropout of all ones, twice: what comes out tells both masks."""
    return nn.Sequential(nn.Dropout(share), nn.Linear(1, 1), nn.Dropout(share))


def layer_of(share, key=5):
    layer = SeededDropout(share)
    layer.key.fill_(key)
    return layer


def masks(seeds, epochs, steps, layers):
    """Mask of each (network, epoch, step, layer), from the keys that training derives."""
    module = nn.Sequential(*[nn.Dropout(0.3) for _ in range(layers)], nn.Linear(1, 1))
    network, found = StackNetwork(module, layout_of(module, "test")), {}
    dropout = SeededDropout(0.3)
    for epoch in epochs:
        keys = network.dropout_keys(seeds, epoch, steps=steps, device=torch.device("cpu"))
        for step, layer in itertools.product(range(steps), range(layers)):
            kept = dropout.stacked(torch.ones(len(seeds), WIDE), keys[step, layer]) > 0
            found |= {(seed, epoch, step, layer): row for seed, row in zip(seeds, kept, strict=True)}
    return found


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("key", [0, 1, -3, 2**62])
def test_the_share_that_is_dropped_is_the_one_asked_for(share, key):
    out = layer_of(share, key)(torch.ones(WIDE, dtype=torch.float64))
    dropped = (out == 0).double().mean().item()
    assert abs(dropped - share) < 5 * math.sqrt(share * (1 - share) / WIDE)
    torch.testing.assert_close(out[out != 0].unique(), torch.tensor([1 / (1 - share)], dtype=torch.float64))


def test_masks_of_other_networks_epochs_steps_and_layers_have_nothing_in_common():
    found = masks([0, 1, 2], [1, 2], 2, 2)
    rows = np.stack([mask.numpy() for mask in found.values()]).astype(float)
    assert len(rows) == 3 * 2 * 2 * 2
    correlations = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlations).max() < 5 / math.sqrt(WIDE)


def test_a_network_alone_and_in_a_stack_gets_the_same_masks():
    together, alone = masks([4, 5, 6], [3], 2, 2), masks([5], [3], 2, 2)
    assert all(torch.equal(mask, together[place]) for place, mask in alone.items())


@pytest.mark.parametrize("shape", [(7,), (4, 6), (2, 3, 5, 5)])
def test_stacked_and_single_layers_drop_the_same_numbers(shape):
    keys = torch.tensor([3, -9, 11])
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    stacked = SeededDropout(0.4).stacked(x, keys)
    for key, row, expected in zip(keys, x, stacked, strict=True):
        assert torch.equal(layer_of(0.4, key)(row), expected)


def test_masks_are_those_of_the_formula(plain):
    x = torch.ones(50, dtype=torch.float64)
    reference = plain.Dropout(0.4)
    reference.key = 17
    assert torch.equal(layer_of(0.4, 17)(x), reference(x))


def test_the_gradient_passes_where_the_activation_does():
    x = torch.ones(100, dtype=torch.float64, requires_grad=True)
    out = layer_of(0.25)(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_type_of_the_activations_stays(dtype):
    assert layer_of(0.5)(torch.ones(4, dtype=dtype)).dtype == dtype
    assert SeededDropout(0.5).stacked(torch.ones(2, 4, dtype=dtype), torch.tensor([1, 2])).dtype == dtype


def test_in_eval_mode_dropout_is_the_identity(build, make, plain):
    x = torch.randn(2, 9)
    layer = layer_of(0.5).eval()
    assert layer(x) is x
    assert layer.stacked(x, torch.tensor([1, 2])) is x
    module = make.modules(build.convolution, 1, torch.float32)[0]
    data, layout = make.data(1, (2, 6, 6), dtype=torch.float32), layout_of(module, "test")
    logits = evaluate_logits(module, layout, flatten(module.state_dict(), layout)[None], data.x)
    without = nn.Sequential(*[layer for layer in module if type(layer) is not nn.Dropout]).eval()
    torch.testing.assert_close(logits[0], without(data.x).detach(), atol=1e-5, rtol=1e-5)


def test_a_share_of_zero_keeps_and_of_one_drops_everything():
    x, keys = torch.ones(2, 9), torch.tensor([1, 2])
    assert SeededDropout(0.0)(x) is x
    assert SeededDropout(0.0).stacked(x, keys) is x
    assert not SeededDropout(1.0)(x).any()
    assert not SeededDropout(1.0).stacked(x, keys).any()


@pytest.mark.parametrize("chunk", [None, 1])
def test_a_network_whose_last_layer_drops_everything_trains_without_a_gradient(make, chunk):
    modules = make.modules(lambda: nn.Sequential(nn.Linear(5, 3), nn.Dropout(1.0)), 2)
    trainer = make.trainer(modules, make.data(2), [make.spec()] * 2, chunk=chunk)
    before = trainer.weights
    losses = trainer.run_epoch()
    torch.testing.assert_close(losses, torch.full((2,), math.log(3), dtype=torch.float64))
    assert torch.equal(trainer.weights, before)


def test_keys_of_networks_without_dropout_hold_nothing():
    module = nn.Linear(2, 2)
    network = StackNetwork(module, layout_of(module, "test"))
    keys = network.dropout_keys([0, 1, 2], 1, steps=4, device=torch.device("cpu"))
    assert keys.shape == (4, 0, 3)


def test_training_leaves_the_global_generator_alone(make, build):
    trainer = make.trainer(make.modules(build.convolution, 2), make.data(2, (2, 6, 6)), [make.spec()] * 2)
    before = torch.get_rng_state()
    trainer.run_epoch()
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_layers_are_replaced_in_a_copy_in_the_order_of_their_names():
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.1), nn.ReLU()), nn.Dropout(0.2))
    copied, names = seed_dropout(module)
    assert names == ["1.0", "2"]
    assert [copied.get_submodule(name).share for name in names] == [0.1, 0.2]
    assert not any(isinstance(layer, SeededDropout) for layer in module.modules())
    assert list(copied.state_dict()) == list(module.state_dict())


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.Dropout2d(0.1), "0.1 (Dropout2d)"),
        (nn.AlphaDropout(0.1), "0.1 (AlphaDropout)"),
        (nn.MultiheadAttention(2, 1, dropout=0.1), "0.1 (MultiheadAttention)"),
        (nn.LSTM(2, 2, 2, dropout=0.1), "0.1 (LSTM)"),
    ],
)
def test_layers_that_draw_from_the_global_generator_are_refused(layer, named):
    module = nn.Sequential(nn.Sequential(nn.Linear(2, 2), layer))
    with pytest.raises(SpecificationError) as caught:
        StackNetwork(module, layout_of(module, "test"))
    assert str(caught.value) == (f"a network draws from its own stream, which {named} cannot; use nn.Dropout")


def test_layers_that_could_draw_but_do_not_are_taken():
    seed_dropout(nn.Sequential(nn.Dropout2d(0.0), nn.MultiheadAttention(2, 1), nn.LSTM(2, 2)))
