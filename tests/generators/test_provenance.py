"""Which code trained a model, what it cost, and what happens when other code goes on."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import generators
import zoo
from generators import generate
from generators.engine import provenance
from generators.engine.cost import flops_per_epoch
from generators.executors import base
from generators.grid import plan
from zoo.assembly import read_manifest
from zoo.errors import SpecificationError
from zoo.storage import JOURNAL, read_journal

# numbers

FINAL = {
    # place in the stack: first weights of the first matrix, and last biases
    0: ([-0.03396827, -0.03582935, -0.08188383, 0.10132277], [-0.26485169, 0.34153441]),
    3: ([-0.00493914, -0.03592187, 0.02572752, -0.12011384], [-0.15205552, -0.23970556]),
}


def test_numbers_are_pinned(tiny_recipe, engine):
    """Two of the tiny zoo's networks of width 3, to 1e-6."""
    outcome = engine.train(tiny_recipe(widths=[3]))
    for place, (first, last) in FINAL.items():
        found = outcome.last(place)
        for ours, pinned in ((found[:4], first), (found[-2:], last)):
            np.testing.assert_allclose(
                ours,
                pinned,
                atol=1e-6,
                rtol=0,
                err_msg="the numbers of training have changed: if this is on purpose, raise ENGINE in "
                "generators/engine/provenance.py, then pin the new ones here",
            )


# code with other numbers


@pytest.fixture
def begun(tiny_recipe, tmp_path, monkeypatch):
    """A zoo of which one stack of two is trained."""
    real = base.train_task

    def train_task(task, settings, hooks):
        if task.models[0].values["width"] == 3:
            raise KeyboardInterrupt
        return real(task, settings, hooks)

    with monkeypatch.context() as patch:
        patch.setattr(base, "train_task", train_task)
        with pytest.raises(KeyboardInterrupt):
            generate(tiny_recipe(), tmp_path / "zoo", device="cpu")
    return tmp_path / "zoo"


def change_provenance(root, **changes):
    raw = json.loads((root / "manifest.json").read_text())
    kept = {**raw["provenance"], **changes}
    raw["provenance"] = {key: value for key, value in kept.items() if value is not None}
    (root / "manifest.json").write_text(json.dumps(raw))


def files_of(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name[0] != "."}


HERE = {"engine": str(provenance.ENGINE), "torch": torch.__version__}
OTHERS = [
    ({"numerics": [{"engine": "1", "torch": torch.__version__}]}, f"engine 1 and torch {torch.__version__}"),
    ({"numerics": [{**HERE, "torch": "2.5.1"}]}, f"engine {provenance.ENGINE} and torch 2.5.1"),
    ({"numerics": [HERE, {**HERE, "engine": "99"}]}, f"engine 99 and torch {torch.__version__}"),
    ({"numerics": None, "torch": "2.4.0"}, "engine 1 and torch 2.4.0"),
    ({"numerics": None, "torch": None}, "engine 1 and torch unknown"),
]


@pytest.mark.parametrize(("changes", "begun_with"), OTHERS)
def test_a_zoo_begun_with_other_numerics_is_refused_and_left_alone(tiny_recipe, begun, changes, begun_with):
    change_provenance(begun, **changes)
    before = files_of(begun)
    with pytest.raises(
        SpecificationError,
        match=(
            rf"zoo was begun with {begun_with.replace('+', '.')}, this is engine {provenance.ENGINE} "
            r"and torch \S+: the rest would have other numbers. "
            r".*accept_other_code=True \(--accept-other-code\)"
        ),
    ):
        generate(tiny_recipe(), begun, device="cpu")
    assert files_of(begun) == before


def test_other_code_that_is_accepted_goes_on_and_is_recorded(tiny_recipe, begun, tiny_zoo, assert_equal_zoos):
    old = {"engine": "1", "torch": "2.4.0"}
    change_provenance(begun, numerics=[old])
    made = generate(tiny_recipe(), begun, device="cpu", accept_other_code=True)
    assert made.manifest.complete
    assert made.manifest.provenance["numerics"] == [old, HERE]
    assert zoo.open(begun).manifest.provenance["numerics"] == [old, HERE]
    assert_equal_zoos(made, zoo.open(tiny_zoo))
    generate(tiny_recipe(), begun, device="cpu")


def test_the_same_code_goes_on_without_a_word(tiny_recipe, begun):
    made = generate(tiny_recipe(), begun, device="cpu")
    assert made.manifest.provenance["numerics"] == [HERE]


def test_a_complete_zoo_of_other_code_opens_and_continues_without_complaint(tiny_recipe, zoo_copy):
    change_provenance(zoo_copy, numerics=[{"engine": "1", "torch": "2.4.0"}])
    before = (zoo_copy / JOURNAL).read_bytes()
    assert len(generate(tiny_recipe(), zoo_copy, device="cpu")) == 24
    assert (zoo_copy / JOURNAL).read_bytes() == before
    assert zoo.verify(zoo_copy) == []


def test_workers_must_share_what_numbers_depend_on():
    versions = provenance.library_versions()
    assert versions.items() >= HERE.items()
    assert versions["numpy"] == np.__version__
    assert versions.keys() == {"engine", "torch", "phasezoo", "python", "numpy"}


# the commit


def git(folder, *words):
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A folder that takes the place of the package."""
    folder = tmp_path / "repository" / "generators"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    monkeypatch.setattr(generators, "__file__", str(folder / "__init__.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    provenance.code_commit.cache_clear()
    yield folder
    provenance.code_commit.cache_clear()


@needs_git
def test_a_checkout_names_its_commit():
    folder = Path(generators.__file__).parent
    try:
        head = git(folder, "rev-parse", "HEAD")
    except subprocess.CalledProcessError:
        pytest.skip("this is no checkout")
    assert provenance.code_commit() in {head, f"{head}-dirty"}


@needs_git
def test_the_commit_says_where_tracked_files_were_changed(code):
    git(code.parent, "init", "-q")
    git(code.parent, "add", ".")
    git(code.parent, "commit", "-q", "-m", "first")
    git(code.parent, "tag", "v1")  # the commit is asked for, not its name
    head = git(code, "rev-parse", "HEAD")
    assert provenance.code_commit() == head
    provenance.code_commit.cache_clear()
    (code / "__init__.py").write_text("changed = 1\n")
    assert provenance.code_commit() == f"{head}-dirty"


@needs_git
@pytest.mark.parametrize("inside", ["no repository", "another repository"])
def test_code_that_is_not_tracked_has_no_commit(code, inside):
    if inside == "another repository":
        git(code.parent, "init", "-q")
        (code.parent / "other.txt").write_text("x")
        git(code.parent, "add", "other.txt")
        git(code.parent, "commit", "-q", "-m", "first")
    assert provenance.code_commit() is None


def test_a_machine_without_git_has_no_commit(code, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.code_commit() is None


# the columns


def test_the_columns_of_finished_models(tiny_recipe, tiny_zoo):
    models = zoo.open(tiny_zoo).models
    assert models["train_steps"].tolist() == [2 * 16] * 8
    for stack in plan(tiny_recipe()):
        own = models[models["width"] == stack.models[0].values["width"]]
        assert own["train_flops"].tolist() == [2 * flops_per_epoch(stack)] * 4
    assert models["parent"].isna().all()
    assert models["strategy"].tolist() == ["stacked/4"] * 8
    commit = provenance.code_commit()
    assert models["code_commit"].isna().all() if commit is None else set(models["code_commit"]) == {commit}
    assert read_manifest(tiny_zoo).provenance["commit"] == commit


def test_the_seconds_of_a_stack_are_its_wall_time_shared_out(tiny_zoo):
    opened = zoo.open(tiny_zoo)
    for entry in read_journal(tiny_zoo).of_kind("weights"):
        ids = opened.checkpoints[opened.checkpoints["shard"] == entry.path]["model_id"].unique()
        seconds = opened.models.set_index("model_id")["train_seconds"][ids]
        assert 0 < seconds.sum() <= entry.seconds + 0.001  # the journal counts laying out the shard too
        assert (seconds > 0).all()


def test_the_seconds_of_a_longer_stack_add_up_to_what_it_took(tiny_recipe, engine):
    recipe = tiny_recipe(widths=[3], training={"epochs": 20})
    begin = time.perf_counter()
    models = engine.train(recipe).models
    passed = time.perf_counter() - begin
    assert 0.5 * passed < sum(model["train_seconds"] for model in models) <= passed


def test_failed_models_cost_nothing_that_counts(tiny_recipe, tmp_path, monkeypatch):
    def fail(*_args):
        raise RuntimeError("no memory")

    monkeypatch.setattr(base, "train_task", fail)
    models = generate(tiny_recipe(), tmp_path / "zoo", device="cpu").models
    assert models["status"].tolist() == ["failed"] * 8
    assert models[["train_steps", "train_flops", "train_seconds"]].to_numpy().tolist() == [[0, 0, 0]] * 8
    assert models[["strategy", "last_epoch"]].isna().all(axis=None)
    assert zoo.verify(tmp_path / "zoo") == []
