"""The settings of the inference log: mistakes are named, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, load

BEGIN = "repository: {path: models}\n"


def read(folder: Path, text: str) -> Config:
    path = folder / "tidegate.yaml"
    path.write_text(BEGIN + text)
    return load(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("capture: {enabled: true}", "a log needs a directory, or processes.state"),
        ("capture: {upload: 'http://x'}", "a URL begins with s3://"),
        ("capture: {upload: 's3://key@x'}", "a URL holds no user"),
        ("capture: {upload_options: {a: b}}", "belongs to upload"),
        ("capture: {sample: 1.5}", "a number from 0 to 1"),
        ("models: {m: {capture: {fields: {x: {policy: bucket}}}}}", "belongs to policy: bucket"),
        ("models: {m: {capture: {fields: {x: {policy: bucket, edges: [1, 1]}}}}}", "ascending numbers"),
        ("models: {m: {capture: {fields: {x: {policy: truncate}}}}}", "needs either characters or decimals"),
        ("models: {m: {capture: {fields: {x: {policy: keep, decimals: 2}}}}}", "needs either characters or decimals"),
        ("models: {m: {capture: {fields: {x: {policy: hide}}}}}", "one of keep, drop, hash, bucket, truncate"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, reason: str) -> None:
    """Each by its place."""
    with pytest.raises(ConfigError, match=reason):
        read(tmp_path, text)


def test_a_model_has_its_own(tmp_path: Path) -> None:
    """Over the general ones; nothing is logged of one whose share is 0, or where there is no log."""
    own = "models: {a: {capture: {sample: 0.25}}, b: {capture: {sample: 0}}}\n"
    config = read(tmp_path, "processes: {state: state}\ncapture: {enabled: true}\n" + own)
    plans = {name: config.capture_plan(name) for name in ("a", "b", "c")}
    assert {"a": 0.25, "b": None, "c": 1.0} == {name: None if plan is None else plan.sample for name, plan in plans.items()}
    assert tmp_path / "state/log" == config.log
    without = read(tmp_path, own)
    assert (None, None) == (without.capture_plan("a"), without.log)
