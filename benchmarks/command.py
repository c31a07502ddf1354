"""What the small benches share: their options, and where their result goes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import render


def parser(description: str | None, *, seed: str = "") -> argparse.ArgumentParser:
    """The options of every bench; `seed` says what a seed decides, where there is anything to decide."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="fewer rounds")
    made.add_argument("--json", metavar="PATH", help="write the result here; - only prints it")
    if seed:
        made.add_argument("--seed", type=int, default=0, help=f"of {seed}")
    return made


def conclude(result: dict[str, Any], destination: str | None, default: Path) -> int:
    """Write the result, and the documents where that is its own place; print it as the last line. The exit status: 0 only if every bar
    holds."""
    if destination != "-":
        path = Path(destination) if destination else default
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
        if path == default:
            render.refresh()
    print(json.dumps(result))
    return 0 if all(bar["holds"] for bar in result["bars"]) else 1
