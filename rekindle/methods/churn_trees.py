"""Grows the trees of churn models: boosted ones, forests and survival; what comes out is XGBoost's own bytes.

Spark grows them on every example, on as many workers as there are 50,000 examples. The same trees on arrays, in this
process, are for bounded samples. Equal inputs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# A worker more for every so many examples: a small shop's model is then the same on a laptop and on a cluster.
EXAMPLES_PER_WORKER = 50_000


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


@dataclass(frozen=True)
class ForestParams:
    """A random forest (Breiman 2001) in XGBoost's words: one round of many trees, each split of its own features."""

    num_parallel_tree: int = 100
    max_depth: int = 6
    # The hessian of an example is 1/4 before the first round: 5 are 20 examples a leaf.
    min_child_weight: float = 5.0
    subsample: float = 0.63
    colsample_bynode: float = 0.2
    reg_lambda: float = 1.0
    n_estimators: int = 1
    learning_rate: float = 1.0
    tree_method: str = "hist"
    base_score: float = 0.5


@dataclass(frozen=True)
class SurvivalParams:
    """Trees of accelerated failure time; `spread` is that of the log-normal around what the trees say."""

    max_depth: int = 3
    n_estimators: int = 100
    learning_rate: float = 0.06
    min_child_weight: float = 2.0
    subsample: float = 0.8
    colsample_bytree: float = 0.6
    reg_lambda: float = 5.0
    spread: float = 1.0


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
    placed: DataFrame,
    features: Sequence[str],
    label: str,
    params: TreeParams | ForestParams,
    seed: int,
    workers: int,
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


def fit_trees_here(
    matrix: NDArray[np.float32], label: NDArray[np.float64], params: TreeParams | ForestParams, seed: int
) -> bytes:
    """The same trees on arrays in this process: for the permutation alarm and the search on a bounded sample."""
    import xgboost

    given = dict(params.__dict__)
    rounds = given.pop("n_estimators")
    data = xgboost.DMatrix(matrix, label, missing=np.nan, nthread=1)
    booster = xgboost.train({"objective": "binary:logistic", "seed": seed, "nthread": 1, **given}, data, rounds)
    return bytes(booster.save_raw("ubj"))


def fit_survival(
    matrix: NDArray[np.float32], days: NDArray[np.float64], longest: float, params: SurvivalParams, seed: int
) -> bytes:
    """UBJ bytes of trees that say log(days to the next purchase); NaN days are only known to be more than `longest`.

    Raises:
        ValueError: nobody came back, or days are not within (0, longest].
    """
    import xgboost

    seen = ~np.isnan(days)
    if not seen.any() or days[seen].min() <= 0 or days[seen].max() > longest:
        raise ValueError(f"survival: {int(seen.sum())} of {len(days)} came back; expected some, within {longest} days")
    given = asdict(params)
    rounds, spread = given.pop("n_estimators"), given.pop("spread")
    data = xgboost.DMatrix(matrix, missing=np.nan, nthread=1)
    data.set_float_info("label_lower_bound", np.where(seen, days, longest))
    data.set_float_info("label_upper_bound", np.where(seen, days, np.inf))
    told = {
        "objective": "survival:aft",
        "aft_loss_distribution": "normal",
        "aft_loss_distribution_scale": spread,
        "tree_method": "hist",
        "base_score": float(np.median(np.where(seen, days, longest))),
        "seed": seed,
        "nthread": 1,
    }
    return bytes(xgboost.train(told | given, data, rounds).save_raw("ubj"))


def fit_challenger(placed: DataFrame, features: Sequence[str], nullable: Sequence[str], label: str, seed: int) -> Any:
    """Spark ML's GBT (20 trees of depth 4) as a fitted pipeline; score by `challenger_margin`. It is not stored: it has
    no exact contributions.

    Features that are `nullable` get an indicator beside them, and 0 for null: Spark ML's trees know no missing value.
    """
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import GBTClassifier
    from pyspark.ml.feature import SQLTransformer, VectorAssembler

    values = [f"CAST(coalesce(nanvl({name}, null), 0) AS double) AS {name}_value" for name in features]
    absent = [f"CAST(isnull(nanvl({name}, null)) AS double) AS {name}_absent" for name in nullable]
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
