"""What supervisor and workers tell each other. Pure data; every list replaces the one before, so a repeated message is no matter."""

from __future__ import annotations

import msgspec

from gateway.identity.gate import Known
from gateway.observe.statistics import ModelStats
from gateway.serving.lifecycle import State
from gateway.serving.splits import Split

Key = tuple[str, int, str]  # model, number, identity: what makes two versions the same


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A version that workers shall hold."""

    model: str
    version: int
    identity: str  # what content with which settings: another one is another version under the same number
    slot: int  # of its counters
    bundle: int = -1  # the supervisor's descriptor of what came with its load
    block: int = -1  # where its traffic is counted for drift: the first word; -1: nowhere
    learned: str = ""  # the file of the profile that was learned for it, where its own content has none
    checksum: int = 0  # of the block's plan: who would lay it out otherwise must not write there


class Report(msgspec.Struct, frozen=True, array_like=True):
    """How far one worker is with one version."""

    model: str
    version: int
    identity: str
    state: State
    reason: str = ""
    size_bytes: int = 0  # of its files
    unreachable: bool = False  # failed because the storage did not give the files: worth another attempt
    provider: str = ""  # that it runs on, once it is ready
    missed: tuple[str, ...] = ()  # providers that it should rather have run on


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What serves, at one moment."""

    generation: int = 0
    ready: bool = False  # of the server: health says so
    partial: bool = True  # the repository has not been read yet
    models: dict[str, dict[int, str]] = {}  # model → number → identity
    aliases: dict[str, dict[str, int]] = {}
    defaults: dict[str, int | None] = {}  # as `routing.Routes` has them
    failed: dict[str, dict[int, str]] = {}  # should serve and cannot → why; one that serves by settings of before can be among them
    loading: dict[str, tuple[int, ...]] = {}  # shall serve, and nothing says that they cannot
    unloading: dict[str, tuple[int, ...]] = {}  # nobody is led to them any more; requests that have them are being answered
    asleep: tuple[str, ...] = ()  # models that are loaded on demand and are not loaded
    idle: dict[str, str] = {}  # models of which nothing was chosen → why
    splits: tuple[Split, ...] = ()  # of rollouts whose versions are all among `models`


# To a worker


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Be a worker with these settings; a spare waits for it. Sent again when settings have changed."""

    config: str  # as `config.encode` writes it
    core: int | None = None  # to be bound to


class Hold(msgspec.Struct, frozen=True, tag=True):
    """The whole list of versions to hold."""

    number: int  # counts up
    versions: tuple[Held, ...]


class Route(msgspec.Struct, frozen=True, tag=True):
    """Serve by this table, and take connections from now on."""

    table: Table


class Renew(msgspec.Struct, frozen=True, tag=True):
    """The files of the TLS section have changed, and are good: show the new certificate."""


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Take no connections, finish what is open, end."""

    grace_s: float


class Counted(msgspec.Struct, frozen=True, tag=True):
    """What all workers together counted of a model that somebody asked about."""

    model: str
    versions: tuple[ModelStats, ...]


class Changed(msgspec.Struct, frozen=True, tag=True):
    """What came of a load or unload."""

    number: int
    code: int  # `errors.Code`
    message: str = ""


class ToldDrift(msgspec.Struct, frozen=True, tag=True):
    """The answer: JSON of the findings of every version, or of their messages; empty where nobody knows at the moment."""

    number: int
    content: str = ""


class ToldLabels(msgspec.Struct, frozen=True, tag=True):
    """What became of labels: the answer as it goes out, or an error."""

    number: int
    code: int  # `errors.Code`
    text: str
    content: bytes


# From a worker


class Hello(msgspec.Struct, frozen=True, tag=True):
    """It has imported everything and listens."""


class Reports(msgspec.Struct, frozen=True, tag=True):
    """The whole list of versions that it holds, failed to load, or has not yet let go of."""

    number: int  # of the last list that it was told to hold
    versions: tuple[Report, ...]


class Routed(msgspec.Struct, frozen=True, tag=True):
    """It serves by the table of this generation."""

    generation: int


class Wake(msgspec.Struct, frozen=True, tag=True):
    """Somebody asks for a model that sleeps."""

    model: str


class Asked(msgspec.Struct, frozen=True, tag=True):
    """Somebody wants the statistics of a model; "" is all of them."""

    model: str


class Change(msgspec.Struct, frozen=True, tag=True):
    """Somebody wants a model loaded, or unloaded."""

    number: int
    model: str
    load: bool
    bundle: int = -1  # the worker's descriptor of what came with the load, until it is told what came of it


class AskedDrift(msgspec.Struct, frozen=True, tag=True):
    """Somebody wants to know how a model's traffic compares with its reference."""

    number: int
    model: str
    messages: bool = False  # as `protocol.drift_message.VersionMessage`


class AskedLabels(msgspec.Struct, frozen=True, tag=True):
    """Somebody brings labels, as they came: JSON, or a message of `tidegate.Labels/Ingest`."""

    number: int
    content: bytes
    message: bool


class UnknownKey(msgspec.Struct, frozen=True, tag=True):
    """A token names a key that its issuer did not have: are there newer ones?"""


ToWorker = Begin | Known | Hold | Route | Renew | Drain | Counted | Changed | ToldDrift | ToldLabels
FromWorker = Hello | Reports | Routed | Wake | Asked | AskedDrift | AskedLabels | Change | UnknownKey
