"""Conditions of list rules: what is of the language, and their truth beside DuckDB's over the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from rekindle import conf_faults
from rekindle.methods.filter_evaluation import Texts, is_dropped
from rekindle.methods.filter_language import FilterError, parsed
from rekindle.methods.list_settings import Rules

NAMES = ("wine", "spirits", "tea", "100% tea")
ITEM, USER, BETWEEN = ("price", "stock"), ("purchases",), ("bought_days", "shown_nights")


@dataclass(frozen=True)
class Shop:
    """Fields by name; NaN and −1 are unknown."""

    numbers: dict[str, NDArray[np.float64]]
    category: NDArray[np.int64]
    durable: NDArray[np.bool_]

    def number(self, name: str) -> NDArray[np.float64]:
        return self.numbers[name]

    def texts(self, name: str) -> Texts:
        assert name == "item.category"
        return Texts(self.category[None, :], NAMES)

    def flag(self, name: str) -> NDArray[np.bool_]:
        assert name == "item.durable"
        return self.durable[None, :]


def a_shop(seed: int, users: int = 7, items: int = 9) -> Shop:
    made = np.random.default_rng(seed)

    def some(*shape: int) -> NDArray[np.float64]:
        found = made.integers(-1, 4, shape).astype(float)
        found[made.random(shape) < 0.3] = np.nan
        return found

    numbers = {f"item.{name}": some(1, items) for name in ITEM}
    numbers |= {f"user.{name}": some(users, 1) for name in USER}
    numbers |= {f"history.{name}": some(users, items) for name in BETWEEN}
    return Shop(numbers, made.integers(-1, len(NAMES), items), made.random(items) < 0.5)


@lru_cache
def in_duckdb(seed: int) -> duckdb.DuckDBPyConnection:
    """The same shop as one table of all pairs, in an engine."""
    shop = a_shop(seed)
    users, items = shop.numbers["history.bought_days"].shape

    def cell(value: float) -> str:
        return "NULL" if np.isnan(value) else str(value)

    rows = [
        [
            str(u), str(i), *(cell(shop.numbers[f"item.{n}"][0, i]) for n in ITEM),
            *(cell(shop.numbers[f"user.{n}"][u, 0]) for n in USER),
            *(cell(shop.numbers[f"history.{n}"][u, i]) for n in BETWEEN),
            f"'{NAMES[shop.category[i]]}'" if shop.category[i] >= 0 else "NULL", str(bool(shop.durable[i])),
        ]
        for u in range(users) for i in range(items)
    ]  # fmt: skip
    engine = duckdb.connect()
    numbers = ", ".join(f"{name} DOUBLE" for name in (*ITEM, *USER, *BETWEEN))
    engine.execute(f"CREATE TABLE t (u INT, i INT, {numbers}, category TEXT, durable BOOLEAN)")
    engine.execute(f"INSERT INTO t VALUES {', '.join('(' + ', '.join(row) + ')' for row in rows)}")
    return engine


# Each is a pair: the condition as a rule has it, and as SQL over one table of all pairs has it.
FIELDS = [f"item.{n}" for n in ITEM] + [f"user.{n}" for n in USER] + [f"history.{n}" for n in BETWEEN]
Both = tuple[str, str]
fields = st.sampled_from(FIELDS).map(lambda name: (name, name.split(".")[1]))
numbers = st.recursive(
    fields | st.sampled_from([-1, 0, 1, 2, 0.5]).map(lambda n: (f"({n})", f"({n})")),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(
            lambda t: (f"({t[0][0]} {t[1]} {t[2][0]})", f"({t[0][1]} {t[1]} {t[2][1]})")
        ),
        # DuckDB's own division by 0 is infinite.
        st.tuples(inner, inner).map(lambda t: (f"({t[0][0]} / {t[1][0]})", f"({t[0][1]} / nullif({t[1][1]}, 0))")),
        inner.map(lambda t: (f"(-{t[0]})", f"(-{t[1]})")),
    ),
    max_leaves=3,
)
texts = st.lists(st.sampled_from([*NAMES, "beer"]), min_size=1, max_size=3).map(
    lambda some: "(" + ", ".join(f"'{name}'" for name in some) + ")"
)


def in_category(words: str) -> Both:
    return f"item.category {words}", f"category {words}"


atoms = st.one_of(
    st.tuples(numbers, st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">=", "=="]), numbers).map(
        lambda t: (f"{t[0][0]} {t[1]} {t[2][0]}", f"{t[0][1]} {t[1]} {t[2][1]}")
    ),
    st.tuples(numbers, st.sampled_from(["", "NOT "]), numbers, numbers).map(
        lambda t: tuple(f"{t[0][n]} {t[1]}BETWEEN {t[2][n]} AND {t[3][n]}" for n in (0, 1))
    ),
    st.tuples(numbers, st.sampled_from(["", "not "]), numbers, numbers).map(
        lambda t: tuple(f"{t[0][n]} {t[1]}in ({t[2][n]}, {t[3][n]})" for n in (0, 1))
    ),
    st.tuples(fields, st.sampled_from(["IS NULL", "IS NOT NULL"])).map(
        lambda t: (f"{t[0][0]} {t[1]}", f"{t[0][1]} {t[1]}")
    ),
    texts.map(lambda some: in_category(f"IN {some}")),
    texts.map(lambda some: in_category(f"NOT IN {some}")),
    st.sampled_from(
        ["= 'tea'", "<> 'tea'", "LIKE '%tea'", "NOT LIKE 'w_ne'", "LIKE '100%'", "IS NULL", "LIKE 's.*'"]
    ).map(in_category),
    st.just(("item.durable", "durable")),
    st.just(("TRUE", "TRUE")),
)
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "or"]), inner).map(
            lambda t: (f"({t[0][0]}) {t[1]} ({t[2][0]})", f"({t[0][1]}) {t[1]} ({t[2][1]})")
        ),
        inner.map(lambda t: (f"NOT ({t[0]})", f"NOT ({t[1]})")),
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(conditions, st.integers(0, 2))
def test_a_rule_drops_what_sql_finds_over_all_users_and_items(condition: Both, seed: int) -> None:
    shop = a_shop(seed)
    ours, sql = condition
    expected = np.zeros(shop.numbers["history.bought_days"].shape, dtype=bool)
    for u, i in in_duckdb(seed).execute(f"SELECT u, i FROM t WHERE {sql}").fetchall():
        expected[u, i] = True
    assert np.broadcast_to(is_dropped(ours, shop), expected.shape).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("condition", "dropped"),
    [
        ("item.stock <= 0", [False, True, False]),
        ("not item.stock > 0", [False, True, False]),  # an unknown stock sells nothing out, said either way
        ("item.stock is null", [True, False, False]),
        ("item.stock <= 0 or item.stock is null", [True, True, False]),
        ("1 / item.stock > 0", [False, False, True]),
    ],
)
def test_what_is_not_known_drops_nothing(condition: str, dropped: Sequence[bool]) -> None:
    shop = Shop({"item.stock": np.array([[np.nan, 0.0, 3.0]])}, np.zeros(3, dtype=np.int64), np.zeros(3, dtype=bool))
    assert is_dropped(condition, shop)[0].tolist() == dropped


@pytest.mark.parametrize(
    ("condition", "place", "what"),
    [
        ("item.stok <= 0", 1, "unknown field item.stok, did you mean item.stock?"),
        ("item.price > 1 and stock < 1", 20, "unknown field stock, did you mean item.stock?"),
        ("item.a.b > 2", 1, "unknown field item.a.b"),
        ("item.price > 1 and not item.stock", 24, "expected true or false, found a number"),
        ("item.stock", 1, "gives a number, expected true or false"),
        ("item.price = 'a'", 1, "compares a number with a text"),
        ("item.category > 'a'", 1, "texts have no order"),
        ("'a' = item.category", 1, "the field on the left"),
        ("item.category like 'a\\_'", 1, "without a backslash"),
        ("item.price like 'a'", 1, "compares a number with a text"),
        ("item.durable = true", 1, "is not compared"),
        ("item.durable + 1 > 1", 1, "expected a number, found true or false"),
        ("item.price !> 2", 12, "cannot be read at `!`"),
        ("lower(item.category) = 'a'", 1, "no functions, casts or queries"),
        ("cast(item.price as int) > 1", 1, "no functions, casts or queries"),
        ("item.price in (select 1)", 1, "no functions, casts or queries"),
        ("item.price > 1d", 14, "no functions, casts or queries"),
        ("item.price > 1; item.price < 2", None, "not one condition"),
        ("", None, "not one condition"),
        ("item.category = 'wine", None, "a quote that is not closed"),
        ("not " * 5000 + "item.durable", None, "nested too deep"),
    ],
)
def test_what_is_not_of_the_language_is_told_with_its_place_and_the_fields(
    condition: str, place: int | None, what: str
) -> None:
    with pytest.raises(FilterError) as fault:
        parsed(condition)
    told = str(fault.value)
    assert what in told
    assert told.endswith("history.shown_nights (number)")
    assert "\n" not in told
    assert (f", character {place}: " in told) == (place is not None)


def test_conf_with_a_wrong_rule_is_refused_in_one_line_with_file_line_and_rule() -> None:
    text = "filters:\n  - {id: sold_out, drop: item.stock <= 0}\n  - {id: dear, drop: item.prise > 5}\n"
    content = {"filters": [{"id": "sold_out", "drop": "item.stock <= 0"}, {"id": "dear", "drop": "item.prise > 5"}]}
    with pytest.raises(ValidationError) as fault:
        Rules.model_validate(content)
    told = conf_faults.told("shop.yaml", text, Rules, fault.value)
    assert len(told) == 1
    assert told[0].startswith("shop.yaml:3: filters.1.drop: rule dear: `item.prise > 5`, character 1: unknown field")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"filters": [{"id": "a", "drop": "true"}, {"id": "a", "drop": "true"}]}, "stands twice"),
        ({"filters": [{"id": "not_due", "drop": "true"}]}, "is one of durable_bought, not_due"),
        ({"exploration": {"places": 2, "ranks": [3]}}, "expected as many"),
        ({"repurchase": {"due_from": 3.0}}, "expected them to rise"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(content: dict[str, object], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Rules.model_validate(content)
