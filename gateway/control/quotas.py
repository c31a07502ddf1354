"""Quotas at work in one event loop: a request is charged to its tenant before it is read, and let go when the server is done with it.

A request is in flight until it has left the batcher, also where its caller went away or its deadline passed meanwhile: what is still
computed for nobody is held against the tenant that asked for it. Other workers' tables are read, never written (see `observe.ledger`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from gateway.identity.callers import Caller as Credential
from gateway.identity.quota import ADMITTED, BYTES, NS, REQUESTS, Quota, Refused
from gateway.identity.tenants import ANONYMOUS, Tenant, metered
from gateway.observe.ledger import BYTES_DUE, COUNTS, DUE, ENTRY_WORDS, IN_FLIGHT, USED, Words, enter, find, key_of, places
from gateway.serving.batch import Item

AHEAD = 63  # more requests of one tick that a tenant takes places for
ACCOUNTS_MAX = 4_096  # past it those that hold and owe nothing are forgotten
_FREE = Tenant()
_ENDLESS = 1 << 62

Soon = Callable[[Callable[[], None]], object]


class Charged(Protocol):
    """What is charged for: a stream, an exchange, or one message of a stream."""

    account: Any  # the `Account` that it is charged to, while it is


class Account:
    """One tenant, as one worker sees it.

    Far from its bounds it takes places for the whole tick with its first request, writes and reads the tables once for all of them, and
    gives back at the end of the tick what was not used; near its bounds every request is reckoned by itself.
    """

    __slots__ = (
        "_byte_room", "_others", "_room", "_seats", "_tally", "_words", "byte_room", "is_ahead", "key", "place", "quota", "room",
    )  # fmt: skip

    def __init__(self, key: int, quota: Quota, words: Words, place: int, others: Sequence[Words]) -> None:
        """`words[place]` on is the tenant's entry; `others` are the tables of the other workers."""
        self.key = key
        self.quota = quota
        self.place = place
        self.is_ahead = False  # places were taken, and are to be given back
        self.room = self.byte_room = 0  # requests and bytes that may still be let in this tick without another look
        self._room = self._byte_room = 0  # the same when they were taken
        self._words = words
        self._others = others
        self._seats = [0] * len(others)  # where its entry was found there
        self._tally = words, place + COUNTS

    def count_in(self, words: Words, place: int) -> None:
        """Count requests in another entry."""
        self._tally = words, place + COUNTS

    def admit(self, now_s: float, size: int) -> Refused | None:
        """Charge for a request of `size` bytes, or say why it is refused, which costs the tenant nothing."""
        self.settle()
        quota, words, place, now = self.quota, self._words, self.place, int(now_s * NS)
        words[place + IN_FLIGHT] += 1  # before the others are read: of two workers at once, one at least sees both
        held, due, bytes_due = self._everywhere()
        due = max(due, now) + quota.cost_ns
        cost = quota.byte_cost_ns(size)
        bytes_due = max(bytes_due, now) + cost
        refused = None
        if cost > quota.byte_slack_ns:
            refused = quota.oversized()
        elif held > quota.concurrency:
            refused = quota.crowded()
        elif due > now + quota.slack_ns:
            refused = quota.early(REQUESTS, due, now, quota.slack_ns)
        elif bytes_due > now + quota.byte_slack_ns:
            refused = quota.early(BYTES, bytes_due, now, quota.byte_slack_ns)
        tally, at = self._tally
        if refused is not None:
            words[place + IN_FLIGHT] -= 1
            tally[at + refused.outcome] += 1
            return refused
        words[place + DUE] = due
        words[place + BYTES_DUE] = bytes_due
        tally[at + ADMITTED] += 1
        self._go_ahead(held, due - now, bytes_due - now)
        return None

    def _everywhere(self) -> tuple[int, int, int]:
        """Requests in flight, and when everything that was let in is worked off by count and by size, over all workers."""
        words, place, key = self._words, self.place, self.key
        held, due, bytes_due = words[place + IN_FLIGHT], words[place + DUE], words[place + BYTES_DUE]
        for index, other in enumerate(self._others):
            if other[USED]:
                seat = self._seats[index]
                if other[seat] != key:
                    seat = self._seats[index] = find(other, key)
                if seat:
                    held += other[seat + IN_FLIGHT]
                    due = max(due, other[seat + DUE])
                    bytes_due = max(bytes_due, other[seat + BYTES_DUE])
        return held, due, bytes_due

    def _go_ahead(self, held: int, owed_ns: int, bytes_owed_ns: int) -> None:
        """Take places for more requests of this tick where at most half of everything is in use with them."""
        quota = self.quota
        room = min(AHEAD, quota.concurrency // 2 - held)
        if quota.cost_ns:
            room = min(room, (quota.slack_ns // 2 - owed_ns) // quota.cost_ns)
        byte_room = (quota.byte_slack_ns // 2 - bytes_owed_ns) * quota.bytes_per_s // NS if quota.bytes_per_s else _ENDLESS
        if room > 0 and byte_room > 0:
            self._words[self.place + IN_FLIGHT] += room
            self.room = self._room = room
            self.byte_room = self._byte_room = byte_room
            self.is_ahead = True

    def settle(self) -> None:
        """The tick has ended, or its places are used up: write what was let in, and give back the rest."""
        if not self.is_ahead:
            return
        self.is_ahead = False
        words, place, quota = self._words, self.place, self.quota
        words[place + IN_FLIGHT] -= self.room
        taken = self._room - self.room
        words[place + DUE] += taken * quota.cost_ns
        words[place + BYTES_DUE] += quota.byte_cost_ns(self._byte_room - self.byte_room)
        tally, at = self._tally
        tally[at + ADMITTED] += taken
        self.room = 0

    def leave(self, requests: int = 1) -> None:
        """So many of its requests are done with."""
        self._words[self.place + IN_FLIGHT] -= requests

    def is_idle(self, now_s: float) -> bool:
        """It holds and owes nothing, so that nothing is lost where it is forgotten."""
        return _is_idle(self._words, self.place, int(now_s * NS))


class Quotas:
    """All tenants of one worker."""

    def __init__(self, own: Words, others: Iterable[Words], soon: Soon) -> None:
        """`own` is this worker's table; `soon` calls what it is given at the end of the tick."""
        self._soon = soon
        self.is_on = False  # something is bounded
        self._own = own
        self._others = list(others)
        self._tenants: Mapping[str, Tenant] = {}
        self._default = _FREE
        self._named: set[int] = set()  # keys
        self._accounts: dict[str, Account] = {}
        self._unknown: Account | None = None  # of callers that show nothing, where nobody is asked to
        self._seated: dict[int, str] = {}  # place → whose it is
        self._sweep_at = ACCOUNTS_MAX

    def configure(self, tenants: Mapping[str, Tenant], default: Tenant) -> None:
        """Other settings, for requests from now on; what is in flight stays charged."""
        self._tenants, self._default = tenants, default
        self._named = {key_of(name) for name in tenants}
        self.is_on = metered(tenants, default) is not None
        for name, account in list(self._accounts.items()):
            account.settle()
            if self._is_metered(name):
                account.quota = self._quota_of(name)
                self._place_tally(name, account)
            else:
                self._forget(name)

    def admit(self, request: Charged, credential: Credential | None, now_s: float, size: int) -> Refused | None:
        """Charge a request to whoever sends it, once, or say why it is refused. Who has lost its credential is refused elsewhere."""
        account: Account | None = self._unknown if credential is None else credential.account
        if account is not None and account.room and request.account is None:  # only an account in use has room
            byte_room = account.byte_room - size
            if byte_room >= 0:
                account.room -= 1
                account.byte_room = byte_room
                request.account = account
                return None
        if request.account is not None:  # it waited for its model, and comes again
            return None
        return self._look(request, credential, now_s, size)

    def _look(self, request: Charged, credential: Credential | None, now_s: float, size: int) -> Refused | None:
        """As `admit`, where no place was taken before."""
        name = ANONYMOUS
        if credential is not None:
            if credential.principal is None:
                return None
            name = credential.principal.name
        account = self._accounts.get(name)
        if account is None:
            if not self._is_metered(name):
                self._own[COUNTS + ADMITTED] += 1
                return None
            account = self._open(name, now_s)
        if credential is None:
            self._unknown = account
        else:
            credential.account = account
        refused = account.admit(now_s, size)
        if refused is None:
            request.account = account
            if account.is_ahead:
                self._soon(account.settle)
        return refused

    @staticmethod
    def leave(request: Charged) -> None:
        """A request is done with, however it ended. A second time it does nothing."""
        account, request.account = request.account, None
        if account is not None:
            account.leave()

    @staticmethod
    def let_go(items: Sequence[Item]) -> None:
        """The batcher is done with these, of which it has each once; nearly always they are all one tenant's."""
        accounts: list[Account | None] = [item.caller.account for item in items]  # type: ignore[attr-defined]
        first = accounts[0]
        if accounts.count(first) == len(accounts):
            if first is not None:
                first.leave(len(accounts))
            return
        for account in accounts:
            if account is not None:
                account.leave()

    def _is_metered(self, name: str) -> bool:
        return name in self._tenants or self._default.has_quota

    def _quota_of(self, name: str) -> Quota:
        return Quota(self._tenants.get(name, self._default))

    # --- accounts --------------------------------------------------------------------------------------------------------------

    def _open(self, name: str, now_s: float) -> Account:
        if len(self._accounts) >= self._sweep_at:
            self._sweep(now_s)
        key = key_of(name)
        place = self._seat(key, now_s)
        words = self._own
        if place:
            self._seated[place] = name
        else:  # too many busy tenants with like hashes: this one is held to its quota by each worker alone
            words = memoryview(bytearray(8 * ENTRY_WORDS)).cast("q")
        account = self._accounts[name] = Account(key, self._quota_of(name), words, place, self._others if place else ())
        self._place_tally(name, account)
        return account

    def _place_tally(self, name: str, account: Account) -> None:
        """Requests of tenants that the settings name count for themselves, all others together."""
        account.count_in(self._own, account.place if name in self._tenants else 0)

    def _seat(self, key: int, now_s: float) -> int:
        """Where the entry of a tenant is from now on; 0: there is no place."""
        own, now = self._own, int(now_s * NS)
        place = find(own, key)
        if place:
            return place
        for place in places(key):
            if not own[place] or (own[place] not in self._named and _is_idle(own, place, now)):
                self._forget(self._seated.get(place, ""))
                enter(own, key, place)
                return place
        return 0

    def _sweep(self, now_s: float) -> None:
        idle = [name for name, account in self._accounts.items() if name not in self._tenants and account.is_idle(now_s)]
        for name in idle:
            self._forget(name)
        self._sweep_at = max(ACCOUNTS_MAX, 2 * len(self._accounts))

    def _forget(self, name: str) -> None:
        account = self._accounts.pop(name, None)
        if account is not None:
            account.settle()
            self._seated.pop(account.place, None)


def quotas_of(ledgers: Sequence[Words], place: int, soon: Soon) -> Quotas:
    """Those of the worker at one place."""
    return Quotas(ledgers[place], [ledger for index, ledger in enumerate(ledgers) if index != place], soon)


def _is_idle(words: Words, place: int, now_ns: int) -> bool:
    return not words[place + IN_FLIGHT] and words[place + DUE] <= now_ns and words[place + BYTES_DUE] <= now_ns
