"""Definitions of "gone", asked about the same buyers on the same days, and compared.

Asked at a cut-off t (the first day not looked at) are buyers whose last purchase is at most `eligibility_days` before.

- A **fixed window** of H days: gone is who buys nothing in [t + gap, t + gap + H). Known when the window is over.
- **Cadence**: gone is who has been silent for longer than the 0.9-quantile of his own intervals, weighed n / (n + k)
  against that of all intervals of the shop (Bühlmann 1967); one-time buyers have the shop's alone.
- **BTYD**: gone is whose probability of no purchase in conf's window is above ½ by the BG/NBD fitted at t.
- **Survival**: gone is whose silence, by Kaplan and Meier's curve of intervals after as many purchases as his, lasts
  to the end of conf's window with a probability above ½. So the gap counts as a part of the window.

The last three know what happened before t and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rekindle.methods import buy_till_you_die as btyd
from rekindle.methods.buy_till_you_die import Buyers
from rekindle.methods.cutoffs import TooLittleHistory
from rekindle.methods.interpurchase import Array, Curve, Days, Flags, PurchaseDays, groups_of

CADENCE_QUANTILE = 0.9
CADENCE_WEIGHT = 5.0  # intervals of the shop's that a buyer's own are weighed against
GONE_ABOVE = 0.5
FARTHEST = 4_095  # days of silence, 11 years: who is not gone by then never is
WINDOWS = (14, 28, 56, 84, 120)
NEAR = 0.2  # a window this close to conf's or to the knee tells nothing new
LEAST_CUTOFFS, MOST_CUTOFFS = 3, 8


@dataclass(frozen=True)
class Terms:
    """Conf's own terms, in days, and the fixed windows that stand beside them (`horizon_days` among them, rising)."""

    horizon_days: int
    gap_days: int
    eligibility_days: int
    history_days: int
    step_days: int
    windows: tuple[int, ...]

    @property
    def longest(self) -> int:
        """Days after t at which the longest window is over."""
        return self.gap_days + self.windows[-1]


@dataclass(frozen=True, eq=False)
class Call:
    """What a definition says at t of the buyers asked about, in their order.

    Attributes:
        gone: bool [asked].
        wait: float64 [asked], days after t at which the buyer is called gone if he buys nothing; 0: at t already,
            inf: never.
        needed: float64 [asked], days of silence from which on the definition calls him gone; inf: never.
    """

    gone: Flags
    wait: Array
    needed: Array


@dataclass(frozen=True, eq=False)
class Told:
    """A definition over all cut-offs.

    Attributes:
        base: float64 [cut-offs], share of the asked that it calls gone.
        regret: of those it calls gone, the share that bought again: after a fixed window within as many days more,
            after the flag of another within the horizon of conf. NaN where nobody can be asked yet.
        regret_cutoffs: cut-offs that `regret` knows of.
        needed: quartiles of the days of silence that it takes; inf where that many are never called gone.
        lead: quartiles of the days by which it calls gone, asked every day from t on with what was learnt at t, before
            the longest window is over; over buyers who are silent through that window and whom it calls gone by then.
        found: the share of buyers silent through the longest window whom it calls gone by then.
        precision: of those it calls gone, the share that bought nothing to the end of the log.
        recall: of those who bought nothing to the end of the log, the share that it calls gone.
    """

    name: str
    is_window: bool
    base: Array
    regret: float
    regret_cutoffs: int
    needed: Array
    lead: Array
    found: float
    precision: float
    recall: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """All definitions on the same buyers and cut-offs.

    Attributes:
        cutoffs: rising; each the first day not looked at.
        asked: int64 [cut-offs], buyers asked about.
        alike: float64 [definitions, definitions], share of (buyer, cut-off) that two definitions call the same.
        kappa: float64 like `alike`, Cohen's (1960): 0 as alike as by chance, 1 the same; NaN where both call all alike.
        stayed_away: float64 [cut-offs], share of the asked who bought nothing to the end of the log.
        notes: what could not be done as declared, as sentences.
    """

    told: tuple[Told, ...]
    cutoffs: tuple[int, ...]
    asked: Days
    alike: Array
    kappa: Array
    stayed_away: Array
    notes: tuple[str, ...]


def fixed_window(history: PurchaseDays, t: int, asked: Days, horizon: int, gap: int) -> Call:
    """Gone is who buys nothing in the `horizon` days that begin `gap` days after t."""
    gone = ~history.bought(t + gap, t + gap + horizon)[asked]
    known = np.full(len(asked), float(gap + horizon))
    return Call(gone, np.where(gone, known, np.inf), known)


def cadence(
    history: PurchaseDays, t: int, asked: Days, quantile: float = CADENCE_QUANTILE, weight: float = CADENCE_WEIGHT
) -> Call:
    """Gone is who is silent for longer than the quantile of intervals that he and, as `weight` intervals, all ended.

    Raises:
        ValueError: nobody has bought twice before t.
    """
    spells = history.spells(t)
    spells = spells.where(spells.ended)
    if not len(spells.days):
        raise ValueError("no buyer has bought on two days")
    order = np.lexsort((spells.days, spells.buyer))
    sizes = np.bincount(spells.buyer, minlength=len(history))
    place = np.maximum(sizes - 1, 0) * quantile
    first = np.cumsum(sizes) - sizes
    rising = np.append(spells.days[order], 0).astype(np.float64)
    low = rising[np.minimum(first + np.floor(place).astype(np.int64), len(rising) - 1)]
    high = rising[np.minimum(first + np.ceil(place).astype(np.int64), len(rising) - 1)]
    own = low + (high - low) * (place - np.floor(place))
    everybody = float(np.quantile(spells.days, quantile))
    limit = (sizes * own + weight * everybody) / (sizes + weight)
    # Whoever was silent on all days up to the limit buys after a longer interval, if ever.
    return _from_silence(history, t, asked, np.ceil(limit[asked]))


def no_purchase(history: PurchaseDays, t: int, asked: Days, horizon: int, gap: int) -> tuple[Call, str | None]:
    """Gone is whose probability of no purchase in the `horizon` days that begin `gap` days after t is above ½; and why
    the model is no BG/NBD, if it is none.

    The probability rises with silence, so the silence needed is found by halving. (With a gap it may not quite, for
    those who buy so fast that they are lost within it; `gone` is by the probability itself.)

    Raises:
        ValueError: nobody has bought twice before t.
    """
    count = history.before(t)
    some = np.flatnonzero(count > 0)
    first = history.day[history.start[some]]
    last = history.last(t)[some] - first
    age = t - 1 - first
    model = btyd.fit(Buyers.grouped(*(x.astype(np.float64) for x in (count[some] - 1, last, age)))[0])
    place = np.searchsorted(some, asked)
    until = last[place].astype(np.float64)
    rows, row = Buyers.grouped((count[asked] - 1).astype(np.float64), until, until)  # as on the day of the purchase
    low, high = np.zeros(len(rows)), np.full(len(rows), float(FARTHEST + 1))
    while (high > low).any():
        middle = np.floor((low + high) / 2)
        at = Buyers(rows.repeats, rows.last, rows.last + middle, rows.count)
        gone = model.none_within(at, float(horizon), float(gap)) > GONE_ABOVE
        low, high = np.where(gone | (low >= high), low, middle + 1), np.where(gone, middle, high)
    needed = np.where(low > FARTHEST, np.inf, low)[row]
    silence = _silence(history, t)[asked].astype(np.float64)
    rows, row = Buyers.grouped((count[asked] - 1).astype(np.float64), until, until + silence)
    gone = (model.none_within(rows, float(horizon), float(gap)) > GONE_ABOVE)[row]
    return Call(gone, np.where(gone, 0.0, np.maximum(needed - silence, 1.0)), needed), model.degraded


def survival(history: PurchaseDays, t: int, asked: Days, span: int) -> Call:
    """Gone is whose silence lasts another `span` days with a probability above ½, by the curve of intervals after as
    many purchases as his (NUMBERS), which goes on as that of all where too few of his kind are silent so long."""
    spells, silence = history.spells(t), _silence(history, t)[asked]
    group, groups = groups_of(history.before(t)[asked]), groups_of(spells.number)
    everybody = Curve.of(spells)
    gone, wait, needed = np.zeros(len(asked), np.bool_), np.zeros(len(asked)), np.zeros(len(asked))
    for one in np.unique(group):
        curve, chosen = Curve.of(spells.where(groups == one)).then(everybody), group == one
        # From the curve's end on the hazard is constant, and so is the answer.
        end = curve.last + 1
        is_gone = curve.none_within(np.arange(end + 1), span) > GONE_ABOVE
        ahead = np.where(is_gone, np.arange(end + 1, dtype=np.float64), np.inf)
        ahead = np.minimum.accumulate(ahead[::-1])[::-1]
        at = np.minimum(silence[chosen], end)
        gone[chosen], wait[chosen], needed[chosen] = is_gone[at], ahead[at] - at, ahead[0]
    return Call(gone, wait, needed)


def windows_of(horizon_days: int, bend: int | None, room: int) -> tuple[int, ...]:
    """The fixed windows to compare, rising: conf's, the knee of the curve of buying again, and WINDOWS that are not
    near these; none longer than `room`, the days the log leaves, except conf's own."""
    kept = [horizon_days]
    for days in ([bend] if bend else []) + list(WINDOWS):
        if days <= room and all(abs(days - other) > NEAR * other for other in kept):
            kept.append(days)
    return tuple(sorted(kept))


def room_for_windows(as_of: int, first: int, gap: int, history: int, step: int) -> int:
    """The longest window that leaves LEAST_CUTOFFS cut-offs in a log of these days."""
    return as_of - first - history - gap - (LEAST_CUTOFFS - 1) * step


def cutoffs_of(as_of: int, first: int, terms: Terms) -> tuple[int, ...]:
    """Up to MOST_CUTOFFS days, rising, `step_days` apart; after the newest the longest window just fits.

    Raises:
        TooLittleHistory: not one has `history_days` of log before it.
    """
    newest, earliest = as_of - terms.longest, first + terms.history_days
    found = [day for k in range(MOST_CUTOFFS) if (day := newest - k * terms.step_days) >= earliest]
    if not found:
        raise TooLittleHistory(
            f"comparing definitions needs {terms.history_days} days of log before a cut-off and {terms.longest} after"
            f" it (gap and horizon of conf); there are {as_of - first}"
        )
    return tuple(reversed(found))


def compare(history: PurchaseDays, as_of: int, terms: Terms) -> Comparison:
    """All definitions at all cut-offs; nothing of `as_of` or later is looked at, and of the days after a cut-off only
    fixed windows and the figures that say so know.

    Raises:
        TooLittleHistory: no cut-off fits, or at none anybody is asked about and anybody has bought on two days.
    """
    first = int(history.day.min()) if len(history) else as_of
    span, reference = terms.gap_days + terms.horizon_days, terms.longest
    calls: list[dict[str, Call]] = []
    pairs: list[tuple[int, Days]] = []
    notes: list[str] = []
    stood_in: list[int] = []
    newest = ""
    for t in cutoffs_of(as_of, first, terms):
        silence = _silence(history, t)
        asked = np.flatnonzero((history.before(t) > 0) & (silence < terms.eligibility_days))
        if not len(asked) or not history.spells(t).ended.any():
            notes.append(f"as of {_day(t)} nobody is asked about, or nobody has bought on two days: left out")
            continue
        at = {f"{days} days": fixed_window(history, t, asked, days, terms.gap_days) for days in terms.windows}
        at["cadence"] = cadence(history, t, asked)
        at["BTYD"], degraded = no_purchase(history, t, asked, terms.horizon_days, terms.gap_days)
        at["survival"] = survival(history, t, asked, span)
        if degraded:
            stood_in.append(t)
            newest = degraded
        calls.append(at)
        pairs.append((t, asked))
    if not calls:
        raise TooLittleHistory("; ".join(notes))
    if stood_in:
        notes.append(f"BTYD at {len(stood_in)} of {len(calls)} cut-offs, as of {_day(stood_in[-1])}: {newest}")
    silent = np.concatenate([~history.bought(t, t + reference)[asked] for t, asked in pairs])
    away = [~history.bought(t, as_of)[asked] for t, asked in pairs]
    told = []
    for place, name in enumerate(calls[0]):
        window = terms.windows[place] if place < len(terms.windows) else None
        each = [at[name] for at in calls]
        told.append(_told(name, window, history, as_of, terms, pairs, each, silent, np.concatenate(away)))
    flags = np.stack([np.concatenate([at[name].gone for at in calls]) for name in calls[0]])
    alike, kappa = agreement(flags)
    return Comparison(
        tuple(told),
        tuple(t for t, _ in pairs),
        np.array([len(asked) for _, asked in pairs]),
        alike,
        kappa,
        np.array([one.mean() for one in away]),
        tuple(notes),
    )


def agreement(flags: Flags) -> tuple[Array, Array]:
    """(share alike, Cohen's kappa), each [rows, rows], of every two rows of `flags` [rows, n]; n is 1 or more."""
    # Whole numbers up to the last step: then both are the same in either direction to the bit.
    n, ones = flags.shape[1], flags.astype(np.int64)
    called = ones.sum(axis=1)
    same = n - called[:, None] - called[None, :] + 2 * (ones @ ones.T)
    chance = called[:, None] * called[None, :] + (n - called)[:, None] * (n - called)[None, :]
    alike, room = same / n, n * n - chance
    kappa = np.where(room > 0, (n * same - chance) / np.maximum(room, 1), np.nan)
    return alike, kappa


def _told(
    name: str,
    window: int | None,
    history: PurchaseDays,
    as_of: int,
    terms: Terms,
    pairs: Sequence[tuple[int, Days]],
    calls: Sequence[Call],
    silent: Flags,
    away: Flags,
) -> Told:
    gone = np.concatenate([call.gone for call in calls])
    wait, needed = (np.concatenate([getattr(call, what) for call in calls]) for what in ("wait", "needed"))
    again = []
    for (t, asked), call in zip(pairs, calls, strict=True):
        since = t if window is None else t + terms.gap_days + window
        until = since + (window or terms.horizon_days)
        if until <= as_of:
            again.append(history.bought(since, until)[asked][call.gone])
    in_time = silent & (wait <= terms.longest)
    return Told(
        name=name,
        is_window=window is not None,
        base=np.array([call.gone.mean() for call in calls]),
        regret=_share(np.concatenate(again)) if again else float("nan"),
        regret_cutoffs=len(again),
        needed=_quartiles(needed),
        lead=_quartiles(terms.longest - wait[in_time]),
        found=_share(in_time[silent]),
        precision=_share(away[gone]),
        recall=_share(gone[away]),
    )


def _silence(history: PurchaseDays, t: int) -> Days:
    """Days of silence at t, int64 [buyers]; of no meaning where the buyer has not bought before t."""
    return t - 1 - history.last(t)


def _from_silence(history: PurchaseDays, t: int, asked: Days, needed: Array) -> Call:
    silence = _silence(history, t)[asked]
    return Call(silence >= needed, np.maximum(needed - silence, 0.0), needed)


def _share(flags: Flags) -> float:
    """The mean; NaN of nothing."""
    return float(flags.mean()) if len(flags) else float("nan")


def _quartiles(values: Array) -> Array:
    """The lower quartile, the median and the upper quartile, each a value that occurs; NaN of nothing."""
    return np.quantile(values, (0.25, 0.5, 0.75), method="inverted_cdf") if len(values) else np.full(3, np.nan)


def _day(number: int) -> str:
    return str(np.datetime64(number, "D"))
