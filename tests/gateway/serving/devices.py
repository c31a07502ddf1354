"""A runtime with providers that this machine lacks: sessions of the processor that say they run elsewhere, and note what they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import onnxruntime

from gateway.serving.model import Runtime
from gateway.serving.placing import NAMES

CPU = NAMES["cpu"]


class Device:
    """The installed providers, those that fail to come up in each of three ways, and what was asked."""

    def __init__(
        self, *, installed: Sequence[str], silent: Sequence[str] = (), raising: Sequence[str] = (), idle: Sequence[str] = ()
    ) -> None:
        """By our names. `silent` are left out by the runtime, `raising` make it raise, `idle` take no part of the graph."""
        self.installed, self.silent, self.raising, self.idle = installed, silent, raising, idle
        self.asked: list[list[str]] = []
        self.options: list[list[dict[str, str]]] = []
        self.fallbacks: list[Any] = []
        self.sessions: list[Session] = []
        self.reserved: list[tuple[tuple[int, ...], str, int]] = []

    @property
    def runtime(self) -> Runtime:
        return Runtime(available=lambda: [NAMES[name] for name in self.installed], session=self.session, reserve=self.reserve)  # type: ignore[index]

    def session(self, path: str, options: Any, *, providers: list[str], provider_options: list[dict], enable_fallback: int) -> Session:
        known = {name: ours for ours, name in NAMES.items()}
        self.asked.append([known[name] for name in providers])
        self.options.append(provider_options)
        self.fallbacks.append(enable_fallback)
        for name in providers:
            if known[name] in self.raising:
                raise RuntimeError(f"/onnxruntime/x.cc:1 void onnxruntime::X::Y() {known[name]} is broken")
        there = [name for name in providers if known[name] not in self.silent]
        at_work = next((name for name in there if known[name] not in self.idle), CPU)
        self.sessions.append(Session(self, onnxruntime.InferenceSession(path, options, providers=[CPU]), there, at_work))
        return self.sessions[-1]

    def reserve(self, shape: tuple[int, ...], dtype: Any, device: str, number: int) -> Any:
        self.reserved.append((tuple(shape), device, number))
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, "cpu", 0)


class Session:
    """A session of the processor under another name."""

    def __init__(self, device: Device, session: Any, providers: list[str], at_work: str) -> None:
        self._device, self._session, self._providers, self._at_work = device, session, providers, at_work
        self.bindings: list[Binding] = []
        self.bound_runs = 0
        self.running: Callable[[], None] = lambda: None  # called in each bound run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return list(dict.fromkeys([*self._providers, CPU]))

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [SimpleNamespace(ep_name=self._at_work)]

    def io_binding(self) -> Binding:
        self.bindings.append(Binding(self._session.io_binding()))
        return self.bindings[-1]

    def run_with_iobinding(self, binding: Binding, options: Any) -> None:
        self.bound_runs += 1
        self.running()
        self._session.run_with_iobinding(binding.binding, options)


class Binding:
    """What lies on the device lies in ordinary memory."""

    def __init__(self, binding: Any) -> None:
        self.binding = binding
        self.outputs: list[tuple[str, str, int]] = []
        self.copies = self.cleared = 0

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self.binding.bind_ortvalue_input(name, value)

    def bind_output(self, name: str, device: str, number: int) -> None:
        self.outputs.append((name, device, number))
        self.binding.bind_output(name, "cpu", 0)

    def copy_outputs_to_cpu(self) -> list[Any]:
        self.copies += 1
        return list(self.binding.copy_outputs_to_cpu())

    def clear_binding_outputs(self) -> None:
        self.cleared += 1
        self.binding.clear_binding_outputs()
