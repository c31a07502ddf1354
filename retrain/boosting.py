"""XGBoost's and LightGBM's classifiers, taught to skl2onnx when a pipeline needs them. The only importer of onnxmltools."""

from __future__ import annotations

import importlib
from typing import Any

# Package of a classifier → its name, and where onnxmltools keeps the converter.
_CONVERTERS = {
    "xgboost": ("XGBClassifier", "XGBoostXGBClassifier", "onnxmltools.convert.xgboost.operator_converters.XGBoost", "convert_xgboost"),
    "lightgbm": (
        "LGBMClassifier",
        "LightGbmLGBMClassifier",
        "onnxmltools.convert.lightgbm.operator_converters.LightGbm",
        "convert_lightgbm",
    ),
}
_OPTIONS = {"nocl": [True, False], "zipmap": [True, False, "columns"]}  # those of skl2onnx's own classifiers


class MissingConverterError(Exception):
    """onnxmltools is not installed."""


def teach(estimator: Any) -> None:
    """Make skl2onnx know the class of `estimator` if it is one of ours. Raises `MissingConverterError`."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    name, alias, module, function = _CONVERTERS.get(type(estimator).__module__.partition(".")[0], ("", "", "", ""))
    if type(estimator).__name__ != name:
        return
    try:
        convert = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise MissingConverterError(f"{name} needs onnxmltools: pip install 'tidegate[boosting]'") from error
    update_registered_converter(
        type(estimator), alias, calculate_linear_classifier_output_shapes, convert, overwrite=True, options=_OPTIONS
    )
