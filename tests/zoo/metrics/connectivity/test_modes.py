import copy
import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

from zoo.errors import SpecificationError
from zoo.metrics.connectivity import QUADRATIC, Fit, bezier, fitting, linear_barrier, memory
from zoo.metrics.connectivity.stored import PTMZ, YANG2021
from zoo.training import stream
from zoo.training.streams import stream_key, uniform

SHORT = dataclasses.replace(QUADRATIC, steps=12, batch_size=32)


def plain_bend(a, b, x, y, fit):
    """One pair at a time with autograd and torch's own optimiser, nothing of ours but the streams."""
    names = [name for name, _ in a.named_parameters()]
    first, last = ([p.detach() for p in net.parameters()] for net in (a, b))
    bend = [((p + q) / 2).requires_grad_() for p, q in zip(first, last, strict=True)]
    skeleton, optimizer = copy.deepcopy(a).train(), torch.optim.SGD(bend, lr=1.0, momentum=fit.momentum)
    steps = fit.steps or fit.epochs * -(-len(x) // fit.batch_size)
    key, per_epoch = torch.tensor(stream_key(0, "bezier:place")), -(-len(x) // fit.batch_size)
    for step, t in enumerate(uniform(key, torch.arange(steps)).tolist()):
        order = torch.randperm(len(x), generator=stream(0, "bezier:order", step // per_epoch + 1))
        picked = order.tensor_split(per_epoch)[step % per_epoch]
        point = [
            ((1 - t) ** 2 * p + 2 * t * (1 - t) * c + t**2 * q).detach().requires_grad_()
            for p, c, q in zip(first, bend, last, strict=True)
        ]
        logits = functional_call(skeleton, dict(zip(names, point, strict=True)), (x[picked],))
        for p, g in zip(
            point, torch.autograd.grad(nn.functional.cross_entropy(logits, y[picked]), point), strict=True
        ):
            p.grad = g
        if fit.clip is not None:
            nn.utils.clip_grad_norm_(point, fit.clip)
        for c, p in zip(bend, point, strict=True):
            c.grad = 2 * t * (1 - t) * (p.grad + fit.weight_decay * p.detach())
        optimizer.param_groups[0]["lr"] = rate(fit, step, steps, per_epoch)
        optimizer.step()
    return torch.cat([c.detach().flatten() for c in bend])


def rate(fit, step, steps, per_epoch):
    """The two schedules once more, in other words."""
    if fit.annealing == "cosine":
        return fit.learning_rate * math.cos(math.pi * step / steps / 2) ** 2
    done = (step // per_epoch + 1) / fit.epochs
    if done <= 0.5:
        return fit.learning_rate
    return fit.learning_rate * (1 - (done - 0.5) / 0.4 * 0.99 if done <= 0.9 else 0.01)


@pytest.mark.parametrize("kind", ["perceptron", "bare residual"])
@pytest.mark.parametrize(
    "fit",
    [
        pytest.param(dataclasses.replace(SHORT, clip=0.3), id="cosine, clipped"),
        pytest.param(dataclasses.replace(PTMZ, epochs=8, batch_size=32), id="plateau, decayed"),
    ],
)
def test_a_bend_is_what_a_plain_loop_trains(kind, fit, toys):
    nets = [net.double() for net in toys.networks(kind.split()[-1], range(4))]
    for net in nets if kind != "perceptron" else []:
        net.drop.p = 0.0  # the only part that draws
    x, y = toys.items()
    found = bezier(toys.stacked(nets[:2]), toys.stacked(nets[2:]), x.double(), y, fit=fit).bend
    for row in range(2):
        expected = plain_bend(nets[row], nets[row + 2], x.double(), y, fit)
        torch.testing.assert_close(found[row], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["perceptron", "normalised", "residual"])
def test_a_pair_alone_is_the_pair_in_a_stack(kind, toys, monkeypatch):
    nets, (x, y) = toys.networks(kind, range(6)), toys.items()
    whole = bezier(toys.stacked(nets[:3]), toys.stacked(nets[3:]), x, y, fit=SHORT, points=3)
    alone = bezier(nets[1], nets[4], x, y, fit=SHORT, points=3)
    monkeypatch.setattr(memory, "MAX_BYTES", 20_000)
    split = bezier(toys.stacked(nets[:3]), toys.stacked(nets[3:]), x, y, fit=SHORT, points=3)
    torch.testing.assert_close(alone.train.nats, whole.train.nats[1:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(split.train.nats, whole.train.nats, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(split.bend, whole.bend, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["perceptron", "normalised", "residual"])
def test_the_ends_are_the_networks_themselves(kind, toys):
    nets, (x, y), others = toys.networks(kind, range(2)), toys.items(), toys.items(40, seed=9)
    curves = bezier(*nets, x, y, held_out=others, fit=SHORT, points=5)
    for curve, (inputs, labels) in ((curves.train, (x, y)), (curves.held_out, others)):
        for net, place in zip(nets, (0, -1), strict=True):
            wrong = 100 * (net.eval()(inputs).argmax(1) != labels).double().mean().item()
            assert curve.points[0, place].item() == pytest.approx(wrong, abs=1e-12)


def trained(net, x, y):
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net


def test_a_curve_goes_around_a_barrier(toys):
    x, y = toys.items(200)
    nets = [trained(net, x, y) for net in toys.networks("perceptron", (0, 1))]
    straight = linear_barrier(*nets, x, y, points=9)
    curve = bezier(*nets, x, y, fit=dataclasses.replace(QUADRATIC, steps=300)).train
    assert straight.mode_connectivity.item() < -5
    assert curve.nats[0, 4] < straight.nats[0, 4] / 4
    assert straight.mode_connectivity_nats < curve.mode_connectivity_nats < 0
    assert curve.mode_connectivity.item() > -3
    assert curve.t.tolist() == [place / 8 for place in range(9)]


def test_a_bend_that_is_not_trained_is_the_straight_line(toys):
    nets, (x, y) = toys.networks("perceptron", range(2)), toys.items()
    still = dataclasses.replace(SHORT, learning_rate=0.0)
    bent, straight = bezier(*nets, x, y, fit=still).train, linear_barrier(*nets, x, y, points=9)
    torch.testing.assert_close(bent.nats, straight.nats, rtol=1e-5, atol=1e-6)


def test_a_curve_that_leaves_the_numbers_has_no_value_but_its_ends_have(toys):
    nets, (x, y) = toys.networks("perceptron", range(2)), toys.items()
    train = bezier(*nets, x, y, fit=dataclasses.replace(SHORT, learning_rate=1e30, clip=None)).train
    assert train.points.isfinite().tolist() == [[True, *[False] * 7, True]]
    assert train.mode_connectivity.isnan().all()
    assert train.mode_connectivity_nats.isnan().all()


def test_a_network_that_overflows_does_not_touch_its_neighbours(toys):
    nets, (x, y) = toys.networks("perceptron", range(4)), toys.items()
    a, b = toys.stacked(nets[:2]), toys.stacked(nets[2:])
    a.weights[0] *= 1e25
    train, calm = bezier(a, b, x, y, fit=SHORT).train, bezier(nets[1], nets[3], x, y, fit=SHORT).train
    assert train.mode_connectivity.isnan().tolist() == [True, False]
    torch.testing.assert_close(train.nats[1:], calm.nats, rtol=1e-4, atol=1e-5)


# schedules


def test_the_cosine_is_that_of_torch_and_ends_at_zero():
    fit = dataclasses.replace(QUADRATIC, steps=50)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=fit.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert fit.rate(step, items=1000) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        schedule.step()
    assert fit.rate(50, items=1000) == pytest.approx(0, abs=1e-12)


def test_the_plateau_anneals_as_written_and_does_not_compound():
    rates = [PTMZ.rate(step, items=300) for step in range(30)]  # three steps an epoch
    written = [0.1] * 5 + [0.07525, 0.0505, 0.02575, 0.001, 0.001]
    assert rates == pytest.approx([value for value in written for _ in range(3)], rel=1e-12)
    compounded = 0.1 * 0.7525 * 0.505 * 0.2575 * 0.01 * 0.01
    assert rates[-1] > 1000 * compounded
    assert PTMZ.total(300) == 30


def test_the_plateau_of_fifty_epochs_falls_between_25_and_45():
    rates = [YANG2021.rate(step, items=100) for step in range(50)]
    assert rates[:25] == [0.01] * 25
    assert rates[25:45] == pytest.approx([0.01 * (1 - 0.0495 * k) for k in range(1, 21)])
    assert rates[45:] == pytest.approx([1e-4] * 5)


def test_a_rate_is_a_function_of_the_step_alone():
    forwards = [QUADRATIC.rate(step, items=70) for step in range(1000)]
    assert [QUADRATIC.rate(step, items=70) for step in reversed(range(1000))] == forwards[::-1]


@pytest.mark.parametrize(("steps", "epochs"), [(None, None), (5, 5)])
def test_a_bend_is_trained_for_steps_or_for_epochs(steps, epochs):
    with pytest.raises(SpecificationError, match=f"one of both, got steps={steps} and epochs={epochs}; set"):
        Fit(0.1, 0.9, 0.0, 64, steps=steps, epochs=epochs)


def test_settings_name_what_is_set():
    assert QUADRATIC.settings() == {
        "learning_rate": 0.2,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "batch_size": 64,
        "steps": 1000,
        "annealing": "cosine",
        "clip": 1.0,
        "start": "middle",
    }


# the start


def test_a_random_bend_begins_where_torch_initialises_layers(toys):
    stack = toys.stacked(toys.networks("residual", [0]))
    drawn = dict(
        zip([e.name for e in stack.layout.entries if e.kind != "buffer"], _pieces(stack), strict=True)
    )
    for name, fan_in in (("first.weight", 4), ("first.bias", 4), ("second.weight", 6), ("head.bias", 6)):
        assert drawn[name].abs().max() <= fan_in**-0.5
    assert drawn["second.weight"].abs().max() > 0.9 * 6**-0.5
    assert drawn["second.weight"].mean().abs() < 0.1
    assert (drawn["norm.weight"] > 0).all()
    assert (drawn["norm.bias"] == 0).all()


def _pieces(stack):
    sizes = [entry.size for entry in stack.layout.entries if entry.kind != "buffer"]
    return fitting.fit_bends(
        stack,
        stack,
        fitting.Items(torch.zeros(4, 4), torch.zeros(4).long()),
        dataclasses.replace(SHORT, learning_rate=0.0, start="random"),
    )[0].split(sizes)


# refusals


def test_a_curve_is_refused_like_a_line(toys):
    nets, (x, y) = toys.networks("perceptron", range(2)), toys.items()
    with pytest.raises(SpecificationError, match="at least 2 points, got 1"):
        bezier(*nets, x, y, points=1)
    with pytest.raises(SpecificationError, match="networks of one layout"):
        bezier(nets[0], nn.Linear(4, 3), x, y)
    with pytest.raises(SpecificationError, match="got 90 inputs and 89 labels"):
        bezier(*nets, x, y, held_out=(x, y[1:]))
