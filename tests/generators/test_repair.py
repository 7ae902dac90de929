"""What was lost or damaged is made anew by the same command; what was published is left alone."""

import shutil

import numpy as np
import pytest

import zoo
from generators import generate, measure
from zoo.errors import SpecificationError


@pytest.fixture
def recipe(tiny_recipe):
    return tiny_recipe()


@pytest.fixture
def measured(recipe, zoo_copy):
    measure(zoo_copy)
    return zoo_copy


def damage(root, kind):
    victim = sorted(root.glob(kind))[0]
    if victim.is_dir():
        shutil.rmtree(victim)
    elif kind.startswith("weights"):
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    else:
        victim.write_bytes(victim.read_bytes()[:50])


@pytest.mark.parametrize(
    "kind", ["predictions", "parts", "parts/cka/*/*.parquet", "weights/*.h5", "*.parquet"]
)
def test_generate_makes_anew_what_was_damaged(recipe, measured, kind):
    before = zoo.open(measured)
    pairs, weights = before.pairs, {name: np.array(before.weights(name)) for name in before.layouts}
    damage(measured, kind)
    after = generate(recipe, measured, device="cpu")
    assert zoo.verify(measured) == []
    assert after.pairs.equals(pairs)
    for name, matrix in weights.items():
        np.testing.assert_allclose(after.weights(name), matrix, atol=1e-6)


def test_a_published_zoo_is_never_overwritten(recipe, measured):
    (measured / "journal.jsonl").unlink()
    shutil.rmtree(measured / "parts")
    with pytest.raises(SpecificationError, match="was published: its tables are final; choose another"):
        generate(recipe, measured, device="cpu")
    assert zoo.verify(measured) == []


def test_one_seed_a_cell_makes_no_pair(tiny_recipe, tmp_path):
    generate(tiny_recipe(seeds=[7]), tmp_path / "zoo", device="cpu")
    measured = measure(tmp_path / "zoo")
    assert len(measured.pairs) == 0
    assert measured.cells["test_accuracy"].notna().all()
    assert zoo.verify(tmp_path / "zoo") == []
