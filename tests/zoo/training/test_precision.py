import copy

import pytest
import torch
from torch import nn

import zoo.training.step
from zoo.training.step import clipped

FIRST_SCALE = 2.0**16


def build_wide():
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def build_convolution():
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


NETWORKS = {"perceptron": ((5,), build_wide), "convolution": ((2, 6, 6), build_convolution)}


def scaled_loop(plain, module, spec, seed, data, place):
    """torch's own mixed precision on an ordinary module; also gives the scale before and after each step."""
    module = copy.deepcopy(module)
    optimizer = plain.optimizer(module, spec)
    half = {"float16": torch.float16, "bfloat16": torch.bfloat16}[spec.precision]
    scaler = torch.amp.GradScaler("cpu", enabled=spec.precision == "float16")
    scales = []
    for epoch in range(1, spec.epochs + 1):
        for picked in plain.order(seed, epoch, len(data.x)).split(spec.batch_size):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=half):
                logits = module(data.x[picked])
            scaler.scale(nn.functional.cross_entropy(logits.float(), data.y[place][picked])).backward()
            scaler.unscale_(optimizer)
            if spec.gradient_clip is not None:
                nn.utils.clip_grad_norm_(module.parameters(), spec.gradient_clip)
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
    return plain.flat(module), scales


def stack_of(make, name, specs, *, scale_inputs=1.0, chunk=None):
    shape, construct = NETWORKS[name]
    count = len(specs)
    modules, data = (
        make.modules(construct, count, torch.float32),
        make.data(count, shape, dtype=torch.float32),
    )
    data = type(data)(data.x * scale_inputs, data.y)
    return modules, data, make.trainer(modules, data, specs, chunk=chunk)


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_is_that_of_torch(make, plain, name, precision, optimizer, chunk):
    smooth = {"epsilon": 1e-2}  # else adam makes a step of each rounding error
    specs = [
        make.spec(learning_rate=r, optimizer=optimizer, precision=precision, gradient_clip=clip, **smooth)
        for r, clip in ((0.01, None), (0.005, 0.5), (0.002, None))
    ]
    modules, data, trainer = stack_of(make, name, specs, chunk=chunk)
    make.epochs(trainer, 3)
    # rounding to 8 and 11 bits differs between kernels; weights move by about 0.1
    tolerance = {"float16": 2e-3, "bfloat16": 1e-2}[precision] * (4 if optimizer == "adam" else 1)
    for place, spec in enumerate(specs):
        expected, scales = scaled_loop(plain, modules[place], spec, place, data, place)
        torch.testing.assert_close(trainer.weights[place], expected, atol=tolerance, rtol=0)
        if precision == "float16":
            assert trainer.slots["loss_scale"][place].item() == scales[-1]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_is_close_to_full_precision_but_is_not_it(make, plain, name, precision):
    spec = make.spec(learning_rate=0.02, precision=precision)
    modules, data, trainer = stack_of(make, name, [spec] * 2)
    make.epochs(trainer, 3)
    for place in range(2):
        full = plain.loop(modules[place], spec, place, data.x, data.y[place]).weights
        start = plain.flat(modules[place])
        gap, way = (trainer.weights[place] - full).norm(), (full - start).norm()
        assert 1e-6 * way < gap < 0.05 * way


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_and_slots_keep_their_type(make, name):
    _, _, trainer = stack_of(make, name, [make.spec(precision="float16")] * 2)
    losses = trainer.run_epoch()
    assert {t.dtype for t in (losses, trainer.weights, *trainer.state().values())} == {torch.float32}


# loss scaling


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "sam"])
@pytest.mark.parametrize("name", NETWORKS)
def test_only_the_network_that_overflows_skips_its_step_and_halves_its_scale(make, name, optimizer, chunk):
    spec = make.spec(optimizer=optimizer, precision="float16", batch_size=30, learning_rate=0.01)
    _, _, trainer = stack_of(make, name, [spec] * 3, chunk=chunk)
    trainer.run_epoch()  # slots that are not zero any more
    trainer.slots["loss_scale"][1] = 2.0**30  # beyond float16
    before = trainer.state()
    parameters = trainer.parameters.clone()
    trainer.run_epoch()
    assert trainer.slots["loss_scale"].flatten().tolist() == [FIRST_SCALE, 2.0**29, FIRST_SCALE]
    assert trainer.slots["good_steps"].flatten().tolist() == [2, 0, 2]
    for slot in set(before) - {"weights", "loss_scale", "good_steps"}:
        assert torch.equal(trainer.slots[slot][1], before[slot][1])
    moved = (trainer.parameters != parameters).any(dim=1)
    assert moved.tolist() == [True, False, True]


def test_a_network_that_overflows_goes_the_way_of_torchs_scaler(make, plain):
    spec = make.spec(precision="float16", epochs=5, learning_rate=0.01)
    _, _, trainer = stack_of(make, "perceptron", [spec] * 2, scale_inputs=2000.0)
    modules, data, _ = stack_of(make, "perceptron", [spec] * 2, scale_inputs=2000.0)
    with torch.no_grad():
        trainer.parameters *= 0.01
        for module in modules:
            for p in module.parameters():
                p.mul_(0.01)
    scales = []
    for _ in range(spec.epochs):
        trainer.run_epoch()
        scales.append(trainer.slots["loss_scale"].flatten().tolist())
    for place in range(2):
        expected, reference = scaled_loop(plain, modules[place], spec, place, data, place)
        assert reference[-1] < FIRST_SCALE
        assert [row[place] for row in scales] == reference[3::4]
        torch.testing.assert_close(trainer.weights[place], expected, atol=0.05, rtol=0.05)


def test_a_scale_doubles_after_enough_good_steps_as_torchs_does(make, monkeypatch):
    scaler = torch.amp.GradScaler("cpu")
    assert (scaler.get_scale(), scaler.get_growth_interval()) == (FIRST_SCALE, 2000)
    assert (scaler.get_growth_factor(), scaler.get_backoff_factor()) == (2.0, 0.5)
    assert zoo.training.step._FIRST_SCALE == FIRST_SCALE
    assert zoo.training.step._PATIENCE == 2000
    monkeypatch.setattr(zoo.training.step, "_PATIENCE", 5)
    _, _, trainer = stack_of(make, "perceptron", [make.spec(precision="float16")] * 2)
    trainer.slots["loss_scale"][:] = 1024.0
    trainer.slots["good_steps"][1] = 2
    trainer.run_epoch()  # four steps
    assert trainer.slots["loss_scale"].flatten().tolist() == [1024, 2048]
    assert trainer.slots["good_steps"].flatten().tolist() == [4, 1]
    trainer.run_epoch()
    assert trainer.slots["loss_scale"].flatten().tolist() == [2048, 4096]
    assert trainer.slots["good_steps"].flatten().tolist() == [3, 0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_precisions_scale_nothing(make, precision):
    _, _, trainer = stack_of(make, "perceptron", [make.spec(precision=precision)])
    assert set(trainer.slots) == {"velocity"}


# clipping


@pytest.mark.parametrize("bound", [0.1, 1.0, 5.0, 100.0])
def test_clipping_one_gradient_is_that_of_torch(bound):
    gradients = torch.randn(4, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    got = clipped(gradients, torch.full((4, 1), bound, dtype=torch.float64))
    for row, gradient in zip(got, gradients, strict=True):
        parameter = nn.Parameter(torch.zeros(20, dtype=torch.float64))
        parameter.grad = gradient.clone()
        nn.utils.clip_grad_norm_([parameter], bound)
        torch.testing.assert_close(row, parameter.grad, atol=1e-14, rtol=0)


def test_an_infinite_bound_changes_no_bit():
    gradients = torch.randn(4, 20) * torch.tensor([[1.0], [1e-20], [1e25], [1e38]])
    assert torch.equal(clipped(gradients, torch.full((4, 1), float("inf"))), gradients)
    assert clipped(torch.full((1, 3), float("nan")), torch.tensor([[float("inf")]])).isnan().all()
