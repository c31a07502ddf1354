"""What Triton's clients raise for a refusal, over either transport."""

from __future__ import annotations

from collections.abc import Callable

from report import equal
from tritonclient.utils import InferenceServerException


def refused(status: str, part: str, call: Callable[[], object]) -> None:
    """The client's exception has this status, and this in its text."""
    try:
        call()
    except InferenceServerException as error:
        equal((status, True), (error.status(), part in error.message()))
    else:
        raise AssertionError(f"{part} answered")
