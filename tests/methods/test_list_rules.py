"""Lists by rules on made-up shops, beside plain loops; and what must hold of any list whatever the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rekindle.methods.interactions import Interactions, Users, best
from rekindle.methods.list_batch import Batch, ItemFacts, Rung
from rekindle.methods.list_rules import KINDS, Lists, drops, make_lists
from rekindle.methods.list_settings import Rules
from rekindle.methods.ragged import Ragged
from rekindle.methods.repurchase import Clocks, GapSums
from rekindle.methods.reranking import CAP_GAVE_WAY

CATEGORIES = ("tea", "wine", "lamps")
NO_RULES: Mapping[str, Any] = {"filters": []}


def served(made: np.random.Generator, users: int, items: int, rows: int) -> Users:
    done = Interactions(
        made.integers(0, users, rows),
        made.integers(0, items, rows),
        np.ones(rows),
        made.uniform(0, 90, rows),
        users,
        items,
    )
    return Users(np.full(users, -1, dtype=np.int64), done.histories(), done.past())


def a_batch(seed: int, users: int = 12, items: int = 40) -> Batch:
    """A source for few items, one for most, one for all; items of 3 categories or none, some sold out, some new."""
    made = np.random.default_rng(seed)
    scores = made.normal(size=(3, users, items))
    scores[0][made.random((users, items)) < 0.8] = -np.inf
    scores[1][made.random((users, items)) < 0.3] = -np.inf
    scores[1][0] = -np.inf
    category = made.integers(-1, len(CATEGORIES), items)
    bought = served(made, users, items, users * 6)
    shown = bought.histories
    facts = ItemFacts(
        category,
        CATEGORIES,
        np.array([False, False, True]),
        made.uniform(0, 100, items),
        price=made.uniform(1, 50, items),
        stock=np.where(made.random(items) < 0.2, np.nan, made.integers(0, 6, items)),
        margin=np.where(made.random(items) < 0.2, np.nan, made.random(items)),
        events=made.integers(0, 80, items).astype(float),
        vectors=made.normal(size=(items, 4)),
    )
    return Batch(
        ladder=[Rung(name, block) for name, block in zip(("two_stage", "als", "popularity"), scores, strict=True)],
        users=served(made, users, items, users * 5),
        bought=bought,
        shown=Ragged(shown.offsets, shown.items, made.integers(1, 8, len(shown.items)).astype(float)),
        seeds=made.integers(0, 2**63, users).astype(np.uint64),
        items=facts,
        clocks=Clocks.learn(GapSums.of(bought, items, 60), category, len(CATEGORIES), Rules().repurchase),
    )


def order_before_rules(batch: Batch, rules: Rules, user: int) -> list[tuple[int, int]]:
    """(source, item) of all that is spoken of."""
    had = batch.users.histories.lengths()[user]
    found: list[tuple[int, int]] = []
    for number, rung in enumerate(batch.ladder):
        if had < rules.history_items.get(rung.source, 0):
            continue
        new = [i for i in range(len(batch.items)) if rung.scores[user, i] > -np.inf and i not in {j for _, j in found}]
        found += [(number, i) for i in sorted(new, key=lambda i: (-rung.scores[user, i], i))]
    return found


def dropped_by(batch: Batch, rules: Rules) -> NDArray[np.bool_]:
    found = np.zeros((len(batch), len(batch.items)), dtype=bool)
    for _, where in drops(batch, rules):
        found |= where
    return found


FILTERS = [
    {"id": "sold_out", "drop": "item.stock <= 0"},
    {"id": "just_bought", "drop": "history.bought_days < 14"},
    {"id": "fatigue", "drop": "history.shown_nights >= 5"},
    {"id": "adult", "drop": "item.category in ('wine') and user.purchases < 6"},
    {"id": "dear", "drop": "item.price > 40"},
]
some_rules = st.fixed_dictionaries(
    {
        "history_items": st.sampled_from([{}, {"two_stage": 4}, {"two_stage": 5, "als": 4}]),
        "filters": st.lists(st.sampled_from(FILTERS), unique_by=lambda one: one["id"]),
        "most_of_category": st.sampled_from([None, 1, 2, 5]),
        "category_caps": st.sampled_from([{}, {"tea": 1}]),
        "diversity": st.sampled_from([{}, {"relevance": 0.5}, {"relevance": 0.6, "by": "vectors"}]),
        "terms": st.sampled_from([{}, {"margin": 0.5, "sentiment": 0.5}]),
        "exploration": st.sampled_from(
            [{}, {"places": 1}, {"places": 2, "ranks": [2, 6], "new_days": 60}, {"places": 3, "choice": "softmax"}]
        ),
        "repurchase": st.fixed_dictionaries(
            {
                "repeat_places": st.sampled_from([None, 0.0, 0.3, 1.0]),
                "due_boost": st.sampled_from([0, 0.5]),
                "held_below": st.sampled_from([0, 0.6]),
                "durables": st.sampled_from(["listed", "learn"]),
            }
        ),
        "candidates": st.sampled_from([20, 200]),
    }
).map(Rules.model_validate)
any_rules = settings(max_examples=50, deadline=None)
some_examples = settings(max_examples=20, deadline=None)


@any_rules
@given(some_rules, st.integers(0, 20), st.sampled_from([1, 8, 25, 60]))
def test_a_list_holds_what_is_left_no_item_twice_and_nothing_that_a_rule_drops(rules: Rules, seed: int, k: int) -> None:
    batch = a_batch(seed)
    if rules.exploration.places > k or max(rules.exploration.ranks or (0,)) > k:
        return
    lists, dropped = make_lists(batch, rules, k), dropped_by(batch, rules)
    manner_cap = {name: rules.category_caps.get(name, rules.most_of_category or 10**6) for name in CATEGORIES}
    for user in range(len(batch)):
        found = [i for i in lists.item[user] if i >= 0]
        spoken = [i for _, i in order_before_rules(batch, rules, user) if not dropped[user, i]]
        assert len(found) >= min(k, len(spoken))  # new items of which nobody speaks may come on top
        assert len(set(found)) == len(found)
        assert not dropped[user, found].any()
        assert (lists.item[user] >= 0).tolist() == [True] * len(found) + [False] * (k - len(found))
        gave_way = int((lists.gave_way[user] == CAP_GAVE_WAY).sum())
        over = 0
        for number, name in enumerate(CATEGORIES):
            over += max(0, int((batch.items.category[found] == number).sum()) - manner_cap[name])
        assert over <= gave_way
        if gave_way:  # then nothing under its cap was left out
            for i in set(spoken) - set(found):
                name_of = batch.items.category[i]
                assert name_of >= 0
                there = int((batch.items.category[found] == name_of).sum())
                assert there + rules.exploration.places >= manner_cap[CATEGORIES[name_of]]
    assert ((lists.propensity > 0) & (lists.propensity <= 1)).all()
    assert (lists.propensity[lists.kind != KINDS.index("new item")] == 1).all()


@some_examples
@given(some_rules, st.integers(0, 20))
def test_nobodys_list_depends_on_who_is_served_beside_them(rules: Rules, seed: int) -> None:
    batch = a_batch(seed)
    together = make_lists(batch, rules, 8)
    for user in range(len(batch)):
        alone = make_lists(batch.between(user, user + 1), rules, 8)
        for one in fields(Lists):
            np.testing.assert_array_equal(getattr(alone, one.name)[0], getattr(together, one.name)[user])


@any_rules
@given(some_rules, st.integers(0, 20))
def test_the_order_of_items_changes_nothing(rules: Rules, seed: int) -> None:
    """But for draws of which no source speaks: those stand in the order of the catalogue."""
    batch = a_batch(seed)
    order = np.random.default_rng(seed).permutation(len(batch.items))
    place = np.argsort(order)  # of an item's old index, its new one

    def moved(users: Users) -> Users:
        return Users(users.index, Ragged(users.histories.offsets, place[users.histories.items],
                                         users.histories.values), users.past)  # fmt: skip

    arrays = {
        one.name: getattr(batch.items, one.name)[order]
        for one in fields(ItemFacts)
        if isinstance(getattr(batch.items, one.name), np.ndarray) and one.name != "listed_durable"
    }
    other = replace(
        batch,
        ladder=[Rung(r.source, r.scores[:, order]) for r in batch.ladder],
        users=moved(batch.users),
        bought=moved(batch.bought),
        shown=Ragged(batch.shown.offsets, place[batch.shown.items], batch.shown.values),
        items=replace(batch.items, **arrays),
        clocks=replace(batch.clocks, item_days=batch.clocks.item_days[order]),
    )
    before, after = make_lists(batch, rules, 8), make_lists(other, rules, 8)
    assert np.where(after.item >= 0, order[after.item], -1).tolist() == before.item.tolist()
    np.testing.assert_array_equal(after.propensity, before.propensity)
    np.testing.assert_array_equal(after.rank_before_rules, before.rank_before_rules)


@pytest.mark.parametrize("seed", range(5))
def test_a_list_without_rules_is_that_of_the_first_source_filled_from_the_next(seed: int) -> None:
    batch = a_batch(seed)
    rules = Rules.model_validate({**NO_RULES, "history_items": {"two_stage": 4}, "candidates": 20})
    batch = replace(batch, items=replace(batch.items, listed_durable=np.zeros(3, dtype=bool)))
    lists = make_lists(batch, rules, 30)
    for user in range(len(batch)):
        expected = order_before_rules(batch, rules, user)[:30]
        assert lists.item[user].tolist() == [i for _, i in expected] + [-1] * (30 - len(expected))
        assert lists.source[user, : len(expected)].tolist() == [source for source, _ in expected]
        assert lists.rank_before_rules[user, : len(expected)].tolist() == list(range(1, len(expected) + 1))
    alone = replace(batch, ladder=batch.ladder[2:])
    assert make_lists(alone, rules, 7).item.tolist() == best(alone.ladder[0].scores, 7).tolist()


def plain_list(batch: Batch, rules: Rules, user: int, k: int) -> list[int]:
    """One user's list, without terms and draws, by loops over every candidate at every place."""
    dropped, category = dropped_by(batch, rules)[user], batch.items.category
    order = [(s, i) for s, i in order_before_rules(batch, rules, user) if not dropped[i]]
    had = {int(i) for i in batch.bought.histories.between(user, user + 1).items}
    vectors = batch.items.vectors
    assert vectors is not None
    relevance, weight = {}, rules.diversity.relevance
    for source, block in enumerate(batch.ladder):
        of_it = [block.scores[user, i] for s, i in order if s == source]
        for s, i in order:
            if s == source:
                span = max(of_it) - min(of_it)
                relevance[i] = (block.scores[user, i] - min(of_it)) / span if span else 1.0

    def likeness(a: int, b: int) -> float:
        if rules.diversity.by == "category":
            return float(category[a] == category[b] >= 0)
        return float(vectors[a] @ vectors[b] / np.sqrt((vectors[a] @ vectors[a]) * (vectors[b] @ vectors[b])))

    def room(i: int) -> bool:
        most = rules.category_caps.get(CATEGORIES[category[i]], rules.most_of_category or 10**6)
        return bool(category[i] < 0) or sum(category[j] == category[i] for j in chosen) < most

    share = rules.repurchase.repeat_places
    repeats = None if share is None else round(share * k)
    chosen: list[int] = []
    for place in range(k):
        left = [(s, i) for s, i in order if i not in chosen]
        if not left:
            break
        ways = [[x for x in left if room(x[1])], left]
        if repeats is not None:
            kept = (place + 1) * repeats // k > place * repeats // k
            ways = [[x for x in ways[0] if (x[1] in had) == kept], *ways]
        some = next(way for way in ways if way)
        tier = min(s for s, _ in some)
        gain = {
            i: weight * relevance[i] - (1 - weight) * max((likeness(i, j) for j in chosen), default=0.0)
            for s, i in some
            if s == tier
        }
        chosen.append(max(gain, key=lambda i: round(gain[i], 12)))  # of equals the first in the order
    return chosen


@some_examples
@given(some_rules, st.integers(0, 20), st.sampled_from([5, 12, 40]))
def test_caps_diversity_and_places_for_repeats_are_those_of_plain_loops(rules: Rules, seed: int, k: int) -> None:
    batch = a_batch(seed, users=6)
    rules = rules.model_copy(update={"terms": Rules().terms, "exploration": Rules().exploration, "candidates": 200})
    rules = rules.model_copy(update={"repurchase": rules.repurchase.model_copy(update={"due_boost": 0.0})})
    lists = make_lists(batch, rules, k)
    for user in range(len(batch)):
        assert [i for i in lists.item[user] if i >= 0] == plain_list(batch, rules, user, k)


def test_few_candidates_change_no_list_that_caps_alone_shape() -> None:
    """Only the best 20 of 400 items are of a category that is full; the list goes on below them."""
    batch = a_batch(3, items=400)
    rules = {"most_of_category": 2, "repurchase": {"repeat_places": 0.3}}
    few, all_ = (make_lists(batch, Rules.model_validate({**rules, "candidates": n}), 12).item for n in (20, 400))
    assert few.tolist() == all_.tolist()


def one_user(scores: list[float], category: list[int], margin: list[float] | None = None, **bought: Any) -> Batch:
    items = len(scores)
    done = Interactions(
        np.zeros(len(bought.get("item", [])), dtype=np.int64), np.array(bought.get("item", []), dtype=np.int64),
        np.ones(len(bought.get("item", []))), np.array(bought.get("age_days", []), dtype=float), 1, items,
    )  # fmt: skip
    users = Users(np.full(1, -1, dtype=np.int64), done.histories(), done.past())
    facts = ItemFacts(
        np.array(category), CATEGORIES, np.array([False, False, True]), np.full(items, 100.0),
        margin=None if margin is None else np.array(margin),
    )  # fmt: skip
    clocks = Clocks(np.full(items, 10.0), np.zeros(3, dtype=bool), 2.0, 5.0)
    rung = Rung("als", np.array([scores], dtype=float))
    return Batch([rung], users, users, Ragged.empty(1), np.zeros(1, dtype=np.uint64), facts, clocks)


def test_tea_comes_back_when_it_is_due_and_a_lamp_never() -> None:
    """Item 0: tea of 9 days ago, due (every 10 days); 1: tea of 3 days ago; 2: a lamp of 50 days ago."""
    batch = one_user([4, 3, 2, 1], [0, 0, 2, 2], item=[0, 1, 2], age_days=[9.0, 3.0, 50.0])
    lists = make_lists(batch, Rules.model_validate({"repurchase": {"held_below": 0.7}}), 4)
    assert lists.item[0].tolist() == [0, 3, -1, -1]
    assert [KINDS[kind] for kind in lists.kind[0] if kind >= 0] == ["due again", "ranked"]
    assert lists.rank_before_rules[0].tolist() == [1, 4, 0, 0]


def test_what_is_due_is_lifted_by_its_boost() -> None:
    batch = one_user([5, 4, 1], [0, 0, 0], item=[2], age_days=[9.0])
    assert make_lists(batch, Rules(), 3).item[0].tolist() == [0, 1, 2]
    lifted = Rules.model_validate({"repurchase": {"due_boost": 3.0}})
    assert make_lists(batch, lifted, 3).item[0].tolist() == [2, 0, 1]


def test_margin_decides_between_near_equals_and_is_no_matter_where_unknown() -> None:
    rules = Rules.model_validate({"terms": {"margin": 0.5}})
    scores, category = [5.0, 4.9, 0.0, -1.0], [0, 0, 0, 0]
    assert make_lists(one_user(scores, category, [0.1, 0.9, 0.5, 0.5]), rules, 4).item[0].tolist() == [1, 0, 2, 3]
    for unknown in (None, [np.nan] * 4, [0.3] * 4):
        assert make_lists(one_user(scores, category, unknown), rules, 4).item[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"shown": Ragged.empty(2)}, "of .*, expected 12"),
        ({"ladder": []}, "no source"),
        ({"ladder": [Rung("als", np.zeros((12, 3)))]}, r"scores of als are \(12, 3\)"),
        ({"ladder": [Rung("als", np.full((12, 40), np.nan))]}, "scores of als are NaN"),
        ({"clocks": Clocks.none(3, 3)}, "of other items"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        replace(a_batch(1), **change)


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        ({"exploration": {"places": 9}}, "9 places .* of a list of 8"),
        ({"exploration": {"places": 1, "ranks": [9]}}, r"ranks \[9\] of a list of 8"),
        ({"filters": [{"id": "recalled", "drop": "item.id = 'a'"}]}, "came without ids"),
    ],
)
def test_rules_that_this_shop_cannot_keep_are_refused(rules: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        make_lists(a_batch(1), Rules.model_validate(rules), 8)
