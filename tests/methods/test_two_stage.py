"""The two-stage method on made-up shops, and its features against plain loops."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from rekindle.methods.baselines import Popularity, RepeatLast
from rekindle.methods.implicit_als import ImplicitAls
from rekindle.methods.interactions import Interactions, Method, Users, lists
from rekindle.methods.judging import compare, judge_method
from rekindle.methods.neighbours import ItemNeighbours
from rekindle.methods.pair_features import HALF_LIVES
from rekindle.methods.ragged import Ragged
from rekindle.methods.splits import Events, Split, at_instant
from rekindle.methods.two_stage import Facts, FirstStage, FittedTwoStage, TwoStage, parted

SOURCES: Sequence[Method] = (
    Popularity(28, 60),
    RepeatLast(),
    ItemNeighbours(50, "cosine", 10.0),
    ImplicitAls(8, 0.1, 2.0, 5, seed=1),
)
SMALL = TwoStage(SOURCES, candidates=6, holdout_days=10.0, rounds=10, seed=1)


def a_shop(seed: int, n_users: int = 240, days: int = 150) -> Events:
    """Everybody rebuys three of 20 consumables, each at an interval of his own from 6 to 40 days, and now and then
    buys something of the one group of 15 items, of six groups, that he likes."""
    made = np.random.default_rng(seed)
    rows: list[tuple[int, int, float]] = []
    for user in range(n_users):
        for item in made.choice(20, 3, replace=False):
            interval = made.uniform(6, 40)
            day = made.uniform(0, interval)
            while day < days:
                rows.append((user, int(item), day))
                day += interval * made.uniform(0.9, 1.1)
        liked = 20 + 15 * int(made.integers(6))
        bought = made.choice(15, 8, replace=False, p=np.arange(15, 0, -1) / 120)
        rows += [(user, liked + int(item), made.uniform(0, days)) for item in bought]
    user, item, day = (np.array(column) for column in zip(*rows, strict=True))
    return Events(user, item, np.ones(len(rows)), day, n_users, 110)


def split_of(seed: int = 1, n_users: int = 240) -> Split:
    return at_instant(a_shop(seed, n_users), 140.0)


def some_past(seed: int, rows: int = 300) -> Interactions:
    """Random events of 40 days, some at the same time; the last user did nothing, nobody touched the last item."""
    made = np.random.default_rng(seed)
    age = np.where(made.random(rows) < 0.3, made.integers(0, 40, rows), made.uniform(0, 40, rows))
    return Interactions(made.integers(0, 14, rows), made.integers(0, 11, rows), made.uniform(0.5, 2, rows), age, 15, 12)


def shuffled(known: Interactions, seed: int) -> Interactions:
    order = np.random.default_rng(seed).permutation(len(known))
    return replace(
        known,
        user=known.user[order],
        item=known.item[order],
        strength=known.strength[order],
        age_days=known.age_days[order],
    )


def everybody(known: Interactions) -> Users:
    return Users(np.arange(known.n_users, dtype=np.int64), known.histories())


@pytest.mark.parametrize("seed", [1, 2])
def test_who_rebuys_in_his_own_rhythm_and_likes_one_group_gets_better_lists_than_from_any_source(seed: int) -> None:
    split = split_of(seed)
    mine = judge_method(TwoStage(SOURCES, 20, 10.0, 60, seed=1).fit(split.known), split, 5)
    for source in SOURCES:
        difference = compare(mine, judge_method(source.fit(split.known), split, 5))
        assert difference.low > 0, f"{source.name}: {difference}"


def test_what_happens_after_the_inner_instant_changes_no_feature_and_no_candidate() -> None:
    known = split_of(n_users=60).known
    later = known.age_days <= SMALL.holdout_days
    made = np.random.default_rng(7)
    other = replace(
        known,
        item=np.where(later, made.integers(0, known.n_items, len(known)), known.item),
        strength=np.where(later, 5.0, known.strength),
        age_days=np.where(later, made.uniform(0, 10, len(known)), known.age_days),
    )
    found = []
    for interactions in (known, other):
        before, _ = parted(interactions, SMALL.holdout_days)
        found.append(SMALL.first_stage(before).rows(everybody(before)))
    for one, two in zip(*found, strict=True):
        assert one.tobytes() == two.tobytes()


def test_a_fit_learns_from_features_of_the_inner_instant_and_serves_with_those_of_tonight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = split_of(n_users=60).known
    fitted_on: list[Interactions] = []
    learnt_by: list[FirstStage] = []
    first_stage, examples = TwoStage.first_stage, FirstStage.examples
    monkeypatch.setattr(TwoStage, "first_stage", lambda self, at: fitted_on.append(at) or first_stage(self, at))
    monkeypatch.setattr(FirstStage, "examples", lambda self, *at: learnt_by.append(self) or examples(self, *at))
    fitted = SMALL.fit(known)
    assert [len(at) for at in fitted_on] == [(known.age_days > 10.0).sum(), len(known)]
    assert fitted_on[0].age_days.min() + 10.0 == pytest.approx(known.age_days[known.age_days > 10.0].min())
    assert np.array_equal(learnt_by[0].facts.last, Facts.of(fitted_on[0]).last)
    assert np.array_equal(fitted.stage.facts.last, Facts.of(known).last)


def test_an_event_at_the_inner_instant_itself_is_the_future() -> None:
    known = Interactions(*(np.zeros(3, dtype=np.int64),) * 2, np.ones(3), np.array([9.0, 10.0, 10.5]), 1, 1)
    before, after = parted(known, 10.0)
    assert before.age_days.tolist() == [0.5]
    assert after.age_days.tolist() == [9.0, 10.0]


def test_labels_are_what_was_wanted_in_the_holdout_days() -> None:
    before, after = parted(split_of(n_users=60).known, SMALL.holdout_days)
    stage = SMALL.first_stage(before)
    matrix, label, group = stage.examples(before, after)
    wanted = {(int(u), int(i)) for u, i in zip(after.user, after.item, strict=True)}
    features, labels, sizes = [], [], []
    for user in range(before.n_users):
        _, items, rows = stage.rows(everybody(before).between(user, user + 1))
        told = [float((user, int(item)) in wanted) for item in items]
        if any(told):
            features.append(rows)
            labels += told
            sizes.append(len(items))
    assert label.tolist() == labels
    assert group.tolist() == sizes
    assert np.array_equal(matrix, np.concatenate(features), equal_nan=True)


def by_loops(known: Interactions, user: int, item: int) -> list[float]:
    """The features of a pair but for those of sources, event by event."""
    events = list(zip(known.user, known.item, known.strength, known.age_days, strict=True))
    own = [(i, a) for u, i, _, a in events if u == user]
    found: list[float] = [math.nan] * 4
    if own:
        days = {math.floor(a) for _, a in own}
        found = [len({i for i, _ in own}), len(own), len(days), min(a for _, a in own)]
    of_item = [(u, s, a) for u, i, s, a in events if i == item]
    found += [sum(s * 2 ** (-a / half_life) for _, s, a in of_item) for half_life in HALF_LIVES.values()]
    found.append(len({u for u, _, _ in of_item}))
    ages = [a for _, _, a in of_item]
    found += [max(ages), min(ages)] if ages else [math.nan] * 2

    def interval(of: int) -> float:
        days = sorted({math.floor(a) for u, _, a in of_item if u == of})
        return (days[-1] - days[0]) / (len(days) - 1) if len(days) > 1 else math.nan

    usual = [interval(u) for u in {u for u, _, _ in of_item} if not math.isnan(interval(u))]
    mine = [a for u, _, a in of_item if u == user]
    if not mine:
        return [*found, 0.0, math.nan, math.nan, 0.0]
    expected = interval(user)
    if math.isnan(expected):
        expected = statistics.median(usual) if usual else math.nan
    return [*found, len(mine), min(mine), min(mine) / expected, 1.0]


@pytest.mark.parametrize("rows", [20, 60, 300])
def test_features_are_those_of_a_plain_loop_over_events(rows: int) -> None:
    known = some_past(rows, rows)
    users = everybody(known)
    facts = Facts.of(shuffled(known, 1))
    user, item = (found.ravel() for found in np.indices((known.n_users, known.n_items)))
    found = facts.features(users, user, item, facts.had(users))
    expected = [by_loops(known, int(u), int(i)) for u, i in zip(user, item, strict=True)]
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_of_an_unknown_user_only_his_history_is_known() -> None:
    known = some_past(1)
    users = Users(np.array([-1, -1]), Ragged.from_lists([[3, 5], []]))
    facts = Facts.of(known)
    had = facts.had(users)
    assert np.flatnonzero(had[0]).tolist() == [3, 5]
    found = facts.features(users, np.array([0, 0, 1]), np.array([3, 4, 3]), had)
    assert np.array_equal(found[:, 0], [2, 2, 0])
    assert np.isnan(found[:, 1:4]).all()
    assert np.array_equal(found[:, 10:], [[np.nan] * 3 + [1], [0, np.nan, np.nan, 0], [0, np.nan, np.nan, 0]], True)


def test_a_source_names_as_many_items_that_a_user_had_as_new_ones_and_its_scores_are_features() -> None:
    known = some_past(2, 120)
    stage = replace_sources(known, [RepeatLast(), Popularity(28, 60)], candidates=2)
    users = everybody(known)
    row, item, features = stage.rows(users)
    had = stage.facts.had(users)
    popular = stage.sources[1].scores(users)
    recent = stage.sources[0].scores(users)
    for user in range(known.n_users):
        mine = set(item[row == user].tolist())
        own, new = np.flatnonzero(had[user]), np.flatnonzero(~had[user])
        expected: set[int] = set()
        for scores in (recent[user], popular[user]):
            for kind in (own, new):
                ranked = sorted((i for i in kind if scores[i] > -np.inf), key=lambda i: (-np.float32(scores[i]), i))
                expected |= {int(i) for i in ranked[:2]}
        assert mine == expected
    score = recent[row, item].astype(np.float32)
    assert np.array_equal(features[:, 0], np.where(np.isfinite(score), score, np.nan), equal_nan=True)
    assert np.array_equal(features[:, 2], popular[row, item].astype(np.float32))
    assert set(features[~np.isnan(features[:, 1]), 1].tolist()) == {1.0, 2.0}


def replace_sources(known: Interactions, sources: Sequence[Method], candidates: int) -> FirstStage:
    return replace(SMALL, sources=sources, candidates=candidates).first_stage(known)


def test_what_is_saved_and_read_scores_as_before() -> None:
    split = split_of(n_users=60)
    fitted = SMALL.fit(split.known)
    files = fitted.to_files()
    again = FittedTwoStage.from_files(files)
    assert again.scores(split.users).tobytes() == fitted.scores(split.users).tobytes()
    assert again.to_files() == files
    assert {name.split("/")[0] for name in files if "/" in name} == {f"source_{n}" for n in range(4)}
    assert again.explain(split.users.histories.between(0, 1), 3) == {}


def test_a_user_alone_has_the_scores_he_has_among_others() -> None:
    split = split_of(n_users=60)
    fitted = SMALL.fit(split.known)
    index = np.where(np.arange(len(split.users)) % 5 == 0, -1, split.users.index)
    users = Users(index, split.users.histories)
    together = fitted.scores(users)
    for n in range(len(users)):
        assert np.array_equal(fitted.scores(users.between(n, n + 1))[0], together[n])


def test_events_in_another_order_give_the_same_bytes_and_so_does_a_second_night() -> None:
    known = split_of(n_users=60).known
    files = SMALL.fit(known).to_files()
    assert SMALL.fit(known).to_files() == files
    assert SMALL.fit(shuffled(known, 5)).to_files() == files


def test_somebody_without_any_history_gets_what_is_popular_and_nothing_is_listed_twice() -> None:
    split = split_of(n_users=60)
    shown = lists(SMALL.fit(split.known), Users(np.array([-1]), Ragged.empty(1)), 10)[0]
    popular = lists(SOURCES[0].fit(split.known), Users(np.array([-1]), Ragged.empty(1)), 6)[0]
    assert set(shown.tolist()) == {*popular.tolist(), -1}
    assert (shown >= 0).sum() == 6


@pytest.mark.parametrize(("shift", "words"), [(20.0, "in the last 10"), (-1.0, "before the last 10")])
def test_a_shop_with_nothing_in_or_before_the_holdout_days_is_told_so(shift: float, words: str) -> None:
    known = some_past(1)
    age = known.age_days + shift if shift > 0 else known.age_days / 5
    with pytest.raises(ValueError, match=f"none of 300 interactions is {words}"):
        SMALL.fit(replace(known, age_days=age))


def test_a_shop_where_only_strangers_came_in_the_holdout_days_is_told_so() -> None:
    known = some_past(1)
    with pytest.raises(ValueError, match="none of 0 users with a past"):
        SMALL.fit(replace(known, age_days=np.where(known.user < 7, 5.0, 15.0)))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"sources": ()}, "0 sources"),
        ({"candidates": 0}, "0 candidates"),
        ({"rounds": 0}, "0 rounds"),
        ({"seed": -1}, "seed -1"),
        ({"holdout_days": 0.0}, "0.0 holdout days"),
        ({"holdout_days": math.nan}, "nan holdout days"),
        ({"sources": (ItemNeighbours(5, "cosine", half_life_days=30.0),)}, "faded histories"),
    ],
)
def test_a_setting_out_of_its_bounds_is_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **wrong)  # type: ignore[arg-type]
