"""An entry point: what `tidegate retrain --entry train:train` calls, from this directory. Needs the `train` extra.

tidegate retrain --model flights -r models --data 'rows/*.parquet' --label late --time time_hour --entry train:train --param trees=100
"""

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


def train(dataset, params):
    """Boosted trees on all rows in memory; `dataset.batches()` gives them in pieces."""
    rows = dataset.load()
    columns = make_column_transformer(
        ("passthrough", dataset.numbers),
        (OneHotEncoder(handle_unknown="ignore"), dataset.texts),
    )
    trees = GradientBoostingClassifier(n_estimators=params.get("trees", 60), subsample=0.5, random_state=params["seed"])
    return make_pipeline(columns, trees).fit(pd.DataFrame(rows.columns), rows.labels)
