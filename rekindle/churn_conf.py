"""The churn models that a source's conf may declare, each with its settings, and the offer that a threshold is for.

`offers` says whether a method may serve: it is then stored, compared with the champion and judged by the gate; the
others stand beside in the table. What would keep people in its artefact (nearest neighbours), ranks nobody (majority)
or has no exact contributions (Spark ML's trees) never serves. Recency alone is the registered baseline of every
training and is not declared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from rekindle.sources import Strict

if TYPE_CHECKING:
    from rekindle.methods.churn_candidates import Candidate, Material, Ranker, Slice
    from rekindle.methods.churn_models import ChurnModel
    from rekindle.methods.churn_trees import ForestParams, TreeParams

BASELINE = "recency_logistic"
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class Offer(Strict):
    """What contacting a user costs and gains: the users worth it are those from the threshold on.

    `cost` of one contact in shop currency; `saves`, the share of would-be leavers who stay because of it; `margin`, the
    share of net sales that is profit.
    """

    cost: Positive
    saves: Share
    margin: Share


class Majority(Strict):
    """The same probability for everybody: what knowing nothing gives."""

    method: Literal["majority"] = "majority"
    offers: Literal[False] = False

    def learn(self, given: Material) -> Ranker:
        """What knows nothing."""
        from rekindle.methods.churn_fitting import Majority as Made

        return Made()


class Logistic(Strict):
    """L2-penalised logistic regression; `penalty` is 1/C. `log_above`: the logarithm of features more skewed than this
    is taken; null takes none, which is 0.003 ROC-AUC better on the simulated shop and 0.007 worse on Online Retail."""

    method: Literal["logistic"] = "logistic"
    offers: bool = True
    penalty: Positive = 100.0
    log_above: Positive | None = 2.0

    def learn(self, given: Material) -> ChurnModel:
        """The model, uncalibrated."""
        from rekindle.methods.churn_fitting import fit_logistic

        about = (given.features, given.horizon_days, given.gap_days, self.penalty, self.log_above)
        return fit_logistic(given.matrix, given.training.label, *about)


class Svm(Strict):
    """Linear support vector machine; `penalty` is 1/C."""

    method: Literal["linear_svm"] = "linear_svm"
    offers: bool = False
    penalty: Positive = 1000.0
    log_above: Positive | None = 2.0

    def learn(self, given: Material) -> ChurnModel:
        """The model, uncalibrated."""
        from rekindle.methods.churn_fitting import fit_svm

        about = (given.features, given.horizon_days, given.gap_days, self.penalty, self.log_above)
        return fit_svm(given.matrix, given.training.label, *about)


class Neighbours(Strict):
    """The share of leavers among the nearest known users (rekindle/methods/churn_fitting.py). 50 of them have 0.003 and
    0.009 less ROC-AUC than 100 on the two shops."""

    method: Literal["neighbours"] = "neighbours"
    offers: Literal[False] = False
    count: Count = 100

    def learn(self, given: Material) -> Ranker:
        """What knows at most 5,000 training rows."""
        from rekindle.methods.churn_fitting import Neighbours as Made

        return Made(given.matrix, given.training.label, given.features, self.count)


class Forest(Strict):
    """A random forest by XGBoost. Deeper trees gain on the simulated shop (depth 7: +0.003 ROC-AUC) and lose on Online
    Retail (-0.003)."""

    method: Literal["random_forest"] = "random_forest"
    offers: bool = True
    trees: Count = 100
    max_depth: Count = 6
    # The hessian of an example is 1/4 before the first round: 5 are 20 examples a leaf.
    min_child_weight: Positive = 5.0
    colsample_bynode: Share = 0.2

    def learn(self, given: Material) -> ChurnModel:
        """The model, uncalibrated."""
        from rekindle.methods.churn_trees import ForestParams

        params = ForestParams(self.trees, self.max_depth, self.min_child_weight, colsample_bynode=self.colsample_bynode)
        return _grown(given, params, self.method)


class SparkGbt(Strict):
    """Spark ML's gradient-boosted trees."""

    method: Literal["spark_gbt"] = "spark_gbt"
    offers: Literal[False] = False

    def learn(self, given: Material) -> Ranker:
        """The margins that came with the slices: Spark scored them where they lay."""
        from rekindle.methods.churn_candidates import CHALLENGER
        from rekindle.methods.churn_fitting import Column

        return Column(CHALLENGER)


class Xgboost(Strict):
    """Boosted trees by XGBoost; the defaults' reason is beside `TreeParams` in rekindle/methods/churn_trees.py."""

    method: Literal["xgboost"] = "xgboost"
    offers: bool = True
    max_depth: Count = 3
    n_estimators: Count = 100
    learning_rate: Positive = 0.06
    min_child_weight: Positive = 20.0
    subsample: Share = 0.8
    colsample_bytree: Share = 0.6
    reg_lambda: Positive = 5.0

    def learn(self, given: Material) -> ChurnModel:
        """The model, uncalibrated."""
        from rekindle.methods.churn_trees import TreeParams

        return _grown(given, TreeParams(**self.model_dump(exclude={"method", "offers"})), self.method)


class Aft(Strict):
    """Survival: days to the next purchase. `spread` of the log-normal; from 0.5 to 2 nothing changes above 0.002."""

    method: Literal["aft"] = "aft"
    offers: bool = False
    max_depth: Count = 3
    n_estimators: Count = 100
    learning_rate: Positive = 0.06
    spread: Positive = 1.0

    def learn(self, given: Material) -> ChurnModel:
        """The model, uncalibrated."""
        from rekindle.methods.churn_fitting import UNCALIBRATED
        from rekindle.methods.churn_models import SurvivalModel
        from rekindle.methods.churn_trees import SurvivalParams, fit_survival

        days = given.training.frame["days_to_purchase"].to_numpy(dtype="float64")
        params = SurvivalParams(**self.model_dump(exclude={"method", "offers"}))
        booster = fit_survival(given.matrix, days, given.gap_days + given.horizon_days, params, given.seed)
        return SurvivalModel(booster, given.features, UNCALIBRATED, given.horizon_days, given.gap_days)


Compared = Majority | Neighbours | SparkGbt
Servable = Logistic | Svm | Forest | Xgboost | Aft
Declared = Annotated[
    Majority | Logistic | Svm | Neighbours | Forest | SparkGbt | Xgboost | Aft, Field(discriminator="method")
]


def every_method() -> dict[str, Declared]:
    """All of them by their own names, as they are by default."""
    made: tuple[Declared, ...] = (
        Majority(), Logistic(), Neighbours(), Svm(), Forest(), SparkGbt(), Xgboost(), Aft(),
    )  # fmt: skip
    return {one.method: one for one in made}


def learn(
    methods: Mapping[str, Declared],
    given: Material,
    later: Slice,
    judging: Slice,
    newest: Slice,
    challenger_seconds: float,
) -> dict[str, Candidate]:
    """Every declared method, fitted and calibrated, by name; `challenger_seconds` is what Spark ML's trees took.

    Raises:
        ValueError: a method cannot learn from this.
    """
    from rekindle.methods.churn_candidates import calibrated, stored

    found = {}
    for name, declared in methods.items():
        started = time.monotonic()
        if isinstance(declared, SparkGbt):
            # Spark scored the slices on their way to the driver: that time is not its own.
            made, _ = calibrated(name, declared.learn(given), later, judging, None, challenger_seconds)
            found[name] = replace(made, score_seconds=None)
        elif isinstance(declared, Compared):
            ranker = declared.learn(given)
            found[name], _ = calibrated(name, ranker, later, judging, None, time.monotonic() - started)
        else:
            model = declared.learn(given)
            seconds = time.monotonic() - started
            found[name] = stored(name, model, later, judging, newest, seconds, declared.offers)
    return found


def settings_of(declared: Declared | None) -> dict[str, str | int | float]:
    """A method's settings as a record keeps them; what is not set is "none"."""
    told: dict[str, Any] = {} if declared is None else declared.model_dump(exclude={"method", "offers"})
    return {key: "none" if value is None else value for key, value in told.items()}


def _grown(given: Material, params: TreeParams | ForestParams, method: str) -> ChurnModel:
    from rekindle.methods.churn_fitting import UNCALIBRATED
    from rekindle.methods.churn_models import TreeModel
    from rekindle.methods.churn_trees import fit_trees

    booster = fit_trees(given.placed, given.features, "is_churned", params, given.seed, given.workers)
    return TreeModel(booster, given.features, UNCALIBRATED, given.horizon_days, given.gap_days, method)
