import dataclasses
import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.datasets import tiny_imagenet
from zoo.errors import DataMissingError, FormatError, IntegrityError

WNIDS = ("n02000000", "n01443537", "n09000000")  # not sorted, as in the official list
FOLDER = tiny_imagenet.OFFICIAL.folder


def jpeg(value, *, size=(64, 64), mode="RGB"):
    """One colour, which JPEG keeps but for rounding: `value`, and half of it for green."""
    packed = io.BytesIO()
    colour = (value, value // 2, 0) if mode == "RGB" else value
    Image.new(mode, size, colour).save(packed, "JPEG", quality=95)
    return packed.getvalue()


def official_files():
    """Three classes of four images; the colour tells class and number."""
    files = {"wnids.txt": "\n".join(WNIDS).encode(), "words.txt": b"more"}
    for label, wnid in enumerate(sorted(WNIDS)):
        for number in range(4):
            files[f"train/{wnid}/images/{wnid}_{number}.JPEG"] = jpeg(80 * label + 20 * number)
    lines = []
    for number in range(5):
        files[f"val/images/val_{number}.JPEG"] = jpeg(50 * number)
        lines.append(f"val_{number}.JPEG\t{sorted(WNIDS)[number % 3]}\t0\t0\t62\t62")
    files["val/val_annotations.txt"] = "\n".join(reversed(lines)).encode()
    return files


@pytest.fixture
def files():
    return official_files()


@pytest.fixture
def small():
    images = dataclasses.replace(tiny_imagenet.OFFICIAL.images, counts=(4,) * 3, val=3, test=5)
    return dataclasses.replace(tiny_imagenet.OFFICIAL, images=images)


@pytest.fixture
def packed(small, place):
    def pack(files):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, one in files.items():
                archive.writestr(f"{FOLDER}/{name}", one)
        return dataclasses.replace(small, archive=place(small.archive, content.getvalue()))

    return pack


@pytest.fixture
def extracted(small, data_home):
    def extract(files):
        for name, content in files.items():
            path = data_home / "tiny-imagenet" / FOLDER / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return small

    return extract


@pytest.fixture(params=["packed", "extracted"])
def put(request):
    """Puts files in place, as archive and as folder, and gives the dataset."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def kept(data_home):
    return data_home / "tiny-imagenet" / "decoded"


def test_images_and_classes_come_back(put, files):
    loaded = put(files).load()
    for side in (loaded.train, loaded.val):
        red = side.x[:, 0].double().mean((1, 2))
        assert torch.equal((red + 8).long() // 80, side.y)
        assert (side.x[:, 1].double().mean((1, 2)) - red / 2).abs().max() < 5
    seen = torch.cat([loaded.train.x, loaded.val.x])[:, 0].double().mean((1, 2)).sort().values
    expected = [80 * label + 20 * number for label in range(3) for number in range(4)]
    assert (seen - torch.tensor(expected, dtype=torch.float64).sort().values).abs().max() < 5
    assert (loaded.test.x[:, 0].double().mean((1, 2)) - 50 * torch.arange(5)).abs().max() < 5
    assert loaded.test.y.tolist() == [0, 1, 2, 0, 1]
    assert (loaded.train.x.dtype, loaded.train.y.dtype) == (torch.uint8, torch.int64)


def test_sizes_agree_with_what_loads(put, files):
    made = put(files)
    loaded = made.load()
    assert made.images.sizes == (len(loaded.train), int(torch.bincount(loaded.train.y).min())) == (9, 3)
    assert loaded.shape == made.images.shape


def test_grey_images_get_three_equal_channels(put, files):
    for name in files:
        if name.endswith(".JPEG"):
            files[name] = jpeg(100, mode="L")
    assert set(put(files).load().train.x.flatten().tolist()) == {100}


def test_archive_and_folder_give_the_same_dataset(packed, extracted, files):
    folder = extracted(files).load()
    assert packed(files).load().sha256 == folder.sha256


def refuse(*_):
    raise AssertionError("decoded again")


def test_the_second_load_decodes_nothing(put, files, monkeypatch):
    made = put(files)
    first = made.load().sha256
    monkeypatch.setattr(tiny_imagenet, "decode", refuse)
    assert made.load().sha256 == first


@pytest.mark.parametrize("damage", ["bits", "short", "record", "pickle", "floats", "lists"])
def test_kept_arrays_that_do_not_fit_are_made_again(put, files, kept, damage, monkeypatch):
    made = put(files)
    first = made.load().sha256
    path = kept / "train.npy"
    if damage == "bits":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "short":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "record":
        path.with_suffix(".json").write_text("{}")
    elif damage == "lists":  # the same arrays, kept from lists in which another item had their place
        record = path.with_suffix(".json")
        record.write_text(record.read_text().replace('"made_from":"', '"made_from":"0'))
    else:
        array = np.load(path)
        strange = np.array([{}], dtype=object) if damage == "pickle" else array.astype(float)
        np.save(path, strange, allow_pickle=True)
        trust(path)
    assert made.load().sha256 == first
    monkeypatch.setattr(tiny_imagenet, "decode", refuse)
    assert made.load().sha256 == first


def trust(path):
    """Write a record as if the array were whole."""
    import hashlib
    import json

    record = path.with_suffix(".json")
    fields = json.loads(record.read_text())
    fields["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    record.write_text(json.dumps(fields))


def test_arrays_of_another_size_are_made_again(put, files, kept):
    made = put(files)
    first = made.load().sha256
    np.save(kept / "train.npy", np.load(kept / "train.npy")[:-1])
    trust(kept / "train.npy")
    assert made.load().sha256 == first


def test_a_folder_that_cannot_be_written_does_not_keep_from_loading(put, files, kept):
    made = put(files)
    kept.write_text("a file in place of the folder")
    assert len(made.load().train) == 9


def test_an_image_of_another_size_is_refused(put, files):
    files["val/images/val_3.JPEG"] = jpeg(1, size=(64, 32))
    with pytest.raises(
        FormatError, match=r"val/images/val_3.JPEG has 32 x 64 pixels, expected 64 x 64; its files"
    ):
        put(files).load()


@pytest.mark.parametrize("content", [b"", b"no image", jpeg(1)[:200], b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_an_image_that_is_no_jpeg_is_refused(put, files, content):
    files["val/images/val_3.JPEG"] = content
    with pytest.raises(FormatError, match=r"val_3.JPEG is no whole JPEG"):
        put(files).load()


def test_another_format_is_refused_even_if_it_is_an_image(put, files):
    image = io.BytesIO()
    Image.new("RGB", (64, 64)).save(image, "PNG")
    files["val/images/val_3.JPEG"] = image.getvalue()
    with pytest.raises(FormatError, match=r"val_3.JPEG is no whole JPEG"):
        put(files).load()


def test_an_image_of_enormous_size_is_refused_undecoded():
    huge = bytearray(jpeg(1))
    size = huge.index(b"\xff\xc0") + 5
    huge[size : size + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(FormatError, match=r"x is no whole JPEG .*exceeds limit"):
        tiny_imagenet.decode(bytes(huge), (3, 64, 64), "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"val_2.JPEG": b"val_9.JPEG"}, "val_annotations.txt has no line for val_2.JPEG; its files are not"),
        ({b"\t": b" "}, "has no line for val_0.JPEG"),
        ({b"n02000000": b"n05000000"}, "gives val_1.JPEG the class 'n05000000', which is not in wnids.txt"),
        ({b"n02000000": b"\xff"}, "gives val_1.JPEG the class '\ufffd'"),
    ],
)
def test_annotations_that_lack_an_image_or_know_another_class_are_refused(put, files, change, message):
    for old, new in change.items():
        files["val/val_annotations.txt"] = files["val/val_annotations.txt"].replace(old, new)
    with pytest.raises(FormatError, match=message):
        put(files).load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"n02000000\nn01443537", r"wnids.txt of tiny-imagenet has 2 ids, not 3, or strange ones: \[\]"),
        (b"n02000000\nn01443537\nn01443537", "has 2 ids"),
        (b"n02000000\nn01443537\n../../../etc", r"strange ones: \['../../../etc'\]; its files"),
        (b"\xff\xfe", "strange ones: "),
    ],
)
def test_ids_that_are_none_are_refused(put, files, content, message):
    files["wnids.txt"] = content
    with pytest.raises(FormatError, match=message):
        put(files).load()


@pytest.mark.parametrize(
    "name", ["wnids.txt", "val/val_annotations.txt", "train/n02000000/images/n02000000_2.JPEG"]
)
def test_a_file_that_is_missing_is_named(files, name, packed, extracted):
    del files[name]
    with pytest.raises(IntegrityError, match=f"{name} is missing; its files are not the official ones"):
        extracted(files).load()
    with pytest.raises(IntegrityError, match=f"tiny-imagenet-200.zip lacks {FOLDER}/{name}; its files"):
        packed(files).load()


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_broken_archive_is_refused(small, place, content):
    with pytest.raises(IntegrityError, match=r"tiny-imagenet-200.zip is no whole archive"):
        dataclasses.replace(small, archive=place(small.archive, content)).load()


def test_a_broken_member_is_refused(small, place, packed, files, data_home):
    packed(files)
    content = bytearray((data_home / "tiny-imagenet" / small.archive.name).read_bytes())
    start = content.index(b"val_3.JPEG") + 30
    content[start : start + 40] = bytes(40)
    with pytest.raises(IntegrityError, match=r"tiny-imagenet-200.zip is no whole archive"):
        dataclasses.replace(small, archive=place(small.archive, bytes(content))).load()


def test_another_archive_is_refused(packed, files):
    made = packed(files)
    made = dataclasses.replace(made, archive=dataclasses.replace(made.archive, sha256="0" * 64))
    with pytest.raises(IntegrityError, match=r"tiny-imagenet-200.zip is not the official file"):
        made.load()


def test_a_missing_archive_is_named(data_home):
    with pytest.raises(
        DataMissingError, match=r"'tiny-imagenet' needs tiny-imagenet-200.zip \(248,100,043 bytes\)"
    ):
        tiny_imagenet.OFFICIAL.load()
