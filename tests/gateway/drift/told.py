"""What the evaluating process says of a version, without one."""

from __future__ import annotations

import msgspec
import numpy as np

from gateway.drift.documents import findings_of
from gateway.drift.findings import VersionFindings
from gateway.drift.watch import Watch
from gateway.protocol.drift_message import version_messages
from tests.gateway.drift.profiles import profile


def told(version: str = "3", *, messages: bool = False) -> str:
    """JSON of the findings of one version that nobody has asked yet, or of its message."""
    watch = Watch(profile(), wall_s=0.0)
    views = watch.layout.views(np.zeros(watch.layout.words, np.int64))
    views.begin(watch.layout.checksum)
    watch.look(views, 1.0)
    found = msgspec.json.encode([VersionFindings(version=version, **msgspec.structs.asdict(findings_of(watch)))]).decode()
    return version_messages(found) if messages else found
