"""A first model: scikit-learn's iris flowers, written to iris.onnx. Needs the `train` extra.

python examples/iris.py
tidegate publish iris.onnx --name iris --registry models --alias champion
tidegate serve --repository models
"""

from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

flowers = load_iris()
pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(flowers.data, flowers.target)
model = to_onnx(pipeline, flowers.data[:1].astype(np.float32), target_opset=17, options={"zipmap": False})
Path("iris.onnx").write_bytes(model.SerializeToString())
