"""Calls the gateway with requests as TensorFlow Serving's REST page shows: status, metadata, rows, columns, labels.

Environment: HTTP_TARGET, and LABELLED_TARGET, a registry whose champion is plus_one 1.
"""

from __future__ import annotations

import gzip
import json
import os

import report
import requests
from report import equal

MODELS, LABELLED = (f"http://{os.environ[name]}/v1/models" for name in ("HTTP_TARGET", "LABELLED_TARGET"))
ROW = [1.0, 2.0, 3.0, 4.0]
NEXT = [2.0, 3.0, 4.0, 5.0]


def predict(session: requests.Session, path: str, body: object) -> dict:
    """The JSON of a good answer."""
    answer = session.post(f"{MODELS}/{path}:predict", json=body)
    answer.raise_for_status()
    equal("application/json", answer.headers["Content-Type"])
    return answer.json()


def status(session: requests.Session) -> None:
    """Of all versions and of one."""
    for path in ("plus_one", "plus_one/versions/1"):
        (one,) = session.get(f"{MODELS}/{path}").json()["model_version_status"]
        equal({"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}, one)


def metadata(session: requests.Session) -> None:
    """Types, sizes as texts, the one signature."""
    found = session.get(f"{MODELS}/mirror/metadata").json()
    equal({"name": "mirror", "signature_name": "", "version": "1"}, found["model_spec"])
    inputs = found["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    equal(("DT_STRING", "DT_INT8", "DT_BOOL"), tuple(inputs[f"IN_{name}"]["dtype"] for name in ("BYTES", "INT8", "BOOL")))
    equal(["-1", "2"], [one["size"] for one in inputs["IN_FP64"]["tensor_shape"]["dim"]])


def rows(session: requests.Session) -> None:
    """Without the input's name and with it, of a version in the path too."""
    for path in ("plus_one", "plus_one/versions/1"):
        equal({"predictions": [NEXT, NEXT]}, predict(session, path, {"instances": [ROW, ROW]}))
        equal({"predictions": [NEXT]}, predict(session, path, {"signature_name": "serving_default", "instances": [{"ROW": ROW}]}))


def columns(session: requests.Session) -> None:
    """The same in columns."""
    equal({"outputs": [NEXT, NEXT]}, predict(session, "plus_one", {"inputs": [ROW, ROW]}))
    equal({"outputs": [NEXT]}, predict(session, "plus_one", {"inputs": {"ROW": [ROW]}}))


def named(session: requests.Session) -> None:
    """Many inputs and outputs of every datatype that JSON has, in rows and in columns, strings as text and as bytes."""
    values = {"BOOL": [True, False], "FP32": [0.5, -1.0], "FP64": [0.1, 1e300], "BYTES": ["größe", ""]}
    values |= {f"{sign}INT{bits}": [0, 100] for sign in ("", "U") for bits in (8, 16, 32, 64)}
    sent = {f"IN_{name}": value for name, value in values.items()}
    mirrored = {f"OUT_{name}": value for name, value in values.items()}
    equal({"predictions": [mirrored, mirrored]}, predict(session, "mirror", {"instances": [sent, sent]}))
    columns = {"inputs": {name: [value] for name, value in sent.items()}}
    equal({"outputs": {name: [value] for name, value in mirrored.items()}}, predict(session, "mirror", columns))
    encoded = {**sent, "IN_BYTES": [{"b64": "Z3LDtsOfZQ=="}, {"b64": ""}]}
    equal({"predictions": [mirrored]}, predict(session, "mirror", {"instances": [encoded]}))


def label(session: requests.Session) -> None:
    """An alias of a registry, in every place that takes a label; behind /versions/ it is refused."""
    url = f"{LABELLED}/plus_one/labels/champion"
    equal({"predictions": [NEXT]}, session.post(f"{url}:predict", json={"instances": [ROW]}).json())
    equal("1", session.get(url).json()["model_version_status"][0]["version"])
    equal("1", session.get(f"{url}/metadata").json()["model_spec"]["version"])
    equal(400, session.get(url.replace("labels", "versions")).status_code)


def not_finite(session: requests.Session) -> None:
    """NaN and Infinity as Python's json writes and reads them."""
    body = json.dumps({"instances": [[float("nan"), float("inf"), float("-inf"), 1.0]]})
    found = session.post(f"{MODELS}/plus_one:predict", data=body).json()["predictions"][0]
    equal(["nan", "inf", "-inf", "2.0"], [str(value) for value in found])


def compressed(session: requests.Session) -> None:
    """A gzip body."""
    body = gzip.compress(json.dumps({"instances": [ROW]}).encode())
    equal({"predictions": [NEXT]}, session.post(f"{MODELS}/plus_one:predict", data=body, headers={"Content-Encoding": "gzip"}).json())


def errors(session: requests.Session) -> None:
    """An object with one text, and the status."""
    cases = [
        ("no_such_model:predict", {"instances": [ROW]}, 404), ("plus_one/labels/lost:predict", {"instances": [ROW]}, 404),
        ("plus_one:predict", {"instances": [ROW, [1.0]]}, 400), ("plus_one:predict", {"instances": [ROW], "signature_name": "other"}, 400),
        ("plus_one:classify", {"examples": [{"ROW": ROW}]}, 501), ("plus_one:regress", {"examples": [{"ROW": ROW}]}, 501),
    ]  # fmt: skip
    for path, body, code in cases:
        answer = session.post(f"{MODELS}/{path}", json=body)
        equal((code, ["error"]), (answer.status_code, list(answer.json())))


if __name__ == "__main__":
    with requests.Session() as shared:
        report.run([status, metadata, rows, columns, named, label, not_finite, compressed, errors], shared)
