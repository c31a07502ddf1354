"""From files to a version that can serve: verify, load, warm, ask its golden requests. Blocks; meant for a thread beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gateway.config import MAX_DELAY_MS, MAX_ROWS, Config, IsolationPlan, ModelPlan
from gateway.serving.host import Starter
from gateway.serving.isolated import IsolatedModel, IsolationSettings, ModelFiles
from gateway.serving.lifecycle import State
from gateway.serving.model import Model, ModelFault, RunFault, Runnable, SessionSettings
from gateway.serving.versions import Release, Version
from registry.golden import Golden, array_of, otherwise, tensor_of
from registry.verified import ModelVersionRef, VerifiedModel

Say = Callable[[State], None]


@dataclass(frozen=True, slots=True)
class Loader:
    """What loading needs beside the files."""

    config: Config
    release: Release
    now: Callable[[], float]
    start_child: Starter  # for models in processes of their own

    def load(self, ref: ModelVersionRef, say: Say) -> tuple[Version, int]:
        """The version and the bytes of its files. `say(state)` tells how far it is. Raises RegistryError, ModelFault, RunFault."""
        with ref.open() as verified:
            say(State.LOAD)
            version = self._version(ref.version, verified)
            try:
                say(State.WARM)
                version.warm(self.now)
                if verified.golden is not None:
                    say(State.GOLDEN)
                    check_golden(version.model, verified.golden)
            except BaseException:
                version.end()  # it may have a process of its own
                raise
            return version, verified.size_bytes

    def _version(self, number: int, verified: VerifiedModel) -> Version:
        plan = self.config.plan(verified.model, verified.serving)
        _check_plan(verified.model, plan)
        settings = SessionSettings(intra_op_threads=plan.intra_op_threads, max_batch_size=plan.max_batch_size)
        model: Runnable = self._isolated(number, verified, plan.isolation, settings) if plan.isolation else _model(verified, settings)
        version = Version(number, model, self.config.limits.serving, release=self.release)
        version.max_delay_s = plan.max_queue_delay_ms / 1e3
        return version

    def _isolated(self, number: int, verified: VerifiedModel, plan: IsolationPlan, settings: SessionSettings) -> IsolatedModel:
        files = ModelFiles(verified.file.fd, {name: file.fd for name, file in verified.external_data.items()})
        arena_bytes = self.config.limits.serving.max_arena_bytes
        bounds = IsolationSettings(memory_bytes=plan.memory_bytes, arena_bytes=arena_bytes, run_timeout_s=plan.run_timeout_s)
        return IsolatedModel(verified.model, number, files, settings, bounds, start=self.start_child, now=self.now, schema=verified.schema)


def _model(verified: VerifiedModel, settings: SessionSettings) -> Model:
    return Model(verified.model, verified.path, settings, external=verified.external_maps(), schema=verified.schema)


def check_golden(model: Runnable, golden: Golden) -> None:
    """Ask the model's golden requests. Raises ModelFault where one fails or is answered otherwise than when the version was published."""
    specs = model.signature.inputs
    names = [spec.name for spec in model.signature.outputs]
    for number, request in enumerate(golden.requests, 1):
        if request.inputs.keys() != {spec.name for spec in specs}:
            raise ModelFault(f"golden request {number} does not have the model's inputs")
        try:
            outputs = model.run([np.ascontiguousarray(array_of(request.inputs[spec.name])) for spec in specs])
        except RunFault as error:
            raise ModelFault(f"golden request {number} fails: {error}") from None
        found = {name: tensor_of(output) for name, output in zip(names, outputs, strict=True) if name in request.outputs}
        if (problem := otherwise(golden, number, found)) is not None:
            raise ModelFault(problem)


def _check_plan(model: str, plan: ModelPlan) -> None:
    """What a version asks for and this server cannot give; the model's own settings would have won. Raises ModelFault."""
    bounds: dict[str, float] = {"instances": 1, "max_batch_size": MAX_ROWS, "max_queue_delay_ms": MAX_DELAY_MS}
    for name, most in bounds.items():
        wanted = getattr(plan, name)
        if wanted > most:
            raise ModelFault(f"its serving.json asks for {name} {wanted}, and this server has at most {most}: set models.{model}.{name}")
