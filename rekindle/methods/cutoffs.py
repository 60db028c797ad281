"""The cut-off dates at which churn models learn, are calibrated and are judged, split by date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta


class TooLittleHistory(Exception):
    """The log does not reach back far enough for one training cut-off."""


@dataclass(frozen=True)
class Cutoffs:
    """Training cut-offs (newest first), then one to calibrate on, then one to judge on; each `as_of` is not looked at.

    Every outcome window of training ends before calibration's begins, and calibration's before judging's.
    """

    training: tuple[date, ...]
    calibration: date
    judging: date

    @property
    def all(self) -> tuple[date, ...]:
        """Every cut-off, newest first."""
        return (self.judging, self.calibration, *self.training)


def plan(
    as_of: date, first_date: date, horizon_days: int, gap_days: int, history_days: int, step_days: int, count: int
) -> Cutoffs:
    """The cut-offs as of a day.

    Labels of cut-off t need the days up to t + gap + horizon, so the newest that can be judged is that far back. One
    outcome window before it lies calibration, and another one before that the newest of up to `count` training
    cut-offs, `step_days` apart, none with less than `history_days` of log before it.

    Raises:
        TooLittleHistory: not even one training cut-off fits.
    """
    window = timedelta(days=gap_days + horizon_days)
    judging = as_of - window
    calibration = judging - window
    newest = calibration - window
    earliest = first_date + timedelta(days=history_days)
    training = tuple(day for k in range(count) if (day := newest - timedelta(days=k * step_days)) >= earliest)
    if not training:
        raise TooLittleHistory(
            f"training needs a cut-off of {earliest} or later and {3 * window.days} days after it;"
            f" as of {as_of} the newest possible is {newest}"
        )
    return Cutoffs(training, calibration, judging)


@dataclass(frozen=True)
class TimeFold:
    """Cut-offs to learn from, and one to validate on whose outcomes come after theirs."""

    learn: tuple[date, ...]
    validate: date


def time_folds(cuts: Cutoffs, horizon_days: int, gap_days: int, most: int = 3) -> tuple[TimeFold, ...]:
    """Up to `most` folds for a search of settings, the newest first; the judging cut-off is in none.

    The calibration cut-off always validates, with all of training to learn from. So does each training cut-off that
    has others whose outcome windows end before it.
    """
    window = timedelta(days=gap_days + horizon_days)
    folds = [TimeFold(cuts.training, cuts.calibration)]
    for validate in cuts.training:
        learn = tuple(day for day in cuts.training if day + window <= validate)
        if learn:
            folds.append(TimeFold(learn, validate))
    return tuple(folds[:most])
