"""Numbers below the smallest normal one, taken for 0 while a model runs.

A processor takes 20 to 100 times as long for a sum with one in it, and whoever sends inputs chooses them.

ONNX Runtime has an option for it (`session.set_denormal_as_zero`), which sets the thread that creates a session, for good, and the threads
that it starts itself. Sessions are created in one thread and run in others here, so every run sets its own thread and puts it back:
all other arithmetic of that thread stays as IEEE 754 has it.
"""

from __future__ import annotations

import ctypes
import platform
import sys

# Where the control word stands in glibc's and musl's fenv_t, and its bits: flush-to-zero, on x86 with denormals-are-zero.
_LAYOUT = {"x86_64": (28, 0x8040), "aarch64": (0, 1 << 24)}
_LARGEST = 64  # bytes, more than any fenv_t


def _environments() -> tuple[bytes, bytes] | None:
    """The floating-point environment of this thread, and the same with denormals as 0; None where they are not known."""
    layout = _LAYOUT.get(platform.machine()) if sys.platform == "linux" else None
    if layout is None:
        return None
    offset, bits = layout
    usual = ctypes.create_string_buffer(_LARGEST)
    _library.fegetenv(usual)
    word = int.from_bytes(usual.raw[offset : offset + 4], "little")
    ieee, flushing = ((word & ~bits) | more for more in (0, bits))
    parts = usual.raw[:offset], usual.raw[offset + 4 :]
    return ieee.to_bytes(4, "little").join(parts), flushing.to_bytes(4, "little").join(parts)


_library = ctypes.PyDLL(None)  # called with the interpreter lock held: each call takes 50 ns
_known = _environments()
_set = _library.fesetenv
_set.argtypes, _set.restype = (ctypes.c_char_p,), None


def flush() -> None:
    """From now on this thread takes denormals for 0."""
    if _known is not None:
        _set(_known[1])


def keep() -> None:
    """From now on this thread computes with denormals."""
    if _known is not None:
        _set(_known[0])
