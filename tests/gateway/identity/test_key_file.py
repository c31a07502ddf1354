"""The file of API keys: who may read it, what may stand in it, and that what is written can be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity import key_file
from gateway.identity.key_file import KeyFileError, line, moment, read
from gateway.identity.keys import ApiKey, mint
from gateway.identity.scopes import problem_of

DIGEST = "ab" * 32
GOOD = f'{{id: "abcdefg1", hash: "sha256:{DIGEST}", scopes: [meta]}}'


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def test_every_key_has_a_name_scopes_and_maybe_an_end(path: Path) -> None:
    """In the order of the file."""
    other = f'{{id: "zzzzzzzz", hash: "sha256:{"00" * 32}", scopes: ["infer:*", "infer:x"], expires: "2031-01-31"}}'
    text = f"keys:\n  app: {GOOD}\n  b: {other}\n"
    first, second = read(written(path, text))
    assert ApiKey(name="app", id="abcdefg1", digest=bytes.fromhex(DIGEST), scopes=("meta",)) == first
    assert ("b", ("infer:*", "infer:x"), moment("2031-01-31")) == (second.name, second.scopes, second.expires_s)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_a_file_may_be_its_owners_and_its_groups_to_read(path: Path, mode: int) -> None:
    """A group of its own is how secrets are mounted."""
    assert () == read(written(path, "", mode))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o644, 0o666, 0o777])
def test_a_file_that_others_can_read_or_change_is_refused(path: Path, mode: int) -> None:
    """Who can write it lets themselves in."""
    with pytest.raises(KeyFileError, match=rf"keys\.yaml: other users can read or change it \(mode {mode:03o}\): chmod 600"):
        read(written(path, "", mode))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("keys: {a: {id: x}}", "keys.a.hash: required"),
        (f"keys: {{a: {GOOD}, b: {GOOD}}}", "keys.b: has the id of a"),
        (f"keys: {{a: {GOOD.replace('abcdefg1', 'SHORT')}}}", "keys.a.id: expected 8 digits and small letters"),
        (
            f"keys: {{a: {GOOD.replace(DIGEST, 'tidegate_abc')}}}",
            "keys.a.hash: expected sha256: and 64 hexadecimal digits, never the key",
        ),
        (f"keys: {{a: {GOOD.replace('[meta]', '[root]')}}}", "keys.a.scopes: unknown scope"),
        (f"keys: {{a: {GOOD.replace('[meta]', 'meta')}}}", "keys.a.scopes: expected a list of texts"),
        (f"keys: {{a: {GOOD.replace('}', ', expires: soon}')}}}", "keys.a.expires: expected a date or a time"),
        (f"keys: {{a: {GOOD.replace('}', ', expires: 2031-01-31}')}}}", "put it in quotes"),
        (f"keys: {{a: {GOOD.replace('}', ', scope: x}')}}}", "keys.a.scope: unknown setting; did you mean 'scopes'?"),
        (f'keys: {{"a b": {GOOD}}}', "keys.a b: a name is 1 to 64 letters"),
        (f"keys: {{a: {GOOD}, a: {GOOD}}}", "set twice"),
        ("key: {}", "key: unknown setting"),
        ("- a", "expected a mapping of settings"),
        ("keys: [", "keys.yaml:1"),
    ],
)
def test_a_mistake_is_named_with_its_place(path: Path, text: str, complaint: str) -> None:
    """The first of the file; what may be a secret is never repeated."""
    with pytest.raises(KeyFileError) as caught:
        read(written(path, text))
    assert complaint in str(caught.value)
    assert "keys.yaml:" in str(caught.value)
    assert "tidegate_abc" not in str(caught.value)


def test_a_file_that_is_not_there_says_so(path: Path) -> None:
    """By its name."""
    with pytest.raises(KeyFileError, match=r"keys\.yaml: No such file or directory"):
        read(path)
    with pytest.raises(KeyFileError, match="Is a directory"):
        read(path.parent)


of_models = st.text(min_size=1, max_size=20).map("infer:{}".format).filter(lambda text: not problem_of(text))
scopes = st.one_of(st.sampled_from(["meta", "admin", "infer:*"]), of_models)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True), st.lists(scopes, min_size=1, max_size=4), st.booleans())
def test_a_line_that_was_written_is_read_as_it_was_meant(
    tmp_path_factory: pytest.TempPathFactory, name: str, given: list[str], ends: bool
) -> None:
    """Names that look like numbers or words of YAML, models with any printable letters."""
    path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    _, identity, digest = mint()
    until = "2031-01-31T12:00:00+01:00" if ends else None
    (found,) = read(written(path, "keys:\n" + line(name, identity, digest, tuple(given), until) + "\n"))
    expected = ApiKey(name=name, id=identity, digest=digest, scopes=tuple(given), expires_s=moment(until) if until else None)
    assert expected == found


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-02", 86_400.0), ("1970-01-01T00:01:00", 60.0), ("1970-01-01T01:00:00+01:00", 0.0), ("1970-01-01 00:00:01Z", 1.0)],
)
def test_an_end_is_in_utc_unless_it_says_otherwise(text: str, seconds: float) -> None:
    """A date is its beginning."""
    assert seconds == moment(text)


def test_a_link_is_followed_and_the_file_behind_it_counts(path: Path) -> None:
    """As orchestrators mount secrets."""
    written(path, f"keys: {{a: {GOOD}}}\n")
    link = path.with_name("link.yaml")
    os.symlink(path, link)
    assert 1 == len(key_file.read(link))
    path.chmod(0o644)
    with pytest.raises(KeyFileError):
        key_file.read(link)
