"""YAML read by type: every mistake has its line, and nothing is guessed."""

from __future__ import annotations

import math
import typing
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import setting_types, typed_yaml
from gateway.typed_yaml import MisfitError, YamlError


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    count: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    ratio: float = 0.5
    on: bool = False
    word: str = "w"
    mode: Literal["fast", "slow"] = "fast"
    maybe: int | None = None
    numbers: tuple[int, ...] = ()
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.word == "clash":
            raise MisfitError("word", "does not fit")


class Root(msgspec.Struct, frozen=True, kw_only=True):
    leaf: Leaf = Leaf()
    by_name: dict[str, Leaf] = msgspec.field(default_factory=dict)


class Item(msgspec.Struct, frozen=True, kw_only=True):
    kind: Literal["a", "b"] = msgspec.field(name="type")
    from_: str = msgspec.field(default="", name="from")
    length: Annotated[str, msgspec.Meta(pattern="^[0-9]+m$", description="a length such as 3m")] = "1m"
    share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    leaf: Leaf | None = None

    def __post_init__(self) -> None:
        if self.from_ == "nowhere":
            raise MisfitError("from", "leads nowhere")
        if self.from_ == "itself":
            raise MisfitError("", "is no item")


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    items: tuple[Item, ...] = ()


def read_listed(text: str) -> Listed:
    hints = {"foreign": "write type: a"}
    return typed_yaml.read(typed_yaml.compose(text.encode(), source="f.yaml"), Listed, folder=Path(), hints=hints)


def read(text: str | bytes) -> Root:
    root = typed_yaml.compose(text.encode() if isinstance(text, str) else text, source="f.yaml")
    return typed_yaml.read(root, Root, folder=Path("/etc/tidegate"))


def mistakes(text: str | bytes) -> list[str]:
    with pytest.raises(YamlError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def one(line: str) -> str:
    """The single complaint about one setting of `leaf`, without its place."""
    (complaint,) = mistakes(f"leaf:\n  {line}\n")
    assert complaint.startswith("f.yaml:2:")
    return complaint.partition(": leaf.")[2]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "leaf:\n  on: false\n"])
def test_an_empty_file_is_all_defaults(text: str) -> None:
    """Nothing set means the defaults, however the nothing is written."""
    assert Root() == read(text)


def test_every_type_is_read() -> None:
    """Numbers, booleans, words, choices, lists, paths and mappings by name."""
    text = (
        "leaf: {count: 3, ratio: 1e-1, on: True, word: '8', mode: slow, maybe: 1_000, numbers: [1, -2], file: a/b}\n"
        "by_name: {x y: {count: 2}}"
    )
    expected = Leaf(count=3, ratio=0.1, on=True, word="8", mode="slow", maybe=1000, numbers=(1, -2), file=Path("/etc/tidegate/a/b"))
    assert Root(leaf=expected, by_name={"x y": Leaf(count=2)}) == read(text)


def test_an_optional_setting_takes_null() -> None:
    """`~`, `null` and nothing at all mean the same, only where the type has None."""
    assert [None, None, None] == [read(f"leaf:\n  maybe: {text}").leaf.maybe for text in ("~", "null", "")]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("count: 0", "count: expected a whole number from 1 to 10, got 0"),
        ("count: 11", "count: expected a whole number from 1 to 10, got 11"),
        ("count: ten", "count: expected a whole number from 1 to 10, got the text 'ten'"),
        ('count: "3"', "count: expected a whole number from 1 to 10, got the text '3'; remove the quotes"),
        ("count: 3.5", "count: expected a whole number from 1 to 10, got 3.5"),
        ("count: true", "count: expected a whole number from 1 to 10, got true"),
        ("count:", "count: expected a whole number from 1 to 10, got nothing"),
        ("count: [1]", "count: expected a whole number from 1 to 10, got a list"),
        ("count: {a: 1}", "count: expected a whole number from 1 to 10, got a mapping"),
        ("ratio: .nan", "ratio: expected a number, got .nan"),
        ("ratio: -.inf", "ratio: expected a number, got -.inf"),
        ("ratio: 1e999", "ratio: expected a number, got the text '1e999'"),
        ("ratio: .", "ratio: expected a number, got the text '.'"),
        ("mode: fsat", "mode: expected one of fast, slow, got the text 'fsat'; did you mean 'fast'?"),
        ("numbers: 3", "numbers: expected a list of whole numbers, got 3"),
        ("numbers: [1, x]", "numbers.1: expected a whole number, got the text 'x'"),
        ("file: ''", "file: expected a path, got the text ''"),
        ("cuont: 3", "cuont: unknown setting; did you mean 'count'?"),
        ("qqq: 3", "qqq: unknown setting; known here: count, ratio, on, word, mode, maybe, numbers, file"),
        ("by_name: {}", "by_name: unknown setting; known here: count, ratio, on, word, mode, maybe, numbers, file"),
        ("<<: {count: 2}", "<<: unknown setting; merge keys are not supported"),
        ("word: clash", "word: does not fit"),
        ("word: !env HOME", "word: the tag '!env' is not supported"),
        ("word: !!python/object/apply:os.system [ls]", "word: the tag 'python/object/apply:os.system' is not supported"),
    ],
)
def test_a_wrong_value_is_named(line: str, complaint: str) -> None:
    """The complaint has the setting, what was expected, what was found, and what to do where that is known."""
    assert complaint == one(line)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("on: yes", "write true"),
        ("on: Off", "write false"),
        ("word: no", 'put it in quotes if it is meant as text: "no"'),
        ("word: 1.20", 'put it in quotes if it is meant as text: "1.20"'),
        ("word: 2013-01-31", 'put it in quotes if it is meant as text: "2013-01-31"'),
        ("mode: off", 'put it in quotes if it is meant as text: "off"'),
        ("count: 010", "a leading zero means octal to some readers: write the decimal number without it"),
        ("count: 1:30", "write it in plain decimal digits"),
        ("count: 0x8", "write it in plain decimal digits"),
        ("count: 0b1", "write it in plain decimal digits"),
        ("ratio: 00.5", ""),
    ],
)
def test_what_yaml_readers_disagree_about_is_refused(line: str, advice: str) -> None:
    """`on`, octal, sexagesimal, dates: refused with the text to write instead."""
    assert one(line).endswith(advice)
    assert ", got " in one(line)


def test_all_mistakes_are_reported_in_the_order_of_the_file() -> None:
    """One run of the check shows everything there is to correct, with line and column."""
    text = "leaf:\n  count: 0\n  on: 7\nby_name:\n  a:\n    count: 99\nlaef: {}\n"
    assert [
        "f.yaml:2:10: leaf.count: expected a whole number from 1 to 10, got 0",
        "f.yaml:3:7: leaf.on: expected true or false, got 7",
        "f.yaml:6:12: by_name.a.count: expected a whole number from 1 to 10, got 99",
        "f.yaml:7:1: laef: unknown setting; did you mean 'leaf'?",
    ] == mistakes(text)


def test_a_repeated_key_is_an_error() -> None:
    """YAML readers keep the last one in silence."""
    assert ["f.yaml:4:3: leaf.count: set twice; first on line 2"] == mistakes("leaf:\n  count: 1\n  on: true\n  count: 2\n")


def test_a_misplaced_setting_is_sent_home() -> None:
    """The right name in the wrong section names the section."""
    assert ["f.yaml:1:1: ratio: unknown setting; it belongs under 'leaf'"] == mistakes("ratio: 1\n")[:1]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1]", "f.yaml:1:1: expected a mapping of settings, got a list"),
        ("word", "f.yaml:1:1: expected a mapping of settings, got the text 'word'"),
        ("leaf:\n  [1]: 2\n", "f.yaml:2:3: leaf: a key must be a name"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: expected a single document in the stream, but found another document"),
        ("leaf: {", "f.yaml:1:8: while parsing a flow node, expected the node content, but found '<stream end>'"),
        ("leaf:\n\tcount: 1\n", "f.yaml:2:1: while scanning for the next token, found character '\\t' that cannot start any token"),
        ("leaf: *nowhere\n", "f.yaml:1:7: found undefined alias 'nowhere'"),
        (b"leaf:\n  word: \xff\n", "f.yaml:2:9: not UTF-8 text"),
        ("word: \x00", "f.yaml:1:1: unacceptable character #x0000: special characters are not allowed"),
        ("[" * 1_000, "f.yaml:1:1: nested too deeply"),
        (b"#" * (typed_yaml.MAX_FILE_BYTES + 1), "f.yaml:1:1: 1048577 bytes are more than a settings file may have (1048576)"),
    ],
)
def test_a_file_that_is_not_settings_says_where(text: str | bytes, complaint: str) -> None:
    """Broken YAML, several documents, other encodings and too large files have a place too."""
    assert [complaint] == mistakes(text)


def test_a_document_that_holds_itself_is_no_loop() -> None:
    """A recursive alias ends where the types end."""
    assert ["f.yaml:1:7: leaf.count: expected a whole number from 1 to 10, got a mapping"] == mistakes("leaf: &a {count: *a}\n")


def test_control_characters_of_a_key_do_not_reach_the_terminal() -> None:
    """Keys are shown short and printable."""
    assert mistakes('"\\e[31mred\\n": 1')[0].startswith("f.yaml:1:1: ?[31mred?: unknown setting")


def test_a_list_may_hold_sections_whose_settings_have_names_of_their_own() -> None:
    """A setting is called in a file what its declaration says, such as a word that Python keeps to itself."""
    expected = Listed(items=(Item(kind="a", from_="x"), Item(kind="b", leaf=Leaf(count=2))))
    assert expected == read_listed("items: [{type: a, from: x}, {type: b, leaf: {count: 2}}]")


def test_mistakes_in_a_list_of_sections_have_their_number_and_their_line() -> None:
    """Unknown, missing, wrong, and those that do not fit together; what other programs call it has a hint."""
    text = """\
items:
- {type: c, kind: a}
- from: x
- {type: a, from: nowhere}
- {type: a, from: itself}
- {type: a, length: 3, share: 0}
- {type: a, length: 3 m, share: 1}
- {type: a, foreign: 1}
- {count: 2}
- 7
"""
    with pytest.raises(YamlError) as caught:
        read_listed(text)
    assert [
        "f.yaml:2:10: items.0.type: expected one of a, b, got the text 'c'",
        "f.yaml:2:13: items.0.kind: unknown setting; known here: type, from, length, share, leaf",
        "f.yaml:3:3: items.1.type: required: one of a, b",
        "f.yaml:4:19: items.2.from: leads nowhere",
        "f.yaml:5:3: items.3: is no item",
        "f.yaml:6:21: items.4.length: expected a length such as 3m, got 3",
        "f.yaml:6:31: items.4.share: expected a number above 0 and below 1, got 0",
        "f.yaml:7:21: items.5.length: expected a length such as 3m, got the text '3 m'",
        "f.yaml:7:33: items.5.share: expected a number above 0 and below 1, got 1",
        "f.yaml:8:13: items.6.foreign: unknown setting; write type: a",
        "f.yaml:9:3: items.7.type: required: one of a, b",
        "f.yaml:9:4: items.7.count: unknown setting; it belongs under 'items.<number>.leaf'",
        "f.yaml:10:3: items.8: expected a mapping, got 7",
    ] == [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("path", "place"),
    [("", "1:1"), ("items", "2:1"), ("items.1", "3:3"), ("items.1.from", "3:19"), ("items.1.leaf.count", "3:3"), ("items.7.from", "2:1"),
     ("items.x", "2:1"), ("nothing", "1:1")],
)  # fmt: skip
def test_a_mistake_that_is_found_later_has_the_line_of_what_it_is_about(path: str, place: str) -> None:
    """Or of the closest thing above it that the file has."""
    root = typed_yaml.compose(b"items:\n- {type: a}\n- {type: a, from: x}\n", source="f.yaml")
    assert f"f.yaml:{place}: {path}: bad".replace(": : ", ": ") == str(typed_yaml.problem_at(root, path, "bad"))


def test_an_override_replaces_and_creates() -> None:
    """A flag wins over the file, in a section that the file has or lacks, and leaves the rest alone."""
    root = typed_yaml.compose(b"leaf:\n  count: 3\n  word: kept\n", source="f.yaml")
    changed = typed_yaml.overlay(root, ("leaf", "count"), 4, source="--count")
    changed = typed_yaml.overlay_text(changed, ("by_name", "n", "mode"), "slow", source="--set")
    expected = Root(leaf=Leaf(count=4, word="kept"), by_name={"n": Leaf(mode="slow")})
    assert expected == typed_yaml.read(changed, Root, folder=Path())
    assert Root(leaf=Leaf(count=3, word="kept")) == typed_yaml.read(root, Root, folder=Path())


def test_an_override_may_be_a_list() -> None:
    """As the file would have it; one that is none says where."""
    root = typed_yaml.compose(b"leaf:\n  numbers: [9]\n", source="f.yaml")
    changed = typed_yaml.overlay_text(root, ("leaf", "numbers"), "[1, 2]", source="--set leaf.numbers")
    assert (1, 2) == tuple(typed_yaml.read(changed, Root, folder=Path()).leaf.numbers)
    with pytest.raises(typed_yaml.YamlError, match="--set leaf"):
        typed_yaml.overlay_text(root, ("leaf", "numbers"), "[1, 2", source="--set leaf.numbers")


def test_an_override_of_text_is_text() -> None:
    """A Python string never becomes a number or a boolean on its way."""
    root = typed_yaml.compose(b"", source="f.yaml")
    assert "no" == typed_yaml.read(typed_yaml.overlay(root, ("leaf", "word"), "no", source="--word"), Root, folder=Path()).leaf.word


def test_a_wrong_override_names_its_flag() -> None:
    """The place of a mistake on the command line is the flag."""
    root = typed_yaml.overlay(typed_yaml.compose(b"", source="f"), ("leaf", "count"), 99, source="--count")
    with pytest.raises(YamlError, match=r"^--count: leaf\.count: expected a whole number from 1 to 10, got 99$"):
        typed_yaml.read(root, Root, folder=Path())


def test_a_path_of_a_flag_is_relative_to_the_current_folder() -> None:
    """Only a file's paths are taken from the file's folder."""
    root = typed_yaml.overlay(typed_yaml.compose(b"", source="f"), ("leaf", "file"), "m", source="--file")
    assert Path("m") == typed_yaml.read(root, Root, folder=Path("/etc")).leaf.file


@settings(max_examples=150)
@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=30))
def test_values_written_as_json_are_read_back(number: int, ratio: float, word: str) -> None:
    """JSON is YAML: what msgspec writes, the reader returns."""
    data = msgspec.json.encode({"leaf": {"maybe": number, "ratio": ratio, "word": word.replace("\x7f", "")}})
    if not all(letter.isprintable() or letter == " " for letter in data.decode()) or word == "clash":
        return  # YAML folds more kinds of line break than JSON escapes
    leaf = read(data).leaf
    assert (number, word.replace("\x7f", "")) == (leaf.maybe, leaf.word)
    assert math.isclose(ratio, leaf.ratio, rel_tol=1e-15)


@settings(max_examples=150)
@given(st.one_of(st.text(alphabet="leaf:count on{}[]&*!|>'\"#-\n 0123.", max_size=60), st.binary(max_size=40)))
def test_no_text_does_more_than_complain(text: str | bytes) -> None:
    """Whatever the file holds, the outcome is settings or a `YamlError`."""
    try:
        assert isinstance(read(text), Root)
    except YamlError as error:
        assert error.problems  # noqa: PT017


def test_descriptions_of_types() -> None:
    """The words that errors and the manual use."""
    hints = typing.get_type_hints(Leaf, include_extras=True)
    assert [
        "a whole number from 1 to 10", "a number", "true or false", "text", "one of fast, slow", "a whole number or null",
        "a list of whole numbers", "a path or null",
    ] == [setting_types.describe(kind) for kind in hints.values()]  # fmt: skip
