"""Do tasks on a Ray cluster: one task a core or GPU; a lost worker costs its task alone.

Ray is optional and slow to import, so it is imported when a run begins. The task that Ray gets carries no
path, since a worker may be on another machine: a saved state travels as the bytes of its file.
"""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Literal

import torch

from generators.engine import Hooks, Interrupted, TaskSettings
from generators.engine.provenance import library_versions
from generators.executors.base import ATTEMPTS, AnyTask, Done, Watch, failed, largest_first, perform
from generators.executors.interrupt import deferred_interrupt
from generators.executors.one_core import use_one_core
from zoo.errors import ClusterError, ZooError
from zoo.storage import write_file

_PATIENCE = 0.2
"""Seconds between two looks at whether to stop."""
_ANSWER_SECONDS = 5.0
"""How long a cluster may take to answer its port."""
_SETTINGS_FRAME = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""Three bytes of length, type 4, no flags, stream 0: both sides of HTTP/2 begin with one."""
_AHEAD = 2
"""Tasks that Ray holds for each slot: one in training, and one so that no worker waits for us."""

Outcome = tuple[Literal["trained", "stopped", "refused", "versions"], Any]
"""What a worker returns: pickled results, the bytes of a state, a pickled error, or its versions and node."""


class RayExecutor:
    """Works on a Ray cluster, one task a core, or a GPU where tasks train on one.

    Args:
        address: `HOST:PORT` of a cluster that this machine is a node of. Without it the Ray that this process
            has initialised, or else one that starts with all cores of this machine and stops at the end.
        attempts: How often a task is given to a worker before it counts as what kills workers.
    """

    def __init__(self, address: str | None = None, attempts: int = ATTEMPTS) -> None:
        self.address = address
        self.attempts = attempts

    def run(self, tasks: Sequence[AnyTask], settings: TaskSettings, watch: Watch) -> Iterator[Done]:
        """Do tasks, the largest first, so that the last to end is small.

        Args:
            tasks: The tasks.
            settings: How they are done.
            watch: Asked whether to stop; it hears of whole tasks only, which is what comes back from Ray.

        Yields:
            Each task as it ends.

        Raises:
            Interrupted: It was asked to stop; the state of each task in training is saved.
            ClusterError: Ray is not installed, does not answer, or a worker runs other versions of the code.
        """
        with _connected(self.address) as ray:
            run = _Run(ray, tasks, settings, watch, attempts=self.attempts)
            try:
                yield from run.results()
            finally:
                run.cancel()


# connect


@contextmanager
def _connected(address: str | None) -> Iterator[ModuleType]:
    """Give Ray, initialised; what was begun here is ended here."""
    if address is not None:
        _check_answers(address)
    ray = _import_ray()
    if ray.is_initialized():
        _check_same(ray, address)
        yield ray
        return
    _initialise(ray, address)
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Knock at the port: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ClusterError(
            f"the address of a Ray cluster is HOST:PORT, such as 10.0.0.1:6379; got {address!r}"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS) as connection:
            _greet(connection)
    except OSError as error:
        raise ClusterError(
            f"the Ray cluster at {address} does not answer ({error}); start it with ray start --head, "
            "or leave --address out: then Ray starts on this machine"
        ) from None


def _greet(connection: socket.socket) -> None:
    """Find out whether it is gRPC that answers, by the first frame of HTTP/2 (RFC 9113, section 3.4)."""
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS_FRAME)
    answer = connection.recv(len(_SETTINGS_FRAME), socket.MSG_WAITALL)
    if answer[3:4] != _SETTINGS_FRAME[3:4]:
        raise ConnectionError("what listens there is no Ray")


def _import_ray() -> ModuleType:
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise ClusterError(
            f"the executor 'ray' needs Ray, which cannot be imported here ({error}); "
            "pip install 'phasezoo[ray]'"
        ) from None
    if not hasattr(ray, "init"):  # a script that lies beside this file finds it under the name of Ray
        raise ClusterError(f"import ray finds {ray.__file__} instead of Ray; run from another folder")
    return ray


def _check_same(ray: ModuleType, address: str | None) -> None:
    connected = ray.get_runtime_context().gcs_address
    if address not in {None, connected}:
        raise ClusterError(
            f"this process is connected to the Ray cluster at {connected}, not to the one at {address}; "
            "call ray.shutdown() first, or leave the address out"
        )


def _initialise(ray: ModuleType, address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody's business but the user's
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            ray.init("local", num_cpus=_cores(), include_dashboard=False, **quiet)
        else:
            ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        what = "could not be started on this machine" if address is None else f"at {address} refused us"
        reason = " ".join(str(error).split())
        raise ClusterError(
            f"the Ray cluster {what} ({type(error).__name__}: {reason}); all of its nodes, this machine "
            f"among them, need the same Python and Ray {ray.__version__}"
        ) from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# drive


@dataclass(frozen=True)
class _Given:
    """A task that Ray has.

    Attributes:
        task: The task.
        begin: When Ray got it.
    """

    task: AnyTask
    begin: float


class _Run:
    """Tasks on their way through Ray."""

    def __init__(
        self,
        ray: ModuleType,
        tasks: Sequence[AnyTask],
        settings: TaskSettings,
        watch: Watch,
        *,
        attempts: int,
    ) -> None:
        self._ray, self._watch, self._attempts = ray, watch, attempts
        self._settings = replace(settings, sharing=_sharing(ray, settings))
        self._waiting = deque(largest_first(tasks))
        self._tried = {task.name: 0 for task in tasks}
        self._given: dict[Any, _Given] = {}
        self._versions = library_versions()
        self._unit = "CPU" if _on_cpu(settings) else "GPU"
        gpus = 0 if self._unit == "CPU" else 1
        # no retries of Ray's: they would neither be counted with ours nor be recorded
        self._remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_entry())
        if tasks and not self._slots():
            raise ClusterError(
                f"the Ray cluster has no {self._unit} to train on; add a node with one, or change --device"
            )

    def results(self) -> Iterator[Done]:
        while self._hand_out():
            if self._watch.should_stop():
                yield from self._stop()
                raise Interrupted
            ready, _ = self._ray.wait(list(self._given), num_returns=1, timeout=_PATIENCE)
            for reference in ready:
                yield from self._receive(reference)

    def cancel(self) -> None:
        """End what Ray still has of us; nothing does after a whole run."""
        for reference in self._given:
            self._ray.cancel(reference, force=True)
        self._given.clear()

    def _slots(self) -> int:
        return int(self._ray.cluster_resources().get(self._unit, 0))

    def _hand_out(self) -> bool:
        """Keep Ray supplied; say whether there is anything to wait for."""
        room = _AHEAD * max(1, self._slots()) - len(self._given) if self._waiting else 0
        for _ in range(min(room, len(self._waiting))):
            task = self._waiting.popleft()
            self._tried[task.name] += 1
            named = self._remote.options(name=f"phasezoo {task.name}")
            reference = named.remote(__name__, self._versions, _packed(task, self._settings))
            self._given[reference] = _Given(task, time.perf_counter())
        return bool(self._given)

    def _receive(self, reference: Any) -> Iterator[Done]:
        given = self._given.pop(reference)
        try:
            kind, content = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            _refuse_import(error)
            raise
        except self._ray.exceptions.RayError as error:
            yield from self._lost(given, error)
            return
        yield from self._take(given.task, kind, content)

    def _take(self, task: AnyTask, kind: str, content: Any) -> Iterator[Done]:
        """Read what a worker returned."""
        if kind == "trained":
            # unpickled here rather than by Ray, whose arrays are read-only views into its shared memory
            found, seconds, reason = pickle.loads(content)
            yield Done(task, found, seconds, reason)
        elif kind == "refused":
            raise pickle.loads(content)
        elif kind == "versions":
            raise _other_versions(self._versions, *content)
        elif content is not None and task.state is not None:
            write_file(task.state, content)

    def _lost(self, given: _Given, error: Exception) -> Iterator[Done]:
        """Try the task of a lost worker again, but not for ever."""
        if self._tried[given.task.name] < self._attempts:
            self._waiting.appendleft(given.task)
            return
        how = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        reason = f"its worker died in each of {self._attempts} attempts, at last {how}"
        yield failed(given.task, self._settings, reason, time.perf_counter() - given.begin)

    def _stop(self) -> Iterator[Done]:
        """Let every worker end its epoch and send its state; take what had been trained by then."""
        for reference in self._given:
            self._ray.cancel(
                reference
            )  # a Ctrl-C in the worker, which `_perform` keeps until the epoch's end
        for reference in list(self._given):
            try:
                outcome = self._ray.get(reference)
            except self._ray.exceptions.RayError:
                continue  # it had not begun, or its worker is lost: its last saved state stays
            yield from self._take(self._given[reference].task, *outcome)


def _on_cpu(settings: TaskSettings) -> bool:
    return torch.device(settings.device).type == "cpu"


def _sharing(ray: ModuleType, settings: TaskSettings) -> int:
    """Count the tasks that share memory at once: those of a node's cores; a GPU has one."""
    cores = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    return max(1, int(max(cores, default=0))) if _on_cpu(settings) else 1


def _packed(task: AnyTask, settings: TaskSettings) -> bytes:
    """Pickle a task, with the bytes of its saved state in place of a path."""
    saved = task.state.read_bytes() if task.state is not None and task.state.exists() else None
    return pickle.dumps((task.portable(), settings, saved))


def _refuse_import(error: Any) -> None:
    if isinstance(error.cause, ImportError):
        raise ClusterError(
            f"a worker of the Ray cluster cannot import phasezoo ({error.cause}); install it on every node: "
            "pip install 'phasezoo[ray]', the same version as here"
        ) from None


def _other_versions(ours: dict[str, str], theirs: dict[str, str], node: str) -> ClusterError:
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    pairs = [f"{name} {ours.get(name, 'none')} here and {theirs.get(name, 'none')} there" for name in names]
    return ClusterError(
        f"the node {node} of the Ray cluster has other versions than this machine: {'; '.join(pairs)}; "
        "numbers depend on them: install the same on every node, such as from the same constraints.txt"
    )


# work: what follows runs in a worker


def _entry() -> Callable[..., Outcome]:
    """Give what Ray calls in a worker: by value, so that a worker without our code can say so."""
    return lambda module, versions, packed: importlib.import_module(module).serve(versions, packed)


def serve(versions: dict[str, str], packed: bytes) -> Outcome:
    """Do one task in a Ray worker.

    Args:
        versions: Versions of the libraries where the task comes from; under others nothing is trained.
        packed: Pickled `(task, settings, bytes of its saved state or None)`.

    Returns:
        What became of it.
    """
    found = library_versions()
    if found != versions:
        return "versions", (found, importlib.import_module("ray").util.get_node_ip_address())
    task, settings, saved = pickle.loads(packed)
    if _on_cpu(settings):
        use_one_core()
    with TemporaryDirectory(prefix="phasezoo-") as folder:
        state = Path(folder) / "state"
        if saved is not None:
            state.write_bytes(saved)
        return _perform(task.with_state(state), _here(settings))


def _here(settings: TaskSettings) -> TaskSettings:
    """Adapt settings to a worker."""
    # Ray shows a worker its own GPU alone, under the first number. A state is saved when asked to stop only:
    # in between it would lie on a disk that is out of reach once the worker is lost.
    return replace(settings, device=torch.device(settings.device).type, state_seconds=float("inf"))


def _perform(task: AnyTask, settings: TaskSettings) -> Outcome:
    with deferred_interrupt(lambda: None) as pressed:
        try:
            done = perform(task, settings, Hooks(should_stop=pressed))
        except Interrupted:
            return "stopped", task.state.read_bytes() if task.state and task.state.exists() else None
        except ZooError as error:
            return "refused", pickle.dumps(error)
    return "trained", pickle.dumps((done.content, done.seconds, done.failed))
