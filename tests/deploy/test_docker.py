"""The image: what its Dockerfile says holds, and fits its settings and the program."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.deploy import dockerfile
from tests.deploy.files import DEPLOY, ROOT, USER, on_the_metrics_port, ports, settings

INSTRUCTIONS = dockerfile.parse((DEPLOY / "docker/Dockerfile").read_text())
BUILD, IMAGE = dockerfile.stages(INSTRUCTIONS)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IGNORE = ROOT / ".dockerignore"


def copies() -> list[tuple[str, str]]:
    """(source, target) of what is copied out of the checkout."""
    found = [step.words for step in (*BUILD, *IMAGE) if step.name == "COPY" and "from" not in step.flags]
    return [(source, words[-1]) for words in found for source in words[:-1]]


def lock(path: str) -> dict[tuple[str, str], frozenset[str]]:
    """Package and version → hashes."""
    found = {}
    for block in re.split(r"^(?=\w)", (ROOT / path).read_text(), flags=re.MULTILINE):
        if pinned := re.match(r"([\w.-]+)==([^\s;]+)", block):
            found[pinned[1], pinned[2]] = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
    return found


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements}


def test_both_stages_begin_with_the_same_image_of_one_release() -> None:
    """A tag of one Python release and one Debian release, in one place where its digest can be given."""
    (base,) = [step for step in INSTRUCTIONS if step.name == "ARG"]
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.11\.[0-9]+-slim-[a-z]+", base.text)
    assert ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"] == [stage[0].text for stage in (BUILD, IMAGE)]
    assert "3.11" in PROJECT["project"]["requires-python"]


def test_nothing_comes_from_elsewhere_and_what_is_copied_is_there() -> None:
    """No ADD and no address; every source is in the checkout and reaches the builder."""
    assert [] == [step for step in INSTRUCTIONS if step.name == "ADD" or "://" in step.text.replace("http://127.0.0.1", "")]
    assert [] == [source for source, _ in copies() if not (ROOT / source).exists()]
    assert [] == [source for source, _ in copies() if not dockerfile.reaches_the_builder(source, IGNORE)]
    assert {"build"} == {step.flags["from"] for step in IMAGE if step.name == "COPY" and "from" in step.flags}


def test_all_that_the_wheel_is_made_of_is_copied() -> None:
    """The packages, the project's file, and what that names."""
    project = PROJECT["project"]
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*packages, "pyproject.toml", project["readme"], *project["license-files"]} <= {source for source, _ in copies()}


@pytest.mark.parametrize("path", [".git", ".venv", "tests", "docs", "benchmarks", "requirements.lock", "kernels/__pycache__", "models"])
def test_nothing_else_reaches_the_builder(path: str) -> None:
    """Neither history nor environments nor models."""
    assert not dockerfile.reaches_the_builder(path, IGNORE)


def test_every_package_is_installed_by_its_hash() -> None:
    """But for the wheel that was built here, which is taken from nowhere else."""
    installs = [step.words for step in (*BUILD, *IMAGE) if step.name == "RUN" and "install" in step.words and "pip" in step.words]
    assert 3 == len(installs)
    for words in installs:
        ours = "tidegate" in words
        assert {"--no-deps", "--no-index"} <= set(words) if ours else {"--require-hashes", "--only-binary"} <= set(words)
        assert ours or dockerfile.reaches_the_builder(next(source for source, _ in copies() if source.endswith(words[-1])), IGNORE)


def test_the_locks_are_those_of_the_project() -> None:
    """What serves, in the versions that are tested, and nothing of the rest; what builds; each with hashes."""
    tested, runtime, build = map(lock, ("requirements.lock", "requirements-runtime.lock", "deploy/docker/build.lock"))
    assert names(PROJECT["project"]["dependencies"]) <= {name for name, _ in runtime}
    assert names(PROJECT["build-system"]["requires"]) <= {name for name, _ in build}
    assert {"pytest", "ruff", "scikit-learn", "uvicorn", "tidegate"}.isdisjoint(name for name, _ in runtime)
    assert runtime == {pinned: tested.get(pinned) for pinned in runtime}
    assert all((*runtime.values(), *build.values()))


def test_the_user_is_a_number_and_not_root() -> None:
    """Kubernetes' runAsNonRoot can check numbers only."""
    assert f"{USER}:{USER}" == dockerfile.only(IMAGE, "USER").text
    assert 0 < USER


def test_no_shell_is_needed() -> None:
    """Every program is started as a list of words."""
    programs = [step for step in (*BUILD, *IMAGE) if step.name in {"RUN", "CMD", "ENTRYPOINT"}]
    assert [] == [step.text for step in programs if not step.arguments.startswith("[")]


def test_the_program_serves_with_the_settings_of_the_image() -> None:
    """Which are the file beside the Dockerfile, without mistakes; and its ports are exposed."""
    program = dockerfile.only(IMAGE, "ENTRYPOINT").words
    assert ["tidegate", "serve", "--config"] == program[:-1]
    assert ("deploy/docker/tidegate.yaml", program[-1]) in copies()
    config = settings("docker/tidegate.yaml")
    assert {str(port) for port in ports(config).values()} == set(dockerfile.only(IMAGE, "EXPOSE").words)
    assert "0.0.0.0" == config.server.host
    assert 0 < config.processes.workers, "a container sees cores that are not its own"
    assert config.processes.pin is False


def test_only_the_state_and_temporary_files_are_written() -> None:
    """The places are named; the kernels' object code is in none of them, and it is copied there."""
    places = dockerfile.only(IMAGE, "VOLUME").words
    assert ["/tmp", str(settings("docker/tidegate.yaml").processes.state)] == places
    made = [step.words for step in IMAGE if step.name == "RUN"]
    assert [["install", "--directory", f"--owner={USER}", f"--group={USER}", "--mode=0700", places[1]]] == made
    cache = dockerfile.environment(IMAGE)["NUMBA_CACHE_DIR"]
    assert not any(Path(cache).is_relative_to(place) for place in places)
    assert [cache, cache] == next(step.words for step in IMAGE if step.name == "COPY" and step.words[0] == cache)


def test_the_kernels_are_compiled_for_any_processor() -> None:
    """By the installed program, after it is there; what is compiled for one processor is passed over on another."""
    built, run = map(dockerfile.environment, (BUILD, IMAGE))
    for name, value in {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": "/var/cache/tidegate"}.items():
        assert [value, value] == [built[name], run[name]]
    assert ["/opt/tidegate/bin/python", "-I", "-m", "kernels.jit"] == BUILD[-1].words
    setting = next(index for index, step in enumerate(BUILD) if "NUMBA_CPU_NAME" in step.text)
    assert setting == len(BUILD) - 2


def test_the_health_check_asks_what_the_program_serves() -> None:
    """With Python alone, within its own timeout, on the metrics port."""
    check = dockerfile.only(IMAGE, "HEALTHCHECK")
    kind, _, words = check.arguments.partition(" ")
    program = dockerfile.Instruction("CMD", words).words
    assert ("CMD", "python") == (kind, program[0])
    compile(program[-1], "check", "exec")
    (path,) = re.findall(r"'(/v2/[^']+)'", program[-1])
    assert on_the_metrics_port(path)
    assert f"'127.0.0.1', {settings('docker/tidegate.yaml').server.metrics_port}" in program[-1]
    (patience,) = re.findall(r"timeout=([0-9]+)", program[-1])
    assert int(patience) < int(check.flags["timeout"].removesuffix("s"))


def test_it_ends_as_the_program_expects() -> None:
    """SIGTERM begins the drain."""
    assert "SIGTERM" == dockerfile.only(IMAGE, "STOPSIGNAL").text


def test_the_name_of_the_image_is_one_that_manifests_use() -> None:
    """The version is the package's."""
    used = {found for path in DEPLOY.rglob("*.yaml") for found in re.findall(r"image: (tidegate:\S+)", path.read_text())}
    assert {f"tidegate:{PROJECT['project']['version']}"} == used
