"""What a version's traffic is held against: the distribution of every feature and prediction on reference rows. Pure data.

The blob `profile.json`. Bins are cut at order statistics of the reference, once; live counts in the same bins add up over batches, workers
and time. `profiling` makes one from rows. Formulas and names: reference counts c, proportions ρ, m rows; live counts n.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Annotated, Literal

import msgspec

from registry.contract import Contract, Port
from registry.errors import damaged, refused
from registry.names import digest_of

MAX_FEATURES = 4_096
MAX_BINS = 128
MAX_CATEGORIES = 256  # of one feature; rarer ones are "other"
SCORE_BINS = 1_024  # of a calibration table, equal widths over 0 … 1
HOURS_OF_WEEK = 168

_COUNTED = re.compile(r"tensor\((float16|float|double|u?int(8|16|32|64))\)")  # what numeric features are of
_NAMED = re.compile(r"tensor\((string|bool|u?int(8|16|32|64))\)")  # and categorical ones

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Index = Annotated[int, msgspec.Meta(ge=0)]
Side = Literal["input", "output"]

# Slots of a numeric feature with B bins, in order: -inf, below, bin 0 … bin B-1, above, +inf; NaN is the last slot of the row.
MINUS_INF, BELOW, FIRST_BIN = range(3)


class Numeric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number of each row: an element of a tensor, or what is computed of a row of an output.

    Bin k holds edges[k] < x <= edges[k + 1]; edges[0] is the number next below the least of the reference, edges[B] the greatest, those
    between are order statistics. All are exact in the tensor's datatype. -inf, NaN and +inf have slots of their own and are in no moment.
    """

    name: str
    side: Side
    port: str  # the tensor
    element: Index  # in its row, flattened; 0 where kind is not "value"
    kind: Literal["value", "margin", "entropy"] = "value"  # of a row of probabilities: first minus second, nats
    edges: tuple[float, ...]
    counts: tuple[Count, ...]  # B + 5: every slot; below and above are 0
    atoms: tuple[Index, ...] = ()  # bins that hold a single value, which has a mass of its own
    mean: float  # of the finite values, as are the moments: about the mean, divided by their number
    m2: float
    m3: float
    m4: float
    tau: Annotated[float, msgspec.Meta(ge=1)] = 1.0  # integrated autocorrelation time of the reference in its order, rows

    @property
    def bins(self) -> int:
        """B."""
        return len(self.edges) - 1


class Categorical(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One integer, text or boolean of each row. Slots: every category, other, null."""

    name: str
    side: Side
    port: str
    element: Index
    categories: tuple[str | int, ...]  # the most frequent first; booleans are 0 and 1
    counts: tuple[Count, ...]
    null: str | int | None = None  # what stands for a missing value
    tau: Annotated[float, msgspec.Meta(ge=1)] = 1.0


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a score was right, for performance without labels (CBPE). One binary score: an element of a tensor of probabilities."""

    port: str
    element: Index
    threshold: float  # a score from it upwards says yes
    positives: tuple[float, ...]  # [SCORE_BINS] probability of a yes in each bin, isotonic
    errors: tuple[float, ...]  # [SCORE_BINS] standard error of it
    counts: tuple[Count, ...]  # [SCORE_BINS] labelled reference rows
    accuracy: float  # on the reference, as it was
    auc: float


class Windows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scores of windows of the reference that are known to be clean, which a window of the same hour of the week is ranked among."""

    rows: Annotated[int, msgspec.Meta(ge=1)]  # of one window
    hours: tuple[Annotated[int, msgspec.Meta(ge=-1, lt=HOURS_OF_WEEK)], ...]  # of the week, UTC, Monday 0 h is 0; -1 where no time is known
    scores: tuple[float, ...]  # mean PSI over features


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The reference of one version. Features of one tensor stand together, ascending by element; inputs before outputs."""

    format: Literal[1] = 1
    rows: Annotated[int, msgspec.Meta(ge=1)]
    source: Literal["training", "log", "served"]  # "served": learned from the first rows that the version served
    numeric: tuple[Numeric, ...] = ()
    categorical: tuple[Categorical, ...] = ()
    calibration: Calibration | None = None
    windows: Windows | None = None

    @property
    def digest(self) -> str:
        """Of its content: profiles with the same digest have the same bins, and only their counts may be added."""
        return digest_of(encode(self))


def encode(profile: Profile) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(profile, order="deterministic")


def decode(content: bytes, *, key: str) -> Profile:
    """The inverse of `encode`. Raises `Kind.DAMAGED` naming `key`, also for numbers that contradict each other."""
    try:
        profile = msgspec.json.decode(content, type=Profile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{key} is not a reference profile: {error}") from error
    problem = _problem(profile)
    if problem is not None:
        raise damaged(f"{key} is not a reference profile: {problem}")
    return profile


def check(profile: Profile) -> Profile:
    """`profile` itself. Raises `Kind.INVALID_MODEL` for one that contradicts itself."""
    problem = _problem(profile)
    if problem is not None:
        raise refused(f"the reference profile is refused: {problem}")
    return profile


def profile_file(content: bytes) -> Profile:
    """What somebody submits. Raises `Kind.INVALID_MODEL` naming the place of a mistake."""
    try:
        return check(msgspec.json.decode(content, type=Profile))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refused(f"the reference profile is not one: {error}") from error


def check_ports(profile: Profile, contract: Contract) -> None:
    """Raises `Kind.INVALID_MODEL` for a feature of a tensor that the model does not have, or that has no such element."""
    sides = {"input": contract.inputs, "output": contract.outputs}
    ports = {(side, port.name): port for side, found in sides.items() for port in found}
    table = profile.calibration
    places = [(feature.side, feature.port, feature.element, _COUNTED) for feature in profile.numeric]
    places += [(feature.side, feature.port, feature.element, _NAMED) for feature in profile.categorical]
    places += [("output", table.port, table.element, _COUNTED)] if table else []
    for side, name, element, types in places:
        port = ports.get((side, name))
        if port is None:
            raise refused(f"the reference profile has {side} '{name[:128]}', which the model does not have")
        if types.fullmatch(port.type) is None or element >= _elements(port):
            raise refused(
                f"the reference profile has element {element} of {side} '{name[:128]}', which does not fit {port.type} of the model"
            )


def _elements(port: Port) -> float:
    """Of one row, as far as the graph says."""
    sizes = (port.shape or (None, None))[1:]
    return math.prod(size for size in sizes if isinstance(size, int)) if all(isinstance(size, int) for size in sizes) else math.inf


def _problem(profile: Profile) -> str | None:
    if not 0 < len(profile.numeric) + len(profile.categorical) <= MAX_FEATURES:
        return f"it has no features, or more than {MAX_FEATURES}"
    names = [*(feature.name for feature in profile.numeric), *(feature.name for feature in profile.categorical)]
    if len(set(names)) != len(names):
        return "two features have one name"
    problems = [_numeric_problem(feature, profile.rows) for feature in profile.numeric]
    problems += [_categorical_problem(feature, profile.rows) for feature in profile.categorical]
    problems += [_calibration_problem(profile.calibration), _windows_problem(profile.windows)]
    return next((problem for problem in problems if problem is not None), None)


def _numeric_problem(feature: Numeric, rows: int) -> str | None:
    if not 1 <= feature.bins <= MAX_BINS or len(feature.counts) != feature.bins + 5:
        return f"feature '{feature.name}' has not 1 to {MAX_BINS} bins, or not one count for each slot"
    if not all(map(math.isfinite, (*feature.edges, feature.mean, feature.m2, feature.m3, feature.m4, feature.tau))):
        return f"feature '{feature.name}' has a number that is not finite"
    if any(low >= high for low, high in pairwise(feature.edges)):
        return f"the edges of feature '{feature.name}' do not ascend"
    if sum(feature.counts) != rows or any(index >= feature.bins for index in feature.atoms):
        return f"the counts of feature '{feature.name}' are not those of {rows} rows, or an atom is no bin"
    return None


def _categorical_problem(feature: Categorical, rows: int) -> str | None:
    if len(feature.categories) > MAX_CATEGORIES or len(set(feature.categories)) != len(feature.categories):
        return f"feature '{feature.name}' has more than {MAX_CATEGORIES} categories, or one of them twice"
    if len(feature.counts) != len(feature.categories) + 2 or sum(feature.counts) != rows:
        return f"the counts of feature '{feature.name}' are not those of {rows} rows"
    return None


def _calibration_problem(table: Calibration | None) -> str | None:
    if table is None or {len(table.positives), len(table.errors), len(table.counts)} == {SCORE_BINS}:
        return None
    return f"the calibration table has not {SCORE_BINS} bins"


def _windows_problem(windows: Windows | None) -> str | None:
    if windows is None or (len(windows.hours) == len(windows.scores) and all(map(math.isfinite, windows.scores))):
        return None
    return "its windows have not one finite score and one hour each"
