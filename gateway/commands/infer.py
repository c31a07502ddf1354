"""`tidegate infer`: one request, or a table of them, from the command line; the answer as a table or as the protocol's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.commands import inputs as questions
from gateway.commands.output import Json, UsageError, command, document, printable, say, table
from gateway.commands.reaching import Authority, Certificate, Http, Key, Reach, Timeout, TokenFile, Url

if TYPE_CHECKING:
    import numpy as np

    from gateway.client import Answer, Client, ModelMetadata
    from gateway.client_rest import RestClient

SHOWN_ROWS = 50


@command
def infer(
    model: Annotated[str, typer.Argument(help="Model name.")],
    *,
    inputs: Annotated[list[str] | None, typer.Option("--input", "-i", metavar="NAME=JSON", help="One input, e.g. x='[[1, 2]]'.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A request in the protocol's JSON.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="A table with one column per input, or per feature of the only input.")] = None,
    version: Annotated[str, typer.Option("--model-version", help="A version number or alias instead of the default version.")] = "",
    outputs: Annotated[list[str] | None, typer.Option("--output", "-o", help="Only these outputs.")] = None,
    url: Url = None,
    http: Http = False,
    timeout: Timeout = 10.0,
    ca: Authority = None,
    cert: Certificate = None,
    key: Key = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Ask a model. Without inputs, show what it takes and returns."""
    if sum(bool(source) for source in (inputs, file, csv)) > 1:
        raise UsageError("give one of --input, --file and --csv")
    reach = Reach(url=url, timeout_s=timeout, ca=ca, cert=cert, key=key, token_file=token_file)
    client = reach.rest() if http else reach.grpc()
    if not (inputs or file or csv):
        _show_model(client.metadata(model, version), as_json=as_json)
        return
    asked = _asked(inputs, file) or questions.from_csv(csv or Path(), client.metadata(model, version))
    answer = _joined([_ask(client, model, version, question, tuple(outputs or ())) for question in asked])
    if as_json:
        document(_as_protocol(answer))
    else:
        _show(answer)


def _asked(inputs: list[str] | None, file: Path | None) -> list[questions.Question]:
    if file:
        return [questions.from_json(file)]
    return [questions.from_arguments(inputs)] if inputs else []


def _ask(client: Client | RestClient, model: str, version: str, question: questions.Question, outputs: tuple[str, ...]) -> Answer:
    return client.infer(
        model,
        question.inputs,
        version=version,
        outputs=outputs or question.outputs,
        request_id=question.request_id,
        parameters=question.parameters,
    )


def _joined(answers: list[Answer]) -> Answer:
    """Answers to consecutive rows as one."""
    import numpy as np

    first = answers[0]
    if len(answers) == 1:
        return first
    outputs = {name: np.concatenate([answer.outputs[name] for answer in answers]) for name in first.outputs}
    return type(first)(first.model, first.version, first.id, outputs)


def _as_protocol(answer: Answer) -> dict[str, Any]:
    from gateway.client_tensors import name_of

    outputs = [
        {"name": name, "datatype": name_of(array), "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in answer.outputs.items()
    ]
    return {"model_name": answer.model, "model_version": answer.version, "id": answer.id, "outputs": outputs}


def _show(answer: Answer) -> None:
    """One line per row where every output has the same number of rows, else one line per output."""
    rows = {len(array) if array.ndim else 1 for array in answer.outputs.values()}
    say(f"{printable(answer.model)} version {printable(answer.version)}")
    if len(rows) == 1 and (count := rows.pop()) >= 1:
        arrays = [array.reshape(count, -1) for array in answer.outputs.values()]
        shown = [(row, *(_values(array[row]) for array in arrays)) for row in range(min(count, SHOWN_ROWS))]
        table(["row", *answer.outputs], shown, right=["row"])
        if count > SHOWN_ROWS:
            say(f"… {count - SHOWN_ROWS} more rows; --json prints all")
    else:
        table(["output", "shape", "values"], [(name, list(array.shape), _values(array.ravel())) for name, array in answer.outputs.items()])


def _values(array: np.ndarray) -> str:
    shown = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in array[:8].tolist()]
    return " ".join(shown) + (f" … ({len(array)})" if len(array) > 8 else "")


def _show_model(model: ModelMetadata, *, as_json: bool) -> None:
    sides: Mapping[str, Any] = {"inputs": model.inputs, "outputs": model.outputs}
    if as_json:
        ports = {
            side: [{"name": spec.name, "datatype": spec.datatype, "shape": spec.shape} for spec in specs] for side, specs in sides.items()
        }
        document({"name": model.name, "versions": model.versions, "platform": model.platform, **ports})
        return
    say(f"{printable(model.name)}, versions {printable(', '.join(model.versions))}")
    table(
        ["", "name", "datatype", "shape"],
        [(side[:-1], spec.name, spec.datatype, list(spec.shape)) for side, specs in sides.items() for spec in specs],
    )
