"""How commands speak: tables and sentences for people, one JSON document with `--json`, and exit codes for scripts."""

from __future__ import annotations

import enum
import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec, TypeVar

import msgspec
import typer

from gateway.config import ConfigError
from gateway.errors import Code, TidegateError
from registry.errors import RegistryError

if TYPE_CHECKING:
    from registry.aliases import Performed

P = ParamSpec("P")
R = TypeVar("R")

_BEYOND_ASCII = re.compile(r"[\x7f-\U0010ffff]")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


class Exit(enum.IntEnum):
    """Exit codes, documented in docs/cli.md."""

    DONE = 0
    FAILED = 1  # what was asked for did not succeed, or a check found a problem
    USAGE = 2  # the command line, a settings file or an input file is wrong
    UNREACHABLE = 3  # the server did not answer, or not in time
    REFUSED = 4  # the server answered with an error
    REGISTRY = 5  # the registry refused
    INTERRUPTED = 130


class UsageError(Exception):
    """Arguments or an input file that cannot be understood."""


def command(function: Callable[P, R]) -> Callable[P, R]:
    """A command whose expected failures become one sentence on standard error and an exit code; anything else is a bug and shows itself."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except UsageError as error:
            fail(Exit.USAGE, str(error))
        except ConfigError as error:
            fail(Exit.USAGE, *(str(problem) for problem in error.problems))
        except RegistryError as error:
            fail(Exit.REGISTRY, f"{error.kind.value}: {error.message}")
        except TidegateError as error:
            fail(_exit_of(error), f"{error.code.name}: {error.message}")
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None
        except BrokenPipeError:  # `tidegate … | head`
            sys.stdout = None
            raise typer.Exit(Exit.DONE) from None

    return guarded


def fail(code: Exit, *lines: str) -> NoReturn:
    """Say why on standard error, and exit."""
    for line in lines:
        sys.stderr.write(f"tidegate: {printable(line)}\n")
    raise typer.Exit(code)


def say(text: str = "") -> None:
    """A line for people on standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def document(value: Any) -> None:
    """The one JSON document of a command. NaN and Infinity are written as the protocol's JSON writes them.

    Control characters are escaped, also those that JSON would allow.
    """
    text = json.dumps(value, ensure_ascii=False, indent=2)
    say(_BEYOND_ASCII.sub(lambda match: match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1], text))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = (), whole: Sequence[str] = ()) -> None:
    """A table as wide as the terminal; columns in `right` are numbers, those and the ones in `whole` are never broken."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        number, unbroken = column in right, column in (*right, *whole)
        title = Text(printable(column), justify="right" if number else "left")
        drawn.add_column(title, justify="right" if number else "left", overflow="fold", no_wrap=unbroken, min_width=len(title))
    for row in rows:
        drawn.add_row(*(Text(printable(str(cell))) for cell in row))
    console = Console(highlight=False)
    with console.capture() as captured:  # a pipe that was closed is found by `say`, as for all else
        console.print(drawn)
    say("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))


def paragraphs(text: str) -> None:
    """Text of several lines from elsewhere, indented."""
    for line in text.splitlines():
        say(f"  {printable(line)}".rstrip())


def printable(text: str) -> str:
    """Text from elsewhere without control characters, which a terminal would obey."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def moment(time: datetime) -> str:
    """A time, to the second, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def size(count: int) -> str:
    """Bytes for people."""
    if count < 1024:
        return f"{count} B"
    exponent = min((count.bit_length() - 1) // 10, 4)
    return f"{count / (1 << 10 * exponent):,.1f} {' KMGT'[exponent]}iB"


def short(digest: str | None) -> str:
    """Enough of a digest to tell it from its neighbours."""
    return (digest or "").removeprefix("sha256:")[:12]


def performed(done: Performed, text: str, *, as_json: bool) -> None:
    """What an operation of the registry did; one that was repeated, or changed nothing, says so."""
    if as_json:
        document(msgspec.to_builtins(done.entry) | {"new": done.new})
    else:
        say(printable(text if done.new else f"{text}, as before"))


def _exit_of(error: TidegateError) -> Exit:
    if error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
        return Exit.UNREACHABLE
    return Exit.REFUSED if hasattr(error, "status") else Exit.USAGE
