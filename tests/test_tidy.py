"""The style of the house, executed: sizes, the reading order, single owners, banned words. Every failure says what to do instead."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("kernels", "registry", "gateway", "retrain")
GENERATED = re.compile(r"(gateway|registry)/pb/\w+_pb2\.py$")
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_MEDIAN_FUNCTION_LINES = 400, 70, 10

# Who may import what: the owner is the only place that knows an outside thing.
OWNERS = {
    "onnxruntime": {
        "gateway/serving/model.py",
        "registry/trial_child.py",
        "retrain/export.py",
        "retrain/asking.py",
        "gateway/doctor.py",
    },
    "onnx": {"registry/onnx_model.py", "registry/scanner.py", "registry/constants.py"},  # the last two for its messages
    "skl2onnx": {"retrain/export.py", "retrain/boosting.py"},
    "onnxmltools": {"retrain/boosting.py"},
    "obstore": {"registry/objects.py"},
    "pyarrow": {
        f"registry/{name}.py"
        for name in (
            "arrow_values",
            "arrow_tables",
            "rows",
            "row_stream",
            "answer_file",
            "label_files",
            "label_source",
            "log_columns",
            "log_parquet",
            "log_stripping",
        )
    },
    "watchfiles": {"registry/watch.py"},
    "sklearn": {"retrain/train.py", "retrain/export.py", "retrain/recipes.py"},
    "duckdb": {"retrain/engine.py", "retrain/sources.py", "retrain/label_join.py"},  # the second for its errors
    "ray": {"retrain/cluster.py", "retrain/spread.py"},
    "joblib": {"retrain/cluster.py"},
    "cryptography": {"registry/signatures.py", "gateway/identity/jwks.py"},
    "jwt": {"gateway/identity/jwks.py", "gateway/identity/tokens.py"},
    # but for jit, for the types of their eager signatures
    "numba": {"kernels/jit.py", "kernels/hpack.py", "kernels/huffman.py", "kernels/layout.py", "kernels/request_fields.py"},
    "httptools": set(),  # the witness in tests; heads are read by our own grammar
    "orjson": {"gateway/protocol/json_numbers.py"},
    "ssl": {
        "gateway/wire/tls.py",
        "gateway/wire/secured.py",
        "gateway/wire/listener.py",
        "gateway/commands/reaching.py",
    },  # the last as a client
    "prometheus_client": set(),  # the witness in tests; the page is written by our own
    "uvloop": {
        f"gateway/control/{name}.py" for name in ("administrator", "evaluator", "label_desk", "recorder", "referee", "supervisor", "worker")
    },
    "structlog": {"gateway/observe/logs.py"},
    "time": {"gateway/clock.py"},
    "random": {"gateway/clock.py"},
    "pickle": set(),
    "multiprocessing": set(),
}
# `random.Random` and friends as a type are no source of randomness: the object is passed in.
TYPES_ONLY = {"random", "ssl"}
# Loops in which a call costs more than what it would name; each is timed by a benchmark.
MEASURED_LONG = {"gateway/wire/hpack.py:decode"}
BANNED_NAMES = {"utils", "util", "common", "helpers", "base", "misc"}
BANNED_TEXT = {
    r"\bTODO\b|\bFIXME\b|\bXXX\b": "do it, or write it down in docs/decisions",
    r"^\s*except\s*:": "name what you expect",
    r"\byaml\.load\(": "yaml.safe_load",
    r"\beval\(|\bexec\(": "there is no need for it",
}


@cache
def sources() -> tuple[Path, ...]:
    """All hand-written modules of the product."""
    found = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple(path for path in found if not GENERATED.search(path.as_posix()))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if documented else 0)


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """(dotted module, statement) of every import, with `from a import b` giving both a and a.b."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def type_checking_lines(path: Path) -> set[int]:
    """Lines inside `if TYPE_CHECKING:`."""
    lines: set[int] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            lines.update(range(node.lineno, node.end_lineno + 1))
    return lines


@cache
def rooms(package: str) -> tuple[str, ...]:
    """The reading order that a package's docstring declares."""
    text = ast.get_docstring(tree(ROOT / package / "__init__.py")) or ""
    match = re.search(r"Rooms, in reading order: ([^.]+)\.", text)
    return tuple(room.strip() for room in match[1].split(",")) if match else ()


def packages_with_rooms() -> list[str]:
    found = [path.parent.relative_to(ROOT).as_posix() for package in PACKAGES for path in sorted((ROOT / package).rglob("__init__.py"))]
    return [package for package in found if package not in {"gateway/pb", "registry/pb"}]


@pytest.mark.parametrize("package", packages_with_rooms())
def test_a_package_lists_exactly_its_rooms(package: str) -> None:
    """The docstring of a package names every module and folder in it, and nothing else."""
    here = ROOT / package
    modules = {path.stem for path in here.glob("*.py") if path.stem not in {"__init__", "__main__"}}
    folders = {path.name for path in here.iterdir() if (path / "__init__.py").exists()}
    assert modules | folders == set(rooms(package))


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_a_module_imports_only_from_rooms_above_its_own(path: Path) -> None:
    """The import order is the reading order, so no circle can exist."""
    own = path.relative_to(ROOT).with_suffix("").parts
    hidden = type_checking_lines(path)
    wrong = []
    for target, node in imports(path):
        parts = tuple(target.split("."))
        if parts[0] not in PACKAGES or node.lineno in hidden:
            continue
        if parts[0] != own[0]:
            if PACKAGES.index(parts[0]) > PACKAGES.index(own[0]) and own[:2] not in {
                ("gateway", "demo"),
                ("gateway", "demo_rollouts"),
                ("gateway", "demo_year"),
                ("gateway", "commands"),
            }:
                wrong.append(target)
            continue
        depth = next((i for i, (a, b) in enumerate(zip(own, parts, strict=False)) if a != b), None)
        if depth is None:
            continue
        order = rooms("/".join(own[:depth]))
        if own[depth] != "__init__" and parts[depth] in order and order.index(parts[depth]) >= order.index(own[depth]):
            wrong.append(target)
    assert [] == wrong


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_a_file_is_short_and_says_what_it_owns(path: Path) -> None:
    """One noun per file: past 400 lines a second one is hiding in it."""
    assert ast.get_docstring(tree(path)), "a module docstring says what it owns and what it refuses to know"
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES
    assert path.stem not in BANNED_NAMES
    long = [f"{name_of(path)}:{function.name}" for function in functions(path) if length(function) > MAX_FUNCTION_LINES]
    assert [] == [name for name in long if name not in MEASURED_LONG]


def test_the_median_function_is_short() -> None:
    """Half of all functions have at most ten lines."""
    lengths = sorted(length(function) for path in sources() for function in functions(path))
    assert lengths[len(lengths) // 2] <= MAX_MEDIAN_FUNCTION_LINES


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_outside_things_have_one_owner(path: Path) -> None:
    """Whoever needs an outside thing asks its owner."""
    wrong = []
    for target, node in imports(path):
        root = target.split(".")[0]
        allowed = OWNERS.get(root)
        if allowed is None or name_of(path) in allowed or node.lineno in type_checking_lines(path):
            continue
        if root in TYPES_ONLY and isinstance(node, ast.Import) and not _calls(path, root):
            continue
        wrong.append(f"line {node.lineno}: {target} belongs to {sorted(allowed)}")
    assert [] == wrong


def _calls(path: Path, module: str) -> bool:
    """Whether anything of `module` is called, rather than named as a type."""
    calls = (node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    return any(isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == module for func in calls)


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_banned_words_are_absent(path: Path) -> None:
    """What must not be in the code, each with what to do instead."""
    lines = path.read_text().splitlines()
    found = [
        f"line {number}: {advice}"
        for pattern, advice in BANNED_TEXT.items()
        for number, line in enumerate(lines, 1)
        if re.search(pattern, line)
    ]
    assert [] == found


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=name_of)
def test_tests_are_deterministic_and_bite(path: Path) -> None:
    """No sleeps as synchronisation, nothing skipped, a sentence for every test."""
    if path == Path(__file__):
        return
    text = path.read_text()
    assert not re.search(r"\btime\.sleep\(|pytest\.mark\.skip\b|pytest\.skip\(", text), "wait for an event; mend, do not skip"
    silent = [f.name for f in functions(path) if f.name.startswith("test_") and not ast.get_docstring(f)]
    assert [] == silent


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_are_ours(package: str) -> None:
    """`kernels` and friends are common names: another distribution must not shadow them."""
    assert importlib.import_module(package).__file__ == str(ROOT / package / "__init__.py")


def test_proto_is_no_python_package() -> None:
    """The PyPI package proto-plus imports as `proto`."""
    assert not list((ROOT / "proto").glob("__init__.py"))
