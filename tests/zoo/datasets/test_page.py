from pathlib import Path

import pytest

from zoo import datasets
from zoo.datasets import cifar, fashion_mnist, svhn, tiny_imagenet

PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")
COUNTS, REST = PAGE.split("## What is ours")
IMAGES = {
    found.images.name: found.images
    for found in (
        cifar.OFFICIAL_10,
        cifar.OFFICIAL_100,
        fashion_mnist.OFFICIAL,
        svhn.OFFICIAL,
        tiny_imagenet.OFFICIAL,
    )
}


def rows(text, name):
    """Rows of tables whose first cell names a dataset."""
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in cells if f"`{name}`" in row[0]]


def sides(name):
    """Items of val and test: of datasets from files as they are described, of others as they are."""
    if name in IMAGES:
        return IMAGES[name].val, IMAGES[name].test
    data = datasets.load(name)
    return len(data.val), len(data.test)


@pytest.mark.parametrize("name", sorted(set(datasets.names()) - {"text"}))
def test_every_dataset_has_a_row_with_its_real_counts_and_shape(name):
    (row,) = rows(COUNTS, name)
    val, test = sides(name)
    assert row[1].removesuffix(" at modulus 97") == f"{datasets.sizes(name).train:,} / {val:,} / {test:,}"
    classes = datasets.shape(name).classes
    assert row[3] in {"the sum", "the solution"} or f"{classes} " in row[3]
    if name in IMAGES:
        assert row[2] == " x ".join(map(str, datasets.shape(name).inputs))


@pytest.mark.parametrize("name", datasets.names())
def test_every_dataset_says_what_is_ours_and_how_its_files_are_checked(name):
    assert len(rows(REST, name)) == 2


def test_the_row_of_texts_names_the_options_that_count_them():
    (row,) = rows(COUNTS, "text")
    assert row[1:3] == ["`windows` / up to 256 / up to 256", "`context` tokens"]


@pytest.mark.parametrize(
    "file",
    [
        cifar.OFFICIAL_10.archive,
        cifar.OFFICIAL_100.archive,
        svhn.OFFICIAL.train,
        svhn.OFFICIAL.test,
        fashion_mnist.OFFICIAL.train[0],
        tiny_imagenet.OFFICIAL.archive,
    ],
    ids=lambda file: file.name,
)
def test_every_official_file_is_named_with_its_folder(file):
    assert f"`{file.dataset}/{file.name}`" in rows(REST, file.dataset)[1][1]


def test_the_example_runs(capsys):
    code = PAGE.split("```python\n")[1].split("```")[0]
    exec(compile(code, "docs/datasets.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "138 138",
        "DataShape(inputs=(1, 8, 8), classes=3, tokens=None)",
        "torch.Size([500, 1, 8, 8])",
    ]
