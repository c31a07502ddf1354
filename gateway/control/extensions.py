"""What the protocol's extensions are answered by, beside inference and metadata: one bundle for both transports."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.control.configuration import ModelConfiguration
from gateway.control.drift_questions import DriftQuestions
from gateway.control.index import RepositoryIndex
from gateway.control.instruments import Instruments
from gateway.control.label_questions import LabelQuestions
from gateway.control.model_control import ModelControl
from gateway.control.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Extensions:
    """Of one worker."""

    index: RepositoryIndex
    configuration: ModelConfiguration
    statistics: Statistics
    drift: DriftQuestions
    labels: LabelQuestions
    control: ModelControl
    instruments: Instruments
