"""`tidegate bench`: how fast a running server answers this one client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.commands import inputs as questions
from gateway.commands.output import Exit, Json, command, document, printable, say
from gateway.commands.reaching import Authority, Certificate, Key, Reach, Timeout, TokenFile, Url

if TYPE_CHECKING:
    from gateway.client import Client
    from gateway.load import Measurement

DIFFERENT_BATCHES = 64  # so that no answer can come from a memory of the last request


@command
def bench(
    model: Annotated[str, typer.Argument(help="Model name.")],
    *,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, max=512, help="Requests under way at once.")] = 16,
    duration: Annotated[float, typer.Option("--duration", "-d", min=0.1, max=3600, help="Seconds.")] = 5.0,
    rows: Annotated[int, typer.Option("--rows", min=1, max=65536, help="Rows of one request.")] = 1,
    csv: Annotated[Path | None, typer.Option("--csv", help="Rows to send instead of invented ones.")] = None,
    version: Annotated[str, typer.Option("--model-version", help="A version number or alias instead of the default version.")] = "",
    url: Url = None,
    timeout: Timeout = 10.0,
    ca: Authority = None,
    cert: Certificate = None,
    key: Key = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Send requests over gRPC in a closed loop and report throughput and latency. Exits with 1 if any request failed."""
    from gateway.load import closed_loop

    client = Reach(url=url, timeout_s=timeout, ca=ca, cert=cert, key=key, token_file=token_file).grpc()
    messages = [client.request(model, batch, version=version) for batch in _batches(client, model, version, rows, csv)]
    closed_loop(client, messages, concurrency=concurrency, requests=concurrency)  # connections, caches
    found = closed_loop(client, messages, concurrency=concurrency, duration_s=duration)
    if as_json:
        document({"model": model, "concurrency": concurrency, "rows_per_request": rows} | found.summary())
    else:
        _show(found, concurrency)
    if found.errors or not found.requests:
        raise typer.Exit(Exit.FAILED)


def _batches(client: Client, model: str, version: str, rows: int, csv: Path | None) -> list[dict[str, Any]]:
    from gateway.load import invented

    metadata = client.metadata(model, version)
    if csv is None:
        return [invented(metadata.inputs, rows=rows, seed=seed) for seed in range(DIFFERENT_BATCHES)]
    from gateway.client_tensors import as_array

    specs = {spec.name: spec for spec in metadata.inputs}
    (table, *_) = questions.from_csv(csv, metadata)
    arrays = {name: as_array(value, specs[name])[0] for name, value in table.inputs.items()}
    total = len(next(iter(arrays.values())))
    return [{name: array[start : start + rows] for name, array in arrays.items()} for start in range(0, total, rows)]


def _show(found: Measurement, concurrency: int) -> None:
    say(f"{found.requests:,} requests ({found.rows:,} rows) in {found.seconds:.1f} s, {concurrency} at once")
    say(f"  throughput  {found.requests_per_s:,.0f} requests/s, {found.rows_per_s:,.0f} rows/s")
    say("  latency     " + ", ".join(f"p{q:g} {found.percentile_ms(q):.2f} ms" for q in (50, 90, 99, 100)))
    for code, number in sorted(found.errors.items()):
        say(f"  failed      {number:,} × {printable(code)}")
    say("The Python client limits these figures; `make bench-serving` measures the server.")
