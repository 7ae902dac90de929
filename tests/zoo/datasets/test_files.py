import gzip
import hashlib
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from zoo.datasets import files
from zoo.datasets.files import OfficialFile
from zoo.errors import DataMissingError, IntegrityError, StorageError

CONTENT = bytes(range(256)) * 40
HTTP = frozenset({"http"})


def official(**changes):
    fields = {
        "dataset": "tiny",
        "name": "tiny.bin",
        "url": "https://example.org/tiny.bin",
        "page": "https://example.org/page",
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    return OfficialFile(**{**fields, **changes})


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
            return
        target = {"/moved": "/whole", "/elsewhere": "https://127.0.0.1:1/whole"}.get(self.path)
        self.send_response(200 if target is None else 302)
        if target is not None:
            self.send_header("Location", target)
        if self.path == "/cut":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path == "/silent":
            self.server.released.wait(5)
        body = {"/whole": CONTENT, "/cut": CONTENT[:3000], "/short": CONTENT[:3000], "/wrong": CONTENT[::-1]}
        self.wfile.write(body.get(self.path, b"") if self.path != "/long" else CONTENT + b"!")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.released = threading.Event()
        made.daemon_threads = True
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.released.set()
        made.shutdown()


@pytest.fixture
def online(data_home, monkeypatch):
    monkeypatch.delenv("PHASEZOO_OFFLINE")
    return data_home


def fetch(url, home, **changes):
    files.download(official(url=url, **changes), home / "tiny" / "tiny.bin", schemes=HTTP)


def left(home):
    return [path.name for path in home.rglob("*") if path.is_file()]


def test_a_file_is_found_in_the_data_folder_before_elsewhere(data_home, tmp_path):
    file = official(elsewhere=tmp_path)
    assert files.find(file) is None
    (tmp_path / "tiny.bin").write_bytes(CONTENT)
    assert files.find(file) == tmp_path / "tiny.bin"
    (data_home / "tiny").mkdir(parents=True)
    (data_home / "tiny" / "tiny.bin").write_bytes(CONTENT)
    assert files.obtain(file) == data_home / "tiny" / "tiny.bin"


def test_a_missing_file_is_named_with_its_place_and_its_sources(data_home):
    with pytest.raises(DataMissingError) as caught:
        files.obtain(official(way_out=", or ask a friend"))
    for part in ("'tiny'", "tiny.bin", "10,240 bytes", "PHASEZOO_OFFLINE", "https://example.org/page"):
        assert part in str(caught.value)
    assert str(caught.value).endswith(f"put it into {data_home / 'tiny'}, or ask a friend")


@pytest.mark.parametrize("path", ["/whole", "/moved"])
def test_a_download_appears_whole(server, online, path, capfd):
    fetch(server + path, online)
    assert (online / "tiny" / "tiny.bin").read_bytes() == CONTENT
    assert left(online) == ["tiny.bin"]
    assert capfd.readouterr() == ("", "")  # the bar is for terminals


def test_obtain_downloads_what_is_missing(server, online, monkeypatch):
    monkeypatch.setattr(files, "_follow", lambda url, schemes: None)
    path = files.obtain(official(url=f"{server}/whole"))
    assert path == online / "tiny" / "tiny.bin"
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["/cut", "/short"])
def test_a_download_that_breaks_off_leaves_nothing(server, online, path):
    with pytest.raises(IntegrityError, match=r"cut off after 3,000 of 10,240 bytes; run it again"):
        fetch(server + path, online)
    assert left(online) == []


def test_another_content_is_refused(server, online):
    with pytest.raises(IntegrityError, match="is not the official file: its SHA-256 is not"):
        fetch(f"{server}/wrong", online)
    assert left(online) == []


def test_a_body_longer_than_the_file_is_refused(server, online):
    with pytest.raises(IntegrityError, match=r"sends more than the 10,240 bytes of the official file"):
        fetch(f"{server}/long", online)
    assert left(online) == []


def test_a_server_that_refuses_leads_to_the_page(server, online):
    with pytest.raises(
        DataMissingError, match=r"failed: HTTP Error 404.*get it from https://example.org/page"
    ):
        fetch(f"{server}/missing", online)


def test_a_server_that_falls_silent_is_given_up(server, online, monkeypatch):
    monkeypatch.setattr(files, "_TIMEOUT", 0.1)
    with pytest.raises(DataMissingError, match="timed out"):
        fetch(f"{server}/silent", online)
    assert left(online) == []


def test_no_network_leads_to_the_page(online):
    with pytest.raises(DataMissingError, match=r"failed: .*refused.*get it from https://example.org/page"):
        fetch("http://127.0.0.1:1/whole", online)


def test_only_https_is_followed(server, online, tmp_path):
    with pytest.raises(DataMissingError, match=r"/whole is not https"):
        files.download(official(url=f"{server}/whole"), tmp_path / "tiny.bin")
    with pytest.raises(DataMissingError, match=r"https://127.0.0.1:1/whole is not http\b"):
        fetch(f"{server}/elsewhere", online)


def test_a_folder_that_cannot_be_written_is_told(server, online):
    online.write_text("a file where the folder should be")
    with pytest.raises(
        StorageError, match=r"cannot write .*tiny.bin: .*; free some space, or set PHASEZOO_DATA"
    ):
        fetch(f"{server}/whole", online)


LENGTH = len(CONTENT)


def packed_file(tmp_path, content, *, unpacked=LENGTH):
    path = tmp_path / "tiny.gz"
    path.write_bytes(content)
    return official(unpacked=unpacked), path


def test_a_gzip_file_is_checked_by_what_it_holds(tmp_path):
    for level in (1, 9):
        file, path = packed_file(tmp_path, gzip.compress(CONTENT, level))
        assert files.unpacked(file, path) == CONTENT
        files.check(file, path)


def test_a_download_of_a_gzip_file_is_checked_by_what_it_holds(server, online):
    with pytest.raises(IntegrityError, match="is no whole gzip file"):
        fetch(f"{server}/whole", online, unpacked=10)
    assert left(online) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(CONTENT)[:-1], r"is truncated: 10,240 of 10,240 bytes"),  # the checksum is cut
        (gzip.compress(CONTENT, 0)[:5000], r"is truncated: 4,\d+ of 10,240 bytes"),
        (b"", "is truncated: 0 of"),
        (CONTENT, "is no whole gzip file"),
        (gzip.compress(CONTENT)[:-5] + b"12345", "is no whole gzip file .*incorrect"),
        (gzip.compress(CONTENT + b"!"), r"holds more than the 10,240 bytes"),
        (gzip.compress(CONTENT[::-1]), "is not the official file"),
        (gzip.compress(CONTENT[:-1]), "is not the official file"),
    ],
)
def test_a_damaged_gzip_file_is_refused(tmp_path, content, message):
    with pytest.raises(IntegrityError, match=message):
        files.unpacked(*packed_file(tmp_path, content))


def test_a_gzip_bomb_takes_no_memory(tmp_path):
    file, path = packed_file(tmp_path, gzip.compress(bytes(100_000_000), 1))
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="holds more than"):
            files.unpacked(file, path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_plain_file_is_checked_by_its_bytes(tmp_path):
    path = tmp_path / "tiny.bin"
    path.write_bytes(CONTENT)
    files.check(official(), path)
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(
        IntegrityError, match=r"tiny.bin is not the official file: .*; delete it and fetch it again"
    ):
        files.check(official(), path)


def test_the_bar_counts_steps():
    with files.progress("count", 10) as bar:
        bar.update(bar.task_ids[0], completed=4)
        assert bar.tasks[0].percentage == 40
