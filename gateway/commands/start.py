"""`tidegate retrain start`: has a job elsewhere take a trigger up, by a command or a signed POST whose idempotency key is its id."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.clock import SystemClock
from gateway.commands import files, place
from gateway.commands.output import Exit, Json, UsageError, command, document, fail, printable, say
from registry.errors import Kind, RegistryError

if TYPE_CHECKING:
    from registry.store import Store
    from registry.triggers import Trigger
    from retrain.adapters import Adapter, Reply

Form = Literal["tidegate", "airflow"]
_MAX_TOKEN_BYTES = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class _Receiver:
    """Whom a POST goes to, and how it shows who sends."""

    url: str
    form: Form
    secret: Path | None
    token: Path | None
    networks: tuple[str, ...]
    authorities: Path | None
    timeout_s: float


@command
def start(
    trigger: Annotated[str | None, typer.Argument(metavar="TRIGGER", help="Its id, or the first digits of it.")] = None,
    *,
    registry: place.Registry,
    every: Annotated[bool, typer.Option("--all", help="Every trigger that is open and that no job has in hand, oldest first.")] = False,
    model: Annotated[str | None, typer.Option("--model", "-m", help="With --all: only those of this model.")] = None,
    command_: Annotated[str | None, typer.Option("--command", metavar="TEXT", help="A program that starts the job; no shell runs.")] = None,
    webhook: Annotated[str | None, typer.Option("--webhook", metavar="URL", help="Who starts the job when it is told by a POST.")] = None,
    form: Annotated[Form, typer.Option("--body", help="Of the POST: an event, or what Airflow's dagRuns take.")] = "tidegate",
    secret: Annotated[
        Path | None, typer.Option("--secret", metavar="FILE", help="Signs the POST: whsec_… a line, as Standard Webhooks has them.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Goes along as a bearer token; read for every attempt.")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option("--network", metavar="CIDR", help="Addresses that are not public and may be sent to.")
    ] = None,
    ca: Annotated[Path | None, typer.Option("--ca", metavar="PEM", help="Who vouches for the receiver [the system's].")] = None,
    tries: Annotated[int, typer.Option(min=1, max=100, help="Attempts, with 1, 2, 4 … seconds between them.")] = 5,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds of one attempt.")] = 30.0,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Have a job elsewhere take a trigger up, or every open one. Repeating it does nothing twice: the receiver knows the trigger's id.

    Exit codes: 1 where it was refused, 3 where nobody answered in time; of several, that of the first which was not started.
    """
    if (command_ is None) == (webhook is None):
        raise UsageError("give one of --command and --webhook")
    if (trigger is None) != every or (model is not None and not every):
        raise UsageError("give a trigger, or --all, which may have a --model")
    store = place.existing(registry, option)
    found = _open(store, model) if every else [_trigger(store, str(trigger))]
    receiver = _Receiver(
        url=webhook or "", form=form, secret=secret, token=token_file, networks=tuple(network or ()), authorities=ca, timeout_s=timeout
    )
    from retrain.adapters import Command

    adapter: Adapter = Command(command_, registry, timeout) if command_ is not None else _webhook(receiver)
    outcomes = [_begun(adapter, one, tries, quiet=as_json) for one in found]
    if as_json:
        plain = [outcome.plain for outcome in outcomes]
        if every:
            document(plain)
        elif outcomes[0].code is Exit.DONE:
            document(plain[0])
    wrong = [outcome for outcome in outcomes if outcome.code is not Exit.DONE]
    if wrong:
        fail(wrong[0].code, *(f"trigger {outcome.plain['trigger']}: {outcome.plain['reason']}" for outcome in wrong))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one trigger: for scripts, and as an exit code."""

    plain: dict[str, object]
    code: Exit


def _begun(adapter: Adapter, trigger: Trigger, tries: int, *, quiet: bool) -> _Outcome:
    from retrain.adapters import StartError
    from retrain.adapters import start as begin

    named: dict[str, object] = {"trigger": trigger.id, "model": trigger.model}
    try:
        how, attempts = begin(adapter, trigger, tries=tries, wait=threading.Event().wait)
    except StartError as error:
        code = Exit.UNREACHABLE if error.again else Exit.FAILED
        return _Outcome({**named, "state": "not started", "reason": str(error)}, code)
    if not quiet:
        say(f"trigger {trigger.id} of model {printable(trigger.model)}: {how.value}")
    return _Outcome({**named, "state": how.value, "attempts": attempts}, Exit.DONE)


def _open(store: Store, model: str | None) -> list[Trigger]:
    """Triggers that are not over, without those of which a job has the claim at the moment; the oldest first."""
    from registry.triggers import Triggers

    triggers, now_s = Triggers(store.medium), SystemClock().wall()
    found: list[Trigger] = []
    for name in [model] if model is not None else triggers.models():
        claim = triggers.claimed(name)
        held = claim.trigger if claim is not None and claim.expires.timestamp() > now_s else None
        found += [one for one in triggers.all(name) if one.id != held and not triggers.journal(name, one.id).final]
    return sorted(found, key=lambda one: (one.created, one.id))


def _trigger(store: Store, text: str) -> Trigger:
    """Of all models. Raises `Kind.NOT_FOUND`, and `UsageError` where several begin so."""
    from registry.triggers import Triggers

    triggers = Triggers(store.medium)
    found = [(model, one) for model in triggers.models() for one in triggers.ids(model) if text and one.startswith(text)]
    if len(found) > 1:
        raise UsageError(f"{text}: {len(found)} triggers begin so")
    trigger = triggers.read(*found[0]) if found else None
    if trigger is None:
        raise RegistryError(Kind.NOT_FOUND, f"the registry has no trigger {text[:64]!r}")
    return trigger


def _webhook(receiver: _Receiver) -> Adapter:
    """Raises `UsageError` for files and networks that are none."""
    from gateway.rollout import seals
    from gateway.rollout.posting import Poster, PostError, UrlError
    from retrain.adapters import Reply, StartError, Webhook

    for text in receiver.networks:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise UsageError(f"--network: {text!r} is no network such as 10.1.0.0/16") from None
    clock = SystemClock()
    poster = Poster(networks=receiver.networks, authorities=receiver.authorities, timeout_s=receiver.timeout_s, now=clock.now)
    secrets = () if receiver.secret is None else _secrets(receiver.secret)
    _token(receiver.token)

    def send(url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        try:
            poster.post(url, headers, body)
        except PostError as error:
            if error.status:
                return Reply(error.status, error.wait_s)
            raise StartError(str(error), again=not isinstance(error, UrlError)) from None
        return Reply(200)

    def sign(message_id: str, body: bytes) -> Mapping[str, str]:
        signed = seals.headers(secrets, message_id, int(clock.wall()), body) if secrets else {"webhook-id": message_id}
        return signed | _token(receiver.token)

    return Webhook(receiver.url, send, sign, receiver.form)


def _secrets(path: Path) -> tuple[bytes, ...]:
    from gateway.rollout.seals import SecretError, Secrets

    try:
        return Secrets(path.parent).read(path.name)
    except SecretError as error:
        raise UsageError(f"--secret: {error}") from None


def _token(path: Path | None) -> dict[str, str]:
    """The header of a bearer token."""
    if path is None:
        return {}
    word = files.text(path, max_bytes=_MAX_TOKEN_BYTES).strip()
    if not word.isascii() or not word.isprintable() or " " in word or not word:
        raise UsageError(f"{path}: no token")
    return {"authorization": f"Bearer {word}"}
