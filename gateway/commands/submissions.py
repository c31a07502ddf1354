"""What `publish` is given: an ONNX file, an MLflow directory or a Triton repository, with files that say more, as versions to publish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.commands import files
from gateway.commands.output import UsageError

if TYPE_CHECKING:
    from registry.imported import Imported
    from registry.rows import Reference
    from registry.serving import Serving

ReferenceFile = Annotated[
    Path | None, typer.Option("--reference", metavar="ROWS.parquet", help="Rows that drift is measured against, as columns of the model.")
]
Label = Annotated[
    str | None, typer.Option("--label", metavar="COLUMN", help="Of the reference: what came true of the model's binary score.")
]
Time = Annotated[
    str | None, typer.Option("--time", metavar="COLUMN", help="Of the reference: when each row was; the order of rows without it.")
]
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", metavar="COLUMN", help="Of the reference: not meant; * for all that are unknown.")
]

ONLY = "*"  # a port without a name
MAX_GOLDEN_BYTES = 16 << 20  # as much as a registry keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """Files beside the model; None where there is none."""

    contract: Path | None = None
    golden: Path | None = None
    training: Path | None = None
    card: Path | None = None
    serving: Path | None = None
    profile: Path | None = None

    def __bool__(self) -> bool:
        return any((self.contract, self.golden, self.training, self.card, self.serving, self.profile))


def reference(path: Path | None, *, label: str | None, time: str | None, ignore: Sequence[str] | None) -> Reference | None:
    """The file of reference rows, if one is named. Raises `UsageError` where it cannot be read, and for columns of none."""
    if path is None:
        for name, given in (("--label", label), ("--time", time), ("--ignore", ignore)):
            if given:
                raise UsageError(f"{name}: a column of the reference rows, which --reference names")
        return None
    from registry.rows import Reference

    files.check_readable(path)
    return Reference(path=path, label=label, time=time, ignore=frozenset(ignore or ()))


def versions(path: Path, *, name: str | None, may_drop: Sequence[str], additions: Additions) -> list[Imported]:
    """What to publish, in the order of publishing, each with its model's name. Raises `UsageError`, and as the importers do."""
    found = _imported(path, name, may_drop)
    if additions and len({each.name for each in found}) > 1:
        raise UsageError(f"{path} has several models, and files beside a model are about one: choose it with --name")
    return [_with(each, additions) for each in found]


def _imported(path: Path, name: str | None, may_drop: Sequence[str]) -> list[Imported]:
    from registry import import_mlflow, import_triton
    from registry.errors import storage_errors
    from registry.imported import Imported
    from registry.parts import Parts
    from registry.store import MARKER

    with storage_errors(f"look into {path}"):
        is_registry, is_directory, is_mlflow = (path / MARKER).exists(), path.is_dir(), (path / import_mlflow.MLMODEL).exists()
    if is_registry:
        raise UsageError(f"{path} is a registry itself: `tidegate export` and `tidegate pull` carry versions")
    if is_directory and not is_mlflow:
        triton = import_triton.import_repository if name is None else partial(import_triton.import_model, name=name)
        found = triton(path, may_drop=may_drop)
        if not found:
            raise UsageError(f"{path} is neither an MLflow model (MLmodel) nor a Triton repository (MODEL/VERSION/model.onnx)")
        return found
    if name is None:
        raise UsageError("--name: missing; what is the model called?")
    if is_mlflow:
        imported = import_mlflow.import_mlflow(path, may_drop=may_drop)
        return [Imported(name, None, imported.path, imported.parts, imported.dropped)]
    if may_drop:
        raise UsageError("--drop: an ONNX file has no settings to drop")
    return [Imported(name, None, path, Parts(), ())]


def _with(imported: Imported, given: Additions) -> Imported:
    """With what the files say, laid over what the import gave. Raises `UsageError` naming file and line or place."""
    from registry.golden_file import golden_file
    from registry.parts import MAX_CARD_BYTES
    from registry.schema import contract_file
    from registry.training import training_record

    parts, found = imported.parts, {}
    if given.contract:
        found["contract"] = _over(parts.contract, given.contract, contract_file)
    if given.golden:
        found["golden"] = _over(None, given.golden, golden_file, max_bytes=MAX_GOLDEN_BYTES)
    if given.training:
        found["training"] = _over(parts.training, given.training, training_record)
    if given.serving:
        found["serving"] = _over(parts.serving, given.serving, _serving)
    if given.card:
        found["card"] = files.text(given.card, max_bytes=MAX_CARD_BYTES)
    if given.profile:
        found["profile"] = _profile(given.profile)
    return replace(imported, parts=replace(parts, **found))


def _over(under: Any, path: Path, read: Callable[[Any], Any], *, max_bytes: int = files.MAX_DOCUMENT_BYTES) -> Any:
    """What a file says, with what the import said where the file is silent."""
    import msgspec

    said = files.document(path, max_bytes=max_bytes)
    if under is not None and isinstance(said, dict):
        said = _laid(msgspec.to_builtins(under), said)
    return files.understood(path, lambda: read(said))


def _laid(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Two documents as one; what `over` says counts, mapping by mapping. The only port may have no name in either."""
    if len(under) == len(over) == 1 and ONLY in {*under, *over}:
        (name,) = over if ONLY in under else under
        under, over = (dict(zip([name], side.values(), strict=True)) for side in (under, over))
    both = {key: _laid(under[key], over[key]) for key in under.keys() & over.keys() if _is_mapping(under[key], over[key])}
    return {**under, **over, **both}


def _is_mapping(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def _serving(plain: Any) -> Serving:
    """`format` may be left out."""
    import msgspec

    from registry.serving import Serving

    return msgspec.convert({"format": 1, **plain} if isinstance(plain, dict) else plain, Serving)


def _profile(path: Path) -> bytes:
    """As the registry writes it."""
    from registry.parts import MAX_PROFILE_BYTES
    from registry.profile import encode, profile_file

    found = files.content(path, max_bytes=MAX_PROFILE_BYTES)
    return encode(files.understood(path, lambda: profile_file(found)))
