"""A version's contract and reference as a schema of TensorFlow Data Validation, `schema.pbtxt`: tensorflow.metadata.v0.Schema as text.

Written by hand, because its package brings TensorFlow's protobuf with it; field names and enums are those of tensorflow-metadata 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from registry.profile import Categorical, Numeric, Profile
from registry.schema import Field, Schema
from retrain.surveying import features_of
from retrain.target import YES_NO, Target
from retrain.validation import Limits

LABEL = "label"


def schema_pbtxt(schema: Schema, profile: Profile | None, limits: Limits, *, label: str = LABEL, target: Target = YES_NO) -> str:
    """Presence, type, domain and drift comparator of every input, and the label's."""
    features = features_of(profile)
    lines = [line for field in schema.inputs for line in _feature(field, features.get(field.name), limits)]
    domain = f"  int_domain {{ min: 0 max: {target.classes - 1} is_categorical: true }}"
    kind = ["  type: FLOAT"] if target.kind == "number" else ["  type: INT", domain]
    lines += ["feature {", f"  name: {_quoted(label)}", *kind, "}"]
    return "\n".join([*lines, f"dataset_constraints {{ min_examples_count: {limits.min_rows} }}"]) + "\n"


def _feature(field: Field, feature: Numeric | Categorical | None, limits: Limits) -> Iterator[str]:
    is_text = field.type == "tensor(string)"
    usual = 0.0 if feature is None else feature.counts[-1] / max(sum(feature.counts), 1)
    least = 1.0 - limits.max_violations if field.nulls == "refused" else max(1.0 - usual - limits.max_missing_rise, 0.0)
    yield "feature {"
    yield f"  name: {_quoted(field.name)}"
    yield f"  type: {'BYTES' if is_text else 'FLOAT'}"
    yield f"  presence {{ min_fraction: {least:.6g} min_count: 1 }}"
    yield "  shape { dim { size: 1 } }" if field.nulls == "refused" else "  value_count { min: 0 max: 1 }"
    if field.description:
        yield f"  annotation {{ comment: {_quoted(field.description)} }}"
    if is_text and field.categories is not None:
        yield "  string_domain {"
        yield from (f"    value: {_quoted(str(category))}" for category in field.categories)
        yield "  }"
        yield f"  distribution_constraints {{ min_domain_mass: {1.0 - limits.max_violations:.6g} }}"
    if field.range is not None:
        ends = (("min", field.range.min), ("max", field.range.max))
        yield "  float_domain { " + " ".join(f"{name}: {float(end)!r}" for name, end in ends if end is not None) + " }"
    if feature is not None and limits.fail_psi is not None:
        kind = "infinity_norm" if isinstance(feature, Categorical) else "jensen_shannon_divergence"
        yield f"  drift_comparator {{ {kind} {{ threshold: {limits.fail_psi:.6g} }} }}"
    yield "}"


def _quoted(text: str) -> str:
    """As the text format writes strings: escapes of JSON are among its own, and the rest is UTF-8."""
    return json.dumps(text, ensure_ascii=False)
