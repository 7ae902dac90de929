"""Shape checks for every annotated function, and the small populations that the tests share."""

import importlib.util
import shutil
import sys
from pathlib import Path

import jaxtyping

# before their first import, which is why the imports below stand there
jaxtyping.install_import_hook(["zoo", "generators", "wsl_tasks"], "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402

from generators import Recipe, generate  # noqa: E402

torch.set_num_threads(1)


def make_recipe(**changes):
    """Two widths, two learning rates, two seeds: eight networks that train in well under a second."""
    widths = changes.pop("widths", [2, 3])
    rates = changes.pop("learning_rates", [0.01, 0.1])
    training = {"batch_size": 64, "epochs": 2, "momentum": 0.9, **changes.pop("training", {})}
    fields = {
        "name": "tiny",
        "description": "Eight networks for the tests.",
        "dataset": {"name": "digits", "label_noise": 0.1},
        "architecture": {"name": "mlp"},
        "training": training,
        "axes": {"load": {"architecture.width": widths}, "temperature": {"training.learning_rate": rates}},
        "seeds": [0, 1],
        "checkpoints": [1],
    }
    return Recipe.model_validate({**fields, **changes})


@pytest.fixture(scope="session")
def tiny_recipe():
    """Factory of recipes: keyword arguments replace its widths, learning_rates or any field."""
    return make_recipe


@pytest.fixture(scope="session")
def tiny_zoo(tmp_path_factory):
    """Folder of a finished zoo, shared by all tests: copy it (`zoo_copy`) before breaking anything."""
    root = tmp_path_factory.mktemp("population") / "tiny"
    generate(make_recipe(), root, device="cpu")
    return root


@pytest.fixture
def zoo_copy(tiny_zoo, tmp_path):
    """A copy of the tiny zoo that a test may break."""
    return shutil.copytree(tiny_zoo, tmp_path / "tiny")


@pytest.fixture(scope="module")
def any_zoo():
    """Lets the published tasks run on a small stand-in: they are pinned to the split of the real zoo."""
    from wsl_tasks import registry

    free = {name: task.model_copy(update={"split_sha256": None}) for name, task in registry._BY_ID.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_BY_ID", free)
        yield


@pytest.fixture(scope="session")
def load_script():
    """Function that loads a file of scripts/ by its name."""
    folder = Path(__file__).parent.parent / "scripts"

    def load(name):
        sys.path.insert(0, str(folder))
        try:
            found = importlib.util.spec_from_file_location(f"{name}_script", folder / f"{name}.py")
            module = importlib.util.module_from_spec(found)
            found.loader.exec_module(module)
        finally:
            sys.path.remove(str(folder))
        return module

    return load
