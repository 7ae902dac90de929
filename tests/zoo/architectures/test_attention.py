"""The block against torch's own layers, and what all networks made of it have in common."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from zoo.architectures import DataShape, build, initialise
from zoo.architectures.attention import Block, BlockShape, SelfAttention, check_heads, draw_xavier
from zoo.spec import ArchitectureSpecification, TrainingSpecification
from zoo.training import Row, StackData, StackNetwork, StackTrainer, epoch_order, evaluate_logits, stream
from zoo.weights import layout_of

IMAGES, VECTORS = DataShape((2, 4, 6), 3), DataShape((12,), 3)
TOKENS, TEXT = DataShape((5,), 3, tokens=7), DataShape((5,), 7, tokens=7)
SMALL = {"model_dim": 8, "depth": 2}
NETWORKS = {
    "vit": ({"name": "vit", **SMALL, "head_dim": 4, "patch": 2}, IMAGES),
    "gpt": ({"name": "gpt", **SMALL, "head_dim": 4}, TEXT),
    "transformer-pre": ({"name": "transformer", **SMALL, "heads": 2}, VECTORS),
    "transformer-post": ({"name": "transformer", **SMALL, "heads": 2, "norm": "post"}, VECTORS),
    "transformer-peri": ({"name": "transformer", **SMALL, "heads": 2, "norm": "peri"}, VECTORS),
    "transformer-tokens": ({"name": "transformer", **SMALL, "heads": 2}, TOKENS),
}


def make(kind, seeds, **changes):
    options, data = NETWORKS[kind]
    spec = ArchitectureSpecification.model_validate({**options, **changes})
    modules = [build(spec, data).double() for _ in seeds]
    for module, seed in zip(modules, seeds, strict=True):
        initialise(spec, module, stream(seed, "init"))
    return modules


def scrambled(module):
    """The same network with random numbers everywhere: gains and biases count too."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4, generator=generator)
    return module


def items(data, count):
    generator = torch.Generator().manual_seed(1)
    if data.tokens:
        return torch.randint(data.tokens, (count, *data.inputs), generator=generator)
    return torch.randn(count, *data.inputs, dtype=torch.float64, generator=generator)


def flat(module):
    return torch.cat([tensor.detach().reshape(-1) for tensor in module.state_dict().values()])


def close(got, expected, error=1e-10):
    torch.testing.assert_close(got, expected, atol=error, rtol=0)


# the block


def torchs_attention(attention):
    dim = attention.c_proj.in_features
    found = nn.MultiheadAttention(dim, attention.heads, batch_first=True, dtype=torch.float64)
    found.in_proj_weight, found.in_proj_bias = attention.c_attn.weight, attention.c_attn.bias
    found.out_proj = attention.c_proj
    return found


def tanh_gelu(x):
    """Equation 2 of Hendrycks and Gimpel 2016."""
    return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def torchs_layer(block, gelu=functional.gelu):
    """`nn.TransformerEncoderLayer` with the weights of a block; dropout 0, so training mode is exact."""
    dim = block.ln_1.normalized_shape[0]
    found = nn.TransformerEncoderLayer(
        dim, block.attn.heads, 4 * dim, 0.0, gelu, batch_first=True, norm_first=block.norm == "pre"
    )
    found.self_attn = torchs_attention(block.attn)
    found.linear1, found.linear2 = block.mlp.c_fc, block.mlp.c_proj
    found.norm1, found.norm2 = block.ln_1, block.ln_2
    return found.train()


def mask(places):
    return torch.triu(torch.full((places, places), -math.inf, dtype=torch.float64), diagonal=1)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads", [1, 3])
def test_attention_is_that_of_torch(heads, causal):
    attention = scrambled(SelfAttention(BlockShape(6, heads, causal=causal)).double())
    x = torch.randn(4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    hidden = mask(5) if causal else None
    close(attention(x), torchs_attention(attention)(x, x, x, attn_mask=hidden)[0])


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("gelu", ["none", "tanh"])
def test_a_block_is_an_encoder_layer_of_torch(norm, gelu):
    block = scrambled(Block(BlockShape(6, 2, norm=norm, gelu=gelu)).double())
    x = torch.randn(4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    close(block(x), torchs_layer(block, {"none": functional.gelu, "tanh": tanh_gelu}[gelu])(x))


def test_a_peri_block_normalises_what_each_sub_layer_takes_and_gives():
    block = scrambled(Block(BlockShape(6, 2, norm="peri")).double())
    x = torch.randn(4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def norm(values, name):
        centred = values - values.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * block.get_parameter(f"{name}.weight") + block.get_parameter(f"{name}.bias")

    inner = norm(x, "ln_1")
    y = x + norm(torchs_attention(block.attn)(inner, inner, inner)[0], "ln_1_out")
    wide = functional.gelu(block.mlp.c_fc(norm(y, "ln_2")))
    close(block(x), y + norm(block.mlp.c_proj(wide), "ln_2_out"))


@pytest.mark.parametrize(("norm", "extra"), [("pre", 0), ("post", 0), ("peri", 4 * 6)])
def test_a_block_has_as_many_parameters_as_its_closed_form(norm, extra):
    block = Block(BlockShape(6, 2, norm=norm))
    assert sum(p.numel() for p in block.parameters()) == 12 * 6**2 + 13 * 6 + extra


def test_heads_that_cannot_share_the_width_are_refused():
    check_heads(12, 4, "")
    with pytest.raises(ValueError, match=r"^model_dim 10 does not divide into 4 heads; take 12$"):
        check_heads(10, 4, "take 12")


def test_queries_keys_and_values_are_drawn_as_three_matrices():
    module = nn.Sequential(Block(BlockShape(48, 4)), nn.Embedding(200, 48), nn.Linear(48, 5))
    scrambled(module)
    draw_xavier(module, torch.Generator().manual_seed(0), std=0.3)
    block = module[0]
    square = [*block.attn.c_attn.weight.chunk(3), block.attn.c_proj.weight]
    for matrix in (*square, block.mlp.c_fc.weight, block.mlp.c_proj.weight, module[2].weight):
        bound = math.sqrt(6 / sum(matrix.shape))
        assert 0.95 * bound < float(matrix.detach().abs().max()) <= bound
    assert float(module[1].weight.detach().std()) == pytest.approx(0.3, rel=5 / math.sqrt(2 * 200 * 48))
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            expected = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
            assert torch.equal(parameter, torch.full_like(parameter, expected))


# whole networks, out of torch's layers


def reference(kind, module, x):
    """What a network computes, written with nothing of ours but its weights."""
    layers = [torchs_layer(block, tanh_gelu if kind == "gpt" else functional.gelu) for block in module.h]
    if kind == "gpt":
        h = functional.embedding(x, module.wte.weight) + module.wpe(torch.arange(x.shape[1]))
        for layer in layers:
            h = layer(h, src_mask=mask(x.shape[1]))
        return torch.einsum("btd,vd->btv", module.ln_f(h), module.wte.weight)
    if kind == "vit":
        kernel = module.patches.weight.view(8, 2, 2, 2)
        h = functional.conv2d(x, kernel, module.patches.bias, stride=2).flatten(2).mT
        h = torch.cat([module.class_token.repeat(len(x), 1, 1), h], dim=1)
    elif kind == "transformer-tokens":
        h = functional.embedding(x, module.embed.weight)
    else:
        h = torch.stack([module.embed(x[:, start : start + 4]) for start in (0, 4, 8)], dim=1)
    h = h + module.positions
    for layer in layers:
        h = layer(h)
    h = h if kind == "transformer-post" else module.ln_f(h)
    return module.head(h[:, 0] if kind == "vit" else h.mean(1))


@pytest.mark.parametrize("kind", [kind for kind in NETWORKS if kind != "transformer-peri"])
def test_a_network_is_what_torchs_layers_make_of_its_weights(kind):
    (module,) = make(kind, [0])
    x = items(NETWORKS[kind][1], 3)
    close(scrambled(module)(x), reference(kind, module, x))


@pytest.mark.parametrize("kind", NETWORKS)
def test_initial_weights_depend_on_their_seed_alone(kind):
    one, two, other = make(kind, [0, 0, 1])
    assert torch.equal(flat(one), flat(two))
    matrices = [name for name, parameter in one.named_parameters() if parameter.ndim > 1]
    assert all(not torch.equal(one.get_parameter(n), other.get_parameter(n)) for n in matrices)


# stacks

# The softmax takes no notice of key biases, so their gradient is rounding alone; a small epsilon blows it up.
ADAMW = {"learning_rate": 0.01, "weight_decay": 0.1, "epsilon": 1e-5}


def start(modules, data, seeds, **training):
    spec = TrainingSpecification.model_validate(
        {"optimizer": "adamw", **ADAMW, "batch_size": 4, "epochs": 2} | training
    )
    network = StackNetwork(copy.deepcopy(modules[0]), layout_of(modules[0], "test"))
    weights = torch.stack([flat(module) for module in modules])
    return StackTrainer(network, weights, data, [Row(spec, seed) for seed in seeds])


def make_data(kind, models):
    """Seven items in batches of four: two steps an epoch, the second smaller."""
    shape = NETWORKS[kind][1]
    size = (models, 7, *shape.inputs) if kind == "gpt" else (models, 7)
    targets = torch.randint(shape.classes, size, generator=torch.Generator().manual_seed(2))
    return StackData(items(shape, 7), targets)


def plain_loop(module, x, y, seed):
    module = copy.deepcopy(module).train()
    optimizer = torch.optim.AdamW(
        module.parameters(),
        lr=ADAMW["learning_rate"],
        weight_decay=ADAMW["weight_decay"],
        eps=ADAMW["epsilon"],
    )
    for epoch in (1, 2):
        for picked in epoch_order([seed], epoch, len(x))[0].split(4):
            optimizer.zero_grad()
            functional.cross_entropy(module(x[picked]).flatten(0, -2), y[picked].flatten()).backward()
            optimizer.step()
    return flat(module)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_stack_trains_as_each_network_alone_and_as_an_ordinary_loop(kind):
    modules, data, seeds = make(kind, [0, 1, 2]), make_data(kind, 3), [5, 6, 7]
    together = start(modules, data, seeds)
    for _ in range(2):
        together.run_epoch()
    for place, module in enumerate(modules):
        alone = start([module], StackData(data.x, data.y[place : place + 1]), [seeds[place]])
        for _ in range(2):
            alone.run_epoch()
        expected = plain_loop(module, data.x, data.y[place], seeds[place])
        close(together.weights[place], expected, 1e-9)
        close(alone.weights[0], expected, 1e-9)
        assert (expected - flat(module)).abs().max() > 1e-2


@pytest.mark.parametrize("kind", NETWORKS)
def test_dropout_of_a_network_does_not_depend_on_its_neighbours(kind):
    modules, data = make(kind, [0, 1], dropout=0.3), make_data(kind, 2)
    layers = [layer for layer in modules[0].modules() if isinstance(layer, nn.Dropout)]
    assert len(layers) == 1 + 2 * 2  # of the embeddings, and of each sub-layer
    together, plain = start(modules, data, [5, 6]), start(make(kind, [0, 1]), data, [5, 6])
    alone = start(modules[1:], StackData(data.x, data.y[1:]), [6])
    for trainer in (together, plain, alone):
        trainer.run_epoch()
    close(together.weights[1], alone.weights[0], 1e-9)
    assert (together.weights - plain.weights).abs().max() > 1e-4


@pytest.mark.parametrize("kind", NETWORKS)
def test_logits_of_a_stack_are_those_of_each_module_in_eval_mode(kind):
    modules = [module.float() for module in make(kind, [0, 1], dropout=0.3)]
    x = items(NETWORKS[kind][1], 4)
    x = x if NETWORKS[kind][1].tokens else x.float()
    weights = torch.stack([flat(module) for module in modules])
    got = evaluate_logits(copy.deepcopy(modules[0]), layout_of(modules[0], "test"), weights, x)
    for place, module in enumerate(modules):
        torch.testing.assert_close(got[place], module.eval()(x).detach(), atol=1e-5, rtol=1e-5)
    assert (got[0] - got[1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", NETWORKS)
def test_half_precision_trains_about_as_single_precision_does(kind):
    modules, given = [module.float() for module in make(kind, [0, 1])], make_data(kind, 2)
    data = StackData(given.x if NETWORKS[kind][1].tokens else given.x.float(), given.y)
    half, single = (start(modules, data, [5, 6], precision=p) for p in ("bfloat16", "float32"))
    losses = [trainer.run_epoch() for trainer in (half, single)]
    torch.testing.assert_close(*losses, atol=0.05, rtol=0.02)
    assert not torch.equal(*losses)
