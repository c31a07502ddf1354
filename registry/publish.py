"""From a file to a version: what is refused leaves nothing behind, what is accepted is durable and complete before it has a number.

Decides what may become a version; `store` makes it one. The steps: copy, find external data, check, try in a child process, commit.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from registry import contract as contracts
from registry.contract import Contract
from registry.limits import RegistryLimits
from registry.manifest import CONFIG_TYPE, DATA_TYPE, MODEL_FILE, MODEL_TYPE, Descriptor, Manifest, file_layer, manifest_of
from registry.names import check_label, check_model_name
from registry.store import Store
from registry.submission import Submission, submitted
from registry.trial import Submitted, load_in_child


@dataclass(frozen=True, slots=True)
class Published:
    """The version that now stands for the submitted model."""

    model: str
    version: int
    digest: str  # of the manifest, which names every file
    model_digest: str  # of the ONNX file, as sha256sum prints it
    publish_id: str
    new: bool  # False where this publish id had been published before


def publish(
    store: Store,
    path: Path,
    *,
    name: str,
    publisher: str,
    now_s: float,
    publish_id: str | None = None,
    trial: Callable[[Submitted, RegistryLimits], None] = load_in_child,
) -> Published:
    """Make the ONNX file at `path` the next version of model `name`, at `now_s` seconds since the Unix epoch.

    External data is taken from the directory of `path`. Repeating a call with the same `publish_id` gives the same version; without one,
    each call is a version of its own. Raises `RegistryError`: `Kind.INVALID_NAME`, `Kind.INVALID_MODEL` (nothing was stored),
    `Kind.CONFLICT` (the publish id stands for other content), `Kind.DAMAGED`, `Kind.STORAGE` (repeat with the same publish id).
    """
    check_model_name(name)
    check_label(publisher, what="publisher")
    publish_id = check_label(uuid.uuid4().hex if publish_id is None else publish_id, what="publish id")
    with submitted(store, path) as submission:
        contract = _examine(submission)
        data_fds = {title: staged.fd for title, staged in submission.data.items()}
        trial(Submitted(submission.model.fd, data_fds, submission.size_bytes), store.medium.limits)
        manifest = _commit(submission, contract)
    version, record, new = store.add_version(name, manifest, publish_id=publish_id, publisher=publisher, now_s=now_s)
    return Published(name, version, record.manifest, manifest.model.digest, publish_id, new)


def _examine(submission: Submission) -> Contract:
    """Check the staged model and stage its external data. Raises `Kind.INVALID_MODEL`."""
    from registry import onnx_model

    content = submission.content()
    model = onnx_model.parse(content)
    for title, needed_bytes in sorted(onnx_model.external_sizes(model).items()):
        submission.add_data(title, needed_bytes=needed_bytes)
    onnx_model.check(model, content)
    return onnx_model.contract_of(model)


def _commit(submission: Submission, contract: Contract) -> Manifest:
    """Make every file a blob."""
    store = submission.store
    digest, size = store.commit_blob(submission.model)
    layers = [file_layer(title=MODEL_FILE, media_type=MODEL_TYPE, digest=digest, size=size)]
    for title, staged in submission.data.items():
        digest, size = store.commit_blob(staged)
        layers.append(file_layer(title=title, media_type=DATA_TYPE, digest=digest, size=size))
    digest, size = store.put_blob(contracts.encode(contract))
    return manifest_of(Descriptor(media_type=CONFIG_TYPE, digest=digest, size=size), layers)
