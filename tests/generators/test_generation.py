import errno
import json
import os
import resource
import shutil
import signal

import numpy as np
import pytest

import generators
import zoo
from generators import dry_run, generate
from generators.executors import base
from generators.grid import plan
from zoo.assembly import read_manifest
from zoo.errors import FormatError, IntegrityError, SpecificationError, StorageError, UnknownNameError
from zoo.storage import JOURNAL, TEMPORARY_PREFIX, writer_lock

# Python 3.12 warns of forks beside threads; the children here start no work on those of the parent
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


def temporaries(root):
    return list(root.rglob(f"{TEMPORARY_PREFIX}*"))


def in_child(work):
    """Run in a forked process; give its exit code."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# the same again


def test_the_same_seeds_give_the_same_zoo(tiny_recipe, tiny_zoo, tmp_path, assert_equal_zoos):
    again = generate(tiny_recipe(), tmp_path / "again", device="cpu")
    assert_equal_zoos(again, zoo.open(tiny_zoo))


def test_a_second_call_trains_nothing(tiny_recipe, zoo_copy, monkeypatch):
    monkeypatch.setattr(base, "train_task", lambda *_args, **_kwargs: pytest.fail("trained again"))
    before = (zoo_copy / JOURNAL).read_bytes()
    assert len(generate(tiny_recipe(), zoo_copy, device="cpu")) == 24
    assert (zoo_copy / JOURNAL).read_bytes() == before


def test_a_dry_run_says_what_is_then_stored(tiny_recipe, tiny_zoo):
    promised, made = dry_run(tiny_recipe()), zoo.open(tiny_zoo)
    assert promised == {
        "models": len(made.models),
        "cells": len(made.cells),
        "stacks": len(list((tiny_zoo / "weights").iterdir())),
        "checkpoints": len(made),
        "parameters": int(made.models["n_params"].sum()),
        "bytes": sum(made.weights(layout).nbytes for layout in made.layouts),
    }


def test_a_finished_zoo_is_complete_and_says_where_it_comes_from(tiny_recipe, tiny_zoo):
    manifest = read_manifest(tiny_zoo)
    assert manifest.complete
    assert manifest.counts.finished == 8
    assert manifest.recipe_hash == tiny_recipe().hash
    assert manifest.provenance["device"] == "cpu"
    assert len(manifest.provenance["dataset"]["sha256"]) == 64
    assert temporaries(tiny_zoo) == []


def test_more_layouts_do_not_change_those_that_were_there(tiny_recipe, tiny_zoo, tmp_path):
    narrow = generate(tiny_recipe(widths=[2]), tmp_path / "narrow", device="cpu")
    both = zoo.open(tiny_zoo).where("width == 2")
    assert narrow.models["model_id"].tolist() == both.models["model_id"].tolist()
    np.testing.assert_allclose(narrow.weights(), both.weights(), atol=1e-6, rtol=0)


# what goes wrong in training


def test_a_diverged_run_is_a_row_with_a_reason_and_finite_checkpoints(tiny_recipe, tmp_path):
    wild = tiny_recipe(widths=[2], learning_rates=[0.1, 1e38])
    made = generate(wild, tmp_path / "wild", device="cpu")
    diverged = made.models[made.models["status"] == "diverged"]
    assert diverged["learning_rate"].tolist() == [1e38, 1e38]
    assert diverged["reason"].str.match(r"loss or weights left the finite numbers in epoch \d").all()
    assert made.manifest.counts.diverged == 2
    assert np.isfinite(made.weights()).all()
    assert (diverged["last_epoch"] < 2).all()
    calm = made.where("learning_rate == 0.1")
    assert calm.models["status"].tolist() == ["finished", "finished"]
    assert calm.models["reason"].isna().all()
    assert made.cells["n_finished"].tolist() == [2, 0]


def fail_for_width_two(monkeypatch):
    real = base.train_task

    def train_task(task, settings, hooks):
        if task.models[0].values["width"] == 2:
            raise RuntimeError("CUDA out of memory\nand much more")
        return real(task, settings, hooks)

    monkeypatch.setattr(base, "train_task", train_task)


@pytest.fixture
def half_failed(tiny_recipe, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        fail_for_width_two(patch)
        generate(tiny_recipe(), tmp_path / "tiny", device="cpu")
    return tmp_path / "tiny"


def test_a_stack_that_raises_is_recorded_and_the_rest_goes_on(half_failed):
    made = zoo.open(half_failed)
    status = made.models.set_index("width")["status"]
    assert status[2].tolist() == ["failed"] * 4
    assert status[3].tolist() == ["finished"] * 4
    assert made.models["reason"].dropna().unique().tolist() == ["RuntimeError: CUDA out of memory"]
    assert made.manifest.counts.failed == 4
    assert made.checkpoints.merge(made.models, on="model_id")["width"].unique().tolist() == [3]


def test_a_failed_stack_is_trained_by_the_next_run(half_failed, tiny_recipe, tiny_zoo, assert_equal_zoos):
    assert_equal_zoos(generate(tiny_recipe(), half_failed, device="cpu"), zoo.open(tiny_zoo))


def test_a_retry_that_was_cut_off_before_its_commit_opens_and_resumes(
    half_failed, tiny_recipe, tiny_zoo, assert_equal_zoos
):
    stack = plan(tiny_recipe())[0]
    shutil.copy(tiny_zoo / stack.shard, half_failed / stack.shard)
    raw = json.loads((half_failed / "manifest.json").read_text())
    (half_failed / "manifest.json").write_text(json.dumps({**raw, "journal_bytes": 0}))
    cut_off = zoo.open(half_failed)
    assert cut_off.models["width"].unique().tolist() == [3]
    assert_equal_zoos(generate(tiny_recipe(), half_failed, device="cpu"), zoo.open(tiny_zoo))


def test_a_lost_shard_is_made_anew(zoo_copy, tiny_recipe, tiny_zoo, assert_equal_zoos):
    (zoo_copy / plan(tiny_recipe())[1].shard).unlink()
    assert_equal_zoos(generate(tiny_recipe(), zoo_copy, device="cpu"), zoo.open(tiny_zoo))


# folders that are refused


def test_another_recipes_zoo_is_refused(tiny_recipe, zoo_copy):
    with pytest.raises(
        SpecificationError, match=r"holds the zoo 'tiny' of another recipe \(hash .*choose another"
    ):
        generate(tiny_recipe(seeds=[0]), zoo_copy, device="cpu")
    assert len(zoo.open(zoo_copy)) == 24


def test_a_zoo_that_is_there_is_refused_without_resume(tiny_recipe, zoo_copy):
    with pytest.raises(SpecificationError, match=r"already holds this zoo; drop resume=False to continue it"):
        generate(tiny_recipe(), zoo_copy, device="cpu", resume=False)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_place_with_something_else_in_it_is_refused(tiny_recipe, tmp_path, kind):
    foreign = tmp_path / "thesis.tex"
    foreign.write_text("do not touch")
    with pytest.raises(SpecificationError, match=r"is not empty and holds no zoo; choose a new folder"):
        generate(tiny_recipe(), tmp_path if kind == "folder" else foreign, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert foreign.read_text() == "do not touch"


def test_a_second_writer_is_refused(tiny_recipe, zoo_copy):
    with writer_lock(zoo_copy), pytest.raises(StorageError, match=r"another process is writing to"):
        generate(tiny_recipe(), zoo_copy, device="cpu")
    with writer_lock(zoo_copy), pytest.raises(StorageError, match=r"another process is writing to"):
        generators.measure(zoo_copy)


@pytest.mark.parametrize("device", ["gpuu", "cuda:99", "meta:x"])
def test_an_unknown_device_is_refused_before_a_folder_is_made(tiny_recipe, tmp_path, device):
    with pytest.raises(
        SpecificationError, match=rf"device '{device}' cannot be used here \(.*\); try auto or cpu"
    ):
        generate(tiny_recipe(), tmp_path / "zoo", device=device)
    assert not (tmp_path / "zoo").exists()


def test_an_unknown_executor_is_refused(tiny_recipe, tmp_path):
    with pytest.raises(SpecificationError, match=r"unknown executor 'slurm'; choose 'local' or 'ray'"):
        generate.__wrapped__(  # without the checks of types that only the tests switch on
            tiny_recipe(), tmp_path / "zoo", executor="slurm"
        )


# measuring


def test_measuring_again_changes_nothing(zoo_copy):
    before = (zoo_copy / JOURNAL).read_bytes()
    generators.measure(zoo_copy, metrics=["evaluation"])
    assert (zoo_copy / JOURNAL).read_bytes() == before


def test_all_metrics_fill_their_tables(zoo_copy):
    made = generators.measure(zoo_copy)
    assert len(made.pairs) == 4 * 3  # cells and epochs
    assert made.pairs["mode_connectivity"].notna().sum() == 4  # the last epoch
    assert made.checkpoints["hessian_trace"].notna().all()
    assert set(made.layers["checkpoint_id"]) <= set(made.checkpoints["checkpoint_id"])
    assert len(made.layers) > 0


def test_an_unknown_metric_is_refused(zoo_copy):
    with pytest.raises(UnknownNameError, match=r"unknown metric 'evaluatoin'; did you mean 'evaluation'"):
        generators.measure(zoo_copy, metrics=["evaluatoin"])


def test_a_published_zoo_cannot_be_measured(zoo_copy):
    (zoo_copy / JOURNAL).unlink()
    with pytest.raises(FormatError, match=r"has no journal: it was published, and its tables are final"):
        generators.measure(zoo_copy)


def test_a_folder_that_is_not_there_cannot_be_measured(tmp_path):
    with pytest.raises(IntegrityError, match=r"holds no zoo: manifest.json is missing"):
        generators.measure(tmp_path / "no")


# full disk


@pytest.mark.parametrize("limit", [1_000, 10_000, 30_000, 70_000])
def test_a_real_full_disk_loses_nothing_and_the_next_run_goes_on(tmp_path, tiny_recipe, limit):
    """No file may grow beyond the limit: the manifest, then the narrow, then the wide shard finds no room."""
    recipe, root = tiny_recipe(widths=[2, 8, 16], seeds=[0]), tmp_path / "zoo"
    log = tmp_path / "message"

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            generate(recipe, root, device="cpu")
        except StorageError as error:
            log.write_text(str(error))
            return 3
        return 0

    code = in_child(work)
    assert temporaries(tmp_path) == []
    if code == 3:
        assert "no room to write" in log.read_text()
        assert "free some space and run the same command again" in log.read_text()
    if (root / "manifest.json").exists():
        kept = zoo.open(root)
        assert all(np.isfinite(kept.weights(layout)).all() for layout in kept.layouts)
    assert generate(recipe, root, device="cpu").manifest.complete
    assert code == (0 if limit == 70_000 else 3)


@pytest.mark.parametrize("room", [0, 3_000, 20_000, 60_000])
def test_a_disk_that_fills_up_in_between_loses_nothing(tmp_path, tiny_recipe, room, monkeypatch):
    """All files together find so much room: any write, a journal line too, may be cut short."""
    root, left, real = tmp_path / "zoo", room, os.write

    def write(handle, data):
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = real(handle, bytes(data)[:left])
        left -= done
        return done

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(
            StorageError, match=r"no room to write .*free some space and run the same command"
        ):
            generate(tiny_recipe(widths=[2, 8, 16]), root, device="cpu")
    assert temporaries(tmp_path) == []
    if room > 0:
        kept = zoo.open(root)
        assert sum(kept.weights(layout).shape[0] for layout in kept.layouts) == len(kept)
    assert generate(tiny_recipe(widths=[2, 8, 16]), root, device="cpu").manifest.complete
