"""Churn models as they are stored and as they score: a raw margin, a calibrator, and why.

Three kinds are compared. Recency alone, a logistic curve, is the baseline that needs no training to speak of. Boosted
trees by `xgboost.spark` are what serves: the booster travels as its own UBJ bytes and gives exact contributions.
Spark ML's GBT stands beside them as challenger and is not stored: it has no exact contributions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import calibration
from rekindle.methods.calibration import Calibrator
from rekindle.methods.xgboost_scoring import feature_matrix, load_booster, margins

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import Column, DataFrame

MODEL, BOOSTER = "model.json", "booster.ubj"
# A worker more for every so many examples: a small shop's model is then the same on a laptop and on a cluster.
EXAMPLES_PER_WORKER = 50_000


class ChurnModelError(Exception):
    """The files are no churn model; the message says what was found."""


@dataclass(frozen=True)
class RecencyModel:
    """margin = slope · log(1 + days since the last purchase) + intercept, in log-odds of leaving."""

    slope: float
    intercept: float
    calibrator: Calibrator
    horizon_days: int
    gap_days: int

    method = "recency_logistic"
    features = ("recency_days",)

    def margins(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Raw log-odds float64 [rows]; the frame needs `recency_days`, without nulls."""
        recency = frame["recency_days"].to_numpy(dtype=np.float64, na_value=np.nan)
        margin: NDArray[np.float64] = self.slope * np.log1p(recency) + self.intercept
        return margin

    def files(self) -> dict[str, bytes]:
        """The model as named files."""
        return {MODEL: _described(self, slope=self.slope, intercept=self.intercept)}


@dataclass(frozen=True)
class TreeModel:
    """Boosted trees by XGBoost on named features, in this order; missing values take each split's default way."""

    booster: bytes
    features: tuple[str, ...]
    calibrator: Calibrator
    horizon_days: int
    gap_days: int

    method = "xgboost"

    def margins(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Raw log-odds float64 [rows]; the frame needs every feature."""
        return margins(load_booster(self.booster, self.features), feature_matrix(frame, self.features))

    def files(self) -> dict[str, bytes]:
        """The model as named files."""
        return {MODEL: _described(self), BOOSTER: self.booster}


ChurnModel = RecencyModel | TreeModel


def from_files(files: Mapping[str, bytes]) -> ChurnModel:
    """The model that `files()` gave.

    Raises:
        ChurnModelError: a file is missing or says something else.
    """
    try:
        told = json.loads(files[MODEL])
        about: dict[str, Any] = {
            "calibrator": calibration.from_json(json.dumps(told["calibrator"])),
            "horizon_days": int(told["horizon_days"]),
            "gap_days": int(told["gap_days"]),
        }
        if told["method"] == RecencyModel.method:
            return RecencyModel(float(told["slope"]), float(told["intercept"]), **about)
        if told["method"] == TreeModel.method:
            features = tuple(told["features"])
            load_booster(files[BOOSTER], features)
            return TreeModel(files[BOOSTER], features, **about)
        raise ChurnModelError(f"churn model: method {told['method']!r}, expected recency_logistic or xgboost")
    except (KeyError, TypeError, ValueError) as error:
        raise ChurnModelError(f"churn model: {type(error).__name__} {error} in files {sorted(files)}") from error


def fit_recency(recency_days: NDArray[np.float64], is_churned: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept of the logistic on log(1 + recency), with Platt's smoothed targets.

    Raises:
        ValueError: one class only, or NaN.
    """
    fitted = calibration.fit_logistic(np.log1p(recency_days), is_churned)
    return fitted.slope, fitted.intercept


@dataclass(frozen=True)
class TreeParams:
    """How the trees are grown. On both shops of this repository no depth from 2 to 4 with 60 to 160 rounds gained more
    than 0.002 ROC-AUC over these, and 160 rounds of depth 4 lost 0.004 on Online Retail."""

    max_depth: int = 3
    n_estimators: int = 100
    learning_rate: float = 0.06
    min_child_weight: float = 20.0
    subsample: float = 0.8
    colsample_bytree: float = 0.6
    reg_lambda: float = 5.0
    tree_method: str = "hist"
    base_score: float = 0.5


def workers_for(rows: int, parallelism: int) -> int:
    """How many tasks train at once: one per 50,000 examples begun, at most what the cluster runs at a time.

    They form one barrier stage, so more than the cluster's slots would wait for ever.
    """
    return max(1, min(parallelism, -(-rows // EXAMPLES_PER_WORKER)))


def place(examples: DataFrame, key: Sequence[str], workers: int) -> DataFrame:
    """The examples in one partition a worker, by the hash of their key and sorted by it.

    However they came, they then train the same model. xgboost.spark's own repartition deals rows out in the order in
    which they happen to come, and small partitions make Spark ML's trees slow: 15 s on four, 6 s on one.
    """
    return examples.repartition(workers, *key).sortWithinPartitions(*key)


def fit_trees(
    placed: DataFrame, features: Sequence[str], label: str, params: TreeParams, seed: int, workers: int
) -> bytes:
    """The booster's UBJ bytes, trained by `xgboost.spark` on `workers` tasks; null features are missing.

    Examples that went through `place` give the same bytes for the same number of workers.
    """
    from pyspark.sql import functions as F
    from xgboost.spark import SparkXGBClassifier

    numbers = [F.col(name).cast("float").alias(name) for name in features]
    ordered = placed.select(F.col(label).cast("double").alias("label"), *numbers)
    classifier = SparkXGBClassifier(
        features_col=list(features),
        label_col="label",
        num_workers=workers,
        missing=float("nan"),
        random_state=seed,
        verbose=False,
        **params.__dict__,
    )
    return bytes(classifier.fit(ordered).get_booster().save_raw("ubj"))


def fit_trees_here(matrix: NDArray[np.float32], label: NDArray[np.float64], params: TreeParams, seed: int) -> bytes:
    """The same trees on arrays in this process: for the permutation alarm on a bounded sample, and for tests."""
    import xgboost

    given = dict(params.__dict__)
    rounds = given.pop("n_estimators")
    data = xgboost.DMatrix(matrix, label, missing=np.nan)
    booster = xgboost.train({"objective": "binary:logistic", "seed": seed, "nthread": 1, **given}, data, rounds)
    return bytes(booster.save_raw("ubj"))


def fit_challenger(placed: DataFrame, features: Sequence[str], nullable: Sequence[str], label: str, seed: int) -> Any:
    """Spark ML's GBT (20 trees of depth 4) as a fitted pipeline; score by `challenger_margin`.

    Features that are `nullable` get an indicator beside them, and 0 for null: Spark ML's trees know no missing value.
    """
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import GBTClassifier
    from pyspark.ml.feature import SQLTransformer, VectorAssembler

    values = [f"CAST(coalesce({name}, 0) AS double) AS {name}_value" for name in features]
    absent = [f"CAST(isnull({name}) AS double) AS {name}_absent" for name in nullable]
    made = [text.rsplit(" AS ", 1)[1] for text in (*values, *absent)]
    return Pipeline(
        stages=[
            SQLTransformer(statement=f"SELECT *, {', '.join((*values, *absent))} FROM __THIS__"),  # noqa: S608
            VectorAssembler(inputCols=made, outputCol="features", handleInvalid="error"),
            GBTClassifier(labelCol=label, maxIter=20, maxDepth=4, stepSize=0.1, seed=seed),
        ]
    ).fit(placed)


def challenger_margin() -> Column:
    """Half the log-odds that Spark ML's GBT gives, as a column of its pipeline's output."""
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql import functions as F

    return vector_to_array(F.col("rawPrediction"))[1]


def _described(model: ChurnModel, **more: float) -> bytes:
    told = {
        "method": model.method,
        "features": list(model.features),
        "horizon_days": model.horizon_days,
        "gap_days": model.gap_days,
        "calibrator": json.loads(model.calibrator.to_json()),
        **more,
    }
    return json.dumps(told, sort_keys=True).encode()
