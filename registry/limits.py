"""Every bound of the registry with its default and its reason; a gateway's config may hold this struct as it is."""

from __future__ import annotations

import msgspec

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class RegistryLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be published and how much of it is read at once."""

    max_model_bytes: int = 2 * GIB - 4 * KIB  # one ONNX file; neither protobuf nor one read holds 2 GiB, larger weights are external data
    max_data_bytes: int = 64 * GIB  # all external data of one version
    max_files: int = 256  # of one version
    max_state_bytes: int = 64 * MIB  # one JSON file of the registry; about 300,000 versions in a model's head
    # of an object store's blobs on this machine: ten versions at the bound of one ONNX file, a tenth of a common 200 GB disk
    max_cache_bytes: int = 20 * GIB
    trial_timeout_s: float = 60.0  # loading the model once in a child process
    trial_memory_bytes: int = 4 * GIB  # address space of that child beside four times the submitted bytes


DEFAULT_LIMITS = RegistryLimits()
