"""Labels joined with answers, said again in plain loops: slow, obvious, and sharing no line with what it checks."""

from __future__ import annotations

import math
from typing import Any

Row = dict[str, Any]


def joined(answers: list[Row], labels: list[Row], rule: dict[str, Any]) -> tuple[list[Row], dict[str, Any]]:
    """Each answer with its label, and what was found. Times in microseconds; `rule` has the fields of `JoinSpec`, in microseconds too."""
    taken = [one for one in answers if is_taken(one, rule)]
    arrived = [one for one in labels if one["arrival_us"] <= rule["as_of"]]
    gone = {one["supersedes"] for one in arrived if one["supersedes"] is not None}
    meant = [one for one in arrived if one["model"] == rule["model"] and one["name"] == rule["name"]]
    valid = [one for one in meant if one["label_id"] not in gone]
    aimed = [(label, *target_of(label, taken, rule["window"])) for label in valid]
    rows = [with_label(answer, aimed, rule) for answer in taken]
    return rows, found(rows, aimed, len(meant) - len(valid))


def is_taken(answer: Row, rule: dict[str, Any]) -> bool:
    """Whether an answer is of the join."""
    too_late = rule.get("time") != "event" and answer["ts"] > rule["as_of"]
    if answer["model"] != rule["model"] or answer["status"] != 0 or too_late:
        return False
    if rule["arms"] and answer["arm"] not in rule["arms"]:
        return False
    return answer["ts"] >= rule["since"] and (rule["until"] is None or answer["ts"] < rule["until"])


def target_of(label: Row, answers: list[Row], window: int) -> tuple[list[tuple[bytes, int]], str]:
    """The (request, row)s that a label is for, and by which key."""
    here = [one for one in answers if one["row"] == label["row"]]
    if label["client_request_id"] is not None:
        by_client = [one for one in here if one["client_request_id"] == label["client_request_id"]]
        if by_client:
            return [(one["request_id"], one["row"]) for one in by_client], "client"
    if label["request_id"] is not None:
        by_request = [one for one in here if one["request_id"] == label["request_id"]]
        if by_request:
            return [(by_request[0]["request_id"], label["row"])], "request"
    if label["unit_hash"] is not None:
        last = None
        for one in here:
            if one["unit_hash"] != label["unit_hash"] or one["ts"] > label["event_us"]:
                continue
            if last is None or (one["ts"], one["request_id"]) > (last["ts"], last["request_id"]):
                last = one
        if last is not None and label["event_us"] - last["ts"] <= window:
            return [(last["request_id"], label["row"])], "unit"
    return [], ""


def with_label(answer: Row, aimed: list[tuple[Row, list[tuple[bytes, int]], str]], rule: dict[str, Any]) -> Row:
    """An answer and what became of it."""
    best, key = None, None
    for label, targets, way in aimed:
        if (answer["request_id"], answer["row"]) not in targets:
            continue
        if best is None or rank(label) > rank(best):
            best, key = label, way
    when = answer["ts"] if rule.get("time") != "event" else None if best is None else best["event_us"]
    mature = when is not None and when + rule["mature_after"] <= rule["as_of"]
    row = {
        "request_id": answer["request_id"],
        "row": answer["row"],
        "arm": answer["arm"],
        "mature": mature,
        "has": best is not None,
        "ts": when,
    }
    if not mature:
        return row | {"id": None, "value": None, "key": None, "arrival": None}
    if best is not None:
        return row | {"id": best["label_id"], "value": best["value"], "key": key, "arrival": best["arrival_us"]}
    if rule["negative_after"] is not None and answer["ts"] + rule["negative_after"] <= rule["as_of"]:
        return row | {"id": None, "value": 0.0, "key": "timeout", "arrival": answer["ts"] + rule["negative_after"]}
    return row | {"id": None, "value": None, "key": None, "arrival": None}


def rank(label: Row) -> tuple[bool, int, str]:
    """The greatest one counts."""
    return label["final"], label["arrival_us"], label["label_id"]


def found(rows: list[Row], aimed: list[tuple[Row, list[tuple[bytes, int]], str]], superseded: int) -> dict[str, Any]:
    """The counts of a join."""
    matched = {"client": 0, "request": 0, "unit": 0}
    orphans = replaced = 0
    for label, targets, way in aimed:
        if not targets:
            orphans += 1
        else:
            matched[way] += 1
            for target in set(targets):
                rivals = [other for other, others, _ in aimed if target in others]
                replaced += any(rank(other) > rank(label) for other in rivals)
    delays = [one["arrival"] - one["ts"] for one in rows if one["id"] is not None]
    return {
        "rows": len(rows),
        "mature": sum(one["mature"] for one in rows),
        "labelled": sum(one["id"] is not None for one in rows),
        "timeouts": sum(one["key"] == "timeout" for one in rows),
        "early": sum(one["has"] and not one["mature"] for one in rows),
        "labels": len(aimed),
        "superseded": superseded,
        "matched": matched,
        "orphans": orphans,
        "replaced": replaced,
        "delays_s": quantiles(sorted(delays)),
    }


def quantiles(delays: list[int]) -> dict[str, float]:
    """The smallest power of 1.01 seconds at or above each quantile."""
    answer = {}
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p100", 1.0)):
        if delays:
            place = math.ceil(share * len(delays)) - 1
            answer[name] = round(1.01 ** math.ceil(math.log(max(delays[place], 1) / 1e6) / math.log(1.01)), 6)
    return answer
