"""Score gradient-boosted trees and say why, in numpy on any worker: margins, and exact contributions of each feature.

The model travels as the bytes of XGBoost's own JSON or UBJ (never pickle). Contributions are TreeSHAP values
(Lundberg et al. 2020): with the bias they add up to the margin. NaN means missing and takes each split's default way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.carried import HasValue

if TYPE_CHECKING:
    import pandas as pd

# What `scorer` adds to the key columns, as Spark DDL.
SCORED = "margin double, features array<string>, feature_values array<double>, contributions array<double>"
Towards = Literal["either", "positive"]


def load_booster(content: bytes, features: Sequence[str]) -> Any:
    """An `xgboost.Booster` from its JSON or UBJ bytes, on one thread (Spark already uses every core).

    Raises:
        ValueError: the bytes are no model, or the model was trained on other features or another order of them.
    """
    import xgboost

    try:
        booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(content))
    except xgboost.core.XGBoostError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"model: {len(content)} bytes are no XGBoost JSON or UBJ ({reason})") from error
    if booster.num_features() != len(features):
        raise ValueError(f"model: trained on {booster.num_features()} features, {len(features)} given")
    if booster.feature_names is not None and list(booster.feature_names) != list(features):
        raise ValueError(f"model: trained on {list(booster.feature_names)}, given {list(features)}; order matters")
    return booster


def margins(booster: Any, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Raw scores in log-odds, float64 [rows], before any calibration. `matrix` is [rows, features], NaN is missing."""
    if not len(matrix):
        return np.zeros(0)
    return np.asarray(booster.predict(_matrix(booster, matrix), output_margin=True), dtype=np.float64)


def contributions(booster: Any, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """What each feature adds to the margin, float64 [rows, features + 1] in log-odds; the last column is the bias.

    Rows add up to `margins` within float32's rounding.
    """
    if not len(matrix):
        return np.zeros((0, matrix.shape[1] + 1))
    return np.asarray(booster.predict(_matrix(booster, matrix), pred_contribs=True), dtype=np.float64)


def top_contributions(added: NDArray[np.float64], k: int, towards: Towards = "either") -> NDArray[np.int64]:
    """Feature indexes int64 [rows, k] of the k largest contributions, largest first; `added` without the bias column.

    `either`: by size in either direction. `positive`: only what raises the margin. Features that add nothing are
    never named: places without one hold −1. Ties go to the earlier feature.
    """
    if k < 1 or added.ndim != 2:
        raise ValueError(f"top_contributions: k {k} of an array of shape {added.shape}")
    size = np.abs(added) if towards == "either" else added
    order = np.argsort(-size, axis=1, kind="stable")[:, :k].astype(np.int64)
    named = np.where(np.take_along_axis(size, order, axis=1) > 0, order, -1)
    missing = max(0, k - added.shape[1])
    return np.pad(named, ((0, 0), (0, missing)), constant_values=-1)


def scorer(
    model: HasValue[bytes], features: Sequence[str], keys: Sequence[str], *, top: int = 3, towards: Towards = "either"
) -> Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]:
    """A function for `DataFrame.mapInPandas(…, schema="<keys' DDL>, " + SCORED)`.

    In: the key columns and the features (numbers or booleans; null or NaN is missing). Out, one row a row: the keys,
    margin (log-odds), and three arrays of equal length, at most `top`: the names of the features that weigh most
    (see `top_contributions`), their values (null: missing) and their contributions. `model` is a broadcast of bytes.
    """
    names = list(features)
    kept = list(keys)

    def score(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        booster = load_booster(model.value, names)
        for frame in frames:
            matrix = feature_matrix(frame, names)
            added = contributions(booster, matrix)[:, :-1]
            chosen = top_contributions(added, top, towards)
            scored = frame[kept].copy()
            scored["margin"] = margins(booster, matrix)
            rows = [(row, picked[picked >= 0]) for row, picked in enumerate(chosen)]
            scored["features"] = [[names[place] for place in picked] for _, picked in rows]
            scored["feature_values"] = [
                [None if np.isnan(value) else float(value) for value in matrix[row, picked]] for row, picked in rows
            ]
            scored["contributions"] = [added[row, picked].tolist() for row, picked in rows]
            yield scored

    return score


def feature_matrix(frame: pd.DataFrame, features: Sequence[str]) -> NDArray[np.float32]:
    """The features of a frame as float32 [rows, features] in this order; null becomes NaN, which means missing.

    Raises:
        ValueError: a feature is not a column of the frame.
    """
    absent = [name for name in features if name not in frame.columns]
    if absent:
        raise ValueError(f"features: {absent} are not among the columns {list(frame.columns)}")
    matrix = np.empty((len(frame), len(features)), dtype=np.float32)
    for place, name in enumerate(features):
        matrix[:, place] = frame[name].to_numpy(dtype=np.float32, na_value=np.nan)
    return matrix


def _matrix(booster: Any, matrix: NDArray[np.float32]) -> Any:
    import xgboost

    return xgboost.DMatrix(matrix, missing=np.nan, feature_names=booster.feature_names, nthread=1)
