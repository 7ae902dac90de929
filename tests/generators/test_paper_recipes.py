"""The twelve populations of Schürholt et al. 2025: what their recipes say, and that each of them trains.

Data sets are small ones in the official files' formats; networks are the two smallest of each recipe.
"""

import dataclasses
import hashlib
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
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
TEST_ITEMS = 10


# small data sets in the formats of the official files


def drawn(images, count):
    """Images of noise, and labels with as many of each class."""
    generator = np.random.default_rng(count)
    x = generator.integers(0, 256, (count, *images.inputs), dtype=np.uint8)
    return x, (np.arange(count) % len(images.counts)).astype(np.uint8)


def shrunk(images):
    """A few items of each class: about 20 to train on, or one of each class where there are more."""
    each = 3 if len(images.counts) == 10 else 2
    classes = len(images.counts)
    return dataclasses.replace(images, counts=(each,) * classes, val=classes, test=TEST_ITEMS)


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
    train = [f"train/{wnid}/images/{wnid}_{number}.JPEG" for wnid in wnids for number in range(2)]
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
    """Text for one window of 256 tokens on each side, and the vocabulary of GPT-2 before any merge but one."""
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
    words = np.random.default_rng(0).choice(["this", "web", "page", "that", "link"], 1500)
    (folder / "0001.txt").write_text(" ".join(words), "utf-8")


@pytest.fixture
def small_data(home, monkeypatch):
    """Writes the small files of a recipe's data set, and lets the registry expect these."""

    def make(name):
        if name == "text":
            small_openwebtext(home)
            return
        made = {
            "svhn": small_svhn,
            "cifar10": lambda home: small_cifar(home, cifar.OFFICIAL_10),
            "cifar100": lambda home: small_cifar(home, cifar.OFFICIAL_100),
            "tiny-imagenet": small_tiny_imagenet,
        }[name](home)
        monkeypatch.setitem(registry._REGISTRY, name, made.images.family(made.load))

    return make


# each recipe trains


def small_recipe(name):
    """The recipe but for its size: its two smallest loads, one of its temperatures, one seed, two epochs."""
    fields = load_recipe(name).model_dump(mode="json")
    axes = fields["axes"]
    load, temperature = (next(iter(axes[kind])) for kind in ("load", "temperature"))
    axes["load"] = {load: axes["load"][load][:2]}
    few = fields["dataset"]["name"] in {"svhn", "cifar10", "text", "convection"}
    axes["temperature"] = {temperature: axes["temperature"][temperature][:1] if few else [64]}
    fields["seeds"] = fields["seeds"][:1]
    fields["training"]["epochs"] = 2
    if "warmup_epochs" in fields["training"]:
        fields["training"]["warmup_epochs"] = 1
    if fields["checkpoints"] != "every":
        fields["checkpoints"] = fields["checkpoints"][:1]
    if fields["dataset"]["name"] == "text":
        fields["dataset"]["windows"] = 12
        fields["architecture"]["depth"] = 2
    return Recipe.model_validate(fields)


SLOW = {}


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, [])) for name in MODELS])
def test_a_recipe_trains(name, small_data, engine, tmp_path):
    recipe = small_recipe(name)
    small_data(recipe.dataset["name"])
    root = tmp_path / "zoo"
    made = engine.generate(recipe, root)
    print(made.models.T, made.checkpoints.T)
    for model in made.models["model_id"]:
        first, last = (made.state_dict(f"{model}@{e}") for e in (0, 2))
        for key in first:
            if (first[key]==last[key]).all(): print("SAME", key, first[key])
    assert zoo.verify(root) == []
