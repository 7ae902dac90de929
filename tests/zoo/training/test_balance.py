"""TempBalance, against a plain loop of torch.optim whose groups get their rates from numpy's SVD."""

import contextlib
import copy
import inspect
import math

import numpy as np
import pytest
import torch
from torch import nn

from zoo import architectures, datasets
from zoo.errors import SpecificationError, UnknownNameError
from zoo.spec import ArchitectureSpecification, DatasetSpecification, Layout, LayoutEntry
from zoo.training import StackData, balance, stack
from zoo.training.balance import (
    followed,
    layer_alphas,
    learning_rate_factors,
    measurable,
    rate_factors,
)
from zoo.weights import layout_of

RESNET = ArchitectureSpecification.model_validate({"name": "resnet", "width": 4})
IMAGES = datasets.shape(DatasetSpecification(name="digits-images"))
METHODS = ("full", "farms")


def build_perceptron():
    """A wide and a narrow matrix, one too small for an exponent of the whole, and two kinds of norms."""
    return nn.Sequential(
        nn.Linear(30, 24),
        nn.BatchNorm1d(24),
        nn.Tanh(),
        nn.Linear(24, 50),
        nn.LayerNorm(50),
        nn.Tanh(),
        nn.Linear(50, 5),
    )


def build_resnet():
    return architectures.build(RESNET, IMAGES)


KINDS = {"perceptron": (build_perceptron, (30,)), "resnet": (build_resnet, (1, 8, 8))}

# the reference: nothing of zoo in it


def hill(values):
    """The exponent of the upper half, or nothing."""
    values = np.sort(values)
    upper = values[len(values) // 2 :]
    if len(values) < 20 or upper[0] <= 1e-12 * upper[-1]:
        return None
    return 1 + len(upper) / np.log(upper / upper[0]).sum()


def squares(matrix):
    return np.linalg.svd(matrix, compute_uv=False) ** 2


def plain_alpha(weight, method):
    if weight.ndim == 2:
        parts = [[weight]]
        if method == "farms":
            side = min(100, *weight.shape)
            down, across = (range(0, n - side + 1, max(1, (n - side) // 8))[:9] for n in weight.shape)
            parts = [[weight[i : i + side, j : j + side] for i in down for j in across]]
    else:
        places = [weight[..., i, j] for i in range(weight.shape[2]) for j in range(weight.shape[3])]
        tall = [m if len(m) >= m.shape[1] else m.T for m in places]
        rows, columns = tall[0].shape
        cut = columns if method == "farms" else rows
        parts = [[m[i : i + cut] for m in tall] for i in range(0, rows - cut + 1, cut)]
    found = [hill(np.concatenate([squares(matrix) for matrix in fit])) for fit in parts]
    return None if None in found else float(np.mean(found))


def plain_owner(name, module):
    """The matrix that a parameter shares its rate with."""
    prefix, _, last = name.rpartition(".")
    layer = module.get_submodule(prefix)
    if not isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return name if last == "weight" else f"{prefix}.weight"
    if prefix == "1":
        return "0.weight"
    return f"{prefix.replace('bn', 'conv').replace('downsample.1', 'downsample.0')}.weight"


def plain_factors(module, method, spread):
    """The factor of each parameter."""
    if method == "none":
        return [1.0 for _ in module.parameters()]
    named = {n: p.detach().numpy() for n, p in module.named_parameters() if p.ndim > 1}
    alphas = {name: plain_alpha(weight, method) for name, weight in named.items()}
    known = [alpha for alpha in alphas.values() if alpha is not None]
    low, high, found = min(known), max(known), []
    for name, _ in module.named_parameters():
        alpha = alphas.get(plain_owner(name, module))
        share = None if alpha is None else (alpha - low) / (high - low)
        found.append(1.0 if share is None else (1 - spread) + share * ((1 + spread) - (1 - spread)))
    return found


def climb(module, radius):
    length = math.sqrt(sum(p.grad.square().sum().item() for p in module.parameters()))
    before = [p.detach().clone() for p in module.parameters()]
    with torch.no_grad():
        for p in module.parameters():
            p.add_(radius * p.grad / length)
    return before


def plain_loop(plain, module, spec, seed, data, *, epochs=None, most=None):
    """Train as anyone would: a group of torch.optim for each parameter, its rate set before each step."""
    module, x, y = copy.deepcopy(module).train(), data.x, data.y[0]
    optimizer, clock = plain.optimizer(module, spec), plain.optimizer(copy.deepcopy(module), spec)
    schedule = plain.schedule(clock, spec, math.ceil(len(x) / spec.batch_size))
    common = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    optimizer.param_groups[:] = [{**common, "params": [p]} for p in module.parameters()]
    for epoch in range(1, (epochs or spec.epochs) + 1):
        factors = plain_factors(module, spec.temp_balance, spec.temp_balance_spread)
        for picked in plain.order(seed, epoch, len(x)).split(spec.batch_size)[:most]:
            for group, factor in zip(optimizer.param_groups, factors, strict=True):
                group["lr"] = clock.param_groups[0]["lr"] * factor
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[picked]), y[picked]).backward()
            if spec.optimizer == "sam":
                before, kept = climb(module, spec.sam_radius), copy.deepcopy(dict(module.named_buffers()))
                optimizer.zero_grad()
                nn.functional.cross_entropy(module(x[picked]), y[picked]).backward()
                with torch.no_grad():
                    for old, p in zip(before, module.parameters(), strict=True):
                        p.copy_(old)
                    for name, buffer in module.named_buffers():
                        buffer.copy_(kept[name])
            optimizer.step()
            clock.step()
            schedule.step()
    return plain.flat(module)


ROWS = [
    {"temp_balance": "none"},
    {"temp_balance": "full"},
    {"temp_balance": "farms", "temp_balance_spread": 0.9},
    {"temp_balance": "farms", "temp_balance_spread": 1.0},
]


@pytest.fixture
def started(make):
    """A stack of as many networks as there are rows, in float64; `modules` and `data` are beside it."""

    def started(kind="perceptron", rows=ROWS, *, dtype=torch.float64, chunk=None, seeds=None, **changes):
        builder, shape = KINDS[kind]
        modules = make.modules(builder, len(rows), dtype)
        data = make.data(len(rows), shape, items=40, dtype=dtype)
        common = {"learning_rate": 0.05, "batch_size": 16, "epochs": 3, "momentum": 0.9, **changes}
        specs = [make.spec(**{**common, **row}) for row in rows]
        trainer = make.trainer(modules, data, specs, seeds, chunk=chunk)
        trainer.modules_given = modules
        return trainer

    return started


def only(data, place):
    return StackData(data.x, data.y[place : place + 1])


def assert_as_plain(plain, trainer, tolerance=1e-8, **options):
    for place, row in enumerate(trainer.rows):
        module, data = trainer.modules_given[place], only(trainer.data, place)
        alone = plain_loop(plain, module, row.training, row.order_seed, data, **options)
        torch.testing.assert_close(trainer.weights[place], alone, atol=tolerance, rtol=0)


# the reference


@pytest.mark.parametrize("chunk", [None, 2, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_each_network_ends_where_a_plain_loop_with_rates_by_layer_does(started, make, plain, kind, chunk):
    """Each row of a stack has a method and a spread of its own, or none."""
    trainer = started(kind, chunk=chunk, schedule="cosine", weight_decay=1e-3)
    make.epochs(trainer, 3)
    assert_as_plain(plain, trainer)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("sgd", {"momentum": 0.0}),
        ("nesterov", {}),
        ("adam", {"learning_rate": 0.01}),
        ("adamw", {"learning_rate": 0.01, "weight_decay": 0.5}),
        ("sam", {}),
    ],
)
def test_every_optimiser_steps_by_the_rate_of_each_layer(started, make, plain, name, changes):
    trainer = started(optimizer=name, **changes)
    make.epochs(trainer, 3)
    assert_as_plain(plain, trainer)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("change", ["method", "spread", "never again"])
def test_another_balance_in_the_reference_would_be_seen(started, make, plain, method, change):
    trainer = started("resnet", rows=[{"temp_balance": method}])
    make.epochs(trainer, 3)
    other = {"method": {"temp_balance": METHODS[method == "full"]}, "spread": {"temp_balance_spread": 0.41}}
    spec, (seed, data) = trainer.rows[0].training, (0, trainer.data)
    if change == "never again":
        fixed = plain_factors(trainer.modules_given[0], method, 0.4)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(globals(), "plain_factors", lambda *_: fixed)
            alone = plain_loop(plain, trainer.modules_given[0], spec, seed, data)
    else:
        spec = spec.model_copy(update=other[change])
        alone = plain_loop(plain, trainer.modules_given[0], spec, seed, data)
    assert (trainer.weights[0] - alone).abs().max() > 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_exponents_are_those_of_singular_values(make, kind):
    builder, _ = KINDS[kind]
    modules = make.modules(builder, 2)
    layout, weights = layout_of(modules[0], "test"), torch.stack([flat(module) for module in modules])
    for method in METHODS:
        found = layer_alphas(weights, layout, method)
        for row, module in zip(found, modules, strict=True):
            matrices = [p.detach().numpy() for p in module.parameters() if p.ndim > 1]
            expected = [plain_alpha(matrix, method) for matrix in matrices]
            expected = [math.nan if alpha is None else alpha for alpha in expected]
            np.testing.assert_allclose(row, expected, rtol=1e-9)


def flat(module):
    return torch.cat([t.detach().double().flatten() for t in module.state_dict().values()])


def test_steps_that_are_timed_are_the_first_of_an_epoch_and_balance_once(started, plain, monkeypatch):
    trainer, calls = started(), []
    real = balance.learning_rate_factors
    monkeypatch.setattr(stack, "learning_rate_factors", lambda *args: calls.append(1) or real(*args))
    monkeypatch.setattr(plain, "order", lambda _seed, _epoch, items: torch.arange(items))
    trainer.run_steps(2)
    assert_as_plain(plain, trainer, epochs=1, most=2)
    trainer.run_steps(2)
    assert len(calls) == 1


# factors


def test_the_heaviest_and_the_lightest_tail_get_the_ends_of_the_range(make):
    modules = make.modules(build_resnet, 3)
    layout, weights = layout_of(modules[0], "test"), torch.stack([flat(module) for module in modules])
    spreads = (0.4, 0.9, 1.0)
    for method in METHODS:
        specs = [make.spec(temp_balance=method, temp_balance_spread=spread) for spread in spreads]
        factors = learning_rate_factors(weights, layout, specs)
        assert factors.shape == (3, sum(p.numel() for p in modules[0].parameters()))
        for row, spread in zip(factors, spreads, strict=True):
            assert row.min().item() == pytest.approx(1 - spread, abs=1e-12)
            assert row.max().item() == pytest.approx(1 + spread, abs=1e-12)
        alphas = layer_alphas(weights, layout, method)
        matrices = [entry.kind == "weight" for entry in layout.entries if entry.kind != "buffer"]
        sizes = [entry.size for entry in layout.entries if entry.kind != "buffer"]
        first = torch.tensor(np.cumsum([0, *sizes[:-1]]))[torch.tensor(matrices)]
        for row, own in zip(factors[:, first], alphas, strict=True):
            known = own.isfinite()
            assert torch.equal(row[known].argsort(), own[known].argsort())  # the larger, the larger
            assert (row[~known] == 1).all()


def test_a_batch_norm_follows_the_convolution_before_it_and_a_layer_norm_stands_alone():
    names = [name for name, _ in build_resnet().named_parameters()]
    owners = dict(zip(names, followed(architectures.layout(RESNET, IMAGES)), strict=True))
    assert owners["conv1.weight"] == "conv1.weight"
    assert owners["bn1.weight"] == owners["bn1.bias"] == "conv1.weight"
    assert owners["layer2.0.bn1.bias"] == "layer2.0.conv1.weight"
    assert owners["layer2.0.bn2.weight"] == "layer2.0.conv2.weight"
    assert owners["layer2.0.downsample.1.weight"] == "layer2.0.downsample.0.weight"
    assert owners["fc.bias"] == "fc.weight"
    names = [name for name, _ in build_perceptron().named_parameters()]
    owners = dict(zip(names, followed(layout_of(build_perceptron(), "test")), strict=True))
    assert owners["1.weight"] == owners["1.bias"] == "0.weight"
    assert owners["4.weight"] is owners["4.bias"] is None


NEEDED = {
    "mlp": {"width": 8, "normalisation": "batch"},
    **{name: {"model_dim": 64} for name in ("gpt", "transformer", "vit")},
}


def default_layout(name):
    """With the first data that the architecture takes."""
    for data in ("digits", "fashion-mnist", "text", "convection"):
        with contextlib.suppress(SpecificationError):
            shape = datasets.shape(DatasetSpecification(name=data))
            spec = ArchitectureSpecification.model_validate({"name": name, **NEEDED.get(name, {})})
            return architectures.layout(spec, shape)
    raise AssertionError(name)


@pytest.mark.parametrize("name", architectures.names())
def test_every_weight_and_bias_of_an_architecture_has_an_owner(name):
    layout = default_layout(name)
    trained = [entry for entry in layout.entries if entry.kind != "buffer"]
    for entry, owner in zip(trained, followed(layout), strict=True):
        if entry.kind == "weight":
            assert owner == entry.name
        if entry.kind == "bias":
            assert owner == entry.name.removesuffix(".bias") + ".weight"


def entries(*shapes):
    named = [LayoutEntry(name=f"{n}.weight", shape=shape, kind="weight") for n, shape in enumerate(shapes)]
    return Layout(architecture="test", entries=tuple(named))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LEFT_OUT = {
    "zero": torch.zeros(30, 30, dtype=torch.float64),
    "rank one": torch.ones(30, 30, dtype=torch.float64),
    "all singular values equal": torch.eye(30, dtype=torch.float64),
    "too small": random(4, 4),
    "one row": random(1, 19),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_layer_without_an_exponent_keeps_the_rate_and_the_others_share_the_range(make, name, method):
    parts = [random(40, 40), LEFT_OUT[name], random(40, 80, seed=1), random(30, 30, seed=2).exp()]
    weights = torch.cat([part.flatten() for part in parts])[None]
    layout = entries(*(part.shape for part in parts))
    factors = learning_rate_factors(weights, layout, [make.spec(temp_balance=method)])[0]
    pieces = factors.split([part.numel() for part in parts])
    assert all((piece == piece[0]).all() for piece in pieces)
    assert pieces[1][0] == 1
    ends = [piece[0].item() for piece in pieces]
    assert (min(ends), max(ends)) == pytest.approx((0.6, 1.4))


@pytest.mark.parametrize("method", METHODS)
def test_layers_of_equal_exponents_keep_the_rate(make, method):
    layout, same = entries((40, 40), (40, 40)), random(40, 40).flatten()
    weights = torch.stack([torch.cat([same, same]), torch.cat([same, random(40, 40, seed=1).flatten()])])
    factors = learning_rate_factors(weights, layout, [make.spec(temp_balance=method)] * 2)
    assert (factors[0] == 1).all()
    assert sorted(set(factors[1].tolist())) == pytest.approx([0.6, 1.4])


@pytest.mark.parametrize("method", METHODS)
def test_a_network_with_one_exponent_or_none_keeps_the_rate(make, method):
    spec = make.spec(temp_balance=method)
    one = entries((40, 40), (4, 3))
    assert (learning_rate_factors(random(1, one.size), one, [spec]) == 1).all()
    nothing = Layout(architecture="test", entries=(LayoutEntry(name="bias", shape=(7,), kind="bias"),))
    assert learning_rate_factors(random(1, 7), nothing, [spec]).tolist() == [[1.0] * 7]
    vector = Layout(architecture="test", entries=(LayoutEntry(name="w", shape=(40,), kind="weight"),))
    assert learning_rate_factors(random(1, 40), vector, [spec]).tolist() == [[1.0] * 40]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("method", METHODS)
def test_a_network_that_is_not_finite_keeps_the_rate_and_its_neighbours_theirs(make, method, bad):
    layout, spec = entries((40, 40), (40, 80), (30, 30)), make.spec(temp_balance=method)
    weights = random(3, layout.size)
    whole = learning_rate_factors(weights, layout, [spec] * 3)
    weights[1, 5] = bad
    factors = learning_rate_factors(weights, layout, [spec] * 3)
    assert (factors[1] == 1).all()
    assert torch.equal(factors[[0, 2]], whole[[0, 2]])
    assert (whole[1] != 1).any()


def test_factors_have_the_type_of_the_weights(make):
    layout = entries((40, 40), (40, 80))
    spec = make.spec(temp_balance="farms")
    exact = learning_rate_factors(random(1, layout.size), layout, [spec])
    found = learning_rate_factors(random(1, layout.size).float(), layout, [spec])
    assert (exact.dtype, found.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(found, exact.float(), atol=1e-5, rtol=0)


def test_shares_are_those_of_the_formula():
    alphas = torch.tensor([[2.0, 6.0, 3.0, math.nan], [5.0, math.nan, math.nan, math.nan]])
    found = rate_factors(alphas, torch.tensor([[0.4], [0.4]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 1.4, 0.8, 1.0], [1.0, 1.0, 1.0, 1.0]]))


@pytest.mark.parametrize("method", METHODS)
def test_weights_that_are_large_enough_are_those_that_have_exponents(make, method):
    for name, builder in {"resnet": build_resnet, "perceptron": build_perceptron}.items():
        module = make.modules(builder, 1)[0]
        layout = layout_of(module, name)
        names = [entry.name for entry in layout.entries if entry.kind == "weight"]
        known = layer_alphas(flat(module)[None], layout, method)[0].isfinite().tolist()
        assert measurable(layout, method) == [
            name for name, is_known in zip(names, known, strict=True) if is_known
        ]
        assert 2 <= sum(known) < len(names) or method == "farms"


def test_another_method_is_refused():
    layout, match = entries((40, 40)), "unknown method 'farm'; did you mean 'farms'"
    with pytest.raises(UnknownNameError, match=match):
        inspect.unwrap(layer_alphas)(random(1, 1600), layout, "farm")
    with pytest.raises(UnknownNameError, match=match):
        inspect.unwrap(measurable)(layout, "farm")


# in a stack


def test_without_a_row_that_asks_nothing_is_computed(started, make, monkeypatch):
    def refuse(*_):
        raise AssertionError

    trainer = started(rows=[{}, {}])
    monkeypatch.setattr(stack, "learning_rate_factors", refuse)
    make.epochs(trainer, 1)
    assert trainer.factors() == [None]


def test_in_chunks_only_those_that_ask_are_balanced(started):
    factors = started(chunk=1).factors()
    assert factors[0] is None
    assert [factor.shape[0] for factor in factors[1:]] == [1, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [None, 1])
def test_a_network_alone_ends_where_it_ends_in_a_stack(started, make, kind, chunk):
    together = started(kind, chunk=chunk)
    make.epochs(together, 3)
    for place in range(len(ROWS)):
        alone = started(kind, chunk=chunk)
        alone.select([place], [alone.rows[place]])
        make.epochs(alone, 3)
        torch.testing.assert_close(alone.weights[0], together.weights[place], atol=1e-9, rtol=0)
        if chunk == 1:
            assert torch.equal(alone.weights[0], together.weights[place])


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "sam"])
def test_a_run_interrupted_after_any_epoch_ends_in_the_same_bits(started, make, optimizer, precision):
    options = {"optimizer": optimizer, "precision": precision, "dtype": torch.float32, "learning_rate": 0.01}
    undisturbed, states = started(**options), []
    for _ in range(3):
        states.append((undisturbed.epoch, undisturbed.state()))
        undisturbed.run_epoch()
    for epoch, state in states:
        resumed = started(**options)
        resumed.load(state, epoch)
        assert make.epochs(resumed, 3 - epoch).isfinite().all()
        end = resumed.state()
        assert all(torch.equal(values, end[key]) for key, values in undisturbed.state().items())


def test_rows_that_are_kept_take_their_balance_along(started, make):
    whole, part = started(), started()
    make.epochs(whole, 3)
    make.epochs(part, 1)
    part.select([3, 0, 1], [part.rows[3], part.rows[0], part.rows[1]])
    make.epochs(part, 2)
    torch.testing.assert_close(part.weights, whole.weights[[3, 0, 1]], atol=1e-9, rtol=0)


def test_after_a_selection_timed_steps_balance_the_rows_that_are_left(started):
    trainer = started()
    trainer.run_steps(1)
    trainer.select([2], [trainer.rows[2]])
    trainer.run_steps(1)
    assert trainer.weights.isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("chunk", [None, 1])
def test_graphs_end_where_the_cpu_does_and_resume_in_the_same_bits(make, chunk):
    modules = make.modules(build_perceptron, 4, torch.float32)
    data = make.data(4, (30,), items=40, dtype=torch.float32)
    specs = [make.spec(learning_rate=0.02, batch_size=16, epochs=3, **row) for row in ROWS]
    ends = []
    for device in ("cpu", "cuda", "cuda"):
        trainer = make.trainer(modules, data, specs, device=device, chunk=chunk)
        trainer.run_epoch()
        if len(ends) == 2:
            state, trainer = trainer.state(), make.trainer(modules, data, specs, device=device, chunk=chunk)
            trainer.load(state, 1)
        make.epochs(trainer, 2)
        ends.append(trainer.weights.cpu())
    torch.testing.assert_close(ends[1], ends[0], atol=1e-4, rtol=0)
    assert torch.equal(ends[1], ends[2])
