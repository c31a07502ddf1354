"""The structured log: one line per event on standard error, for a person on a terminal and JSON elsewhere.

Owns structlog and the root of the standard library's logging, whose records take the same way out. Knows no request: callers
pass names and numbers, never payloads; what is not one of these is shown as its type, and a text is cut at `MAX_TEXT` characters.
"""

from __future__ import annotations

import datetime
import json
import logging
import math
import numbers
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, TextIO

from gateway.clock import Clock, SystemClock
from gateway.config import Logging

MAX_TEXT = 2_048  # characters of one value
MAX_TRACEBACK = 16_384
MAX_ITEMS = 32  # of one list or mapping

Event = MutableMapping[str, Any]
Processor = Callable[[Any, str, Event], Event]


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Imports that treat some optional packages as missing, unless they are loaded already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _without("rich", "better_exceptions"):  # structlog takes 0.11 s to import without them, 0.53 s with them
    import structlog


def configure(settings: Logging, *, stream: TextIO | None = None, clock: Clock | None = None) -> None:
    """Send everything logged from now on to `stream` (standard error), as `settings` say. May be called again."""
    out = stream or sys.stderr
    console = settings.format == "console" or (settings.format == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level, structlog.stdlib.PositionalArgumentsFormatter(),
        _timed(clock or SystemClock()), structlog.processors.format_exc_info, _bounded,
    ]  # fmt: skip
    last: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    last += [_escaped, structlog.dev.ConsoleRenderer(colors=out.isatty())] if console else [_json_line]
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a closed standard error must not stop the server
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry `name`: `logger("worker").info("ready", models=3)`. Events are short, constant texts."""
    made: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return made


def _timed(clock: Clock) -> Processor:
    def add(_logger: Any, _method: str, event: Event) -> Event:
        moment = datetime.datetime.fromtimestamp(clock.wall(), datetime.UTC)
        event["timestamp"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event

    return add


def _bounded(_logger: Any, _method: str, event: Event) -> Event:
    """Names and numbers as they are; everything else cut or reduced to its type."""
    for key, value in event.items():
        if key == "exception":
            event[key] = _cut(str(value), MAX_TRACEBACK)
        elif key not in ("_record", "_from_structlog"):
            event[key] = _plain(value, depth=3)
    return event


def _plain(value: object, *, depth: int) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, numbers.Real):  # numpy's scalars too
        number = float(value)
        return (int(value) if isinstance(value, numbers.Integral) else number) if math.isfinite(number) else str(number)
    if isinstance(value, str):
        return _cut(value, MAX_TEXT)
    if isinstance(value, dict) and depth:
        return {str(key)[:MAX_TEXT]: _plain(item, depth=depth - 1) for key, item in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, list | tuple) and depth:
        return [_plain(item, depth=depth - 1) for item in value[:MAX_ITEMS]]
    if isinstance(value, BaseException):
        return _cut(f"{type(value).__name__}: {value}", MAX_TEXT)
    return f"<{type(value).__name__}>"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}… ({len(text)} characters)"


def _json_line(_logger: Any, _method: str, event: Event) -> str:
    """One JSON object in ASCII: control characters, line separators and lone surrogates leave as escapes."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "logger", "event") if key in event}
    return json.dumps(first | dict(event), separators=(",", ":"))


def _escaped(_logger: Any, _method: str, event: Event) -> Event:
    """Texts without control characters, which a terminal would obey; a traceback keeps its lines."""
    for key, value in event.items():
        if isinstance(value, str):
            kept = "\n" if key == "exception" else ""
            event[key] = "".join(letter if letter.isprintable() or letter in kept else repr(letter)[1:-1] for letter in value)
    return event
