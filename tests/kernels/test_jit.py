"""The kernels' decorator: eager signatures, and a cache that works where the package cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from kernels import jit

PACKAGE = Path(jit.__file__).parent
TINY = """
from numba import types
from kernels.jit import direct, kernel, part

@kernel(types.int64(types.int64))
def twice(number):
    return 2 * number

@part(reassociates=True)
def summed(values):
    result = 0.0
    for value in values:
        result += value
    return result

@kernel("float64(float64[::1])", releases_gil=False)
def total(values):
    return twice(1) * summed(values)
"""
PROBE = """
import sys
import numpy
from kernels import jit, tiny
print(tiny.total(numpy.ones(3)), tiny.direct(tiny.twice)(4), jit.compilations(), "numba.np.npyimpl" in sys.modules)
"""


def make_package(root: Path) -> Path:
    """A `kernels` package of two small kernels and a part of one, elsewhere."""
    package = root / "kernels"
    package.mkdir()
    shutil.copy(PACKAGE / "jit.py", package)
    (package / "__init__.py").touch()
    (package / "tiny.py").write_text(TINY)
    return package


def run(root: Path, *arguments: str, cache: Path, home: Path | None = None) -> str:
    """Run Python on that package, its cache in `cache`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_", "XDG_", "PYTHONPATH"))}
    environment |= {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(root), "HOME": str(home or root)}
    done = subprocess.run([sys.executable, *arguments], env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_filling_once_is_enough_until_any_source_changes(tmp_path: Path) -> None:
    """The entry compiles everything, other processes load it without numba's compiler tables, and a change in any file counts."""
    package, cache = make_package(tmp_path), tmp_path / "cache"
    assert run(tmp_path, "-m", "kernels.jit", cache=cache) == "2 kernels ready, 3 compiled"
    assert run(tmp_path, "-c", PROBE, cache=cache) == "6.0 8 0 False"
    assert not list(package.rglob("*.nbc"))
    (package / "other.py").write_text("CONSTANT = 1\n")
    assert run(tmp_path, "-c", PROBE, cache=cache) == "6.0 8 3 True"


def test_kernels_work_where_no_directory_can_be_written(tmp_path: Path) -> None:
    """With every candidate directory blocked by a plain file, kernels are compiled in memory."""
    package = make_package(tmp_path)
    blocked = tmp_path / "file"
    blocked.touch()
    shutil.rmtree(package / "__pycache__", ignore_errors=True)
    (package / "__pycache__").touch()
    assert run(tmp_path, "-c", PROBE, cache=blocked / "cache", home=blocked) == "6.0 8 3 True"


def test_a_filled_directory_serves_although_it_cannot_be_written(tmp_path: Path) -> None:
    """An existing directory is taken as it is; only a missing one has to be made."""
    filled = tmp_path / "filled"
    filled.mkdir()
    blocked = tmp_path / "file"
    blocked.touch()
    assert jit.usable_directory([blocked / "cache", filled]) == filled
    assert jit.usable_directory([filled, tmp_path / "new"]) == filled
    assert jit.usable_directory([tmp_path / "new"]) == tmp_path / "new"
    assert jit.usable_directory([blocked / "cache"]) is None


def test_other_packages_keep_numbas_own_cache_directories() -> None:
    """The cache place is for this package's sources only."""
    assert jit.CachePlace.from_function(test_other_packages_keep_numbas_own_cache_directories, __file__) is None


def test_every_kernel_is_ready_after_import_and_compiles_no_more() -> None:
    """All modules import; each kernel has its signatures and refuses other types instead of compiling."""
    assert jit.compile_all() == len(jit.KERNELS) > 0
    mark = jit.compilations()
    for kernel in jit.KERNELS:
        assert kernel.overloads  # type: ignore[attr-defined]
        with pytest.raises(TypeError):
            kernel(*[object()] * len(kernel.signatures[0]))  # type: ignore[attr-defined]
    assert mark == jit.compilations()


def test_compilations_counts_what_anyone_compiles() -> None:
    """A function compiled outside the kernels moves the count, a second call does not."""
    mark = jit.compilations()
    double = numba.njit(lambda number: 2 * number)
    assert double(4) == 8
    assert mark + 1 == jit.compilations()
    double(5)
    assert mark + 1 == jit.compilations()


def test_no_kernel_uses_threads_fastmath_or_bounds_checks() -> None:
    """The decorator's options are the same for all kernels."""
    jit.compile_all()
    for kernel in jit.KERNELS:
        options = kernel.targetoptions  # type: ignore[attr-defined]
        assert (False, False, False) == (options["parallel"], options["fastmath"], options["boundscheck"])
