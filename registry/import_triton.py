"""A Triton model repository as versions to publish: each setting of `config.pbtxt` is honoured or refused by name, none is passed over.

What the settings mean is `triton_config`'s to say, as for a repository that is served as it is; no `config.pbtxt` is one that says nothing.
A version of a registry forgets the file, so what only the file could tell is refused here as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from registry import triton_config, triton_fields
from registry.errors import Kind, RegistryError, refused
from registry.imported import Imported, Settings
from registry.parts import Parts
from registry.ports import CONFIG_FILE
from registry.repository import Repository, model_path
from registry.triton_config import Said
from registry.verified import VersionPolicy

_SHAPES = "a version of a registry takes and gives the shapes of its graph"
# Honoured or needless where the file is served beside its model; nothing of a version could keep them.
_FORGOTTEN: Mapping[str, str] = {
    "input.reshape": _SHAPES,
    "output.reshape": _SHAPES,
    "input.format": "a version of a registry says nothing of image formats",
    "model_warmup": "golden requests warm a version up",
    **triton_fields.NEEDLESS,
}


def import_repository(root: Path, *, may_drop: Collection[str] = ()) -> list[Imported]:
    """All versions that Triton would serve from `root`, by model and number.

    `may_drop` names settings, or sections of them, that may be let go: "optimization", "instance_group.gpus". Raises
    `Kind.INVALID_MODEL` naming model and setting, `Kind.NOT_FOUND`, `Kind.STORAGE`.
    """
    names = sorted({ref.model for ref in Repository(root).listing().versions})
    return [version for name in names for version in import_model(root, name, may_drop=may_drop)]


def import_model(root: Path, name: str, *, may_drop: Collection[str] = ()) -> list[Imported]:
    """As `import_repository`, for one model."""
    repository = Repository(root)
    versions = [ref.version for ref in repository.listing().versions if ref.model == name]
    if not versions:
        raise RegistryError(Kind.NOT_FOUND, f"the repository has no version of a model '{name[:128]}'")
    said = triton_config.parse(repository.config_text(name) or "", name=name)
    settings = Settings(f"{name}/{CONFIG_FILE}", may_drop)
    _forget(said, settings)
    found = triton_config.read(said, settings, lambda _: b"")  # no sample is left that would name a file
    parts = Parts(contract=found.ports.contract, serving=found.serving)
    chosen = _chosen(found.policy or VersionPolicy(), versions, settings)
    paths = {number: model_path(root / name / str(number), found.file) for number in chosen}
    return [Imported(name, number, path, parts, tuple(settings.dropped)) for number, path in paths.items()]


def _forget(said: Said, settings: Settings) -> None:
    """Refuse what cannot be kept; what may be dropped is as if it had never stood there."""
    for path in [path for path in dict.fromkeys(triton_fields.asked(said.message)) if path in _FORGOTTEN]:
        settings.refuse(path, _FORGOTTEN[path])
        triton_fields.clear(said.message, path)


def _chosen(policy: VersionPolicy, versions: list[int], settings: Settings) -> list[int]:
    """The versions that the policy names, ascending."""
    missing = set(policy.specific) - set(versions)
    if missing:
        raise refused(f"{settings.source} asks for version {min(missing)}, which is not there")
    return policy.chosen(versions)
