"""`tidegate publish`: what goes in, what is kept of it, and what is refused before anything is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from gateway.commands.output import Exit
from registry import store as stores
from registry.store import Store
from tests.gateway.commands.conftest import PARTS
from tests.gateway.commands.console import done, failed, parsed, run

Write = Callable[..., Path]


def said(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.fixture
def triton(tmp_path: Path, onnx_file: Write) -> Path:
    """Two models; of `ages` two versions, and a setting that cannot be honoured."""
    root = tmp_path / "triton"
    for weight, place in enumerate(("ages/1", "ages/3", "seas/2"), 1):
        onnx_file(weight, root / place / "model.onnx")
    said(root / "ages/config.pbtxt", "max_batch_size: 8\nversion_policy { all {} }\noptimization { cuda { graphs: true } }\n")
    return root


@pytest.fixture
def mlflow(tmp_path: Path, onnx_file: Write) -> Path:
    """A model whose one input has no name in the signature."""
    root = onnx_file(5, tmp_path / "mlflow" / "model.onnx").parent
    inputs = json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}])
    said(root / "MLmodel", f"flavors: {{onnx: {{data: model.onnx}}}}\nrun_id: abc\nsignature: {{inputs: '{inputs}'}}\n")
    return root


def test_each_publication_is_the_next_version(tmp_path: Path, onnx_file: Write) -> None:
    """The same publish id gives the same version."""
    place = ["--name", "m", "--registry", tmp_path / "r"]
    first = parsed("publish", onnx_file(), *place, "--publish-id", "p")
    again = parsed("publish", onnx_file(), *place, "--publish-id", "p")
    assert "m version 2 published\n  manifest sha256:" in done("publish", onnx_file(), *place, "--publisher", "me")
    assert "m version 1 had been published before" in done("publish", onnx_file(), *place, "--publish-id", "p")
    assert {"model": "m", "version": 1, "new": True, "dropped": [], "signed_by": None, "alias": None}.items() <= first.items()
    assert {**first, "new": False} == again
    assert "me" == Store.open(tmp_path / "r").record("m", 2).publisher


def test_files_beside_the_model_become_its_parts(tmp_path: Path, onnx_file: Write) -> None:
    """YAML or JSON; `format` may be left out."""
    contract = said(tmp_path / "c.yaml", "inputs:\n  x: {nulls: refused, range: {min: 0}}\n")
    golden = said(tmp_path / "g.yaml", "requests:\n- inputs: [{name: x, datatype: FP32, shape: [1, 2], data: [1, 2]}]\n")
    training = said(tmp_path / "t.json", '{"seed": 7}')
    files = ["--contract", contract, "--golden", golden, "--training", training]
    files += ["--card", said(tmp_path / "card.md", "# Card\n"), "--serving", said(tmp_path / "s.yaml", "max_batch_size: 4\n")]
    files += ["--profile", said(tmp_path / "p.json", json.dumps(json.loads(PARTS.profile or b""), indent=2))]
    done("publish", onnx_file(), "--name", "m", "-r", tmp_path / "r", *files)
    found = parsed("inspect", "m", 1, "-r", tmp_path / "r")
    assert [("refused", {"min": 0.0, "max": None})] == [(port["nulls"], port["range"]) for port in found["inputs"]]
    assert (1, 7, "# Card\n", 4, len(PARTS.profile or b"")) == (
        found["golden"]["requests"], found["training"]["seed"], found["card"], found["serving"]["max_batch_size"],
        found["profile"]["size_bytes"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("option", "content", "text"),
    [
        ("--contract", "inputs:\n  x: {nulls: refused\n  y: 1\n", "f: line 3: expected ',' or '}', but got ':'"),
        ("--contract", "inputs: {x: {colour: red}}", "f: the contract file is not one: Object contains unknown field `colour`"),
        ("--contract", b"\xff\xfe\x00", "f: neither YAML nor JSON"),
        ("--contract", "a: " + "b" * (1 << 20), "f: larger than the 1048576 bytes that are allowed"),
        ("--golden", "requests: []", "f: the golden requests are refused: there are 0"),
        ("--training", "seed: x", "f: the training record is not one: Expected `int | null`, got `str` - at `$.seed`"),
        ("--serving", "max_batch_size: 0", "f: Expected `int` >= 1 - at `$.max_batch_size`"),
        ("--card", b"\xff", "f: not a text in UTF-8"),
        ("--profile", '{\n"a" 1}', "f: the reference profile is not one: JSON is malformed"),
        ("--sign", "no key", "f: this is no private key in PEM, or the password does not open it"),
        ("--key", "no key", "f: this is no public key in PEM"),
    ],
)
def test_a_wrong_file_is_named_before_anything_is_stored(
    tmp_path: Path, onnx_file: Write, option: str, content: str | bytes, text: str
) -> None:
    """With the line where it is known; exit code 2."""
    path = said(tmp_path / "f", content)
    assert text in failed(Exit.USAGE, "publish", onnx_file(), "-n", "m", "-r", tmp_path / "r", option, path)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("option", ["--contract", "--golden", "--training", "--card", "--serving", "--profile", "--sign", "--key"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, onnx_file: Write, option: str) -> None:
    """Whether it is missing or a directory."""
    for place, why in (("none", "No such file or directory"), (".", "Is a directory")):
        stderr = failed(Exit.USAGE, "publish", onnx_file(), "-n", "m", "-r", tmp_path / "r", option, tmp_path / place)
        assert str(tmp_path / place) in stderr
        assert why in stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["MODEL"], Exit.USAGE, "tidegate: --name: missing; what is the model called?"),
        (["MODEL", "-n", "m", "--drop", "x"], Exit.USAGE, "tidegate: --drop: an ONNX file has no settings to drop"),
        (["TMP", "-n", "m"], Exit.REGISTRY, "not_found: the repository has no version of a model 'm'"),
        (["TMP"], Exit.USAGE, "is neither an MLflow model (MLmodel) nor a Triton repository"),
        (["MODEL", "-n", "../m"], Exit.REGISTRY, "invalid_name: model name '../m'"),
        (["MODEL", "-n", "m", "--alias", "latest"], Exit.REGISTRY, "invalid_name: 'latest' cannot be an alias"),
        (["MODEL", "-n", "m", "--publish-id", "a\nb"], Exit.REGISTRY, "invalid_name: publish id must be 1 to 256 printable"),
        (["NONE", "-n", "m"], Exit.REGISTRY, "No such file"),
        (["JUNK", "-n", "m"], Exit.REGISTRY, "invalid_model: "),
    ],
)
def test_refusals(tmp_path: Path, onnx_file: Write, arguments: list[str], code: Exit, text: str) -> None:
    """One sentence each, and no version."""
    places = {"MODEL": onnx_file(), "TMP": tmp_path, "NONE": tmp_path / "none", "JUNK": said(tmp_path / "junk.onnx", "no model")}
    assert text in failed(code, "publish", *(places.get(argument, argument) for argument in arguments), "-r", tmp_path / "r")
    assert not list(tmp_path.glob("r/models/*/versions/*"))


def test_a_place_that_is_something_else_is_refused(tmp_path: Path, onnx_file: Write, registry: Path) -> None:
    """Also a registry in the place of a model."""
    assert f"conflict: {tmp_path}: the directory holds" in failed(Exit.REGISTRY, "publish", onnx_file(), "-n", "m", "-r", tmp_path)
    assert "storage: /proc/none: cannot" in failed(Exit.REGISTRY, "publish", onnx_file(), "-n", "m", "-r", "/proc/none")
    assert f"{registry} is a registry itself" in failed(Exit.USAGE, "publish", registry, "-r", tmp_path / "other")


def test_an_alias_moves_once_for_a_publication(registry: Path, onnx_file: Write) -> None:
    """Repeating the command later does not undo what somebody decided meanwhile."""
    command = ["publish", onnx_file(3.0), "--name", "ages", "-r", registry, "--alias", "champion", "--publish-id", "x"]
    assert "champion: 1 -> 3\n" == done(*command)[-17:]
    done("alias", "ages", "champion", 1, "-r", registry)
    assert done(*command).endswith("champion: 1 -> 3, as before\n")
    assert {"name": "champion", "from": 1, "to": 3, "new": False} == parsed(*command)["alias"]
    assert 1 == Store.open(registry).resolve("ages", "champion")


def test_an_alias_that_the_policy_protects_does_not_undo_the_publication(registry: Path, onnx_file: Write) -> None:
    """What was published is said, and why the alias stayed."""
    said(registry / "policy.yaml", "format: 2\naliases: {champion: {min_approvals: 1}}\n")
    result = run("publish", onnx_file(3.0), "--name", "ages", "-r", registry, "--alias", "champion", "--json")
    assert (Exit.REGISTRY, 3, None) == (result.exit_code, json.loads(result.stdout)["version"], json.loads(result.stdout)["alias"])
    assert "policy: alias 'champion' of model 'ages' is protected: it has 0 of 1 approvals" in result.stderr


def test_an_alias_that_moves_meanwhile_is_left_there(registry: Path, onnx_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare-and-swap from where it stood before publishing."""
    add = stores.Store.add_version

    def beaten(store: Store, *arguments: object, **options: object) -> object:
        store.aliases("ages").move("champion", to=2, expected_from=1, actor="eve", reason="", now_s=0.0)
        return add(store, *arguments, **options)

    monkeypatch.setattr(stores.Store, "add_version", beaten)
    stderr = failed(Exit.REGISTRY, "publish", onnx_file(3.0), "--name", "ages", "-r", registry, "--alias", "champion")
    assert "conflict: alias 'champion' of model 'ages' stands for version 2; expected it at version 1" in stderr


def test_a_triton_repository_becomes_versions(tmp_path: Path, triton: Path) -> None:
    """Ascending, with what was dropped; interrupted or not, a second time publishes nothing new."""
    command = ["publish", triton, "-r", tmp_path / "r", "--drop", "optimization", "--publish-id", "i", "--alias", "champion"]
    text = done(*command)
    assert ["ages version 1 published", "ages version 2 published", "seas version 1 published"] == [
        line for line in text.splitlines() if "published" in line
    ]
    assert "  dropped  optimization.cuda.graphs\n" in text
    assert text.endswith("ages champion: none -> 2\nseas champion: none -> 1\n")
    again = parsed(*command)["versions"]
    assert [("i-ages-1", 1, False), ("i-ages-3", 2, False), ("i-seas-2", 1, False)] == [
        (row["publish_id"], row["version"], row["new"]) for row in again
    ]
    assert [["optimization.cuda.graphs"], ["optimization.cuda.graphs"], []] == [row["dropped"] for row in again]
    one = parsed("publish", triton, "-r", tmp_path / "r", "--name", "seas")["versions"]
    assert [("seas", 2)] == [(row["model"], row["version"]) for row in one]


def test_a_triton_repository_is_refused_by_the_setting(tmp_path: Path, triton: Path) -> None:
    """Files beside a model are for one model."""
    assert "sets 'optimization.cuda.graphs', which cannot be honoured" in failed(Exit.REGISTRY, "publish", triton, "-r", tmp_path / "r")
    card = said(tmp_path / "card.md", "# Card\n")
    command = ["publish", triton, "-r", tmp_path / "r", "--drop", "optimization", "--card", card]
    assert "has several models" in failed(Exit.USAGE, *command)
    assert not (tmp_path / "r").exists()
    assert 2 == len(parsed(*command, "--name", "ages")["versions"])


def test_files_are_laid_over_what_an_import_says(tmp_path: Path, triton: Path, mlflow: Path) -> None:
    """Setting by setting; an input without a name is the only one."""
    contract = said(tmp_path / "c.yaml", "inputs: {x: {nulls: refused}}")
    serving = said(tmp_path / "s.yaml", "instances: 2")
    done("publish", triton, "-r", tmp_path / "r", "--name", "ages", "--drop", "optimization", "--serving", serving)
    assert {"max_batch_size": 8, "instances": 2}.items() <= parsed("inspect", "ages", 2, "-r", tmp_path / "r")["serving"].items()
    training = said(tmp_path / "t.yaml", "seed: 3")
    published = parsed("publish", mlflow, "-n", "f", "-r", tmp_path / "r", "--contract", contract, "--training", training)
    found = parsed("inspect", "f", published["version"], "-r", tmp_path / "r")
    assert (("x", "refused"), 3, {"mlflow_run_id": "abc"}) == (
        (found["inputs"][0]["name"], found["inputs"][0]["nulls"]), found["training"]["seed"], found["training"]["parameters"],
    )  # fmt: skip
    wrong = said(tmp_path / "wrong.yaml", "inputs: {x: {shape: [-1, 3]}}")
    command = ["publish", mlflow, "-n", "f", "-r", tmp_path / "r", "--contract", wrong]
    assert "invalid_model: input 'x' has shape [batch, 2] in the model and [-1, 3] in the contract" in failed(Exit.REGISTRY, *command)


def test_what_is_published_can_be_signed(tmp_path: Path, onnx_file: Write, keys: dict[str, Path]) -> None:
    """Before its alias moves, so that a policy may ask for it; repeating signs once."""
    place = ["-n", "m", "-r", tmp_path / "r", "--publish-id", "p"]
    signed = parsed("publish", onnx_file(), *place, "--sign", keys["encrypted"], "--password-file", keys["password"])
    said(tmp_path / "r" / "policy.yaml", f'format: 2\naliases: {{champion: {{require_signatures: ["{signed["signed_by"]}"]}}}}\n')
    refusal = failed(Exit.REGISTRY, "publish", onnx_file(), *place, "--alias", "champion", "--key", keys["stranger"])
    assert f"the signature of key '{signed['signed_by']}' is missing" in refusal
    text = done("publish", onnx_file(), *place, "--sign", keys["private"], "--alias", "champion", "--key", keys["public"])
    assert f"  signed   by key {signed['signed_by']}\nchampion: none -> 1\n" in text
    assert 1 == len(list((tmp_path / "r" / "signatures").rglob("*.json")))


def test_the_password_of_a_key_is_asked_on_a_terminal_only(
    tmp_path: Path, onnx_file: Write, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere it comes from a file, or the command is refused; a wrong one too."""
    command = ["publish", onnx_file(), "-n", "m", "-r", tmp_path / "r", "--sign", keys["encrypted"]]
    assert "is encrypted: give --password-file" in failed(Exit.USAGE, *command)
    assert "the password does not open it" in failed(Exit.USAGE, *command, "--password-file", keys["public"])
    assert not (tmp_path / "r").exists()
    asked: list[tuple[str, bool, bool]] = []

    def prompt(text: str, *, hide_input: bool, err: bool) -> str:
        asked.append((text, hide_input, err))
        return "secret"

    monkeypatch.setattr(typer, "prompt", prompt)
    monkeypatch.setattr("gateway.commands.signing.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    assert parsed(*command)["signed_by"].startswith("sha256:")
    assert [(f"Password of {keys['encrypted']}", True, True)] == asked


def test_a_refusal_in_the_middle_says_what_was_done(tmp_path: Path, triton: Path) -> None:
    """The versions before it are there, and are named also in JSON."""
    said(triton / "seas" / "2" / "model.onnx", "junk")
    result = run("publish", triton, "-r", tmp_path / "r", "--drop", "optimization", "--json")
    assert (Exit.REGISTRY, [1, 2]) == (result.exit_code, [row["version"] for row in json.loads(result.stdout)["versions"]])
    assert "invalid_model: " in result.stderr
