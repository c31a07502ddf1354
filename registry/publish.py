"""From a file to a version: what is refused leaves nothing behind, what is accepted is durable and complete before it has a number.

Decides what may become a version; `store` makes it one. The steps: copy, try in a child process, copy the external data that was found to
be needed, try with it, commit.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from registry import contract as contracts
from registry import parts as all_parts
from registry import profile as profiles
from registry import schema as schemas
from registry.contract import Contract
from registry.errors import refused
from registry.gate import DEFAULT_GATE, Gate
from registry.limits import RegistryLimits
from registry.manifest import CONFIG_TYPE, DATA_TYPE, MODEL_FILE, MODEL_TYPE, PART_TITLES, Descriptor, Manifest, file_layer, manifest_of
from registry.medium import Progress, unseen
from registry.names import check_label, check_model_name
from registry.parts import Parts
from registry.schema import ContractFile
from registry.store import Store
from registry.submission import Submission, submitted
from registry.trial import Answer, Submitted, load_in_child

if TYPE_CHECKING:
    from registry.rows import Reference

Trial = Callable[[Submitted, RegistryLimits], Answer | None]
NO_PARTS = Parts()


@dataclass(frozen=True, slots=True)
class Published:
    """The version that now stands for the submitted model."""

    model: str
    version: int
    digest: str  # of the manifest, which names every file
    model_digest: str  # of the ONNX file, as sha256sum prints it
    publish_id: str
    new: bool  # False where this publish id had been published before
    notes: tuple[str, ...] = ()  # what the reference profile leaves out, one sentence each


def publish(
    store: Store,
    path: Path,
    *,
    name: str,
    publisher: str,
    now_s: float,
    publish_id: str | None = None,
    parts: Parts = NO_PARTS,
    reference: Reference | None = None,
    gate: Gate = DEFAULT_GATE,
    trial: Trial = load_in_child,
    progress: Progress = unseen,
) -> Published:
    """Make the ONNX file at `path` the next version of model `name`, at `now_s` seconds since the Unix epoch.

    External data is taken from the directory of `path`. Repeating a call with the same `publish_id` gives the same version; without one,
    each call is a version of its own. A `trial` that answers None has tried nothing: the file is then examined in this process and not
    loaded. `reference` are rows that the profile is made of, in place of one among `parts`. `progress` is told the bytes that were staged.
    Raises `RegistryError`: `Kind.INVALID_NAME`, `Kind.INVALID_MODEL` (nothing was stored), `Kind.CONFLICT` (the publish id stands for other
    content), `Kind.DAMAGED`, `Kind.STORAGE` (repeat with the same publish id).
    """
    check_model_name(name)
    check_label(publisher, what="publisher")
    publish_id = check_label(uuid.uuid4().hex if publish_id is None else publish_id, what="publish id")
    all_parts.check(parts)
    with submitted(store, path, progress=progress) as submission:
        contract, answer = _tried(submission, parts, gate, trial)
        schema = None if parts.contract is None else schemas.merge(contract, parts.contract)
        notes: tuple[str, ...] = ()
        if reference is not None:
            parts, notes = _with_profile(parts, reference, submission, contract, gate=gate, trial=trial)
        if parts.profile is not None:
            profiles.check_ports(profiles.profile_file(parts.profile), contract)
        contents = all_parts.contents(parts, schema=schema, golden=answer.golden)
        manifest = _commit(submission, contract, contents)
    version, record, new = store.add_version(name, manifest, publish_id=publish_id, publisher=publisher, now_s=now_s)
    return Published(name, version, record.manifest, manifest.model.digest, publish_id, new, notes)


def _tried(submission: Submission, parts: Parts, gate: Gate, trial: Trial) -> tuple[Contract, Answer]:
    """Try the staged model, first without its external data, whose names are in the model. Raises `Kind.INVALID_MODEL`."""
    answer = _try(submission, parts, gate, trial)
    for title, needed_bytes in sorted(answer.needs.items()):
        submission.add_data(title, needed_bytes=needed_bytes)
    if answer.needs:
        answer = _try(submission, parts, gate, trial)
    assert answer.contract is not None  # a trial without one was refused
    return answer.contract, answer


def _try(submission: Submission, parts: Parts, gate: Gate, trial: Trial) -> Answer:
    files = replace(_files(submission, gate), golden=parts.golden)
    return trial(files, submission.store.medium.limits) or _examined(submission, parts, gate)


def _with_profile(
    parts: Parts, reference: Reference, submission: Submission, contract: Contract, *, gate: Gate, trial: Trial
) -> tuple[Parts, tuple[str, ...]]:
    """The parts with the profile of reference rows, and what that leaves out. Raises `Kind.INVALID_MODEL`."""
    from registry.answers import answers_of
    from registry.reference import profile_of_file

    if parts.profile is not None:
        raise refused("there is a reference profile and a file of reference rows: give one of the two")
    limits = submission.store.medium.limits
    schema = schemas.merge(contract, parts.contract or ContractFile())
    files = _files(submission, gate)
    found = profile_of_file(reference, schema, lambda rows: answers_of(files, contract, rows, limits, trial))
    return replace(parts, profile=profiles.encode(found.profile)), found.notes


def _files(submission: Submission, gate: Gate) -> Submitted:
    data_fds = {title: staged.fd for title, staged in submission.data.items()}
    return Submitted(submission.model.fd, data_fds, submission.size_bytes, gate)


def _examined(submission: Submission, parts: Parts, gate: Gate) -> Answer:
    from registry import onnx_model

    if parts.golden is not None and not all(request.outputs for request in parts.golden.requests):
        raise refused("golden requests without answers need a trial that answers them")
    examined = onnx_model.examine(submission.content(), gate)
    return Answer(contract=examined.contract, needs=examined.needs, golden=parts.golden)


def _commit(submission: Submission, contract: Contract, contents: dict[str, bytes]) -> Manifest:
    """Make every file and part a blob."""
    store = submission.store
    digest, size = store.commit_blob(submission.model)
    layers = [file_layer(title=MODEL_FILE, media_type=MODEL_TYPE, digest=digest, size=size)]
    for title, staged in submission.data.items():
        digest, size = store.commit_blob(staged)
        layers.append(file_layer(title=title, media_type=DATA_TYPE, digest=digest, size=size))
    for title, content in contents.items():
        digest, size = store.put_blob(content)
        layers.append(file_layer(title=title, media_type=PART_TITLES[title], digest=digest, size=size))
    digest, size = store.put_blob(contracts.encode(contract))
    return manifest_of(Descriptor(media_type=CONFIG_TYPE, digest=digest, size=size), layers)
