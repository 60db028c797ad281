"""What a night learns of its buyers from their summaries, and says of each of them: by Spark, a row a buyer.

A summary is `repeat_purchase_days` (x: days with a purchase after the first), `repeat_span_days` (t_x: days from the
first to the last of them), `customer_age_days` (T: days from the first to as_of) and `purchase_value_mean` (net value
of a purchase day, all x + 1 of them; null where it is not known); all null for who never bought. Models of purchases
see (x, t_x, T) alone, so buyers who are alike there are counted by Spark, and what reaches the driver is a row a kind.
What purchases are worth is learnt from a bounded sample by hash.

What is said of a buyer depends on his own row and on nothing else, to the bit: neither on where he stands nor on
who else is scored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import buy_till_you_die, gamma_gamma
from rekindle.methods.buy_till_you_die import Buyers, Model
from rekindle.methods.gamma_gamma import GammaGamma
from rekindle.methods.lifetime_value import Terms, value

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import Column, DataFrame

Array = NDArray[np.float64]

TIMES = ("repeat_purchase_days", "repeat_span_days", "customer_age_days")
WORTH = "purchase_value_mean"
SCORED = (
    "expected_purchases double, no_purchase_probability double, next_purchase_days double,"
    " value double, value_low double, value_high double"
)
MOST_KINDS = 200_000  # 6 MB on the driver, half a second a fit
# Where there are more kinds of buyers, times are rounded to weeks, four weeks, a quarter, a year.
STEPS = (1, 7, 28, 91, 364)
SAMPLED = 100_000  # buyers from whom it is learnt what purchases are worth: parameters within 1 %
LONGEST_WAIT = 365.0


@dataclass(frozen=True, eq=False)
class Kinds:
    """Buyers who are alike as one row, by (x, t_x, T); days, rounded to whole multiples of `step_days`."""

    buyers: Buyers
    step_days: int


@dataclass(frozen=True)
class Fits:
    """What a night learnt of its buyers; time in days, money that of `purchase_value_mean`.

    Attributes:
        bg, mbg: BG/NBD and MBG/NBD; each says if an NBD stands in for it.
        worth: of purchases; None where it could not be learnt.
        mean: of the sample's purchase days, what each is taken to be worth without `worth`; 0 where returns outweigh
            them, None if no value is known.
        worth_degraded: why `worth` is None; None where it is not.
        step_days: to which times were rounded; 1 where they were not.
        buyers: from how many it was learnt.
    """

    bg: Model
    mbg: Model
    worth: GammaGamma | None
    mean: float | None
    worth_degraded: str | None
    step_days: int
    buyers: int

    @property
    def model(self) -> Model:
        """The likelier of both, BG/NBD where they are equally so. They have as many parameters, so AIC agrees; and an
        NBD, which both contain, is kept only if neither found losses."""
        return _likelier(self.bg, self.mbg)

    @property
    def degraded(self) -> tuple[str, ...]:
        """What could not be learnt as it was meant to be, in words: of the model kept, and of worth."""
        return tuple(told for told in (self.model.degraded, self.worth_degraded) if told is not None)

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives equal fits back."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Fits:
        """The fits that `to_json` wrote.

        Raises:
            ValueError: the text is not such; the message says what is wrong with it.
        """
        told = json.loads(text)
        wanted = {field.name for field in fields(cls)}
        if not isinstance(told, dict) or set(told) != wanted:
            found = sorted(told) if isinstance(told, dict) else type(told).__name__
            raise ValueError(f"fits of buyers: {found} found, expected the keys {sorted(wanted)}")
        try:
            worth = None if told["worth"] is None else GammaGamma(**told["worth"])
            return cls(**told | {"bg": Model(**told["bg"]), "mbg": Model(**told["mbg"]), "worth": worth})
        except TypeError as error:
            raise ValueError(f"fits of buyers: {error}") from error


def grouped(frame: DataFrame, most: int = MOST_KINDS) -> Kinds:
    """Buyers who are alike, counted; those who never bought are left out. In the order of (x, t_x, T).

    Times are rounded to the first of STEPS at which there are at most `most` kinds; who came back keeps at least one
    step between his first purchase and his last. At most `most` + 1 rows a step reach the driver.

    Raises:
        ValueError: more kinds even by years, or summaries that cannot be (`Buyers`).
    """
    from pyspark.sql import functions as F

    repeats, last, age = TIMES
    bought = frame.where(F.col(repeats).isNotNull())

    def rounded(name: str, step: int) -> Column:
        near = F.round(F.col(name) / step) * step
        return F.when(F.col(repeats) > 0, F.greatest(near, F.lit(float(step)))).otherwise(near)

    for step in STEPS:
        times = [F.col(name) if step == 1 else rounded(name, step).alias(name) for name in (last, age)]
        counted = bought.select(repeats, *times).groupBy(*TIMES).agg(F.count(F.lit(1)).cast("double").alias("count"))
        found = counted.limit(most + 1).toArrow()
        if found.num_rows <= most:
            kinds = found.sort_by([(name, "ascending") for name in TIMES])
            return Kinds(Buyers(*[_numbers(kinds, name) for name in (*TIMES, "count")]), step)
    raise ValueError(f"buyers: more than {most} kinds of (x, t_x, T), even with times in steps of {STEPS[-1]} days")


def rhythm(frame: DataFrame) -> Model | None:
    """The likelier of BG/NBD and MBG/NBD of all buyers of the frame; None where nobody came back."""
    kinds = grouped(frame)
    if not (kinds.buyers.repeats > 0).any():
        return None
    return _likelier(*_both(kinds.buyers))


def fit_night(frame: DataFrame, key: str = "user_key") -> Fits:
    """BG/NBD and MBG/NBD of all buyers, and gamma-gamma of those who came back with a mean value above 0.

    `frame` is read three times. Where gamma-gamma cannot be fitted, or gives a mean of everybody that is not finite,
    every purchase counts as the mean of the sample's purchase days, and `Fits` says so.

    Raises:
        ValueError: nobody came back (no rate can be learnt), or as `grouped`.
    """
    from pyspark.sql import functions as F

    kinds = grouped(frame)
    bg, mbg = _both(kinds.buyers)
    valued = F.col(TIMES[0]).isNotNull() & F.col(WORTH).isNotNull() & ~F.isnan(WORTH)
    sample = frame.where(valued).orderBy(F.xxhash64(key), key).limit(SAMPLED).select(TIMES[0], WORTH).toArrow()
    repeats, mean = _numbers(sample, TIMES[0]), _numbers(sample, WORTH)
    everybody = max(0.0, float((mean * (repeats + 1)).sum() / (repeats + 1).sum())) if len(mean) else None
    worth, degraded = _worth(repeats, mean, everybody)
    return Fits(bg, mbg, worth, everybody, degraded, kinds.step_days, int(kinds.buyers.count.sum()))


def scorer(
    fits: Fits, terms: Terms, *, horizon_days: float, gap_days: float, keys: Sequence[str]
) -> Callable[[Iterable[pd.DataFrame]], Iterable[pd.DataFrame]]:
    """A function for `mapInPandas(…, schema="<keys' DDL>, " + SCORED)`: one row a row, the keys and

    - `expected_purchases`: days with a purchase within (0, `horizon_days`] after as_of.
    - `no_purchase_probability`: of none within (`gap_days`, `gap_days` + `horizon_days`], being lost or silent.
    - `next_purchase_days`: median days to the next purchase, being lost counted in; null where the chance that there
      is one within 365 days is below a half.
    - `value`, `value_low`, `value_high`: by `lifetime_value.value` over `terms` (days); net of returns, discounted,
      times the margin. Who has no mean value above 0 counts as everybody. Null if no value is known of anybody.

    All null for who never bought.

    Raises (on the worker):
        ValueError: summaries that cannot be (`Buyers`).
    """
    if not (gap_days >= 0 and horizon_days > 0):
        raise ValueError(
            f"buyers: a gap of {gap_days} and a horizon of {horizon_days} days, expected 0 or more, above 0"
        )
    model, names = fits.model, [part.split()[0] for part in SCORED.split(", ")]
    worth = fits.worth if fits.worth is not None else np.nan if fits.mean is None else fits.mean

    def score(frames: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
        for frame in frames:
            x, last, age, mean = (frame[name].to_numpy(np.float64, na_value=np.nan) for name in (*TIMES, WORTH))
            bought = ~np.isnan(x)
            rows, row = Buyers.grouped(x[bought], last[bought], age[bought])
            wait = model.wait(rows)
            each = Buyers(x[bought], last[bought], age[bought], np.ones(int(bought.sum())))
            known = np.where(mean[bought] > 0, x[bought] + 1, 0.0)
            worths = value(model, worth, each, known, mean[bought], terms)
            said = {
                "expected_purchases": model.expected(rows, horizon_days)[row],
                "no_purchase_probability": np.clip(model.none_within(rows, horizon_days, gap_days), 0.0, 1.0)[row],
                "next_purchase_days": np.where(wait <= LONGEST_WAIT, wait, np.nan)[row],
                "value": worths.expected,
                "value_low": worths.low,
                "value_high": worths.high,
            }
            scored = frame[list(keys)].copy()
            for name in names:
                column = np.full(len(frame), np.nan)
                column[bought] = said[name]
                scored[name] = column
            yield scored

    return score


def spend_expected(frame: pd.DataFrame, purchases: Array) -> Array:
    """Money expected of buyers of whom so many purchase days are expected, [rows], by what these very rows teach of
    what a purchase day is worth; the frame has the four columns of a summary, without nulls in the first.

    Raises:
        ValueError: no value of any of them is known.
    """
    repeats, mean = (frame[name].to_numpy(np.float64, na_value=np.nan) for name in (TIMES[0], WORTH))
    known = ~np.isnan(mean)
    if not known.any():
        raise ValueError(f"no value of any purchase is known of {len(frame)} buyers")
    everybody = float((mean[known] * (repeats[known] + 1)).sum() / (repeats[known] + 1).sum())
    worth, _ = _worth(repeats[known], mean[known], everybody)
    if worth is None:
        return purchases * everybody
    found: Array = purchases * worth.mean(np.where(known & (mean > 0), repeats + 1, 0.0), np.where(known, mean, 0.0))
    return found


def _both(buyers: Buyers) -> tuple[Model, Model]:
    """BG/NBD and MBG/NBD of the same buyers."""
    return buy_till_you_die.fit(buyers), buy_till_you_die.fit(buyers, at_once=True)


def _likelier(bg: Model, mbg: Model) -> Model:
    return mbg if mbg.log_likelihood > bg.log_likelihood else bg


def _worth(repeats: Array, mean: Array, everybody: float | None) -> tuple[GammaGamma | None, str | None]:
    """(model, None), or (None, why there is none)."""
    back = (repeats > 0) & (mean > 0)
    instead = "no value is known" if everybody is None else f"each purchase counts as {everybody:.4g}, everybody's mean"
    try:
        found = gamma_gamma.fit(repeats[back] + 1, mean[back])
    except ValueError as error:
        return None, f"{error}: {instead}"
    if found.q <= 1:
        return None, f"gamma-gamma: q {found.q:.3g}, the mean of everybody is not finite: {instead}"
    return found, None


def _numbers(table: Any, name: str) -> Array:
    """A column of an Arrow table, null as NaN."""
    found: Array = table.column(name).to_numpy().astype(np.float64)
    return found
