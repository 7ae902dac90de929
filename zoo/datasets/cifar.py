"""CIFAR-10 and CIFAR-100: 60,000 colour images of 32 x 32 pixels, classes of equal size.

Read from the official binary version, since the Python version is a pickle, which runs code when opened.
"""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from zoo.datasets.base import Dataset, Items
from zoo.datasets.files import OfficialFile, check, find, obtain
from zoo.datasets.folders import data_folder
from zoo.datasets.images import ImageSet
from zoo.errors import FormatError, IntegrityError

_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_SOURCE = (
    f"A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report, 2009; {_PAGE}"
)
_LICENCE = "none given; the authors ask for a citation"


@dataclass(frozen=True)
class Cifar:
    """One of the two datasets: records of a few label bytes and the pixels, channel by channel.

    Attributes:
        images: What it consists of.
        archive: The official archive.
        folder: The folder in the archive.
        train: Names of the files in it with official training items, each with as many.
        test: Name of the file with the test items.
        label_bytes: Bytes before the pixels; the last of them is the class.
    """

    images: ImageSet
    archive: OfficialFile
    folder: str
    train: tuple[str, ...]
    test: str
    label_bytes: int

    def load(self) -> Dataset:
        """Read the archive, or the folder that it was extracted to.

        The archive is checked by its digest. Of a folder only the lengths of the files, the labels and the
        number of items of each class are checked.

        Returns:
            Images `(n, 3, 32, 32)`, uint8.

        Raises:
            DataMissingError: Neither is here, and the archive cannot be downloaded.
            IntegrityError: The archive is not the official one, or items are missing.
            FormatError: A file has the wrong length, or a label is no class.
            StorageError: A download cannot be written.
        """
        contents = self._contents()
        train = [self._items(contents[name]) for name in self.train]
        x, y = torch.cat([items.x for items in train]), torch.cat([items.y for items in train])
        return self.images.assemble(Items(x, y), self._items(contents[self.test]))

    @property
    def _lengths(self) -> dict[str, int]:
        """Bytes of each file."""
        record = self.label_bytes + int(np.prod(self.images.inputs))
        each = sum(self.images.counts) // len(self.train)
        return {**dict.fromkeys(self.train, each * record), self.test: self.images.test * record}

    def _contents(self) -> dict[str, bytes]:
        """Read all files; the archive comes first, since its content is certain."""
        folder = data_folder() / self.archive.dataset / self.folder
        if find(self.archive) is None and folder.is_dir():
            return {name: self._extracted(folder / name, length) for name, length in self._lengths.items()}
        path = obtain(self.archive)
        check(self.archive, path)
        found = self._members(path)
        lost = self._lengths.keys() - found.keys()
        if lost:
            raise IntegrityError(f"{path} lacks {self.folder}/{min(lost)}; delete it and fetch it again")
        return found

    def _extracted(self, path: Path, length: int) -> bytes:
        if not path.is_file():
            raise IntegrityError(
                f"{path} is missing; put {self.archive.name} from {self.archive.page} into "
                f"{data_folder() / self.archive.dataset}"
            )
        _check_length(str(path), path.stat().st_size, length)
        return path.read_bytes()

    def _members(self, path: Path) -> dict[str, bytes]:
        """Read the files out of the archive, by their exact names; nothing is extracted to the disk."""
        wanted = {f"{self.folder}/{name}": name for name in self._lengths}
        found: dict[str, bytes] = {}
        try:
            with tarfile.open(path, "r|gz") as archive:
                for member in archive:
                    name = wanted.get(member.name)
                    stream = archive.extractfile(member) if name is not None and member.isreg() else None
                    if name is not None and stream is not None:
                        _check_length(f"{member.name} in {path}", member.size, self._lengths[name])
                        found[name] = stream.read()
        except (tarfile.TarError, zlib.error, EOFError) as error:
            raise IntegrityError(
                f"{path} is no whole archive ({error}); delete it and fetch it again"
            ) from error
        return found

    def _items(self, content: bytes) -> Items:
        inputs = self.images.inputs
        records = np.frombuffer(content, dtype=np.uint8).reshape(-1, self.label_bytes + int(np.prod(inputs)))
        pixels = records[:, self.label_bytes :].reshape(-1, *inputs)
        return Items(torch.tensor(pixels), torch.tensor(records[:, self.label_bytes - 1], dtype=torch.int64))


def _check_length(what: str, got: int, expected: int) -> None:
    if got != expected:
        raise FormatError(
            f"{what} has {got:,} bytes, its records need {expected:,}; it is not of the binary version"
        )


OFFICIAL_10 = Cifar(
    images=ImageSet(
        name="cifar10",
        inputs=(3, 32, 32),
        counts=(5_000,) * 10,
        val=5_000,
        test=10_000,
        licence=_LICENCE,
        source=_SOURCE,
    ),
    archive=OfficialFile(
        dataset="cifar10",
        name="cifar-10-binary.tar.gz",
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        page=_PAGE,
        size=170_052_171,
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test="test_batch.bin",
    label_bytes=1,
)
OFFICIAL_100 = Cifar(
    images=ImageSet(
        name="cifar100",
        inputs=(3, 32, 32),
        counts=(500,) * 100,
        val=5_000,
        test=10_000,
        licence=_LICENCE,
        source=_SOURCE,
    ),
    archive=OfficialFile(
        dataset="cifar100",
        name="cifar-100-binary.tar.gz",
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        page=_PAGE,
        size=168_513_733,
        sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    ),
    folder="cifar-100-binary",
    train=("train.bin",),
    test="test.bin",
    label_bytes=2,  # coarse, fine
)
CIFAR10 = OFFICIAL_10.images.family(OFFICIAL_10.load)
CIFAR100 = OFFICIAL_100.images.family(OFFICIAL_100.load)
