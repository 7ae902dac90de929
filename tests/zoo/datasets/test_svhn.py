import dataclasses
import io

import numpy as np
import pytest
import torch
from scipy.io import savemat

from zoo.datasets import svhn
from zoo.errors import DataMissingError, FormatError, IntegrityError


def matlab(x, y):
    content = io.BytesIO()
    # as the official files have them: rows, columns, channels, images; and 10 for the digit 0
    digits = np.where(y == 0, 10, y).astype(np.uint8)[:, None]
    savemat(content, {"X": x.transpose(2, 3, 1, 0), "y": digits}, do_compression=True)
    return content.getvalue()


@pytest.fixture
def small(shrink, draw, place):
    images = shrink(svhn.OFFICIAL.images, each=3, val=1, test=7)
    train, test = draw(images, 30), draw(images, 7)
    made = dataclasses.replace(
        svhn.OFFICIAL,
        images=images,
        train=place(svhn.OFFICIAL.train, matlab(*train)),
        test=place(svhn.OFFICIAL.test, matlab(*test)),
    )
    return made, train, test


def test_images_and_digits_come_back(small, same_items):
    made, train, test = small
    loaded = made.load()
    assert same_items(
        (torch.cat([loaded.train.x, loaded.val.x]), torch.cat([loaded.train.y, loaded.val.y])), train
    )
    assert np.array_equal(loaded.test.x, test[0])
    assert loaded.test.y.tolist() == test[1].tolist()
    assert loaded.train.x.is_contiguous()
    assert (loaded.train.x.dtype, loaded.train.y.dtype) == (torch.uint8, torch.int64)


def test_sizes_agree_with_what_loads(small):
    made, loaded = small[0], small[0].load()
    counts = torch.bincount(loaded.train.y)
    assert made.images.sizes == (len(loaded.train), int(counts.min())) == (20, 2)
    assert loaded.shape == made.images.shape


def test_another_file_is_refused(small):
    made = dataclasses.replace(small[0], train=dataclasses.replace(small[0].train, sha256="0" * 64))
    with pytest.raises(IntegrityError, match=r"train_32x32.mat is not the official file"):
        made.load()


def test_files_in_exchange_are_refused(small, place):
    made, train, _ = small
    made = dataclasses.replace(made, test=place(made.test, matlab(*train)))
    with pytest.raises(
        FormatError, match=r"test_32x32.mat is no whole .* X \(32, 32, 3, 7\) .* are promised"
    ):
        made.load()


def test_labels_that_are_no_digits_are_refused(small, place):
    made, (x, y), _ = small
    made = dataclasses.replace(made, train=place(made.train, matlab(x, np.where(y == 4, 11, y))))
    with pytest.raises(FormatError, match="has labels from 1 to 11, expected 1 to 10; delete it"):
        made.load()


def test_missing_files_are_named(data_home):
    with pytest.raises(
        DataMissingError, match=r"'svhn' needs train_32x32.mat \(182,040,794 bytes\).*housenumbers"
    ):
        svhn.OFFICIAL.load()
