"""Scopes: what a credential lets its bearer do. A word, and for some words the model that it holds for: `meta`, `infer:iris`, `infer:*`."""

from __future__ import annotations

from collections.abc import Collection

OF_MODELS = ("infer", "labels")  # written with a model behind a colon
GENERAL = ("meta", "admin", "publish", "operate", "approve", "audit")
ALL_MODELS = "*"
MAX_MODEL_CHARACTERS = 128
MAX_SCOPES = 256  # of one credential


def problem_of(scope: str) -> str:
    """What is wrong with a scope as somebody wrote it; "" for nothing. The text repeats no more than its word."""
    word, colon, model = scope.partition(":")
    if word in GENERAL:
        return f"{word} stands alone: it is not of a model" if colon else ""
    if word not in OF_MODELS:
        known = ", ".join([*(f"{name}:MODEL" for name in OF_MODELS), *GENERAL])
        return f"unknown scope; known: {known}"
    if not model:
        return f"{word} is of a model: write {word}:MODEL, or {word}:{ALL_MODELS} for all"
    if len(model) > MAX_MODEL_CHARACTERS or not model.isprintable() or any(letter.isspace() for letter in model):
        return f"the model of {word} must be a name of at most {MAX_MODEL_CHARACTERS} printable characters"
    return "" if ALL_MODELS not in model or model == ALL_MODELS else f"{ALL_MODELS} stands for all models, not for a part of a name"


def problem_among(scopes: Collection[str]) -> str:
    """The first thing that is wrong with a list of scopes; "" for nothing."""
    if len(scopes) > MAX_SCOPES:
        return f"more than {MAX_SCOPES} scopes"
    return next((problem for scope in scopes if (problem := problem_of(scope))), "")


def allow(scopes: Collection[str], word: str, model: str | None) -> bool:
    """Whether scopes hold for `word`, of `model` where it is one of `OF_MODELS`."""
    if model is None:
        return word in GENERAL and word in scopes
    return word in OF_MODELS and (f"{word}:{ALL_MODELS}" in scopes or f"{word}:{model}" in scopes)
