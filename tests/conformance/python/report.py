"""Runs a client's checks one after another and prints a line for each: `ok NAME` or `FAIL NAME: REASON`."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

CHECK_TIMEOUT_S = 30.0


def run(checks: list[Callable[..., Any]], *arguments: object) -> None:
    """Call each check with `arguments`; its name is the function's, with hyphens. Exits with 1 when one failed."""
    results = [_reported(check, arguments) for check in checks]
    sys.exit(0 if all(results) else 1)


async def run_async(checks: list[Callable[..., Any]], *arguments: object) -> None:
    """The same for coroutine functions."""
    sys.exit(0 if await all_async(checks, *arguments) else 1)


async def all_async(checks: list[Callable[..., Any]], *arguments: object) -> bool:
    """The same without an end: whether all went well."""
    good = True
    for check in checks:
        try:
            await asyncio.wait_for(check(*arguments), CHECK_TIMEOUT_S)
        except Exception as error:
            good = _failed(check, error)
        else:
            _passed(check)
    return good


def equal(expected: object, actual: object) -> None:
    """An assertion whose text shows both sides."""
    if expected != actual:
        raise AssertionError(f"expected {str(expected)[:300]}, got {str(actual)[:300]}")


def _reported(check: Callable[..., Any], arguments: tuple[object, ...]) -> bool:
    try:
        check(*arguments)
    except Exception as error:
        return _failed(check, error)
    return _passed(check)


def _name(check: Callable[..., Any]) -> str:
    return check.__name__.replace("_", "-")


def _passed(check: Callable[..., Any]) -> bool:
    print("ok", _name(check), flush=True)
    return True


def _failed(check: Callable[..., Any], error: Exception) -> bool:
    where = inspect.getinnerframes(error.__traceback__)[-1] if error.__traceback__ else None
    place = f" ({where.function}:{where.lineno})" if where else ""
    print(f"FAIL {_name(check)}: {json.dumps(f'{type(error).__name__}: {error}{place}', ensure_ascii=False)}", flush=True)
    return False
