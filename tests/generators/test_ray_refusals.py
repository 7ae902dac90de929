"""What the Ray executor refuses, in seconds and with a way out: addresses, installations, versions."""

import importlib
import os
import re
import socket
import sys
import threading
import time

import pytest

import zoo
from generators import generate
from generators.engine import TaskSettings
from generators.executors import Watch
from generators.executors import ray as ray_executor
from generators.executors.ray import RayExecutor
from generators.generation import make_tasks
from generators.grid import plan
from zoo.errors import ClusterError
from zoo.storage import JOURNAL

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def local_ray():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def train(recipe, root, executor):
    return generate(recipe, root, device="cpu", executor=executor, strategy="stacked")


def assert_nothing_recorded(root):
    assert zoo.open(root).manifest.counts.models == 0
    assert not (root / JOURNAL).exists() or not (root / JOURNAL).read_bytes()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_an_address_that_does_not_answer_is_refused_in_seconds(tiny_recipe, tmp_path):
    address, begin = f"127.0.0.1:{free_port()}", time.monotonic()
    with pytest.raises(
        ClusterError, match=rf"cluster at {address} does not answer \(.*refused.*ray start --head"
    ):
        train(tiny_recipe(), tmp_path / "zoo", RayExecutor(address=address))
    assert time.monotonic() - begin < 6


@pytest.mark.parametrize(("reply", "what"), [(b"HTTP/1.1 400 Bad Request", "no Ray"), (b"", "timed out")])
def test_a_port_where_something_else_listens_is_refused_in_seconds(reply, what, monkeypatch):
    monkeypatch.setattr(ray_executor, "_ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer():
            with server.accept()[0] as connection:
                connection.sendall(reply)
                connection.recv(100)
                time.sleep(1)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ClusterError, match=rf"{address} does not answer \(.*{what}"):
            list(RayExecutor(address=address).run([], TaskSettings(), Watch()))
        thread.join()


@pytest.mark.parametrize(
    "address", ["nowhere", ":6379", "host:", "host:port", "host:0", "ray://host:10001", ""]
)
def test_a_malformed_address_is_refused(address):
    with pytest.raises(ClusterError, match=rf"is HOST:PORT, such as 10.0.0.1:6379; got '{address}'"):
        list(RayExecutor(address=address).run([], TaskSettings(), Watch()))


def test_another_cluster_than_the_connected_one_is_refused(local_ray):
    connected = local_ray.get_runtime_context().gcs_address
    address = f"127.0.0.1:{connected.rpartition(':')[2]}"
    with pytest.raises(ClusterError, match=rf"connected to .*{connected}, not to the one at {address}"):
        list(RayExecutor(address=address).run([], TaskSettings(), Watch()))


def test_a_missing_ray_is_named_with_the_way_to_get_it(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ClusterError, match=r"needs Ray, which cannot be imported here.*install 'phasezoo\[ray\]'"
    ):
        train(tiny_recipe(), tmp_path / "zoo", "ray")


def test_a_module_that_only_looks_like_ray_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", ray_executor)
    with pytest.raises(
        ClusterError, match=r"import ray finds .*ray\.py instead of Ray; run from another folder"
    ):
        list(RayExecutor().run([], TaskSettings(), Watch()))


def test_a_cluster_of_another_ray_is_refused(local_ray, tiny_recipe, tmp_path, monkeypatch):
    def refuse(*_given, **_options):
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 1.0")

    address = local_ray.get_runtime_context().gcs_address
    monkeypatch.setattr(local_ray, "is_initialized", lambda: False)
    monkeypatch.setattr(local_ray, "init", refuse)
    refused = rf"{address} refused us \(RuntimeError: Version mismatch: .* Ray: 1\.0\); .*need the same"
    with pytest.raises(ClusterError, match=refused):
        train(tiny_recipe(), tmp_path / "zoo", RayExecutor(address=address))
    assert_nothing_recorded(tmp_path / "zoo")


def test_a_worker_with_other_versions_is_refused(local_ray, tiny_recipe, tmp_path, monkeypatch):
    versions = ray_executor.library_versions()
    ours = {**versions, "torch": "9.9", "python": "3.99"}
    monkeypatch.setattr(ray_executor, "library_versions", lambda: ours)
    there = (
        r"the node [\d.]+ of the Ray cluster has other versions than this machine: "
        rf"torch 9\.9 here and {re.escape(versions['torch'])} there; "
        rf"python 3\.99 here and {re.escape(versions['python'])} there; .*install the same on every node"
    )
    with pytest.raises(ClusterError, match=there):
        train(tiny_recipe(), tmp_path / "zoo", "ray")
    assert_nothing_recorded(tmp_path / "zoo")


def test_a_worker_without_our_code_is_refused(local_ray, tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_executor, "_entry", lambda: lambda *_given: importlib.import_module("not_there"))
    with pytest.raises(
        ClusterError, match=r"cannot import phasezoo \(No module named 'not_there'\); install"
    ):
        train(tiny_recipe(), tmp_path / "zoo", "ray")
    assert_nothing_recorded(tmp_path / "zoo")


def test_a_cluster_without_the_device_is_refused(local_ray, tiny_recipe, tmp_path):
    tasks = make_tasks(tmp_path, tiny_recipe(), plan(tiny_recipe()), "cpu")
    with pytest.raises(ClusterError, match="has no GPU to train on; add a node with one, or change --device"):
        list(RayExecutor().run(tasks, TaskSettings(device="cuda"), Watch()))
