"""A zoo of 108 small networks, trained for two epochs: enough for every task, made once a session."""

import pytest
import torch

import generators
from generators import Recipe

RECIPE = Recipe.model_validate(
    {
        "name": "tiny",
        "description": "Networks for the tests of the tasks.",
        "dataset": {"name": "digits"},
        "architecture": {"name": "mlp", "depth": 1},
        "training": {"momentum": 0.9, "batch_size": 100, "epochs": 2},
        "axes": {
            "load": {"architecture.width": [4, 8, 16]},
            "temperature": {
                "training.learning_rate": [
                    0.001,
                    0.003,
                    0.01,
                    0.02,
                    0.04,
                    0.07,
                    0.1,
                    0.2,
                    0.4,
                    0.8,
                    1.6,
                    1e30,
                ],
            },
        },
        "seeds": [0, 1, 2],
    }
)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    made = generators.generate(RECIPE, tmp_path_factory.mktemp("zoo") / "tiny")
    torch.set_num_threads(before)
    return made


@pytest.fixture(scope="module", autouse=True)
def _stand_in(any_zoo):
    """Every test here runs on the small zoo above."""
