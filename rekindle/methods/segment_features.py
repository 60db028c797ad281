"""By which features users are put into segments, and the scale on which these are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

THEMES = (
    *("silence", "buying", "money", "looking", "wanting"),
    *("searching", "trend", "bargains", "returns", "age"),
)


@dataclass(frozen=True)
class Feature:
    """A column of the user features that segments are made by.

    `weight`: of its theme; a theme's columns share it, so that what is told by two columns does not count twice.
    `missing`: what stands for null: "none" is 0 (who never bought spent nothing an order), "most" the largest usual
    value (who never bought is as long without a purchase as anybody).
    """

    name: str
    theme: str
    weight: float
    missing: str = "none"


FEATURES = (
    Feature("days_since_activity", "silence", 1.0),
    Feature("recency_days", "silence", 1.0, "most"),
    Feature("frequency", "buying", 1.0),
    Feature("orders_90d", "buying", 1.0),
    Feature("spend_90d", "money", 1.0),
    Feature("order_value_mean", "money", 1.0),
    Feature("views_30d", "looking", 1.0),
    Feature("active_days_30d", "looking", 1.0),
    Feature("carts_30d", "wanting", 0.5),
    Feature("favourites_30d", "wanting", 0.5),
    Feature("searches_30d", "searching", 0.25),
    Feature("activity_trend", "trend", 0.25),
    Feature("discount_mean_90d", "bargains", 0.25),
    Feature("return_rate", "returns", 0.25),
    Feature("tenure_days", "age", 0.5),
)
NAMES = tuple(one.name for one in FEATURES)
USUAL = (0.01, 0.99)  # quantiles beyond which a value is taken for the quantile
NORMAL_QUARTILES = 1.349  # distance of the quartiles of a normal distribution of deviation 1


def logged(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """sign(x) · log(1 + |x|): tenfold counts as one step, and what may be negative (net money) stays so."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


@dataclass(frozen=True, eq=False)
class Scale:
    """How a user's features become a point: logarithm, limits, middle, spread, weight.

    A feature that does not differ between users (nobody has views) is not among `names`. All arrays are float64
    [names] and rounded, so that the same point comes out wherever it is computed.
    """

    names: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    middle: NDArray[np.float64]
    spread: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def fit(cls, values: NDArray[np.float64]) -> Scale:
        """Of users' features, [users, NAMES], NaN for null.

        Limits are the 1 % and 99 % quantiles, the middle the median; the spread is that of the quartiles, as of a
        normal distribution, or the standard deviation where it is larger (a feature that is 0 for most has no
        quartiles apart). A theme's weight is shared by those of its features that differ.

        Raises:
            ValueError: no feature differs between users.
        """
        filled = logged(values)
        known = np.where(np.isnan(filled).all(axis=0), 0.0, filled)
        low, high = np.nanquantile(known, USUAL, axis=0)
        filled = np.clip(np.where(np.isnan(filled), _stand_in(high, FEATURES), filled), low, high)
        quartiles = np.quantile(filled, (0.25, 0.75), axis=0)
        spread = np.maximum((quartiles[1] - quartiles[0]) / NORMAL_QUARTILES, filled.std(axis=0))
        differs = spread > 1e-9
        if not differs.any():
            raise ValueError(f"no feature differs between {len(values)} users; looked at {', '.join(NAMES)}")
        kept = [one for one, it_does in zip(FEATURES, differs, strict=True) if it_does]
        alike = {one.theme: sum(other.theme == one.theme for other in kept) for one in kept}
        weight = np.array([np.sqrt(one.weight / alike[one.theme]) for one in kept])
        low, high, middle, spread, weight = (
            np.asarray(np.round(part, 9))
            for part in (*(each[differs] for each in (low, high, np.median(filled, axis=0), spread)), weight)
        )
        return cls(tuple(one.name for one in kept), low, high, middle, spread, weight)

    @property
    def columns(self) -> list[int]:
        """Where its features are in NAMES."""
        return [NAMES.index(name) for name in self.names]

    def standard(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Features on their scales, without weights, float64 [users, names]; `values` as for `fit`."""
        filled = logged(values[:, self.columns])
        features = [FEATURES[at] for at in self.columns]
        filled = np.where(np.isnan(filled), _stand_in(self.high, features), filled)
        return np.asarray((np.clip(filled, self.low, self.high) - self.middle) / self.spread)

    def points(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What distances are taken between: features on their scales, times their weights."""
        return np.asarray(self.standard(values) * self.weight)

    def moved(self, centres: NDArray[np.float64], other: Scale) -> NDArray[np.float64]:
        """Points of this scale as points of another over the same features."""
        plain = centres / self.weight * self.spread + self.middle
        return np.asarray((np.clip(plain, other.low, other.high) - other.middle) / other.spread * other.weight)

    def to_json(self) -> dict[str, Any]:
        """Numbers and names."""
        parts = ("low", "high", "middle", "spread", "weight")
        return {"names": list(self.names)} | {part: getattr(self, part).tolist() for part in parts}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Scale:
        """What `to_json` wrote."""
        parts = (np.array(told[part], dtype=np.float64) for part in ("low", "high", "middle", "spread", "weight"))
        return cls(tuple(told["names"]), *parts)


def _stand_in(high: NDArray[np.float64], features: Any) -> NDArray[np.float64]:
    """What stands for null of each feature."""
    return np.where([one.missing == "most" for one in features], high, 0.0)
