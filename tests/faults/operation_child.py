"""One operation on a registry, run under strace. Arguments: the registry and an operation of `crash_child.OPERATIONS`.

Exits with 3 where the registry refuses with a storage error, as it should when the system does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from registry.errors import Kind, RegistryError
from tests.registry.crash_child import perform

if __name__ == "__main__":
    try:
        perform(Path(sys.argv[1]), sys.argv[2], os)
    except RegistryError as error:
        print(error.message, file=sys.stderr)
        sys.exit(3 if error.kind is Kind.STORAGE else 4)
