"""A Ray cluster that a job runs on: reaching it, looking at what runs there, and carrying functions out with an account of each attempt.

Owns Ray, with `spread`. Nothing is sent there but rows, parameters and what is fitted: every node has this release of tidegate and the same
packages, or the cluster is refused, because the record of a model names one set of packages. Whatever ends the job, Ctrl-C too, ends its
tasks with it.
"""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from registry.training import Plain
from retrain import provenance
from retrain.errors import ClusterError, RetrainError

AUTO, LOCAL = "auto", "local"
CONNECT_S, PROBE_S, LOOK_S = 5.0, 60.0, 0.5
RETRIES = 3  # of a task whose worker died; what it raises itself is final
_SAID = 300  # characters of what Ray says
_TOKENS = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}


class Task(NamedTuple):
    """One call: what people call it, and its arguments."""

    name: str
    arguments: tuple[Any, ...]


class Ledger:
    """An actor of one job: who began what how often, and how far it is."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()
        self._shares: dict[str, float] = {}

    def began(self, name: str) -> None:
        """An attempt."""
        self._begun[name] += 1

    def told(self, name: str, share: float) -> None:
        """How far it is."""
        self._shares[name] = share

    def shares(self) -> dict[str, float]:
        """By name."""
        return self._shares

    def retries(self) -> int:
        """Attempts after the first one of each, because a worker or its machine died."""
        return sum(times - 1 for times in self._begun.values())


@dataclass(slots=True)
class Noted:
    """Progress of one task, told to the ledger not more often than there is something to see."""

    ledger: Any
    name: str
    _last: float = -1.0

    def __call__(self, what: str, share: float) -> None:
        if share - self._last >= 0.02 or share >= 1.0:
            self._last = share
            self.ledger.told.remote(self.name, share)


@dataclass(frozen=True, slots=True)
class Cluster:
    """One that is connected."""

    address: str
    nodes: tuple[dict[str, Any], ...]
    ledger: Any
    check: Callable[[], None] = field(repr=False)
    _numbers: Iterator[int] = field(default_factory=count, repr=False)

    def named(self, name: str) -> str:
        """A name in the ledger that nothing else has had: what is asked twice is no second attempt."""
        return f"{next(self._numbers)} {name}"

    def run(self, function: Callable[..., Any], tasks: Sequence[Task], *, told: Callable[[float], object]) -> list[Any]:
        """`function(*arguments, progress)` of each task, wherever there is a core. Raises what a task raises, and `RetrainError` where
        its workers die again and again; what still runs then is ended.
        """
        import ray

        remote = ray.remote(max_retries=RETRIES)(_carried_out)
        names = [self.named(task.name) for task in tasks]
        named = zip(tasks, names, strict=True)
        pending = [remote.options(name=task.name[:80]).remote(self.ledger, name, function, task.arguments) for task, name in named]
        every = list(pending)
        try:
            while pending:
                done, pending = ray.wait(pending, num_returns=len(pending), timeout=LOOK_S)
                self.check()
                told(self._share(names, len(tasks) - len(pending)))
                with explained():
                    ray.get(done)  # the first that failed ends the others
            with explained():
                return list(ray.get(every))
        except BaseException:
            for one in pending:
                ray.cancel(one, force=True)
            raise

    def retries(self) -> int | None:
        """How often something was begun anew; None where nobody knows any more."""
        import ray

        try:
            return int(ray.get(self.ledger.retries.remote(), timeout=CONNECT_S))
        except ray.exceptions.RayError:
            return None

    def facts(self) -> dict[str, Plain]:
        """As a record has them."""
        return {
            "name": "ray",
            "ray": provenance.version_of("ray"),
            "nodes": len(self.nodes),
            "cores": int(sum(node["Resources"].get("CPU", 0) for node in self.nodes)),
            "processors": ", ".join(sorted({str(node["versions"]["processor"]) for node in self.nodes})),
            "retries": self.retries(),
        }

    @contextmanager
    def joblib(self, module: str) -> Iterator[None]:
        """Inside, what scikit-learn does with `n_jobs` runs on the cluster; functions of `module` go there by what they are."""
        import ray
        from joblib import parallel_config
        from ray.util.joblib import register_ray

        register_ray()
        by_value = importlib.import_module(module)
        ray.cloudpickle.register_pickle_by_value(by_value)
        try:
            with parallel_config("ray"):
                yield
        finally:
            ray.cloudpickle.unregister_pickle_by_value(by_value)

    def _share(self, names: Sequence[str], done: int) -> float:
        import ray

        try:
            shares = ray.get(self.ledger.shares.remote(), timeout=CONNECT_S)
        except ray.exceptions.RayError:
            shares = {}
        return float(max(sum(shares.get(name, 0.0) for name in names), done)) / max(len(names), 1)


def _carried_out(ledger: Any, name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """One attempt, on a worker. The account is written first: a worker that dies has begun."""
    import ray

    ray.get(ledger.began.remote(name))
    known = [ray.get(one) if isinstance(one, ray.ObjectRef) else one for one in arguments]
    return function(*known, Noted(ledger, name))


@contextmanager
def connected(address: str, *, check: Callable[[], None]) -> Iterator[Cluster]:
    """The cluster at `address`: `host:port` of its head, `auto` for the one that this machine belongs to, `local` for one that is started
    here and ends with the block. Raises `ClusterError`.
    """
    import ray

    with redirect_stdout(sys.stderr):  # Ray's own thread prints what the cluster complains of, and a command's document stands alone
        yield from _connected(ray, address, check)


def _connected(ray: Any, address: str, check: Callable[[], None]) -> Iterator[Cluster]:
    _started(address)
    try:
        nodes = _probed([node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")])
        ledger = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Ledger).remote()
        yield Cluster(address, nodes, ledger, check)
    finally:
        ray.shutdown()


def reached(address: str) -> None:
    """Raises `ClusterError` where nobody listens, in seconds: Ray itself would try for a minute."""
    if address in (AUTO, LOCAL):
        return
    if "://" in address:
        raise ClusterError(
            f"'{address}' is an address of Ray Client, which carries no datasets: start the command on a machine of the cluster, such as "
            "with ray job submit, and name HOST:PORT or auto",
            reachable=True,
        )
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ClusterError(f"'{address}' is no address of a cluster: expected HOST:PORT, auto or local", reachable=True)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise ClusterError(f"no Ray cluster answers at {address}: {error.strerror or error}") from error


def _started(address: str) -> None:
    import ray

    reached(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL and not _TOKENS & os.environ.keys():  # a cluster for nobody else, which leaves no token in the home directory
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
    except ConnectionError as error:
        where = "on this machine" if address == AUTO else f"at {address}"
        raise ClusterError(f"no Ray cluster answers {where}: {_shown(error)}") from error
    except (RuntimeError, ValueError) as error:  # of another Ray or Python, among others
        raise ClusterError(f"the Ray cluster at {address} cannot be used: {_shown(error)}", reachable=True) from error


def _probed(nodes: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Every node with what it runs. Raises `ClusterError` where that is not what runs here."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if not nodes:
        raise ClusterError("the Ray cluster has no node with a core")
    probe = ray.remote(num_cpus=0, max_retries=1)(provenance.identity)
    asked = [probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote() for node in nodes]
    ours, found = provenance.identity(), []
    for node, answer in zip(nodes, asked, strict=True):
        where = f"node {node['NodeManagerAddress']}"
        try:
            theirs = ray.get(answer, timeout=PROBE_S)
        except ray.exceptions.GetTimeoutError as error:
            raise ClusterError(f"{where} does not answer within {PROBE_S:g} s") from error
        except ray.exceptions.RayError as error:
            raise ClusterError(f"{where} cannot run tidegate: {_shown(error)}", reachable=True) from error
        _compare(where, ours, theirs)
        found.append({**node, "versions": theirs})
    return tuple(found)


def _compare(where: str, ours: dict[str, str], theirs: dict[str, str]) -> None:
    """Raises `ClusterError` naming every package that is not the same; processors may differ."""
    wrong = [
        f"{name} {theirs.get(name, 'missing')}, where this machine has {ours.get(name, 'none')}"
        for name in sorted((ours.keys() | theirs.keys()) - {"processor"})
        if ours.get(name) != theirs.get(name)
    ]
    if wrong:
        raise ClusterError(f"{where} would train another model: it has {'; '.join(wrong)}", reachable=True)


@contextmanager
def explained() -> Iterator[None]:
    """What a task raised itself, and Ray's own reasons in a sentence: `RetrainError` where workers die, else `ClusterError`."""
    import ray.exceptions as rays

    try:
        yield
    except rays.RayTaskError as error:
        raise _cause(error) from None
    except (rays.WorkerCrashedError, rays.OutOfMemoryError, rays.NodeDiedError, rays.ActorDiedError, rays.ObjectLostError) as error:
        raise RetrainError(f"a worker died at the last of {RETRIES + 1} attempts: {_shown(error)}") from error
    except rays.RayError as error:
        raise ClusterError(f"the Ray cluster is gone: {_shown(error)}") from error


def _cause(error: Any) -> BaseException:
    """Of a task, however deep."""
    found = error
    while getattr(found, "cause", None) is not None:
        found = found.cause
    if isinstance(found, RetrainError):
        return found
    return RetrainError(f"a task failed: {type(found).__name__}: {_shown(found)}")


def _shown(error: BaseException) -> str:
    return " ".join(str(error).split())[:_SAID]
