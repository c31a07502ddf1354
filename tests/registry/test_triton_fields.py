"""No field of Triton's model configuration is passed over: each is in one table, and what is refused is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from registry.pb import model_config_pb2 as pb
from registry.triton_fields import HONOURED, NEEDLESS, REFUSED, UNKNOWN, asked, clear, needless, refusals


def inner_of(field: Any) -> Any:
    """The messages that a field holds, or None for scalars."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        return kind.fields_by_name["value"].message_type
    return kind


def paths(kind: Any, prefix: str = "") -> Iterator[str]:
    """Every field that is looked at; what is refused as a whole is not gone into."""
    for field in kind.fields:
        path = prefix + field.name
        yield path
        inner = inner_of(field)
        if inner is not None and path not in REFUSED:
            yield from paths(inner, path + ".")


def example(path: str) -> Any:
    """A configuration that says something at this path and nowhere else."""
    config = pb.ModelConfig()
    _say(config, path.split("."))
    return config


def _say(message: Any, names: list[str]) -> None:
    field = message.DESCRIPTOR.fields_by_name[names[0]]
    value = getattr(message, field.name)
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        key = _scalar(kind.fields_by_name["key"])
        if inner_of(field) is None:
            value[key] = _scalar(kind.fields_by_name["value"])
        elif names[1:]:
            _say(value[key], names[1:])
        else:
            value[key].SetInParent()
    elif kind is not None:
        part = value.add() if field.is_repeated else value
        part.SetInParent()
        if names[1:]:
            _say(part, names[1:])
    elif field.is_repeated:
        value.append(_scalar(field))
    else:
        setattr(message, field.name, _scalar(field))


def _scalar(field: Any) -> Any:
    """Another value than the default."""
    return {field.CPPTYPE_STRING: "x", field.CPPTYPE_BOOL: True}.get(field.cpp_type, 1)


def test_every_field_of_the_contract_is_in_one_table() -> None:
    """A field that the contract gains is in none, and fails here until somebody has decided about it."""
    assert set(paths(pb.ModelConfig.DESCRIPTOR)) == HONOURED | REFUSED.keys()
    assert not HONOURED & REFUSED.keys()
    assert NEEDLESS.keys() <= HONOURED
    assert "" not in REFUSED.values()


@pytest.mark.parametrize("path", sorted(REFUSED))
def test_a_field_that_is_not_honoured_is_refused_by_its_name(path: str) -> None:
    """With the reason; what stands around it is not to blame."""
    assert [(path, REFUSED[path])] == list(refusals(example(path)))
    cleared = example(path)
    clear(cleared, path)
    assert [] == list(refusals(cleared))


@pytest.mark.parametrize("path", sorted(HONOURED))
def test_a_field_that_is_honoured_is_not_refused(path: str) -> None:
    """And is seen."""
    assert [] == list(refusals(example(path)))
    assert path in set(asked(example(path)))
    assert [(name, why) for name, why in NEEDLESS.items() if name == path] == list(needless(example(path)))


def test_a_field_that_no_table_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the test above was not run."""
    monkeypatch.setattr("registry.triton_fields.HONOURED", HONOURED - {"input.dims"})
    assert [("input.dims", UNKNOWN)] == list(refusals(example("input.dims")))


def test_defaults_that_are_written_out_ask_for_nothing() -> None:
    """As Triton itself writes a configuration: everything is there, and most of it says no."""
    config = pb.ModelConfig(
        response_cache=pb.ModelResponseCache(enable=False),
        model_transaction_policy=pb.ModelTransactionPolicy(decoupled=False),
        model_operations=pb.ModelOperations(),
        optimization=pb.ModelOptimizationPolicy(cuda=pb.ModelOptimizationPolicy.Cuda(graphs=False)),
        dynamic_batching=pb.ModelDynamicBatching(default_queue_policy=pb.ModelQueuePolicy()),
        instance_group=[pb.ModelInstanceGroup(rate_limiter=pb.ModelRateLimiter(), passive=False, host_policy="")],
    )
    assert [] == list(refusals(config))
