"""The structured log: one bounded line per event, safe for terminals and collectors."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Logging
from gateway.observe import logs


class Noon:
    """A clock that stands still."""

    def now(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 1_370_088_000.25


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def captured(**settings: Any) -> io.StringIO:
    stream = settings.pop("stream", None) or io.StringIO()
    logs.configure(Logging(**settings), stream=stream, clock=Noon())
    return stream


def test_a_line_is_one_json_object() -> None:
    """Time, level, logger and event come first; values keep their types."""
    stream = captured()
    logs.logger("worker").info("ready", models=3, share=0.5, tls=False, version=None)
    expected = (
        '{"timestamp":"2013-06-01T12:00:00.250Z","level":"info","logger":"worker","event":"ready",'
        '"models":3,"share":0.5,"tls":false,"version":null}\n'
    )
    assert expected == stream.getvalue()


def test_other_libraries_take_the_same_way_out() -> None:
    """The standard library's logging and warnings become lines of the same form."""
    stream = captured()
    logging.getLogger("asyncio").warning("slow callback %s", "x\ny")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert ("asyncio", "warning", "slow callback x\ny") == (first["logger"], first["level"], first["event"])
    assert ("py.warnings", True) == (second["logger"], "UserWarning: old" in second["event"])


@pytest.mark.parametrize(("level", "lines"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_the_level_filters_both_ways_in(level: str, lines: int) -> None:
    """Less severe events are not written."""
    stream = captured(level=level)
    logs.logger("a").debug("d")
    logs.logger("a").info("i")
    logging.getLogger("b").warning("w")
    assert lines == len(stream.getvalue().splitlines())


def test_a_payload_is_shown_as_its_type() -> None:
    """Tensors, bytes and objects never reach the log."""
    stream = captured()
    logs.logger("a").info("e", raw=b"secret", rows=np.zeros(3), thing=object(), count=np.int64(3), bad=float("nan"), list=[b"x", 1])
    line = json.loads(stream.getvalue())
    assert ("<bytes>", "<ndarray>", "<object>", 3, "nan", ["<bytes>", 1]) == tuple(
        line[key] for key in ("raw", "rows", "thing", "count", "bad", "list")
    )


def test_long_and_deep_values_are_cut() -> None:
    """No value makes a line unbounded."""
    stream = captured()
    deep: list[Any] = []
    deep.append(deep)
    logs.logger("a").info("x" * 10_000, items=list(range(1_000)), deep=deep)
    line = json.loads(stream.getvalue())
    assert "x" * logs.MAX_TEXT + "… (10000 characters)" == line["event"]
    assert (logs.MAX_ITEMS, [[["<list>"]]]) == (len(line["items"]), line["deep"])


def test_an_exception_is_written_with_its_traceback() -> None:
    """On one line in JSON, on several on a terminal."""
    stream = captured()
    try:
        raise ValueError("no\x1b[31m")
    except ValueError:
        logs.logger("a").exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exception"].endswith("ValueError: no\x1b[31m")
    assert "\x1b" not in line


@given(st.text())
def test_no_text_breaks_a_json_line_or_reaches_a_terminal_raw(text: str) -> None:
    """Whatever a caller's name holds, one event is one line of printable ASCII."""
    stream = captured()
    logs.logger("a").info("e", model=text)
    (line,) = stream.getvalue().split("\n")[:-1]
    assert line.isascii()
    assert line.isprintable()
    assert text == json.loads(line)["model"]


@given(st.text(max_size=40))
def test_the_console_shows_no_control_characters(text: str) -> None:
    """A hostile model name cannot colour, clear or forge lines."""
    stream = captured(format="console")
    logs.logger("a").info("e" + text, model=text)
    (line, rest) = stream.getvalue().split("\n")
    assert "" == rest
    assert line.isprintable()


def test_a_terminal_gets_the_console_format() -> None:
    """`auto` looks at the stream; `json` insists."""
    assert "\x1b[" in _one_line(captured(stream=Terminal()))
    assert _one_line(captured(stream=Terminal(), format="json")).startswith("{")


def _one_line(stream: io.StringIO) -> str:
    logs.logger("a").info("e")
    return stream.getvalue()


def test_a_broken_stream_stops_nothing() -> None:
    """A server whose standard error is closed keeps serving."""
    stream = captured()
    stream.close()
    logs.logger("a").info("lost")
    assert stream.closed


def test_the_log_does_not_import_rich() -> None:
    """A server starts without the packages that only a terminal needs."""
    program = "import sys, gateway.observe.logs; print(sorted({'rich', 'better_exceptions'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout
