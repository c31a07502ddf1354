"""A model from a graph that was optimised when it was loaded before, where there is one; else optimised now, and kept.

Only for sessions of the processor's own provider: others keep what they make in forms of their own, or cannot write it down. What is
loaded answers the same golden requests as the file that it was made of; whatever goes wrong, that file is loaded.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.serving.model import RUNTIME_VERSION, Model, ModelFault
from gateway.serving.sessions import SessionSettings
from registry.compiled import Compiled, key_of
from registry.sealed import seal_copy
from registry.verified import VerifiedModel

MAX_BYTES = 1 << 30  # of a file; a graph that is written down has to stay below protobuf's 2 GiB
_CPUINFO = Path("/proc/cpuinfo")
_FEATURES = ("flags", "Features")  # as x86 and Arm call them there
_log = logging.getLogger(__name__)

Make = Callable[[str, SessionSettings, str | None], Model]  # (file, settings, where to write the optimised graph); raises ModelFault


def applies(verified: VerifiedModel, settings: SessionSettings) -> bool:
    """Whether its graph can be written down, and is worth it."""
    plain = settings.providers == ("cpu",) and settings.optimization != "none"
    return plain and not verified.external_data and verified.size_bytes <= MAX_BYTES


def load(verified: VerifiedModel, settings: SessionSettings, compiled: Compiled, make: Make, *, cpuinfo: Path = _CPUINFO) -> Model:
    """The model. Raises ModelFault where its own file cannot be loaded."""
    entries = msgspec.json.encode(settings.entries, order="deterministic").decode()
    key = key_of(verified.digest, RUNTIME_VERSION, settings.providers[0], settings.optimization, entries, features(cpuinfo))
    found = compiled.find(key)
    if found is not None:
        try:
            return make(found.path, msgspec.structs.replace(settings, optimization="none"), None)
        except ModelFault as fault:
            _log.warning("the optimised graph of model '%s' is made again: %s", verified.model, fault)
            compiled.forget(key)
        finally:
            found.close()
    return _made(verified, settings, compiled, make, key)


def _made(verified: VerifiedModel, settings: SessionSettings, compiled: Compiled, make: Make, key: str) -> Model:
    fd = os.memfd_create("optimized", os.MFD_CLOEXEC)
    try:
        model = make(verified.path, settings, f"/proc/self/fd/{fd}")
        graph = seal_copy(fd, name="optimized")
    except ModelFault as fault:  # by the writing, perhaps: then it loads without
        model = make(verified.path, settings, None)
        _log.warning("the optimised graph of model '%s' is not kept: %s", verified.model, fault)
        return model
    finally:
        os.close(fd)
    compiled.keep(key, graph)
    graph.close()
    return model


def features(cpuinfo: Path) -> str:
    """What the processor can do, for which the runtime chooses kernels and layouts of weights."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return os.uname().machine
    known = {" ".join(sorted(value.split())) for name, _, value in (line.partition(":") for line in lines) if name.strip() in _FEATURES}
    return f"{os.uname().machine} {' | '.join(sorted(known))}"
