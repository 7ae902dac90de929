import math

import pytest
import torch

from zoo.architectures import DataShape, build, initialise, layout, names, resolve
from zoo.errors import SpecificationError, UnknownNameError
from zoo.spec import ArchitectureSpecification
from zoo.training import stream


def cnn(**options):
    return ArchitectureSpecification.model_validate({"name": "cnn", **options})


def mlp(**options):
    return ArchitectureSpecification.model_validate({"name": "mlp", **options})


@pytest.mark.parametrize(
    ("width", "depth", "inputs", "classes"), [(8, 2, (64,), 10), (3, 1, (10,), 4), (5, 4, (7,), 2)]
)
def test_the_mlp_has_as_many_parameters_as_its_closed_form(width, depth, inputs, classes):
    shape = DataShape(inputs, classes)
    d, c = inputs[0], classes
    expected = width * (d + 1) + (depth - 1) * width * (width + 1) + c * (width + 1)
    module = build(mlp(width=width, depth=depth), shape)
    assert sum(p.numel() for p in module.parameters()) == expected
    assert layout(mlp(width=width, depth=depth), shape).size == expected


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_the_mlp_maps_a_batch_to_logits(activation):
    module = build(mlp(width=4, activation=activation), DataShape((6,), 3))
    assert module(torch.zeros(5, 6)).shape == (5, 3)


def test_initial_weights_fill_the_interval_of_their_fan_in():
    module = build(mlp(width=400, depth=1), DataShape((64,), 10))
    initialise(mlp(width=400, depth=1), module, stream(0, "init"))
    for tensor, fan_in in ((module[0].weight, 64), (module[0].bias, 64), (module[2].weight, 400)):
        bound = 1 / math.sqrt(fan_in)
        values = tensor.detach().double()
        assert values.abs().max() <= bound
        error = bound / math.sqrt(3 * values.numel())
        assert abs(values.mean()) < 5 * error
        # the variance of a uniform on (-b, b) is b^2 / 3, that of its square 4 b^4 / 45
        assert abs(values.square().mean() - bound**2 / 3) < 5 * bound**2 * math.sqrt(4 / 45 / values.numel())


def test_initial_weights_depend_on_their_seed_alone():
    one, two, other = (build(mlp(width=4), DataShape((6,), 3)) for _ in range(3))
    for module, seed in ((one, 0), (two, 0), (other, 1)):
        initialise(mlp(width=4), module, stream(seed, "init"))
    assert torch.equal(one[0].weight, two[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)


def test_defaults_are_written_out():
    assert resolve(mlp(width=8)) == resolve(mlp(width=8, depth=2, activation="relu"))


def test_equal_networks_share_a_layout_and_others_do_not():
    shape = DataShape((6,), 3)
    assert layout(mlp(width=4), shape) == layout(mlp(width=4, activation="tanh"), shape)
    assert layout(mlp(width=4), shape).id != layout(mlp(width=5), shape).id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width: Input should be greater than or equal to 1, got 0"),
        ({"width": 8, "dept": 2}, "dept: Extra inputs are not permitted"),
        ({"width": 8, "activation": "sine"}, "activation: Input should be 'relu', 'tanh' or 'gelu'"),
        ({}, "width: Field required"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(SpecificationError, match=rf"architecture 'mlp':\n  {message}"):
        build(mlp(**options), DataShape((6,), 3))


def test_an_unknown_architecture_is_refused():
    assert names() == sorted(names())
    assert {"cnn", "mlp", "model-zoo-cnn", "residual", "resnet", "twins"} <= set(names())
    with pytest.raises(UnknownNameError, match=r"unknown architecture 'mpl'; did you mean 'mlp'"):
        resolve(ArchitectureSpecification(name="mpl"))


def test_the_mlp_takes_vectors():
    with pytest.raises(SpecificationError, match=r"vectors, this dataset has inputs of shape \(1, 8, 8\)"):
        layout(mlp(width=2), DataShape((1, 8, 8), 10))


# options of the mlp


def test_a_plain_mlp_keeps_its_layout_and_its_specification():
    assert layout(mlp(width=8), DataShape((64,), 10)).id == "mlp-682-72d3ce7b"
    assert resolve(mlp(width=8, normalisation="none", dropout=0.0)).options == {
        "width": 8,
        "depth": 2,
        "activation": "relu",
    }
    assert resolve(mlp(width=8, dropout=0.5)).options["dropout"] == 0.5


@pytest.mark.parametrize(("normalisation", "statistics"), [("batch", 2 * 5 + 1), ("layer", 0)])
@pytest.mark.parametrize("depth", [1, 3])
def test_a_normalised_mlp_has_as_many_numbers_as_its_closed_form(normalisation, statistics, depth):
    shape, width = DataShape((7,), 2), 5
    plain = layout(mlp(width=width, depth=depth), shape).size
    found = layout(mlp(width=width, depth=depth, normalisation=normalisation), shape)
    assert found.size == plain + 2 * width * depth + statistics * depth
    assert sum(e.size for e in found.entries if e.kind == "buffer") == statistics * depth


def test_normalisations_begin_as_if_they_had_seen_nothing():
    spec = mlp(width=4, normalisation="batch", dropout=0.5)
    module = build(spec, DataShape((6,), 3))
    module(torch.randn(8, 6, generator=stream(0, "init")))
    initialise(spec, module, stream(0, "init"))
    norm = module[1]
    assert torch.equal(norm.running_mean, torch.zeros(4))
    assert torch.equal(norm.weight, torch.ones(4))
    assert int(norm.num_batches_tracked) == 0


# cnn


def test_the_cnn_of_unterthiner_has_4970_parameters():
    assert layout(cnn(), DataShape((1, 28, 28), 10)).size == 4970


@pytest.mark.parametrize(
    ("width", "depth", "channels", "classes"), [(16, 3, 1, 10), (3, 1, 3, 4), (5, 4, 2, 7)]
)
def test_the_cnn_has_as_many_parameters_as_its_closed_form(width, depth, channels, classes):
    expected = width * (9 * channels + 1) + (depth - 1) * width * (9 * width + 1) + classes * (width + 1)
    shape = DataShape((channels, 8, 8), classes)
    assert layout(cnn(width=width, depth=depth), shape).size == expected
    assert build(cnn(width=width, depth=depth), shape)(torch.zeros(2, channels, 8, 8)).shape == (2, classes)


def test_initial_kernels_fill_the_interval_of_their_fan_in():
    spec = cnn(width=64)
    module = build(spec, DataShape((1, 28, 28), 10))
    initialise(spec, module, stream(0, "init"))
    for tensor, fan_in in ((module[0].weight, 9), (module[2].weight, 9 * 64), (module[-1].weight, 64)):
        largest = float(tensor.detach().abs().max())
        assert 0.95 / math.sqrt(fan_in) < largest <= 1 / math.sqrt(fan_in)


def test_the_cnn_takes_images():
    with pytest.raises(
        SpecificationError, match=r"images .*, this dataset has inputs of shape \(64,\); choose"
    ):
        layout(cnn(), DataShape((64,), 10))


def test_the_mlp_takes_no_tokens():
    with pytest.raises(
        SpecificationError, match=r"the mlp takes vectors, this dataset has tokens of shape \(8,\)"
    ):
        layout(mlp(width=2), DataShape((8,), 10, tokens=10))
