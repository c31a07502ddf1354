"""The events of one rollout on their way to their receivers: what was sent, what will be tried again and when, and what was given up.

All of it is a small document in the registry beside the journal, the cursor, which is written after every attempt. Whoever holds the
rollout sends; a crash between a message and the cursor repeats that message with the same id. A receiver that does not answer holds up no
other, and no other event: `data.seq` tells the order.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from gateway.rollout.notices import CONTENT_TYPE, Occurrence, body, document, webhook_id
from gateway.rollout.plan import Event, Notification
from gateway.rollout.posting import PostError
from gateway.rollout.seals import SecretError, headers
from registry.errors import Kind, RegistryError
from registry.formats import FORMAT, decode_checked, encode_checked
from registry.medium import Medium

# Seconds until the next attempt, after each that failed. After the last one it is given up, about two days later.
BACKOFF_S = (5.0, 30.0, 120.0, 600.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0, 72_000.0)
JITTER = 0.2  # of a wait, either way
MAX_PENDING = 64  # of one receiver; the oldest is given up for the next
MAX_ATTEMPTS = 16  # in one turn

_log = logging.getLogger(__name__)


class Pending(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message that has not arrived."""

    seq: int
    event: Event
    tries: int = 0
    due_s: float  # Unix seconds


class Receiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far one notification of the plan is."""

    seq: int = 0  # entries up to here have been looked at: what is not pending has arrived, or was given up
    pending: tuple[Pending, ...] = ()


class Cursor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state of one outbox: a receiver for each notification of the plan, in its order."""

    format: int = FORMAT
    receivers: tuple[Receiver, ...]
    check: str = ""


class Shelf(Protocol):
    """Where the cursor lies, and what was given up. Methods raise RegistryError."""

    def read(self) -> bytes | None:
        """The cursor, or None."""
        ...

    def write(self, content: bytes) -> None:
        """Another cursor, durably."""
        ...

    def bury(self, name: str, content: bytes) -> None:
        """Keep what was given up. A second time is no matter."""
        ...


class RegistryShelf:
    """`<rollout>/outbox/` in a registry."""

    def __init__(self, medium: Medium, rollout: str) -> None:
        """`rollout` is the key of its folder: `rollouts/<model>/<id>`."""
        self._medium = medium
        self._folder = f"{rollout}/outbox"

    def read(self) -> bytes | None:
        """As `Shelf`."""
        return self._medium.read(f"{self._folder}/cursor.json")

    def write(self, content: bytes) -> None:
        """As `Shelf`."""
        self._medium.make_directory(self._folder)
        self._medium.replace(f"{self._folder}/cursor.json", content, durable=True)

    def bury(self, name: str, content: bytes) -> None:
        """As `Shelf`."""
        self._medium.make_directory(f"{self._folder}/dead")
        self._medium.create(f"{self._folder}/dead/{name}.json", content)


Post = Callable[[str, Mapping[str, str], bytes], None]  # (url, headers, body); raises PostError
ReadSecrets = Callable[[str], Sequence[bytes]]  # (file's name); raises SecretError


class Outbox:
    """Of one rollout. Used in one thread, which waits for receivers."""

    def __init__(
        self, notifications: Sequence[Notification], shelf: Shelf, *, post: Post, secrets: ReadSecrets, rng: random.Random
    ) -> None:
        self._notifications = notifications
        self._shelf = shelf
        self._post = post
        self._secrets = secrets
        self._rng = rng
        self._receivers: list[Receiver] | None = None  # not read yet

    def turn(self, occurrences: Sequence[Occurrence], now_s: float) -> float | None:
        """Send what is due, at most `MAX_ATTEMPTS`. When there is something to do again, in Unix seconds; None: when there is more.

        `occurrences` are all of the rollout in order of their entries, none left out that may be pending. Raises RegistryError where the
        cursor can be neither read nor written; then nothing more was sent.
        """
        if not self._notifications:
            return None
        by_key = {(one.seq, one.event): one for one in occurrences}
        receivers = self._load()
        left = MAX_ATTEMPTS
        for index, notification in enumerate(self._notifications):
            self._take(index, notification, occurrences, now_s)
            for waiting in [one for one in receivers[index].pending if one.due_s <= now_s][:left]:
                left -= 1
                self._attempt(index, waiting, by_key.get((waiting.seq, waiting.event)), now_s)
        return min((one.due_s for receiver in receivers for one in receiver.pending), default=None)

    def settled(self, occurrences: Sequence[Occurrence]) -> bool:
        """Whether there is nothing to send, now or later. Raises as `turn`."""
        last = max((one.seq for one in occurrences), default=0)
        return all(receiver.seq >= last and not receiver.pending for receiver in self._load())

    # --- the cursor ------------------------------------------------------------------------------------------------------------

    def _load(self) -> list[Receiver]:
        if self._receivers is None:
            self._receivers = self._read()
        return self._receivers

    def _read(self) -> list[Receiver]:
        """Without a cursor that can be believed all is sent again, with the same ids."""
        fresh = [Receiver() for _ in self._notifications]
        content = self._shelf.read()
        if content is None:
            return fresh
        try:
            found = list(decode_checked(content, Cursor, key="outbox/cursor.json", what="a cursor").receivers)
        except RegistryError as error:
            if error.kind is not Kind.DAMAGED:
                raise
            _log.error("webhooks: %s: all events of the rollout are sent again", error.message)
            return fresh
        return found if len(found) == len(fresh) else fresh

    def _keep(self, index: int, receiver: Receiver) -> None:
        assert self._receivers is not None
        if receiver != self._receivers[index]:
            changed = [*self._receivers[:index], receiver, *self._receivers[index + 1 :]]
            self._shelf.write(encode_checked(Cursor(receivers=tuple(changed))))
            self._receivers[index] = receiver

    # --- messages --------------------------------------------------------------------------------------------------------------

    def _take(self, index: int, notification: Notification, occurrences: Sequence[Occurrence], now_s: float) -> None:
        """What has happened since the last turn is pending now."""
        receiver = self._load()[index]
        new = [one for one in occurrences if one.seq > receiver.seq]
        wanted = [Pending(seq=one.seq, event=one.event, due_s=now_s) for one in new if one.event in notification.on]
        if new:
            pending = (*receiver.pending, *wanted)
            by_key = {(one.seq, one.event): one for one in occurrences}
            for lost in pending[:-MAX_PENDING]:
                self._bury(index, lost, by_key.get((lost.seq, lost.event)), "too many messages wait for this receiver")
            self._keep(index, Receiver(seq=max(one.seq for one in new), pending=pending[-MAX_PENDING:]))

    def _attempt(self, index: int, waiting: Pending, occurrence: Occurrence | None, now_s: float) -> None:
        """Send one message, and write what came of it."""
        receiver = self._load()[index]
        others = tuple(one for one in receiver.pending if one is not waiting)
        if occurrence is None:  # of a journal that no longer has it there is nothing to say
            self._keep(index, msgspec.structs.replace(receiver, pending=others))
            return
        try:
            self._send(self._notifications[index], occurrence, now_s)
        except (PostError, SecretError) as error:
            again = self._again(waiting, error, now_s)
            if again is None:
                self._bury(index, waiting, occurrence, str(error))
            else:
                others = (*others, again)
                _log.warning("webhooks: %s: %s; it is tried again", self._name(index), error)
        self._keep(index, msgspec.structs.replace(receiver, pending=others))

    def _send(self, notification: Notification, occurrence: Occurrence, now_s: float) -> None:
        content, name = body(occurrence), webhook_id(occurrence)
        signed = headers(self._secrets(notification.secret_file), name, int(now_s), content)
        self._post(notification.url, {"content-type": CONTENT_TYPE, **signed}, content)

    def _again(self, waiting: Pending, error: PostError | SecretError, now_s: float) -> Pending | None:
        """When the next attempt is due; None where there is none."""
        if waiting.tries >= len(BACKOFF_S) or getattr(error, "gone", False):
            return None
        wait_s = max(BACKOFF_S[waiting.tries], getattr(error, "wait_s", 0.0)) * self._rng.uniform(1 - JITTER, 1 + JITTER)
        return msgspec.structs.replace(waiting, tries=waiting.tries + 1, due_s=now_s + wait_s)

    def _bury(self, index: int, waiting: Pending, occurrence: Occurrence | None, why: str) -> None:
        _log.error("webhooks: %s: entry %d, %s: given up: %s", self._name(index), waiting.seq, waiting.event, why)
        said: dict[str, Any] = {"receiver": index, "why": why, "tries": waiting.tries + 1}
        if occurrence is not None:
            said["message"] = document(occurrence)
        name = f"{waiting.seq:08d}-{waiting.event}-{index}"
        self._shelf.bury(name, msgspec.json.encode(said, order="sorted"))

    def _name(self, index: int) -> str:
        """Of a receiver, for people. A path or a query may be a secret."""
        return f"receiver {index} at {urlsplit(self._notifications[index].url).hostname}"
