"""From files to a version that can serve: verify, load, warm, ask its golden requests. Blocks; meant for a thread beside the event loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gateway.config import Config
from gateway.model_settings import MAX_DELAY_MS, MAX_INSTANCES, MAX_ROWS, IsolationPlan, ModelPlan
from gateway.protocol.tensors import TensorSpec, shape_text
from gateway.serving import optimized
from gateway.serving.fair import Weight, alike
from gateway.serving.host import Starter
from gateway.serving.isolated import IsolatedModel, IsolationSettings, ModelFiles
from gateway.serving.lifecycle import State
from gateway.serving.model import Model, ModelFault, RunFault, Runnable
from gateway.serving.sessions import Placement, SessionSettings
from gateway.serving.versions import Description, Release, Version
from registry.compiled import Compiled
from registry.errors import RegistryError
from registry.golden import Golden, array_of, otherwise, tensor_of
from registry.ports import CONFIG_FILE
from registry.providers import unlisted
from registry.verified import ModelVersionRef, VerifiedModel
from registry.warmup import Sample, arrays_of

_log = logging.getLogger(__name__)
Say = Callable[[State], None]
Prepare = Callable[[Version, VerifiedModel], None]


def unprepared(_version: Version, _verified: VerifiedModel) -> None:
    """Nobody looks at what is served."""


# What a config.pbtxt calls the settings that a version may ask too much of.
_FIELDS = {"instances": "instance_group.count", "max_batch_size": "max_batch_size"}
_FIELDS |= {"max_queue_delay_ms": "dynamic_batching.max_queue_delay_microseconds"}


@dataclass(frozen=True, slots=True)
class Loader:
    """What loading needs beside the files."""

    config: Config
    release: Release
    now: Callable[[], float]
    start_child: Starter  # for models in processes of their own
    cores: int = 1  # of the threads that run models
    compiled: Compiled | None = None  # graphs that were optimised before
    weight: Weight = alike  # of a tenant
    prepare: Prepare = unprepared  # called with a version that is made, before it is warmed up, and what it was made of

    def load(self, ref: ModelVersionRef, say: Say, *, isolated: bool = False) -> tuple[Version, int]:
        """The version and the bytes of its files. `say(state)` tells how far it is. Raises RegistryError, ModelFault, RunFault.

        `isolated`: in a process of its own, whatever the model's settings say.
        """
        with ref.open() as verified:
            say(State.LOAD)
            version = self._version(ref.version, verified, isolated=isolated)
            try:
                self.prepare(version, verified)
                say(State.WARM)
                version.warm(self.now)
                warm_up(version.model, verified.warmup)
                if verified.golden is not None:
                    say(State.GOLDEN)
                    check_golden(version.model, verified.golden)
            except BaseException:
                version.end()  # it may have a process of its own
                raise
            return version, verified.size_bytes

    def _plan(self, verified: VerifiedModel, *, isolated: bool) -> ModelPlan:
        """A process of its own runs once at a time, so where it was not the settings that wanted it, instances are given up for it."""
        plan = self.config.plan(verified.model, verified.serving)
        if not isolated or plan.isolation:
            return plan
        return replace(plan, isolation=self.config.isolation(verified.model), instances=1)

    def _version(self, number: int, verified: VerifiedModel, *, isolated: bool) -> Version:
        plan = self._plan(verified, isolated=isolated)
        _check_plan(verified, plan)
        self._check_options(verified.model, plan)
        settings = SessionSettings(
            intra_op_threads=plan.intra_op_threads,
            max_batch_size=plan.max_batch_size,
            inter_op_threads=plan.inter_op_threads,
            execution=plan.execution,
            optimization=plan.optimization,
            providers=plan.providers,
            options=plan.provider_options,
            instances=plan.instances,
            cores=self.cores,
            memory_pattern=plan.memory_pattern,
            entries=plan.entries,
        )
        model = self._isolated(number, verified, plan.isolation, settings) if plan.isolation else self._model(verified, settings)
        placement = model.placement
        _say_where(f"{verified.model}/{number}", placement, settings)
        limits, joins = self.config.limits.serving, plan.dynamic_batching
        version = Version(
            number,
            model,
            limits,
            release=self.release,
            joins=joins,
            instances=placement.instances,
            queueing=plan.queue,
            weight=self.weight,
        )
        version.max_delay_s = plan.max_queue_delay_ms / 1e3 if plan.dynamic_batching else 0.0
        parameters = verified.serving.parameters if verified.serving else {}
        version.description = Description(verified.configuration, parameters, placement)
        return version

    def _isolated(self, number: int, verified: VerifiedModel, plan: IsolationPlan, settings: SessionSettings) -> IsolatedModel:
        files = ModelFiles(verified.file.fd, {name: file.fd for name, file in verified.external_data.items()})
        arena_bytes = self.config.limits.serving.max_arena_bytes
        bounds = IsolationSettings(memory_bytes=plan.memory_bytes, arena_bytes=arena_bytes, run_timeout_s=plan.run_timeout_s)
        return IsolatedModel(
            verified.model, number, files, settings, bounds,
            start=self.start_child, now=self.now, schema=verified.schema, ports=verified.ports,
        )  # fmt: skip

    def _check_options(self, model: str, plan: ModelPlan) -> None:
        """Something is set of a provider that is not listed; what a version says of those that the settings pass over is no matter.

        Raises ModelFault.
        """
        stranger = unlisted(plan.providers, plan.provider_options)
        if stranger is not None and not self.config.model(model).providers:
            raise ModelFault(f"something is set of provider '{stranger}', which is not among its providers: {', '.join(plan.providers)}")

    def _model(self, verified: VerifiedModel, settings: SessionSettings) -> Model:
        def make(path: str, settings: SessionSettings, optimized_to: str | None) -> Model:
            external, schema, ports = verified.external_maps(), verified.schema, verified.ports
            return Model(verified.model, path, settings, external=external, schema=schema, ports=ports, optimized_to=optimized_to)

        if self.compiled is None or not optimized.applies(verified, settings):
            return make(verified.path, settings, None)
        return optimized.load(verified, settings, self.compiled, make)


def _say_where(subject: str, placement: Placement, settings: SessionSettings) -> None:
    """To whoever reads the log, where it is not what was wished for."""
    for provider, reason in placement.missed:
        _log.warning("version %s runs on provider '%s' and not on '%s': %s", subject, placement.provider, provider, reason)
    if placement.instances < settings.instances:
        most = f"{settings.cores} cores have room for {placement.instances}"
        _log.warning("version %s asks for %d instances, and %s of %d threads", subject, settings.instances, most, settings.intra_op_threads)


def warm_up(model: Runnable, samples: Sequence[Sample]) -> None:
    """Ask the samples of the model's warm-up. Raises ModelFault where one does not fit the model or fails."""
    specs = model.signature.inputs
    for sample in samples:
        subject = f"warm-up sample '{sample.name[:128]}'"
        try:
            arrays = arrays_of(sample, {spec.name: len(spec.shape) for spec in specs})
            for spec in specs:
                _check_filling(spec, sample.inputs[spec.name].datatype, arrays[spec.name].shape)
            for _ in range(sample.runs):
                model.run([arrays[spec.name] for spec in specs])
        except RegistryError as error:
            raise ModelFault(error.message) from None
        except (RunFault, ValueError) as error:
            raise ModelFault(f"{subject} fails: {error}") from None


def _check_filling(spec: TensorSpec, datatype: str, shape: tuple[int, ...]) -> None:
    """Raises ValueError."""
    if datatype != spec.datatype:
        raise ValueError(f"input '{spec.name}' is {spec.datatype}, the sample has {datatype}")
    if len(shape) != len(spec.shape) or any(ours not in {-1, theirs} for ours, theirs in zip(spec.shape, shape, strict=True)):
        raise ValueError(f"input '{spec.name}' has shape {shape_text(spec.shape)}, the sample has {shape_text(shape)}")


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


def _check_plan(verified: VerifiedModel, plan: ModelPlan) -> None:
    """What a version asks for and this server cannot give; the model's own settings would have won. Raises ModelFault."""
    if plan.isolation and plan.instances > 1:
        raise ModelFault(f"a model in a process of its own runs once at a time: set models.{verified.model}.instances to 1")
    bounds: dict[str, float] = {"instances": MAX_INSTANCES, "max_batch_size": MAX_ROWS, "max_queue_delay_ms": MAX_DELAY_MS}
    for name, most in bounds.items():
        wanted = getattr(plan, name)
        if wanted > most:
            source = "serving.json" if verified.configuration is None else f"{CONFIG_FILE} ({_FIELDS[name]})"
            remedy = f"set models.{verified.model}.{name}"
            raise ModelFault(f"its {source} asks for {name} {wanted}, and this server has at most {most}: {remedy}")
