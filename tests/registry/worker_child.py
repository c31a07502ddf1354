"""One of several processes that publish and move an alias at once, run by `workers`.

Arguments: a path or URL, a name, how often; obstore's options as JSON on standard input. Each round publishes a version and moves the alias
`champion` to it, taking it from wherever it stands; what it moved from is printed, as JSON.
"""

from __future__ import annotations

import json
import sys

from registry.aliases import Aliases
from registry.errors import Kind, RegistryError
from registry.store import Store
from tests.registry.crash_child import put


def move(aliases: Aliases, to: int, actor: str) -> int | None:
    """Move until nobody else was faster; where it stood before."""
    while True:
        stands = aliases.all().get("champion")
        try:
            aliases.move("champion", to=to, expected_from=stands, actor=actor, reason="next", now_s=1e9, operation_id=f"{actor} {to}")
        except RegistryError as error:
            if error.kind is not Kind.CONFLICT:
                raise
        else:
            return stands


def main(where: str, name: str, rounds: int, options: dict[str, str]) -> None:
    """Publish and move."""
    store = Store.create(where, options=options)
    done = []
    for number in range(rounds):
        version = put(store, f"{name} {number}".encode(), f"{name} {number}")
        done.append((version, move(store.aliases("m"), version, name)))
    sys.stdout.write(json.dumps(done))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.stdin.read() or "{}"))
