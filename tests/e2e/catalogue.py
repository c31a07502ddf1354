"""The catalogue of bad inputs: one row for each of the 122 cases, run by `test_catalogue.py`, rendered into `docs/catalogue.md`."""

from __future__ import annotations

from tests.e2e import catalogue_bodies, catalogue_contents, catalogue_names, catalogue_tensors, catalogue_wire
from tests.e2e.rows import Case

SECTIONS = {
    "Tensors": catalogue_tensors.CASES,
    "gRPC contents and calls": catalogue_contents.CASES,
    "REST bodies": catalogue_bodies.CASES,
    "HTTP/1.1, connections and HTTP/2": catalogue_wire.CASES,
    "Names, state, observability, evil data": catalogue_names.CASES,
}
CASES: list[Case] = [case for section in SECTIONS.values() for case in section]
