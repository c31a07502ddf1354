"""The program that tries a model: reads one JSON object from standard input, writes one to standard output. Imports nothing of ours."""

from __future__ import annotations

import json
import mmap
import resource
import sys
from typing import Any

import onnxruntime


def _main(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to print."""
    for name, bound in (
        (resource.RLIMIT_AS, request["memory_bytes"]),
        (resource.RLIMIT_CPU, request["cpu_s"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (bound, bound))
    path = f"/proc/self/fd/{request['model_fd']}"
    try:
        _load(path, request["data_fds"])
    except MemoryError:
        return {"loaded": False, "reason": "it needs more memory than the limit"}
    except Exception as error:
        return {"loaded": False, "reason": str(error).replace(path, "model.onnx").replace("/proc/self/fd/", "")}
    return {"loaded": True}


def _load(path: str, data_fds: dict[str, int]) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: the reason comes as an exception
    if data_fds:
        maps = [mmap.mmap(fd, 0, prot=mmap.PROT_READ) for fd in data_fds.values()]
        options.add_external_initializers_from_files_in_memory(list(data_fds), maps, [len(content) for content in maps])
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_main(json.load(sys.stdin))))
