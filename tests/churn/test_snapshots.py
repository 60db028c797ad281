"""A snapshot of customers without dates: the same classifiers reach the honest level, and the usual trick is found out.

Telco Customer Churn (IBM, 7,043 customers, 26.5 % left). There is no time in it, so users are split at random, each
class alike; public claims for this file go up to 0.99 by SMOTE before the split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rekindle.methods import calibration, churn_fitting, churn_leaks, churn_profit, churn_trees
from rekindle.methods.churn_judging import figures
from rekindle.methods.churn_models import ChurnModel, TreeModel
from rekindle.methods.churn_trees import ForestParams, TreeParams

TELCO = Path(__file__).resolve().parents[3] / "shared/data/telco-churn/Telco-Customer-Churn.csv"
pytestmark = pytest.mark.skipif(not TELCO.is_file(), reason="../shared/data does not lie beside the clone")
SPLITS = 5


@dataclass(frozen=True)
class Customers:
    """Features as columns and who left."""

    frame: pd.DataFrame
    left: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Customers:
        return Customers(self.frame[rows], self.left[rows])

    @property
    def matrix(self) -> np.ndarray:
        return self.frame.to_numpy(dtype=np.float32)

    def split(self, seed: int, *shares: float) -> Iterator[Customers]:
        """Random parts with these shares of each class."""
        generator, part = np.random.default_rng(seed), np.zeros(len(self.left), dtype=int)
        for kind in (0, 1):
            rows = generator.permutation(np.flatnonzero(self.left == kind))
            ends = (np.cumsum(shares) * len(rows)).round().astype(int)
            for number, taken in enumerate(np.split(rows, ends[:-1])):
                part[taken] = number
        return (self[part == number] for number in range(len(shares)))


@pytest.fixture(scope="module")
def telco() -> Customers:
    """Words as indicators; a blank total (nobody was billed yet) is missing."""
    raw = pd.read_csv(TELCO)
    raw["TotalCharges"] = pd.to_numeric(raw["TotalCharges"], errors="coerce")
    frame = pd.get_dummies(raw.drop(columns=["customerID", "Churn"]), dtype=float)
    assert (len(frame), int(frame["TotalCharges"].isna().sum())) == (7043, 11)
    return Customers(frame, (raw["Churn"] == "Yes").to_numpy(dtype=float))


def fitted(training: Customers) -> dict[str, ChurnModel]:
    """The night's classifiers as they are by default, on customers."""
    names = tuple(training.frame.columns)

    def grown(params: TreeParams | ForestParams, method: str) -> ChurnModel:
        booster = churn_trees.fit_trees_here(training.matrix, training.left, params, 1)
        return TreeModel(booster, names, churn_fitting.UNCALIBRATED, 30, 0, method)

    return {
        "logistic": churn_fitting.fit_logistic(training.matrix, training.left, names, 30, 0),
        "random_forest": grown(ForestParams(), "random_forest"),
        "xgboost": grown(TreeParams(), "xgboost"),
    }


@pytest.fixture(scope="module")
def judged(telco: Customers) -> dict[str, dict[str, float]]:
    """Mean figures over five splits of 60 % to learn, 20 % to calibrate, 20 % to judge, at the profit threshold.

    The offer costs 10 a user and keeps one leaver in ten, who then pays bills for a year; half of them is margin.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(SPLITS):
        training, later, judging = telco.split(seed, 0.6, 0.2, 0.2)
        bills = 12 * later.frame["MonthlyCharges"].to_numpy()[later.left == 0]
        at = churn_profit.threshold(cost=10.0, saves=0.1, margin=0.5, stayers_spend=float(bills.mean()))
        for name, model in fitted(training).items():
            calibrator = calibration.choose(model.margins(later.frame), later.left)
            margin = model.margins(judging.frame)
            probability = calibrator.apply(margin)
            told = figures(judging.left, margin, probability, at.probability)
            found.setdefault(name, []).append(told | churn_profit.profits(judging.left, probability, at))
    return {name: pd.DataFrame(told).mean().to_dict() for name, told in found.items()}


def test_every_classifier_reaches_the_honest_level_and_none_is_far_ahead(judged: dict[str, dict[str, float]]) -> None:
    aucs = {name: told["roc_auc"] for name, told in judged.items()}
    assert all(0.84 <= auc <= 0.85 for auc in aucs.values()), aucs
    assert max(aucs.values()) - min(aucs.values()) < 0.01


def test_probabilities_hold_and_the_offer_pays(judged: dict[str, dict[str, float]]) -> None:
    for told in judged.values():
        assert told["ece"] < 0.04
        assert abs(told["calibration_in_the_large"]) < 0.02
        assert told["profit_per_1000"] > max(0.0, told["profit_per_1000_contacting_all"])


def test_the_often_quoted_85_78_80_percent_are_not_reached_together(judged: dict[str, dict[str, float]]) -> None:
    """Accuracy 85, recall 78, F1 80 %: at the profit threshold it is 75, 79 and 63 %.

    Recall 0.78 and F1 0.80 mean precision 0.82, which all three models have about 0.52 of there; and with accuracy 0.85
    they belong together where 38 % leave, not 26.5 %.
    """
    for told in judged.values():
        assert 0.70 < told["accuracy"] < 0.82
        assert told["recall"] > 0.6
        assert 0.55 < told["f1"] < 0.68
        assert not (told["accuracy"] >= 0.85 and told["recall"] >= 0.78 and told["f1"] >= 0.80)


def smote(customers: Customers, seed: int) -> Customers:
    """As many leavers as stayers: each new one lies between a leaver and one of its 5 nearest (Chawla et al. 2002)."""
    generator = np.random.default_rng(seed)
    rows = customers.frame.fillna(0.0).to_numpy()
    leavers = rows[customers.left == 1]
    even = leavers / np.maximum(rows.std(axis=0), 1e-9)
    size = (even**2).sum(axis=1)
    away = size[:, None] + size - 2 * even @ even.T
    np.fill_diagonal(away, np.inf)
    near = np.argsort(away, axis=1)[:, :5]
    missing = int((customers.left == 0).sum()) - len(leavers)
    one = generator.integers(0, len(leavers), missing)
    other = near[one, generator.integers(0, 5, missing)]
    made = leavers[one] + generator.random((missing, 1)) * (leavers[other] - leavers[one])
    frame = pd.DataFrame(np.vstack([rows, made]), columns=customers.frame.columns)
    return Customers(frame, np.append(customers.left, np.ones(missing)))


def alarms(customers: Customers, seed: int) -> tuple[churn_leaks.Resampled, list[Any]]:
    training, judging = customers.split(seed, 0.8, 0.2)
    found = churn_leaks.resampled(training.matrix, judging.matrix, judging.left, seed)
    return found, churn_leaks.resampling_alarms(found)


@pytest.mark.parametrize("seed", range(3))
def test_smote_before_the_split_is_found_out_and_an_honest_split_is_not(telco: Customers, seed: int) -> None:
    honest, silent = alarms(telco, seed)
    assert silent == []
    assert honest.excess < 0.03
    found, raised = alarms(smote(telco, seed), seed)
    assert found.left > 0.2
    assert found.stayed < 0.03
    assert "resampled before the split" in raised[0].found


def test_what_smote_before_the_split_seems_to_gain_is_not_there(telco: Customers) -> None:
    training, judging = smote(telco, 1).split(1, 0.8, 0.2)
    model = fitted(training)["random_forest"]
    said = model.margins(judging.frame)
    claimed = figures(judging.left, said, model.calibrator.apply(said), 0.5)
    real, held = telco.split(1, 0.8, 0.2)
    honest = fitted(real)["random_forest"]
    margin = honest.margins(held.frame)
    told = figures(held.left, margin, honest.calibrator.apply(margin), 0.5)
    assert claimed["roc_auc"] > told["roc_auc"] + 0.04
    assert claimed["f1"] > told["f1"] + 0.15
