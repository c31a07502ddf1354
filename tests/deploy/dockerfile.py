"""A Dockerfile as a list of instructions, and which files of the checkout reach the builder. As much of both as ours use."""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, with its lines joined."""

    name: str
    text: str

    @property
    def flags(self) -> dict[str, str]:
        """Those in front of the arguments: --from=build."""
        return dict(re.findall(r"--([a-z-]+)=(\S+)", re.split(r"\s(?!--)", self.text, maxsplit=1)[0]))

    @property
    def arguments(self) -> str:
        """What follows the flags."""
        return re.sub(r"^(--\S+\s+)*", "", self.text)

    @property
    def words(self) -> list[str]:
        """Of a JSON list, its texts; else the words."""
        return list(json.loads(self.arguments)) if self.arguments.startswith("[") else self.arguments.split()


def parse(text: str) -> list[Instruction]:
    """All instructions in order."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return [Instruction(name, " ".join(rest.split())) for name, rest in found]


def stages(instructions: list[Instruction]) -> list[list[Instruction]]:
    """The instructions of each stage, which begins with its FROM; those before the first are left out."""
    found: list[list[Instruction]] = []
    for instruction in instructions:
        if instruction.name == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def environment(stage: list[Instruction]) -> dict[str, str]:
    """What the ENV instructions of a stage set."""
    pairs = (word.partition("=") for instruction in stage if instruction.name == "ENV" for word in instruction.words)
    return {name: value for name, _, value in pairs}


def only(stage: list[Instruction], name: str) -> Instruction:
    """The one instruction of a name. AssertionError where there are more or none."""
    found = [instruction for instruction in stage if instruction.name == name]
    assert 1 == len(found), f"{len(found)} {name} instructions"
    return found[0]


def reaches_the_builder(path: str, ignore: Path) -> bool:
    """Whether .dockerignore lets a file or folder through: the last line that fits it, or a folder above it, decides."""
    excluded = False
    for line in ignore.read_text().splitlines():
        pattern = line.removeprefix("!").strip()
        if pattern and not pattern.startswith("#") and _fits(path, pattern):
            excluded = not line.startswith("!")
    return not excluded


def _fits(path: str, pattern: str) -> bool:
    places = [str(place) for place in (PurePosixPath(path), *PurePosixPath(path).parents)]
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatch(PurePosixPath(place).name, pattern[3:]) for place in places)
    return any(place.count("/") == pattern.count("/") and fnmatch.fnmatch(place, pattern) for place in places if place != ".")
