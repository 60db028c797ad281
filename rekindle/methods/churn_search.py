"""A bounded search for the settings of churn methods, by time: what is chosen is judged on days that it never saw.

Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), seeded, one trial after the other: equal inputs choose
equal settings. The settings that conf says are the first trial, so that only what does better takes their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.churn_candidates import Slice
from rekindle.methods.churn_fitting import UNCALIBRATED, fit_logistic
from rekindle.methods.churn_inputs import finite_matrix
from rekindle.methods.churn_judging import fewest_of_a_class
from rekindle.methods.churn_trees import TreeParams, fit_trees_here
from rekindle.methods.cutoffs import TimeFold
from rekindle.methods.xgboost_scoring import load_booster, margins

if TYPE_CHECKING:
    from optuna import Trial

Settings = dict[str, Any]


@dataclass(frozen=True)
class Fold:
    """Examples to learn from and later ones to validate on: float32 [rows, features], NaN is missing; labels 0 or 1."""

    matrix: NDArray[np.float32]
    label: NDArray[np.float64]
    later: NDArray[np.float32]
    later_label: NDArray[np.float64]


def folds(
    times: Sequence[TimeFold], training: Slice, later: Slice, features: Sequence[str], most: int
) -> tuple[Fold, ...]:
    """The time folds that have both classes to learn from and to validate on.

    A cut-off that is none of training's is `later`'s; of it at most `most` rows validate, evenly taken.

    Raises:
        ValueError: infinite values.
    """
    matrix, days = finite_matrix(training.frame, features), training.frame["as_of"].to_numpy()
    some = np.unique(np.linspace(0, len(later.label) - 1, most).astype(np.int64))
    newest = (finite_matrix(later.frame.iloc[some], features), later.label[some])
    found = []
    for time in times:
        learn = training.frame["as_of"].isin(time.learn).to_numpy()
        then = days == time.validate
        after = (matrix[then], training.label[then]) if then.any() else newest
        if fewest_of_a_class(training.label[learn]) and fewest_of_a_class(after[1]):
            found.append(Fold(matrix[learn], training.label[learn], *after))
    return tuple(found)


@dataclass(frozen=True)
class Tried:
    """One trial: its settings and the mean over folds of the log loss, in nats; knowing nothing of b: −b·log b −
    (1−b)·log(1−b)."""

    settings: Settings
    log_loss: float


def logistic_margins(fold: Fold, settings: Settings, seed: int) -> NDArray[np.float64]:
    """Log-odds of the later rows by a logistic regression with these settings."""
    names = [str(place) for place in range(fold.matrix.shape[1])]
    model = fit_logistic(fold.matrix, fold.label, names, 1, 0, settings["penalty"], settings["log_above"])
    return model.of_matrix(fold.later)


def tree_margins(fold: Fold, settings: Settings, seed: int) -> NDArray[np.float64]:
    """Log-odds of the later rows by boosted trees with these settings."""
    booster = fit_trees_here(fold.matrix, fold.label, TreeParams(**settings), seed)
    return margins(load_booster(booster, [str(place) for place in range(fold.matrix.shape[1])]), fold.later)


def logistic_space(trial: Trial) -> Settings:
    """Settings of a logistic regression to try."""
    return {
        "penalty": trial.suggest_float("penalty", 1.0, 10_000.0, log=True),
        "log_above": trial.suggest_categorical("log_above", [None, 1.0, 2.0]),
    }


def tree_space(trial: Trial) -> Settings:
    """Settings of boosted trees to try."""
    return {
        "max_depth": trial.suggest_int("max_depth", 2, 6),
        "n_estimators": trial.suggest_int("n_estimators", 40, 240, step=20),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "min_child_weight": trial.suggest_float("min_child_weight", 2.0, 100.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.5, 20.0, log=True),
    }


SEARCHED: dict[str, tuple[Callable[[Trial], Settings], Callable[[Fold, Settings, int], NDArray[np.float64]]]] = {
    "logistic": (logistic_space, logistic_margins),
    "xgboost": (tree_space, tree_margins),
}


def search(
    method: str, default: Settings, folds: Sequence[Fold], seed: int, trials: int
) -> tuple[Settings, tuple[Tried, ...]]:
    """The settings with the lowest log loss, and all that were tried, in order; `default` is the first of them.

    `method` is a key of SEARCHED, `default` has the keys of its space.
    """
    import optuna

    space, learn = SEARCHED[method]
    tried: list[Tried] = []

    def loss(trial: Trial) -> float:
        settings = space(trial)
        losses = [log_loss(fold.later_label, learn(fold, settings, seed)) for fold in folds]
        tried.append(Tried(settings, float(np.mean(losses))))
        return tried[-1].log_loss

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line a trial says what `tried` does
    try:
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        study.enqueue_trial(default)
        study.optimize(loss, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(level)
    return min(tried, key=lambda one: one.log_loss).settings, tuple(tried)


def log_loss(label: NDArray[np.float64], margin: NDArray[np.float64]) -> float:
    """Mean −log of the probability that a margin in log-odds gives to what happened, in nats; 0 is perfect."""
    said = UNCALIBRATED.apply(margin)
    return float(-np.mean(np.where(label == 1, np.log(said), np.log1p(-said))))
