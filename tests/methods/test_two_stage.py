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
from rekindle.methods.interactions import Interactions, Method, Past, Users, lists
from rekindle.methods.judging import compare, judge_method
from rekindle.methods.neighbours import ItemNeighbours
from rekindle.methods.pair_features import HALF_LIVES, ItemFacts
from rekindle.methods.ragged import Ragged
from rekindle.methods.splits import Events, Split, at_instant
from rekindle.methods.two_stage import FirstStage, FittedTwoStage, TwoStage, parted

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
    return Users(np.arange(known.n_users, dtype=np.int64), known.histories(), known.past())


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
    for name in ("row", "item", "had", "features"):
        assert getattr(found[0], name).tobytes() == getattr(found[1], name).tobytes()


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
    assert np.array_equal(learnt_by[0].facts.item, ItemFacts.of(fitted_on[0]).item, equal_nan=True)
    assert np.array_equal(fitted.stage.facts.item, ItemFacts.of(known).item, equal_nan=True)


def test_an_event_at_the_inner_instant_itself_is_the_future() -> None:
    known = Interactions(*(np.zeros(3, dtype=np.int64),) * 2, np.ones(3), np.array([9.0, 10.0, 10.5]), 1, 1)
    before, after = parted(known, 10.0)
    assert before.age_days.tolist() == [0.5]
    assert after.age_days.tolist() == [9.0, 10.0]


@pytest.mark.parametrize("least_strength", [0.0, 1.5])
def test_labels_are_what_was_wanted_in_the_holdout_days(least_strength: float) -> None:
    before, after = parted(split_of(n_users=60).known, SMALL.holdout_days)
    after = replace(after, strength=np.where(np.arange(len(after)) % 2 == 0, 1.0, 2.0))
    stage = SMALL.first_stage(before)
    found = stage.examples(before, after, least_strength)
    rows = zip(after.user, after.item, after.strength, strict=True)
    wanted = {(int(u), int(i)) for u, i, strength in rows if strength >= least_strength}
    features, labels, had = [], [], []
    for user in sorted(set(before.user.tolist()) & set(after.user.tolist())):
        told = stage.rows(everybody(before).between(user, user + 1))
        features.append(told.features)
        labels += [float((user, int(item)) in wanted) for item in told.item]
        had += told.had.tolist()
    assert found.label.tolist() == labels
    assert found.had.tolist() == had
    assert 0 < sum(labels) < len(labels)
    assert np.array_equal(found.matrix, np.concatenate(features), equal_nan=True)


def by_loops(known: Interactions, user: int, item: int) -> list[float]:
    """The features of a pair but for those of sources, event by event."""
    events = list(zip(known.user, known.item, known.strength, known.age_days, strict=True))
    own = [(i, a) for u, i, _, a in events if u == user]
    last_visit = min((a for _, a in own), default=math.nan)
    found: list[float] = [math.nan] * 4
    if own:
        found = [len({i for i, _ in own}), len(own), len({math.floor(a) for _, a in own}), last_visit]
    of_item = [(u, s, a) for u, i, s, a in events if i == item]
    popular = [sum(s * 2 ** (-a / half_life) for _, s, a in of_item) for half_life in HALF_LIVES.values()]
    ages = [a for _, _, a in of_item]
    users = {u for u, _, _ in of_item}

    def interval(of: int) -> float:
        days = sorted({math.floor(a) for u, _, a in of_item if u == of})
        return (days[-1] - days[0]) / (len(days) - 1) if len(days) > 1 else math.nan

    usual = [interval(u) for u in users if not math.isnan(interval(u))]
    found += [*popular, len(users), max(ages, default=math.nan), min(ages, default=math.nan)]
    found += [popular[0] / popular[-1], len(usual) / len(users)] if users else [math.nan] * 2
    mine = [a for u, _, a in of_item if u == user]
    if not mine:
        return [*found, 0.0, math.nan, math.nan, 0.0, math.nan]
    expected = interval(user)
    if math.isnan(expected):
        expected = statistics.median(usual) if usual else math.nan
    return [*found, len(mine), min(mine), min(mine) / expected, 1.0, min(mine) - last_visit]


@pytest.mark.parametrize("rows", [20, 60, 300])
def test_features_are_those_of_a_plain_loop_over_events(rows: int) -> None:
    known = some_past(rows, rows)
    facts = ItemFacts.of(shuffled(known, 1))
    user, item = (found.ravel() for found in np.indices((known.n_users, known.n_items)))
    found = facts.features(everybody(known), user, item)
    expected = [by_loops(known, int(u), int(i)) for u, i in zip(user, item, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)  # an event counts to a millionth


def test_somebody_whom_training_did_not_see_has_the_features_of_what_he_is_served_with() -> None:
    known = some_past(1)
    facts, users = ItemFacts.of(known), everybody(known)
    strangers = Users(np.full(len(users), -1), users.histories, users.past)
    user, item = (found.ravel() for found in np.indices((known.n_users, known.n_items)))
    assert facts.features(strangers, user, item).tobytes() == facts.features(users, user, item).tobytes()
    with pytest.raises(ValueError, match="come without their past"):
        facts.features(Users(users.index, users.histories), user, item)


def test_a_source_names_as_many_items_that_a_user_had_as_new_ones_and_its_scores_are_features() -> None:
    known = some_past(2, 120)
    stage = replace_sources(known, [RepeatLast(), Popularity(28, 60)], candidates=2)
    users = everybody(known)
    found = stage.rows(users)
    scores = [source.scores(users).astype(np.float32) for source in stage.sources]
    of = dict(zip(stage.names, found.features.T, strict=True))
    for user in range(known.n_users):
        of_user = found.row == user
        history = set(users.histories.between(user, user + 1).items.tolist())
        expected: dict[int, list[float]] = {}
        for n, told in enumerate(scores):
            for kind in (history, set(range(known.n_items)) - history):
                ranked = sorted((i for i in kind if told[user, i] > -np.inf), key=lambda i: (-told[user, i], i))
                for rank, item in enumerate(ranked[:2], 1):
                    expected.setdefault(item, [math.nan, math.nan])[n] = rank
        items = found.item[of_user].tolist()
        assert items == sorted(expected)
        assert found.had[of_user].tolist() == [item in history for item in items]
        ranks = [of["0 repeat_last rank"][of_user], of["1 popularity rank"][of_user]]
        assert np.array_equal(np.column_stack(ranks), [expected[i] for i in items], equal_nan=True)
        assert of["best rank"][of_user].tolist() == [np.nanmin(expected[i]) for i in items]
        assert of["sources"][of_user].tolist() == [np.sum(~np.isnan(expected[i])) for i in items]
    said = scores[0][found.row, found.item]
    assert np.array_equal(of["0 repeat_last score"], np.where(np.isfinite(said), said, np.nan), equal_nan=True)
    assert np.array_equal(of["1 popularity score"], scores[1][found.row, found.item])
    first = of["1 popularity rank"] == 1
    assert set(of["1 popularity share"][first].tolist()) == {1.0}
    assert np.nanmax(of["1 popularity share"]) == 1.0
    assert np.array_equal(of["pair had"], found.had)


def replace_sources(known: Interactions, sources: Sequence[Method], candidates: int) -> FirstStage:
    return replace(SMALL, sources=sources, candidates=candidates).first_stage(known)


def test_what_is_saved_and_read_scores_as_before() -> None:
    split = split_of(n_users=60)
    fitted = SMALL.fit(split.known)
    files = fitted.to_files()
    again = FittedTwoStage.from_files(files)
    assert again.scores(split.users).tobytes() == fitted.scores(split.users).tobytes()
    assert again.to_files() == files
    assert {name.split(".")[0] for name in files if name.startswith("source_")} == {f"source_{n}" for n in range(4)}
    assert again.explain(split.users.histories.between(0, 1), 3) == {}


def test_a_user_alone_has_the_scores_he_has_among_others() -> None:
    split = split_of(n_users=60)
    fitted = SMALL.fit(split.known)
    index = np.where(np.arange(len(split.users)) % 5 == 0, -1, split.users.index)
    users = Users(index, split.users.histories, split.users.past)
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
    nobody = Users(np.array([-1]), Ragged.empty(1), Past(*(np.zeros(0),) * 3, np.zeros(1)))
    shown = lists(SMALL.fit(split.known), nobody, 10)[0]
    popular = lists(SOURCES[0].fit(split.known), nobody, 6)[0]
    assert set(shown.tolist()) == {*popular.tolist(), -1}
    assert (shown >= 0).sum() == 6


def test_trees_of_new_items_learn_nothing_from_what_was_had_and_the_other_way_round() -> None:
    known = split_of(n_users=120).known
    before, after = parted(known, SMALL.holdout_days)
    examples = SMALL.first_stage(before).examples(before, after)
    for kind in (False, True):
        other = replace(examples, label=np.where(examples.had == kind, examples.label, 1 - examples.label))
        assert SMALL._learnt(other, int(kind)) == SMALL._learnt(examples, int(kind))
        assert SMALL._learnt(other, int(not kind)) != SMALL._learnt(examples, int(not kind))
    nobody_wanted_new = replace(examples, label=np.where(examples.had, examples.label, 0.0).astype(np.float32))
    both = replace(nobody_wanted_new, had=np.zeros(len(examples.had), dtype=bool))
    assert SMALL._learnt(nobody_wanted_new, 0) == SMALL._learnt(both, 0), "those of both kinds serve instead"


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
