"""The sums of a log as they are shown: what commits say, and what ledgers of workers say that commits do not yet."""

from __future__ import annotations

from registry.directory import DirectoryMedium
from registry.log_accounts import Account
from registry.log_commits import State
from registry.log_layout import LEDGER, SEGMENT, ids_of, raw_key
from registry.log_ledger import ACCEPTED, REASON_WORDS, Numbers, read_ledger

Families = dict[str, list[tuple[tuple[str, ...], float]]]  # by name, label values and numbers


def account_of(numbers: Numbers) -> Account:
    """All that a worker has accepted and dropped. What it has not written yet counts as rows."""
    found = Account()
    for model, arms in numbers.items():
        for arm, words in arms.items():
            dropped = {reason: words[word] for reason, word in REASON_WORDS.items()}
            found.add(model, arm, words[ACCEPTED] - sum(dropped.values()), dropped)
    return found


def totals(medium: DirectoryMedium, state: State) -> Account:
    """Of the whole log until now. Raises `Kind.STORAGE`."""
    found, said = Account(), Account()
    for worker in [worker for worker in ids_of(medium, LEDGER) if worker not in state.closed]:
        found.join(account_of(read_ledger(medium.root / raw_key(worker, LEDGER))))
        said.join(state.workers.get(worker, Account()))
    for model, arm, rows, dropped in state.account.lines():
        accepted, counted = said.of(model, arm)
        more = {reason: count - counted.get(reason, 0) for reason, count in dropped.items()}
        found.add(model, arm, rows - (accepted - sum(counted.values())), more)
    return found


def families_of(medium: DirectoryMedium, state: State) -> Families:
    """What the metrics page shows. Raises `Kind.STORAGE`."""
    account = totals(medium, state)
    lines = list(account.lines())
    return {
        "tidegate_capture_rows_total": [((model, arm), float(rows)) for model, arm, rows, _ in lines],
        "tidegate_capture_dropped_total": [
            ((model, arm, reason), float(count)) for model, arm, _, dropped in lines for reason, count in sorted(dropped.items())
        ],
        "tidegate_capture_bytes": [((), float(sum(file.bytes for file in state.files.values())))],
        "tidegate_capture_files": [((), float(len(state.files)))],
        "tidegate_capture_commits_total": [((), float(state.seq))],
        "tidegate_capture_unsealed_segments": [((), float(len(ids_of(medium, SEGMENT))))],
    }
