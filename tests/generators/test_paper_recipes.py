"""The twelve populations of Schürholt et al. 2025: what their recipes say, and that each of them trains.

Data sets are small ones in the official files' formats; networks are the two smallest of each recipe.
"""

import dataclasses
import hashlib
import io
import itertools
import json
import tarfile
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

import zoo
from generators import Recipe, dry_run, list_recipes, load_recipe
from zoo.datasets import cifar, registry, svhn, tiny_imagenet

PAPER = "K. Schürholt et al., A Model Zoo on Phase Transitions in Neural Networks, 2025, arXiv 2504.18072"
IMAGES = ("svhn", "cifar10", "cifar100", "tinyimagenet")
RESNETS = [f"resnet{layers}-{images}" for layers in (18, 50) for images in IMAGES]
VITS = ["vit-cifar10", "vit-cifar100"]
OTHERS = ["gpt2-openwebtext", "pinn-convection"]
MODELS = {
    **dict.fromkeys(RESNETS, 192),
    **dict.fromkeys(VITS, 147),
    "gpt2-openwebtext": 264,
    "pinn-convection": 700,
}
CLASSES, TEST_ITEMS = 10, 10
"""Classes that have items, and items of the test side."""


# small data sets in the formats of the official files


def shrunk(images):
    """Ten classes have three items each, one of them for val; the others have none but stay classes."""
    counts = (3,) * CLASSES + (0,) * (len(images.counts) - CLASSES)
    return dataclasses.replace(images, counts=counts, val=CLASSES, test=TEST_ITEMS)


def drawn(images, count):
    """Images of noise, and labels with as many of each class that has items."""
    generator = np.random.default_rng(count)
    x = generator.integers(0, 256, (count, *images.inputs), dtype=np.uint8)
    return x, (np.arange(count) % CLASSES).astype(np.uint8)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder for the files, no downloads, and no data set in memory before or after."""
    registry._load.cache_clear()
    monkeypatch.setenv("PHASEZOO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PHASEZOO_OFFLINE", "1")
    yield tmp_path / "data"
    registry._load.cache_clear()


def put(home, file, content):
    """Write a file where the official one belongs, and describe it by its size and digest."""
    path = home / file.dataset / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return dataclasses.replace(file, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def small_svhn(home):
    def matlab(images, count):
        x, y = drawn(images, count)
        content = io.BytesIO()
        digits = np.where(y == 0, 10, y).astype(np.uint8)[:, None]
        savemat(content, {"X": x.transpose(2, 3, 1, 0), "y": digits}, do_compression=True)
        return content.getvalue()

    made = dataclasses.replace(svhn.OFFICIAL, images=shrunk(svhn.OFFICIAL.images))
    train = put(home, made.train, matlab(made.images, sum(made.images.counts)))
    test = put(home, made.test, matlab(made.images, TEST_ITEMS))
    return dataclasses.replace(made, train=train, test=test)


def small_cifar(home, official):
    made = dataclasses.replace(official, images=shrunk(official.images))

    def records(x, y):
        coarse = [np.zeros((len(y), 1), np.uint8)] * (made.label_bytes - 1)
        return np.hstack([*coarse, y[:, None], x.reshape(len(x), -1)]).tobytes()

    parts = (np.split(part, len(made.train)) for part in drawn(made.images, sum(made.images.counts)))
    files = {name: records(*part) for name, *part in zip(made.train, *parts, strict=True)}
    files[made.test] = records(*drawn(made.images, TEST_ITEMS))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{made.folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return dataclasses.replace(made, archive=put(home, made.archive, packed.getvalue()))


def small_tiny_imagenet(home):
    official = tiny_imagenet.OFFICIAL
    made = dataclasses.replace(official, images=shrunk(official.images))
    wnids = [f"n{number:08}" for number in range(len(made.images.counts))]
    images = zip(wnids, made.images.counts, strict=True)
    train = [f"train/{wnid}/images/{wnid}_{n}.JPEG" for wnid, count in images for n in range(count)]
    test = [f"val_{number}.JPEG" for number in range(TEST_ITEMS)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{made.folder}/wnids.txt", "\n".join(wnids))
        lines = [f"{name}\t{wnid}\t0\t0\t62\t62\n" for name, wnid in zip(test, wnids, strict=False)]
        archive.writestr(f"{made.folder}/val/val_annotations.txt", "".join(lines))
        for number, name in enumerate([*train, *(f"val/images/{name}" for name in test)]):
            image = io.BytesIO()
            Image.new("RGB", (64, 64), (number % 256, 7 * number % 256, 99)).save(image, "JPEG")
            archive.writestr(f"{made.folder}/{name}", image.getvalue())
    return dataclasses.replace(made, archive=put(home, made.archive, packed.getvalue()))


def small_openwebtext(home):
    """A short text, and of the vocabulary of GPT-2 the bytes, one merged pair and the last token."""
    pytest.importorskip("tokenizers", reason="the extra `text` is not installed")
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [*map(chr, seen), *map(chr, range(256, 256 + 256 - len(seen)))]
    (home / "gpt2").mkdir(parents=True)
    vocabulary = {name: number for number, name in enumerate([*letters, "th"])}
    vocabulary["<|endoftext|>"] = 50256
    (home / "gpt2" / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    (home / "gpt2" / "merges.txt").write_text("#version: 0.2\nt h\n", "utf-8")
    folder = home / "text" / "openwebtext"
    folder.mkdir(parents=True)
    words = np.random.default_rng(0).choice(["this", "web", "page", "that", "link"], 60)
    (folder / "0001.txt").write_text(" ".join(words), "utf-8")


@pytest.fixture
def small_data(home, monkeypatch):
    """Writes the small files of a recipe's data set, and lets the registry expect these."""

    writers = {
        "svhn": small_svhn,
        "cifar10": partial(small_cifar, official=cifar.OFFICIAL_10),
        "cifar100": partial(small_cifar, official=cifar.OFFICIAL_100),
        "tiny-imagenet": small_tiny_imagenet,
    }

    def make(name):
        if name in writers:
            made = writers[name](home)
            monkeypatch.setitem(registry._REGISTRY, name, made.images.family(made.load))
        elif name == "text":
            small_openwebtext(home)

    return make


# each recipe trains


def small_recipe(name):
    """The recipe but for its size: its two smallest loads, one of its temperatures, one seed, two epochs."""
    fields = load_recipe(name).model_dump(mode="json")
    axes = fields["axes"]
    load, temperature = (next(iter(axes[kind])) for kind in ("load", "temperature"))
    axes["load"] = {load: axes["load"][load][:2]}
    axes["temperature"] = {temperature: axes["temperature"][temperature][:1]}
    fields["seeds"] = fields["seeds"][:1]
    fields["training"]["epochs"] = 2
    if "warmup_epochs" in fields["training"]:
        fields["training"]["warmup_epochs"] = 1
    if fields["checkpoints"] != "every":
        fields["checkpoints"] = fields["checkpoints"][:1]
    if fields["dataset"]["name"] == "text":
        fields["dataset"] |= {"context": 4, "windows": 12}
        fields["architecture"]["depth"] = 2
    return Recipe.model_validate(fields)


SLOW = {f"resnet50-{images}" for images in IMAGES} - {"resnet50-cifar10"}
MARKED = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in MODELS]
"""Networks of 50 layers train in the fast tests on one data set only."""
STEPS = {"resnet": 3, "vit": 2, "gpt": 2, "pinn": 1}
"""Of an epoch: 20 images in batches of 8 (ViT: 16), 12 windows in batches of 8, all points in one batch."""
SIDES = ("train", "val", "test")
LOSSES = [f"{side}_loss" for side in SIDES]
SCORES = {
    "classification": [f"{side}_accuracy" for side in SIDES],
    "sequence": [f"{side}_accuracy" for side in SIDES],
    "convection": ["val_error", "test_error"],
}


@pytest.mark.parametrize("name", MARKED)
def test_a_recipe_trains(name, small_data, engine, tmp_path):
    recipe = small_recipe(name)
    small_data(recipe.dataset["name"])
    made = engine.generate(recipe, tmp_path / "zoo")
    models, checkpoints = made.models, made.checkpoints
    assert models["status"].tolist() == ["finished", "finished"]
    assert models["reason"].isna().all()
    steps = STEPS[recipe.architecture["name"]]
    assert checkpoints["epoch"].tolist() == [0, 1, 2] * 2
    assert checkpoints["step"].tolist() == [0, steps, 2 * steps] * 2
    for model in models["model_id"]:
        states = [made.state_dict(f"{model}@{epoch}") for epoch in (0, 1, 2)]
        for before, after in itertools.pairwise(states):
            same = [key for key, tensor in before.items() if torch.equal(tensor, after[key])]
            assert same == []
        assert all(tensor.isfinite().all() for state in states for tensor in state.values())
    columns = checkpoints[LOSSES + SCORES[registry.family(recipe.dataset["name"]).kind]]
    assert np.isfinite(columns.to_numpy(np.float64)).all()
    assert zoo.verify(tmp_path / "zoo") == []


# what the recipes say


def test_the_recipes_of_the_paper_are_these_twelve():
    assert len(MODELS) == 12
    assert {name for name in list_recipes() if load_recipe(name).source == PAPER} == set(MODELS)


@pytest.mark.parametrize(("name", "count"), MODELS.items())
def test_a_recipe_has_as_many_models_as_the_paper_and_says_what_is_ours(name, count):
    recipe = load_recipe(name)
    assert dry_run(recipe)["models"] == count
    assert f"{count} networks." in recipe.description
    assert recipe.notes
    assert all(note.strip() for note in recipe.notes)


@pytest.mark.parametrize("name", RESNETS)
def test_a_resnet_recipe_is_that_of_the_paper_to_the_letter(name):
    recipe = load_recipe(name)
    tiny, digits = name.endswith("tinyimagenet"), name.endswith("svhn")
    layers, _, images = name.removeprefix("resnet").partition("-")
    assert recipe.architecture == {"name": "resnet", "layers": int(layers)}
    flip = {} if digits else {"flip": 0.5}
    data = {"tinyimagenet": "tiny-imagenet"}.get(images, images)
    assert recipe.dataset == {"name": data, "crop": 4, "rotation": 20, **flip}
    assert recipe.training == {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "one-cycle",
        "epochs": 100 if tiny else 150,
    }
    assert recipe.axes.kinds == {
        "load": {"architecture.width": (2, 4, 8, 16, 32, 64, 128, 256)},
        "temperature": {"training.batch_size": (8, 16, 32, 64, 128, 256, 512, 1024)},
        "other": {},
    }
    assert recipe.seeds == (0, 1, 2)
    assert recipe.checkpoints == "every"
    assert recipe.fork == recipe.parent == {}


@pytest.mark.parametrize("name", [*RESNETS, *VITS])
def test_the_notes_count_the_items_as_the_data_set_does(name):
    images = {
        "svhn": svhn.OFFICIAL,
        "cifar10": cifar.OFFICIAL_10,
        "cifar100": cifar.OFFICIAL_100,
        "tiny-imagenet": tiny_imagenet.OFFICIAL,
    }
    recipe = load_recipe(name)
    official = images[recipe.dataset["name"]].images
    left, whole = registry.sizes(recipe.dataset["name"]).train, sum(official.counts)
    assert any(f"{left:,} of the {whole:,} training items train" in note for note in recipe.notes)


@pytest.mark.parametrize("name", VITS)
def test_a_vit_recipe_has_seven_by_seven_cells_of_three_seeds(name):
    recipe = load_recipe(name)
    assert [len(values) for values in recipe.axes.fields.values()] == [7, 7]
    assert list(recipe.axes.fields) == ["architecture.model_dim", "training.batch_size"]
    assert len(recipe.seeds) == 3


def test_the_other_recipes_have_the_axes_of_the_paper():
    gpt, pinn = map(load_recipe, OTHERS)
    assert list(gpt.axes.fields) == ["architecture.model_dim", "training.batch_size"]
    assert list(pinn.axes.fields) == ["dataset.coefficient", "training.learning_rate"]
    assert pinn.architecture == {"name": "pinn"}  # 4 x 50 tanh
