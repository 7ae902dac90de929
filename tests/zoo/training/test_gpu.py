"""On CUDA every step is a recorded graph: the numbers are the CPU's, and the bits the same after a resume."""

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SHAPES = {"perceptron": (5,), "convolution": (2, 6, 6)}
SETTINGS = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "schedule": "cosine"},
    "nesterov": {"optimizer": "nesterov", "momentum": 0.9},
    "adam": {"optimizer": "adam", "schedule": "one-cycle", "epsilon": 1e-3},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "epsilon": 1e-3},
    "sam": {"optimizer": "sam", "momentum": 0.9},
}
ATTACK = {"momentum": 0.9, "adversarial_epsilon": 0.2, "adversarial_steps": 3}
EPOCHS = 4


@pytest.fixture(autouse=True)
def _exact():
    """TF32 would hide what is compared here; cuDNN may choose other kernels from run to run."""
    flags = (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.deterministic,
    )
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    yield
    (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.deterministic,
    ) = flags


def fresh(make, build, kind, device, **options):
    changes = options.pop("changes")
    modules = make.modules(getattr(build, kind), 3, torch.float32)
    data = make.data(3, SHAPES[kind], dtype=torch.float32)
    specs = [make.spec(learning_rate=r, epochs=EPOCHS, **changes) for r in (0.005, 0.01, 0.02)]
    return make.trainer(modules, data, specs, [3, 4, 5], device=device, **options)


@pytest.mark.parametrize("chunk", [None, 2, 1])
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", SHAPES)
def test_graphs_end_where_the_cpu_does(make, build, kind, name, chunk):
    ends = []
    for device in ("cpu", "cuda"):
        trainer = fresh(make, build, kind, device, changes=SETTINGS[name], chunk=chunk)
        losses = make.epochs(trainer, EPOCHS)
        ends.append((trainer.weights.cpu(), losses.cpu()))
    torch.testing.assert_close(ends[1][0], ends[0][0], atol=1e-4, rtol=0)
    torch.testing.assert_close(ends[1][1], ends[0][1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("reused", [False, True], ids=["fresh", "reused"])
@pytest.mark.parametrize("name", [*SETTINGS, "float16", "attack"])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_resumed_run_ends_in_the_same_bits(make, build, kind, name, reused):
    changes = {**SETTINGS, "float16": {"momentum": 0.9, "precision": "float16"}, "attack": ATTACK}[name]
    undisturbed, states = fresh(make, build, kind, "cuda", changes=changes), []
    for _ in range(EPOCHS):
        states.append((undisturbed.epoch, undisturbed.state()))
        undisturbed.run_epoch()
    for epoch, state in states:
        resumed = fresh(make, build, kind, "cuda", changes=changes)
        if reused:
            resumed.run_epoch()  # its graphs know tensors that `load` replaces
        resumed.load(state, epoch)
        make.epochs(resumed, EPOCHS - epoch)
        end = resumed.state()
        assert all(torch.equal(values, end[key]) for key, values in undisturbed.state().items())


@pytest.mark.parametrize("kind", SHAPES)
def test_after_a_selection_new_graphs_train_the_rows_that_are_left(make, build, kind):
    ends = []
    for device in ("cpu", "cuda"):
        trainer = fresh(make, build, kind, device, changes={"momentum": 0.9, "gradient_clip": 0.5})
        make.epochs(trainer, 2)
        trainer.select([2, 0, 0], [trainer.rows[2], trainer.rows[0], trainer.rows[0]])
        make.epochs(trainer, 2)
        ends.append(trainer.weights.cpu())
    torch.testing.assert_close(ends[1], ends[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(ends[1][1], ends[1][2], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", SHAPES)
def test_recording_a_graph_changes_nothing(make, build, kind):
    trainer = fresh(make, build, kind, "cuda", changes={"optimizer": "adam"})
    trainer.run_steps(1)
    eager = fresh(make, build, kind, "cpu", changes={"optimizer": "adam"})
    eager.run_steps(1)
    for name, values in trainer.state().items():
        torch.testing.assert_close(values, eager.state()[name], atol=1e-4, rtol=0)


def test_the_first_attack_of_a_graph_is_that_of_the_cpu(make, build):
    ends = []
    for device in ("cpu", "cuda"):  # one step: later ones part where a slope of almost 0 changes its sign
        trainer = fresh(make, build, "perceptron", device, changes=ATTACK)
        trainer.run_steps(1)
        ends.append(trainer.weights.cpu())
    torch.testing.assert_close(ends[1], ends[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", SHAPES)
def test_neighbours_of_a_network_of_nan_notice_nothing(make, build, kind, precision):
    ends = []
    for sick in (False, True):
        trainer = fresh(make, build, kind, "cuda", changes={"momentum": 0.9, "precision": precision})
        if sick:
            trainer.parameters[1, 0] = float("nan")
        make.epochs(trainer, EPOCHS)
        ends.append(trainer.weights[[0, 2]])
    torch.testing.assert_close(ends[1], ends[0], atol=1e-6, rtol=0)


def test_only_the_network_that_overflows_halves_its_scale(make, build):
    trainer = fresh(make, build, "perceptron", "cuda", changes={"precision": "float16", "batch_size": 30})
    trainer.slots["loss_scale"][1] = 2.0**30
    before = trainer.parameters.clone()
    trainer.run_epoch()
    assert trainer.slots["loss_scale"].flatten().tolist() == [2.0**16, 2.0**29, 2.0**16]
    assert (trainer.parameters != before).any(dim=1).tolist() == [True, False, True]


def test_dropout_masks_are_those_of_the_cpu():
    from zoo.training.streams import substreams, uniform

    keys, places = torch.tensor([0, 1, -5, 2**62]).view(-1, 1), torch.arange(1000)
    assert torch.equal(uniform(keys.cuda(), places.cuda()).cpu(), uniform(keys, places))
    assert torch.equal(substreams(keys.cuda(), places.cuda()).cpu(), substreams(keys, places))
