import hashlib
import json
import random

import pandas as pd
import pytest

from zoo.errors import FormatError, SpecificationError
from zoo.splits import SIDES, SplitFile, check_leakage, iid_split, subset_split

CELLS = [f"width{w}-learning_rate{r}" for w in (4, 8, 16, 32) for r in (0.01, 0.1, 1.0)]


def models_of(cells, seeds=2):
    return pd.DataFrame({"cell_id": [cell for cell in cells for _ in range(seeds)]})


def test_every_cell_is_on_one_side():
    split = iid_split(CELLS)
    assert sorted(split.train + split.val + split.test) == sorted(CELLS)
    assert check_leakage(split, models_of(CELLS)) == []
    assert all(getattr(split, side) == sorted(getattr(split, side)) for side in SIDES)


def test_cells_are_ordered_by_the_hash_of_split_and_cell():
    ranked = sorted(CELLS, key=lambda cell: hashlib.sha256(f"iid-v1:{cell}".encode()).hexdigest())
    split = iid_split(CELLS)
    assert split.train == sorted(ranked[:7])
    assert split.val == sorted(ranked[7:10])
    assert split.test == sorted(ranked[10:])


def test_order_and_repetition_of_the_input_do_not_matter():
    shuffled = random.Random(0).sample(CELLS * 3, len(CELLS) * 3)
    assert iid_split(shuffled) == iid_split(CELLS)


def test_another_id_is_another_draw():
    assert iid_split(CELLS, split_id="iid-v2").train != iid_split(CELLS).train


@pytest.mark.parametrize("n", range(3, 40))
@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.2), (0.98, 0.01, 0.01), (0.01, 0.01, 0.98)])
def test_no_side_is_empty(n, fractions):
    split = iid_split(map(str, range(n)), fractions=fractions)
    sizes = [len(getattr(split, side)) for side in SIDES]
    assert sum(sizes) == n
    assert min(sizes) >= 1


def test_sizes_follow_the_fractions():
    split = iid_split(map(str, range(100)))
    assert [len(getattr(split, side)) for side in SIDES] == [60, 20, 20]


@pytest.mark.parametrize("cells", [[], ["a"], ["a", "b", "a"]])
def test_too_few_cells_are_refused(cells):
    with pytest.raises(SpecificationError, match=r"at least 3 cells.*got \d; give an axis"):
        iid_split(cells)


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.1), (1.0, 0.0, 0.0), (0.5, float("nan"), 0.5)])
def test_fractions_that_are_no_shares_are_refused(fractions):
    with pytest.raises(SpecificationError, match="three positive fractions"):
        iid_split(CELLS, fractions=fractions)


def test_json_comes_back_and_is_canonical():
    split = iid_split(CELLS)
    text = split.to_json()
    assert SplitFile.from_json(text, source="splits/iid-v1.json") == split
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["id", "kind", "group", "fractions", "train", "val", "test"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": ["b", "a"]}, "train: .*sorted order"),
        ({"val": ["a", "a"]}, "val: .*each once"),
        ({"kind": "seed"}, "kind: "),
        ({"extra": 1}, "extra: "),
        ({"fractions": [1, 1, 1]}, "fractions: .*sum to 1"),
    ],
)
def test_a_bad_file_is_refused(change, message):
    raw = json.loads(iid_split(CELLS).to_json()) | change
    with pytest.raises(FormatError, match=rf"splits/x.json is not a split file:\n  {message}"):
        SplitFile.from_json(json.dumps(raw), source="splits/x.json")


def test_text_that_is_no_json_is_refused():
    with pytest.raises(FormatError, match=r"x\.json is not valid JSON"):
        SplitFile.from_json("{", source="x.json")


def test_a_leak_is_found():
    split = iid_split(CELLS)
    stolen = split.test[0]
    leaky = split.model_copy(update={"train": sorted([*split.train, stolen])})
    faults = check_leakage(leaky, models_of(CELLS))
    assert faults == [f"split 'iid-v1': cell {stolen!r} is in train and test; expected one side"]


def test_missing_and_unknown_cells_are_found():
    split = iid_split(CELLS)
    faults = check_leakage(split, models_of([*CELLS[1:], "new"]))
    assert faults == [
        "split 'iid-v1': cell 'new' of the table of models is on no side",
        f"split 'iid-v1': cell {CELLS[0]!r} is not in the table of models",
    ]


# by subsets of classes

SUBSETS = {f"classes{one}-lr{r}": one for one in ("0-1", "0-2", "1-2", "3-4", "5-9") for r in (0.1, 1)}


def subset_models(classes=SUBSETS):
    return pd.DataFrame({"cell_id": list(classes), "classes": list(classes.values())})


def test_cells_of_the_same_classes_stay_together():
    split = subset_split(SUBSETS)
    on = {side: {SUBSETS[cell] for cell in getattr(split, side)} for side in SIDES}
    assert sum(map(len, on.values())) == len(set().union(*on.values())) == 5
    assert sorted(split.train + split.val + split.test) == sorted(SUBSETS)
    assert check_leakage(split, subset_models()) == []
    assert SplitFile.from_json(split.to_json(), source="x.json") == split


def test_subsets_are_ordered_by_the_hash_of_split_and_classes():
    ranked = sorted(
        set(SUBSETS.values()), key=lambda one: hashlib.sha256(f"subset-v1:{one}".encode()).hexdigest()
    )
    assert {SUBSETS[cell] for cell in subset_split(SUBSETS).train} == set(ranked[:3])


def test_classes_on_two_sides_are_a_leak():
    split = subset_split(SUBSETS)
    moved = split.train[0]
    leaky = split.model_copy(update={"train": split.train[1:], "test": sorted([*split.test, moved])})
    faults = check_leakage(leaky, subset_models())
    assert faults == [
        f"split 'subset-v1': the classes {SUBSETS[moved]!r} are in test and train; expected one side"
    ]


def test_too_few_subsets_are_refused():
    with pytest.raises(SpecificationError, match=r"at least 3 subsets of classes, .*got 2; give an axis"):
        subset_split({"a": "0-1", "b": "0-2", "c": "0-1"})
