"""`tidegate publish`: an ONNX file, an MLflow model or a Triton repository becomes the next versions in a registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.clock import SystemClock
from gateway.commands import moves, place, signing, submissions
from gateway.commands.output import Json, UsageError, command, document, printable, say
from gateway.commands.watching import watched
from registry.names import check_alias_name, check_label, check_model_name

if TYPE_CHECKING:
    from registry.imported import Imported
    from registry.publish import Published
    from registry.rows import Reference
    from registry.signatures import PrivateKey
    from registry.store import Store


@command
def publish(
    path: Annotated[Path, typer.Argument(help="ONNX file (external data is taken from its folder), MLflow model or Triton repository.")],
    *,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Model name. Of a Triton repository: only this model.")] = None,
    registry: place.Registry,
    contract: Annotated[Path | None, typer.Option(help="YAML: nulls, ranges, categories and units of inputs and outputs.")] = None,
    golden: Annotated[Path | None, typer.Option(help="YAML: requests that every load must answer as here.")] = None,
    training: Annotated[Path | None, typer.Option(help="YAML: code, data, parameters and metrics.")] = None,
    card: Annotated[Path | None, typer.Option(help="Markdown: the model card.")] = None,
    serving: Annotated[Path | None, typer.Option(help="YAML: rows of a run, queue delay, instances.")] = None,
    profile: Annotated[Path | None, typer.Option(help="JSON: the reference that drift is measured against.")] = None,
    reference: submissions.ReferenceFile = None,
    label: submissions.Label = None,
    time: submissions.Time = None,
    ignore: submissions.Ignore = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="SETTING", help="A setting of the import that may be let go.")] = None,
    publish_id: Annotated[
        str | None,
        typer.Option(help="The same id gives the same version again. In a Triton repository, ID-MODEL-VERSION is each one's."),
    ] = None,
    publisher: Annotated[str | None, typer.Option(help="Who publishes [the user].")] = None,
    alias: Annotated[str | None, typer.Option(help="Let this alias stand for it; of several, for the last one.")] = None,
    sign: Annotated[Path | None, typer.Option(metavar="PRIVATE.pem", help="Sign what was published.")] = None,
    password_file: signing.PasswordFile = None,
    key: place.Keys = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Make a model the next version. An absent or empty place becomes a registry.

    Files beside a model are laid over what an import says. Several versions are published in ascending order. What was interrupted
    is repeated with the same --publish-id: nothing is published twice.
    """
    if alias is not None:
        check_alias_name(alias)
    additions = submissions.Additions(contract=contract, golden=golden, training=training, card=card, serving=serving, profile=profile)
    rows = submissions.reference(reference, label=label, time=time, ignore=ignore)
    if rows and profile:
        raise UsageError("give one of --profile and --reference, which makes one")
    found = submissions.versions(path, name=name, may_drop=drop or (), additions=additions)
    if rows and len({each.name for each in found}) > 1:
        raise UsageError(f"{path} has several models, and reference rows are about one: choose it with --name")
    signer = signing.private_key(sign, password_file) if sign else None
    attempt = _Attempt(place.created(registry, option, key), publisher or place.user(), signer, alias, publish_id, rows, as_json)
    try:
        attempt.perform(found)
    finally:  # also what was done before a refusal
        if as_json and attempt.rows:
            document({"versions": attempt.rows} if found[0].version else attempt.rows[0])


@dataclass(slots=True)
class _Attempt:
    """One command, and what it has done so far."""

    store: Store
    publisher: str
    signer: PrivateKey | None
    alias: str | None
    publish_id: str | None
    reference: Reference | None
    as_json: bool
    rows: list[dict[str, Any]] = field(default_factory=list)

    def perform(self, found: list[Imported]) -> None:
        """Publish all, then move the alias of each model from where it stood before."""
        for each in found:
            check_model_name(each.name)
            for text in (self._publish_id(each), self._operation_id(each)):
                check_label(text or "-", what="publish id")
        starts = {each.name: self._stand(each.name) for each in found}
        done = {each.name: (each, self._publish(each)) for each in found}  # of a model, the last one
        for each, published in done.values() if self.alias else ():
            self._move(each, published.version, starts[each.name])

    def _publish(self, each: Imported) -> Published:
        from registry.publish import publish

        with watched(f"publishing {each.path.name}", as_json=self.as_json) as progress:
            done = publish(
                self.store,
                each.path,
                name=each.name,
                publisher=self.publisher,
                now_s=SystemClock().wall(),
                publish_id=self._publish_id(each),
                parts=each.parts,
                reference=self.reference,
                progress=progress,
            )
        row = {name: getattr(done, name) for name in ("model", "version", "digest", "model_digest", "publish_id", "new")}
        self.rows.append(row | {"dropped": list(each.dropped), "notes": list(done.notes), "signed_by": None, "alias": None})
        self._say(f"{done.model} version {done.version} {'published' if done.new else 'had been published before'}")
        self._say(f"  manifest {done.digest}")
        self._say(f"  model    {done.model_digest}")
        for setting in each.dropped:
            self._say(f"  dropped  {printable(setting)}")
        for note in done.notes:
            self._say(f"  note     {printable(note)}")
        if self.signer:
            self._sign(done.digest, self.signer)
        return done

    def _sign(self, digest: str, signer: PrivateKey) -> None:
        from registry import signatures

        if signer.public.key_id not in signatures.Trusted((signer.public,))(self.store.medium, digest, self.store.read_blob(digest)):
            signatures.attach(self.store.medium, digest, signatures.sign(self.store.read_blob(digest), signer))
        self.rows[-1]["signed_by"] = signer.public.key_id
        self._say(f"  signed   by key {signer.public.key_id}")

    def _move(self, each: Imported, version: int, start: int | None) -> None:
        assert self.alias is not None
        with watched("hashing", as_json=self.as_json, total_bytes=lambda: place.version_bytes(self.store, each.name, version)) as progress:
            moved = moves.move(
                self.store,
                each.name,
                self.alias,
                to=version,
                expected=moves.start(self.store, each.name, self._operation_id(each), otherwise=start),
                actor=self.publisher,
                reason="with its publication",
                operation_id=self._operation_id(each),
                progress=progress,
            )
        row = next(row for row in self.rows if (row["model"], row["version"]) == (each.name, version))
        row["alias"] = {"name": moved.alias, "from": moved.from_version, "to": moved.to_version, "new": moved.new}
        self._say(f"{each.name} {moved}" if each.version else str(moved))

    def _stand(self, model: str) -> int | None:
        return self.store.aliases(model).all().get(self.alias) if self.alias else None

    def _publish_id(self, each: Imported) -> str | None:
        """Of a Triton repository each version has its own, whatever else is published with it."""
        return self.publish_id and (f"{self.publish_id}-{each.name}-{each.version}" if each.version else self.publish_id)

    def _operation_id(self, each: Imported) -> str | None:
        return self.publish_id and f"{self._publish_id(each)}-{self.alias}"

    def _say(self, text: str) -> None:
        if not self.as_json:
            say(text)
