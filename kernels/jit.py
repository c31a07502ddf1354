"""The one numba decorator of the project, the list of all kernels, and where their object code is kept.

Owns: compile options, cache directories, the count of compilations. Refuses to know what a kernel computes.
Bounds: signatures are eager, so a kernel is compiled (or loaded, about 3 ms) when its module is imported and never afterwards; a call
with other types raises TypeError. `python -m kernels.jit` fills the cache; afterwards processes only read it. Kernels may use what numpy
arrays, integers, floats and libm offer; linear algebra, random numbers and dates need parts of numba that a loading process leaves out.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import event
from numba.core.caching import CacheImpl
from numba.core.extending import register_jitable
from numba.core.runtime.nrt import rtsys

Function = TypeVar("Function", bound=Callable[..., Any])

KERNELS: list[Callable[..., Any]] = []  # every kernel whose module has been imported, in import order

_PACKAGE = Path(__file__).resolve().parent
_numba_settings: Any = numba.config


def kernel(*signatures: Any, releases_gil: bool = True) -> Callable[[Function], Function]:
    """Compile a function for exactly these numba signatures, in nopython mode, without fastmath, bounds checks or threads.

    `releases_gil=False` is for kernels that take less time than handing the GIL over does: beside a busy Python thread, a kernel of
    0.2 µs is called 1.3 to 1.8 times as often when it keeps the GIL (benchmarks/hpack.py). From about 5 µs upwards, release it.
    Where no directory can be written and none is filled, the kernel is compiled in memory: a slower start, nothing else.
    """

    def decorate(function: Function) -> Function:
        compiled: Function = _compiled(function, list(signatures), releases_gil=releases_gil)
        KERNELS.append(compiled)
        return compiled

    return decorate


def part(*, reassociates: bool = False) -> Callable[[Function], Function]:
    """A piece of kernels: compiled into each kernel that calls it, for the types it is called with. A process that only loads pays nothing.

    It is always inlined: a call that hands arrays over takes 5 to 30 ns, for each is seven numbers (benchmarks/drift.py).

    `reassociates=True` lets the compiler add floats in another order and fuse a product with a sum, so that sums over an array are
    vectorised. NaN and infinities keep their meaning; the last bits of a sum may differ between processors.
    """
    options: dict[str, Any] = {"fastmath": {"reassoc", "contract"} if reassociates else False, "forceinline": True}

    def decorate(function: Function) -> Function:
        registered: Function = register_jitable(**options)(function)
        return registered

    return decorate


def direct(compiled: Function, signature: int = 0) -> Function:
    """The machine code of a kernel for one of its signatures, without numba's look at the argument types, which costs about 0.15 µs.

    The caller vouches for the types: a wrong array dtype or a strided array is not noticed.
    """
    overloads = getattr(compiled, "overloads", None)  # absent under NUMBA_DISABLE_JIT
    if not overloads:
        return compiled
    entry_point: Function = list(overloads.values())[signature].entry_point
    return entry_point


def compile_all() -> int:
    """Import every module of this package, which compiles or loads every kernel; returns how many kernels there are."""
    for module in pkgutil.iter_modules([str(_PACKAGE)]):
        importlib.import_module(f"kernels.{module.name}")
    return len(KERNELS)


def compilations() -> int:
    """How many functions numba has compiled in this process; loading from the cache does not count.

    Two calls that return the same number prove that nothing was compiled between them.
    """
    return _compilations.count


def usable_directory(candidates: Iterable[Path]) -> Path | None:
    """The first directory that is there already, writable or not, or that can be made; None where there is none."""
    for directory in candidates:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        return directory
    return None


class CachePlace:
    """Where numba looks for a kernel's object code and leaves it (the interface of numba's cache locators).

    Two differences from numba's own: a directory that is filled but read-only serves (numba passes over it and compiles at every start
    of a read-only container), and the stamp covers the whole package (numba's covers one file, so a kernel that inlines another from a
    second file would go stale). The stamp is part of the directory's name: a directory that exists belongs to these very sources.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def from_function(cls, _function: Callable[..., Any], source: str) -> CachePlace | None:
        """The place for a function of this package; None for other packages, which keep numba's own places."""
        if Path(source).resolve().parent != _PACKAGE:
            return None
        directory = usable_directory(_candidates())
        return None if directory is None else cls(directory)

    def ensure_cache_path(self) -> None:
        """Called before saving. A read-only directory makes the save itself raise OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        """The directory of all kernels."""
        return str(self._directory)

    def get_source_stamp(self) -> str:
        """What must be unchanged for the object code to be used."""
        return _stamp()

    def get_disambiguator(self) -> str:
        """Module and function name are unique in this package."""
        return "kernel"


class _Compilations(event.Listener):
    """Counts what numba compiles, whoever asks for it."""

    def __init__(self) -> None:
        self.count = 0

    def on_start(self, event: Any) -> None:
        self.count += 1

    def on_end(self, event: Any) -> None:
        pass


def _compiled(function: Callable[..., Any], signatures: list[Any], *, releases_gil: bool) -> Any:
    options: dict[str, Any] = {"nogil": releases_gil, "fastmath": False, "boundscheck": False, "parallel": False}
    try:
        return _loaded(function, signatures, options) or numba.njit(signatures, cache=True, **options)(function)
    except (OSError, RuntimeError):  # a read-only directory filled for another CPU; no directory at all
        return numba.njit(signatures, cache=False, **options)(function)


def _loaded(function: Callable[..., Any], signatures: list[Any], options: dict[str, Any]) -> Any:
    """The kernel from the cache, or None.

    numba's own way first fills its tables of types and functions, which only a compiler needs: that costs each process 0.25 s and
    14 MiB, or 0.4 s and 28 MiB where scipy is installed. Those internals may move: then its own way is taken.
    """
    try:
        dispatcher: Any = numba.njit(cache=True, **options)(function)
        context = dispatcher.targetctx
        rtsys.initialize(context)
        for signature in signatures:
            result = dispatcher._cache._load_overload(signature, context)
            if result is None:
                return None
            context.insert_user_function(result.entry_point, result.fndesc, [result.library])
            dispatcher.add_overload(result)
        dispatcher.disable_compile()
    except AttributeError:
        return None
    return dispatcher


@functools.cache
def _stamp() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:2]}".encode())
    for source in sorted(_PACKAGE.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _candidates() -> Iterable[Path]:
    name = f"tidegate-kernels-{_stamp()}"
    if _numba_settings.CACHE_DIR:
        yield Path(_numba_settings.CACHE_DIR) / name
    yield _PACKAGE / "__pycache__" / name
    yield Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / name


def _use_cache_place() -> None:
    ours = f"kernels.jit.{CachePlace.__qualname__}"
    numbas = (f"{place.__module__}.{place.__qualname__}" for place in CacheImpl._locator_classes)
    _numba_settings.CACHE_LOCATOR_CLASSES = _numba_settings.CACHE_LOCATOR_CLASSES or ",".join((ours, *numbas))


def main() -> None:
    """Fill the cache and say what was done."""
    count = compile_all()
    sys.stdout.write(f"{count} kernels ready, {compilations()} compiled\n")


_compilations = _Compilations()
event.register("numba:compile", _compilations)  # type: ignore[no-untyped-call]
_use_cache_place()

if __name__ == "__main__":
    importlib.import_module("kernels.jit").main()  # the module that the kernels import, not this second copy of it
