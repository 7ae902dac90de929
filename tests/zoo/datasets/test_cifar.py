import dataclasses
import io
import tarfile

import numpy as np
import pytest
import torch

from zoo.datasets import cifar
from zoo.errors import DataMissingError, FormatError, IntegrityError


def records(made, x, y):
    coarse = [np.full((len(y), 1), 19, dtype=np.uint8)] * (made.label_bytes - 1)
    return np.hstack([*coarse, y[:, None], x.reshape(len(x), -1)]).tobytes()


def archive(contents):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as made:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@dataclasses.dataclass
class Small:
    made: cifar.Cifar
    train: tuple
    test: tuple
    contents: dict


@pytest.fixture(params=[cifar.OFFICIAL_10, cifar.OFFICIAL_100], ids=["cifar10", "cifar100"])
def small(request, shrink, draw):
    made = request.param
    made = dataclasses.replace(made, images=shrink(made.images, each=3, val=1, test=7))
    train, test = draw(made.images, sum(made.images.counts)), draw(made.images, 7)
    blocks = [
        records(made, *pair)
        for pair in zip(*(np.split(part, len(made.train)) for part in train), strict=True)
    ]
    named = {**dict(zip(made.train, blocks, strict=True)), made.test: records(made, *test)}
    contents = {f"{made.folder}/{name}": content for name, content in named.items()}
    return Small(made, train, test, {f"{made.folder}/readme.html": b"more", **contents})


@pytest.fixture
def packed(place):
    def pack(small, contents):
        return dataclasses.replace(small.made, archive=place(small.made.archive, archive(contents)))

    return pack


@pytest.fixture
def extracted(data_home):
    def extract(small):
        for name, content in small.contents.items():
            path = data_home / small.made.archive.dataset / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return path.parent

    return extract


def check_items(loaded, small, same_items):
    official = torch.cat([loaded.train.x, loaded.val.x]), torch.cat([loaded.train.y, loaded.val.y])
    assert same_items(official, small.train)
    assert np.array_equal(loaded.test.x, small.test[0])
    assert loaded.test.y.tolist() == small.test[1].tolist()
    assert (loaded.train.x.dtype, loaded.train.y.dtype) == (torch.uint8, torch.int64)


def test_the_archive_is_read(small, packed, same_items):
    check_items(packed(small, small.contents).load(), small, same_items)


def test_the_extracted_folder_is_read(small, extracted, same_items):
    extracted(small)
    check_items(small.made.load(), small, same_items)


def test_archive_and_folder_give_the_same_dataset(small, packed, extracted):
    extracted(small)
    folder = small.made.load()
    assert packed(small, small.contents).load().sha256 == folder.sha256


def test_sizes_agree_with_what_loads(small, packed):
    loaded = packed(small, small.contents).load()
    assert small.made.images.sizes == (len(loaded.train), int(torch.bincount(loaded.train.y).min()))
    assert loaded.shape == small.made.images.shape


def test_another_archive_is_refused(small, packed):
    made = packed(small, small.contents)
    made = dataclasses.replace(made, archive=dataclasses.replace(made.archive, sha256="0" * 64))
    with pytest.raises(IntegrityError, match=r"tar.gz is not the official file: its SHA-256 is not 000"):
        made.load()


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_broken_archive_is_refused(small, place, content):
    content = archive(small.contents)[:-2000] if content is None else content
    made = dataclasses.replace(small.made, archive=place(small.made.archive, content))
    with pytest.raises(IntegrityError, match=r"tar.gz is no whole archive .*; delete it and fetch it again"):
        made.load()


def test_members_are_taken_by_their_exact_names(small, packed, tmp_path):
    strange = {f"{small.made.folder}/../{small.made.folder}/{small.made.test}": b"?", "../outside": b"?"}
    made = packed(small, {**strange, **small.contents})
    assert made.load().sha256 == packed(small, small.contents).load().sha256
    assert not list(tmp_path.rglob("outside"))


def test_an_archive_that_lacks_a_file_is_refused(small, packed):
    name = f"{small.made.folder}/{small.made.test}"
    made = packed(small, {one: content for one, content in small.contents.items() if one != name})
    with pytest.raises(IntegrityError, match=f"lacks {name}; delete it and fetch it again"):
        made.load()


def test_records_of_another_length_are_refused(small, packed, extracted):
    name = f"{small.made.folder}/{small.made.train[-1]}"
    small.contents[name] = small.contents[name][:-1]
    with pytest.raises(
        FormatError, match=rf"{name} in .* bytes, its records need .*not of the binary version"
    ):
        packed(small, small.contents).load()


def test_a_folder_with_a_file_of_another_length_is_refused(small, extracted):
    (extracted(small) / small.made.test).write_bytes(b"short")
    with pytest.raises(FormatError, match=f"{small.made.test} has 5 bytes, its records need"):
        small.made.load()


def test_a_folder_that_lacks_a_file_is_refused(small, extracted):
    (extracted(small) / small.made.test).unlink()
    with pytest.raises(
        IntegrityError, match=rf"{small.made.test} is missing; put .*tar.gz from https://.*cifar.html"
    ):
        small.made.load()


def test_a_label_that_is_no_class_is_refused(small, extracted):
    path = extracted(small) / small.made.train[0]
    content = bytearray(path.read_bytes())
    content[small.made.label_bytes - 1] = len(small.made.images.counts)
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"a training item of cifar10+ has the label 10+;"):
        small.made.load()


def test_a_missing_archive_is_named(data_home):
    with pytest.raises(
        DataMissingError, match=r"'cifar10' needs cifar-10-binary.tar.gz \(170,052,171 bytes\)"
    ):
        cifar.OFFICIAL_10.load()
    with pytest.raises(DataMissingError, match=rf"cifar.html and put it into {data_home / 'cifar100'}"):
        cifar.OFFICIAL_100.load()
