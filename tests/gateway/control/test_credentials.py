"""What workers are told of keys: at the start, when files change, when an issuer changes, is away, and is away for too long."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.control.credentials import Credentials, CredentialsError
from gateway.control.fetching import FetchError, fetch
from gateway.control.issuer import Issuer
from gateway.identity.gate import Known
from gateway.identity.jwks import JwksError
from gateway.identity.key_file import line
from gateway.identity.keys import mint
from gateway.identity.settings import Auth, Jwt
from tests.gateway.identity.issuing import SETTINGS, key_set
from tests.gateway.serving.serving_fakes import FakeLoop

URL = "https://issuer.example/keys"


def keys_of(path: Path, *names: str) -> Path:
    """A file of keys with these names, in place of the last one as a whole."""
    text = "keys:\n" + "\n".join(line(name, *mint()[1:], ("meta",), None) for name in names)
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.chmod(0o600)
    os.replace(draft, path)
    return path


class Keeper:
    """The credentials of a server, and what its workers were told."""

    def __init__(self, auth: Auth | None) -> None:
        self.told: list[Known] = []
        self.clock = FakeLoop()
        self.credentials = Credentials(auth, self.clock, self.told.append)

    def read(self) -> None:
        self.credentials.read()

    def look(self, *, again: bool = False) -> list[str]:
        """The names that are known after a look."""
        asyncio.run(self.credentials.look(again=again))
        return [key.name for key in self.credentials.known.keys]


# --- API keys --------------------------------------------------------------------------------------------------------------------------


def test_keys_are_read_at_the_start_and_again_when_the_file_changes(tmp_path: Path) -> None:
    """Workers are told once for each change, and not when nothing has changed."""
    path = keys_of(tmp_path / "keys.yaml", "a")
    keeper = Keeper(Auth(keys=path))
    keeper.read()
    assert (["a"], []) == (keeper.look(), keeper.told)
    keys_of(path, "a", "b")
    assert (["a", "b"], 1) == (keeper.look(), len(keeper.told))
    assert (["a", "b"], 1) == (keeper.look(), len(keeper.told))
    keys_of(path, "c")
    assert (["c"], 2) == (keeper.look(), len(keeper.told))
    assert keeper.told[-1] == keeper.credentials.known


@pytest.mark.parametrize("damage", ["keys: [", "mode", "gone"])
def test_a_bad_file_leaves_the_keys_as_they_were(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """With one line in the log; mended, it is read."""
    path = keys_of(tmp_path / "keys.yaml", "a")
    keeper = Keeper(Auth(keys=path))
    keeper.read()
    if damage == "gone":
        path.unlink()
    elif damage == "mode":
        keys_of(path, "evil").chmod(0o666)
    else:
        path.write_text(damage)
    assert [["a"]] * 3 == [keeper.look() for _ in range(3)]
    assert 1 == sum("the keys stay as they are" in message for message in caplog.messages)
    keys_of(path, "b")
    assert ["b"] == keeper.look()


def test_a_reload_reads_everything_again(tmp_path: Path) -> None:
    """Also where no change was seen, and what other settings name."""
    path = keys_of(tmp_path / "keys.yaml", "a")
    keeper = Keeper(Auth(keys=path))
    keeper.read()
    before = path.stat()
    path.write_text(path.read_text().replace("  a:", "  b:"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (["a"], ["b"]) == (keeper.look(), keeper.look(again=True))
    keeper.credentials.configure(Auth(keys=keys_of(tmp_path / "other.yaml", "c")))
    assert ["c"] == keeper.look(again=True)
    keeper.credentials.configure(Auth(jwt=msgspec.structs.replace(SETTINGS, keys=tmp_path / "none")))
    assert [] == keeper.look(again=True)


def test_a_server_does_not_start_with_files_that_it_cannot_use(tmp_path: Path) -> None:
    """The text names the file."""
    path = keys_of(tmp_path / "keys.yaml", "a")
    path.chmod(0o644)
    with pytest.raises(CredentialsError, match=r"keys\.yaml: other users can read or change it"):
        Keeper(Auth(keys=path)).read()
    jwks = tmp_path / "jwks.json"
    jwks.write_text("{}")
    with pytest.raises(CredentialsError, match=r"jwks\.json: no JSON Web Key Set"):
        Keeper(Auth(jwt=msgspec.structs.replace(SETTINGS, keys=jwks))).read()
    Keeper(None).read()
    assert [] == Keeper(None).look()


# --- the issuer, from a file -----------------------------------------------------------------------------------------------------------


def test_the_issuers_keys_may_lie_in_a_file(tmp_path: Path) -> None:
    """Read at the start, and again when it changes; a bad one leaves those of before."""
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set("ec"))
    keeper = Keeper(Auth(jwt=msgspec.structs.replace(SETTINGS, keys=path)))
    keeper.read()
    assert key_set("ec") == keeper.credentials.known.jwks
    for content, known in ((b"{}", "ec"), (key_set("ed"), "ed")):
        path.write_bytes(content)
        keeper.look()
        assert key_set(known) == keeper.credentials.known.jwks
    path.unlink()
    keeper.look()
    assert key_set("ed") == keeper.credentials.known.jwks


# --- the issuer, by its URL ------------------------------------------------------------------------------------------------------------


class Asked:
    """An issuer that answers as it is told, at a time that is moved by hand."""

    def __init__(self, **changes: Any) -> None:
        self.answer: bytes | Exception = key_set("ec")
        self.times: list[float] = []
        self.clock = FakeLoop()
        settings = Jwt(**({name: getattr(SETTINGS, name) for name in SETTINGS.__struct_fields__} | {"keys": URL} | changes))
        self.issuer = Issuer(settings, self.clock, fetch=self._fetch)

    def _fetch(self, url: str, **more: Any) -> bytes:
        assert URL == url
        self.times.append(self.clock.time - 1_000)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def until(self, seconds: float, *, ask: bool = False, step: float = 2.0) -> None:
        """Look every two seconds."""
        while self.clock.time < 1_000 + seconds:
            self.issuer.asked |= ask
            self.issuer.look()
            self.clock.time += step


def test_an_issuer_is_asked_every_so_often() -> None:
    """At once, and then as the settings say."""
    asked = Asked(refresh_s=100)
    asked.until(250)
    assert [0, 100, 200] == asked.times
    assert key_set("ec") == asked.issuer.keys


def test_a_key_that_is_not_known_asks_sooner_but_not_too_often() -> None:
    """Whoever forges tokens does not make us a nuisance to the issuer."""
    asked = Asked(refresh_s=600)
    asked.until(20)
    asked.answer = key_set("ed")
    asked.until(100, ask=True)
    assert [0, 30, 60, 90] == asked.times
    assert key_set("ed") == asked.issuer.keys


def test_an_issuer_that_is_away_is_believed_for_a_while_and_no_longer(caplog: pytest.LogCaptureFixture) -> None:
    """Its last keys hold; after that no token is good; it is asked all the time, and believed again when it is back."""
    asked = Asked(refresh_s=100, stale_s=200)
    asked.until(50)
    asked.answer = FetchError("cannot be asked: [Errno 111] Connection refused")
    asked.until(300)
    assert key_set("ec") == asked.issuer.keys
    assert [0, 100, 130, 160, 190, 220, 250, 280] == asked.times
    assert 1 == sum("cannot be asked" in message for message in caplog.messages)
    asked.until(340)
    assert asked.issuer.keys is None
    assert 1 == sum("no token is good until the issuer is back" in message for message in caplog.messages)
    asked.answer = key_set("ec")
    asked.until(400)
    assert key_set("ec") == asked.issuer.keys


def test_an_answer_without_a_usable_key_is_none() -> None:
    """The keys of before hold."""
    asked = Asked(refresh_s=10)
    asked.until(5)
    for content in (b"<html>", key_set("small"), b""):
        asked.answer = content
        asked.until(asked.clock.time - 1_000 + 20)
        assert key_set("ec") == asked.issuer.keys


def test_an_issuer_that_never_answered_leaves_no_keys() -> None:
    """It fails closed from the start, and a server starts all the same."""
    asked = Asked()
    asked.answer = JwksError("no")
    asked.issuer.read()
    asked.until(10)
    assert asked.issuer.keys is None


def test_asking_for_newer_keys_reaches_the_issuer() -> None:
    """And is no matter where there is none."""
    keeper = Keeper(Auth(jwt=msgspec.structs.replace(SETTINGS, keys=URL)))
    keeper.read()
    keeper.credentials.ask()
    assert keeper.credentials._issuer is not None
    assert keeper.credentials._issuer.asked
    Keeper(Auth(keys=Path("k"))).credentials.ask()


# --- one question ----------------------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Answers as its server was told to."""

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))  # type: ignore[attr-defined]
        status, headers, content = self.server.script  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.asked, made.script = [], (200, {}, b"keys")  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def got(site: ThreadingHTTPServer, *, path: str = "/keys", max_bytes: int = 100_000) -> bytes:
    url = f"http://127.0.0.1:{site.server_port}{path}"
    return fetch(url, authorities=None, timeout_s=5.0, max_bytes=max_bytes, now=SystemClock().now)


def test_one_question_has_one_answer(site: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials, and past whatever proxy the environment names."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert b"keys" == got(site)
    (headers,) = site.asked  # type: ignore[attr-defined]
    assert not {name.lower() for name in headers} & {"authorization", "cookie"}


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ((404, {}, b""), "answered with status 404"), ((500, {}, b"secret"), "answered with status 500"),
        ((302, {"location": "http://127.0.0.1:1/"}, b""), "answered with status 302"),
        ((200, {}, b"x" * 200_000), "answered with more than 100000 bytes"),
    ],
)  # fmt: skip
def test_an_answer_of_no_use_says_so(site: ThreadingHTTPServer, script: tuple[int, dict[str, str], bytes], text: str) -> None:
    """No redirect is followed, nothing of a body is repeated, nothing grows without a bound."""
    site.script = script  # type: ignore[attr-defined]
    with pytest.raises(FetchError, match=text):
        got(site)
    assert 1 == len(site.asked)  # type: ignore[attr-defined]


def test_nobody_there_and_no_certificate_to_trust_say_so(site: ThreadingHTTPServer, tmp_path: Path) -> None:
    """Without more than the reason."""
    with pytest.raises(FetchError, match="cannot be asked"):
        fetch("http://127.0.0.1:1/", authorities=None, timeout_s=1.0, max_bytes=10, now=SystemClock().now)
    with pytest.raises(FetchError, match="cannot be asked"):
        fetch(f"https://127.0.0.1:{site.server_port}/", authorities=None, timeout_s=2.0, max_bytes=10, now=SystemClock().now)
    with pytest.raises(FetchError, match=r"keys_ca .* cannot be read"):
        fetch("https://127.0.0.1:1/", authorities=tmp_path / "none", timeout_s=1.0, max_bytes=10, now=SystemClock().now)


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    """Though each piece of it comes in time."""
    ticks = iter(range(100))

    class Slow:
        def read1(self, size: int) -> bytes:
            return b"x"

    from gateway.control.fetching import _content

    with pytest.raises(FetchError, match="takes too long"):
        _content(Slow(), 1_000, lambda: float(next(ticks)), until=20.0)
