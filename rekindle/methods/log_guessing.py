"""What a log's columns may be: kinds, event types and the parts that columns play, each with what speaks for it.

Pure functions on a sample of text values. A guess is a draft for a person: where nothing speaks for one there is none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rekindle.methods import log_times

Kind = Literal["blank", "whole number", "number", "time", "time of day", "text"]
Role = Literal[
    "event_id", "event_time", "event_type", "user_id", "item_id", "order_id", "session_id", "title", "category",
    "brand", "quantity", "unit_price", "amount", "stars", "text", "channel",
]  # fmt: skip

# A column of numbers may have a word in one value of fifty; with more, it holds codes such as C536365.
NUMERIC = 0.98
MOST_CHANNELS = 30  # a column of more different values names devices one by one
# Ids of these are nobody's user or item.
OTHER_THINGS = {"coupon", "campaign", "promotion", "promo", "voucher", "store", "ad", "banner"}

# The last word of a column's name says what it is; words that only say "number of it" do not count.
EMPTY_WORDS = {"id", "ids", "no", "nr", "num", "number", "key", "code", "the", "cd", "uuid", "guid", "hash"}
ROLE_WORDS: dict[Role, tuple[str, ...]] = {
    "event_id": ("event", "log", "line", "row", "record", "id", "message"),
    "event_time": ("time", "timestamp", "ts", "date", "datetime", "at", "tm", "dt", "when", "day", "occurred"),
    "event_type": ("type", "event", "action", "behavior", "behaviour", "activity", "interaction", "verb", "kind"),
    "user_id": (
        *("user", "customer", "cust", "client", "visitor", "member", "buyer", "household", "shopper", "uid"),
        *("account", "person", "guest", "cookie", "consumer", "reviewer"),
    ),
    "item_id": ("item", "product", "sku", "article", "stock", "asin", "movie", "isbn", "ean", "upc", "goods", "iid"),
    "order_id": ("order", "invoice", "basket", "transaction", "receipt", "ticket", "checkout"),
    "session_id": ("session", "visit", "sid"),
    "title": ("title", "name", "description"),
    "category": ("category", "cate", "cat", "department", "genre", "categories"),
    "brand": ("brand", "maker", "manufacturer", "vendor"),
    "quantity": ("quantity", "qty", "units", "pieces", "count"),
    "unit_price": ("price", "unitprice"),
    "amount": ("amount", "value", "total", "sales", "revenue", "spend", "spent", "paid", "turnover"),
    "stars": ("rating", "stars", "star"),
    "text": ("text", "comment", "review", "body", "query", "message", "keyword"),
    "channel": ("channel", "device", "platform"),
}
# Words of event types as logs write them, to the canonical types.
EVENT_WORDS: dict[str, tuple[str, ...]] = {
    "view": ("view", "pageview", "page view", "product view", "view item", "item view", "detail", "browse", "pv",
             "visit", "viewed", "impression view", "view product", "product viewed", "detail product view"),
    "cart": ("cart", "addtocart", "add to cart", "tocart", "to cart", "add cart", "basket", "add to basket",
             "addtobasket", "cart add", "added to cart", "product added"),
    "favourite": ("favourite", "favorite", "fav", "wishlist", "add to wishlist", "like", "follow", "collect",
                  "bookmark", "save"),
    "purchase": ("purchase", "purchased", "order", "buy", "bought", "transaction", "sale", "conversion",
                 "order completed", "checkout complete", "paid"),
    "return": ("return", "returned", "refund", "refunded", "cancel", "cancelled", "cancellation"),
    "review": ("review", "comment"),
    "rating": ("rating", "rate", "rated"),
    "search": ("search", "query", "searched"),
    "contact": ("contact", "support", "ticket", "complaint"),
    "redeem": ("redeem", "redeemed", "coupon redeemed", "redemption"),
}  # fmt: skip
_TYPE_OF = {word: kind for kind, words in EVENT_WORDS.items() for word in words}


@dataclass(frozen=True)
class Profile:
    """One column of the sample. Smallest and largest by value for numbers, else by text; null in a blank column."""

    name: str
    kind: Kind
    values: int
    blank: int
    distinct: int
    smallest: str | None
    largest: str | None
    samples: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]
    is_whole_float: bool = False
    decimal: Literal[".", ","] = "."
    grouping: str = ""
    readings: tuple[log_times.Reading, ...] = ()
    units: tuple[log_times.Unit, ...] = ()

    @property
    def share_blank(self) -> float:
        """Share of blank or absent values, 0 to 1."""
        return self.blank / max(1, self.values)


@dataclass(frozen=True)
class Guess:
    """The column that each part is taken from, the runners-up, and what was found of the combinations of columns.

    `alone` are columns whose value no two lines share. `together` are the fewest of the guessed columns that tell all
    different lines apart, empty if they do not. `repeated` counts lines equal to an earlier one in every field.
    """

    roles: dict[Role, str] = field(default_factory=dict)
    others: dict[Role, tuple[str, ...]] = field(default_factory=dict)
    clock: str | None = None
    by_position: frozenset[Role] = frozenset()
    alone: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    repeated: int = 0


def profile(name: str, values: Sequence[str | None]) -> Profile:
    """A column's kind and figures; three samples at most, the first different ones."""
    told = [v.strip() for v in values if v is not None and v.strip()]
    counts = Counter(told)
    # Times and numbers are told from 2,000 different values: a format that fails once in a thousand is seen.
    tried = list(counts)[:: max(1, len(counts) // 2000)]
    decimal, grouping, numeric = number_style(tried)
    readings = tuple(log_times.readings(tried))
    kind: Kind
    smallest: str | None
    largest: str | None
    if not told:
        kind = "blank"
    elif _is_time(readings) and not (numeric and readings[0].pattern != "yyyyMMdd"):
        kind = "time"
    elif log_times.is_clock(tried):
        kind = "time of day"
    elif numeric:
        kind = "whole number" if all(re.fullmatch(r"[+-]?\d+", v) for v in counts) else "number"
    else:
        kind = "text"
    whole_float = kind == "number" and all(re.fullmatch(r"[+-]?\d+\.0", v) for v in counts)
    if kind in ("whole number", "number"):
        ordered = sorted((_number(v, decimal, grouping), v) for v in counts)
        smallest, largest = ordered[0][1], ordered[-1][1]
    else:
        smallest, largest = (min(told), max(told)) if told else (None, None)
    return Profile(
        name=name,
        kind=kind,
        values=len(values),
        blank=len(values) - len(told),
        distinct=len(counts),
        smallest=smallest,
        largest=largest,
        samples=tuple(counts)[:3],
        counts=tuple(counts.most_common(30)),
        is_whole_float=whole_float,
        decimal=decimal,
        grouping=grouping,
        readings=readings,
        units=tuple(log_times.epoch_units(tried)) if kind in ("whole number", "number") else (),
    )


def number_style(values: Sequence[str]) -> tuple[Literal[".", ","], str, bool]:
    """Decimal sign, sign between groups of three, and whether 98 of 100 values are numbers so written.

    A comma before exactly three digits in every value could be either; it is taken for the sign of groups.
    """
    styles: tuple[tuple[Literal[".", ","], str, str], ...] = (
        (".", "", r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"),
        (".", ",", r"[+-]?\d{1,3}(,\d{3})*(\.\d+)?"),
        (",", "", r"[+-]?\d+(,\d+)?"),
        (",", ".", r"[+-]?\d{1,3}(\.\d{3})*(,\d+)?"),
        (".", "'", r"[+-]?\d{1,3}('\d{3})*(\.\d+)?"),
        (",", " ", r"[+-]?\d{1,3}( \d{3})*(,\d+)?"),
    )
    read = [(sum(re.fullmatch(p, v) is not None for v in values), decimal, grouping) for decimal, grouping, p in styles]
    most, decimal, grouping = max(read, key=lambda r: r[0])
    if not values or most < NUMERIC * len(values):
        return ".", "", False
    return decimal, grouping, True


def event_type_of(word: str) -> str | None:
    """The canonical type that a log's word means, or None if the word does not say."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word.strip())
    return _TYPE_OF.get(re.sub(r"[^a-z]+", " ", spaced.lower()).strip())


def words_of(name: str) -> list[str]:
    """The words of a column's name: cut at signs and capitals, and "id" cut off the end of a word that we know."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    words = [w for w in re.split(r"[^A-Za-z]+", spaced.lower()) if w]
    known = {w for role in ROLE_WORDS.values() for w in role}
    cut = []
    for word in words:
        stem = word.removesuffix("id")
        cut += [stem, "id"] if word.endswith("id") and word not in known and stem in known else [word]
    return cut


def named_roles(name: str) -> dict[Role, int]:
    """The parts that a column may play by its name, with how much its name says: 3 by its last word, 1 by another."""
    words = words_of(name)
    telling = [w for w in words if w not in EMPTY_WORDS] or words
    found: dict[Role, int] = {}
    for role, known in ROLE_WORDS.items():
        if telling and telling[-1] in known:
            found[role] = 3
        elif any(w in known for w in telling):
            found[role] = 1
    if OTHER_THINGS & set(words):
        found = {role: score for role, score in found.items() if role not in ("user_id", "item_id")}
    return found


def guess(profiles: Sequence[Profile], rows: Sequence[Mapping[str, str | None]], named: bool) -> Guess:
    """Which column plays which part; by name where the log has names (`named`), else by values and position."""
    ranked: dict[Role, list[str]] = {}
    for role in ROLE_WORDS:
        scored = [(_fitness(p, role, named), -n, p.name) for n, p in enumerate(profiles)]
        ranked[role] = [name for score, _, name in sorted(scored, reverse=True) if score > 0]
    roles: dict[Role, str] = {}
    order: tuple[Role, ...] = (
        "event_time", "user_id", "item_id", "event_type", "order_id", "session_id", "event_id", "stars", "quantity",
        "unit_price", "amount", "category", "title", "text", "brand", "channel",
    )  # fmt: skip
    alone = tuple(p.name for p in profiles if p.distinct == p.values > 1)
    for role in order:
        free = [name for name in ranked[role] if name not in roles.values()]
        if role == "event_id":
            free = [name for name in free if name in alone]
        if free:
            roles[role] = free[0]
    by_position = set() if named else _by_position(profiles, rows, roles)
    columns = {p.name: p for p in profiles}
    time = columns.get(roles.get("event_time", ""))
    clock = None
    if time and time.kind == "time" and not any(r.has_clock for r in time.readings):
        clock = next((p.name for p in profiles if p.kind == "time of day"), None)
    distinct = {tuple(row.get(p.name) for p in profiles) for row in rows}
    others = {
        role: tuple(n for n in ranked[role] if n not in roles.values())[:3] for role in order if role != "event_id"
    }
    parts = [roles[r] for r in ("user_id", "event_time") if r in roles] + ([clock] if clock else [])
    return Guess(
        roles=roles,
        others={r: names for r, names in others.items() if names},
        clock=clock,
        by_position=frozenset(by_position),
        alone=alone,
        together=_key(parts, roles, rows, len(distinct)),
        repeated=len(rows) - len(distinct),
    )


def _fitness(column: Profile, role: Role, named: bool) -> float:
    """How well a column fits a part: 0 not at all. The name counts most, then what the values are."""
    by_name = named_roles(column.name).get(role, 0) if named else 0
    is_number = column.kind in ("whole number", "number")
    if column.kind == "blank":
        return 0
    if role == "event_time":
        unit = log_times.epoch_unit(column.units)
        if column.kind == "time":
            return by_name + 2 + any(r.has_clock for r in column.readings) - column.share_blank
        # An id may look like an epoch; with names it needs one that speaks of time.
        return by_name + 1 if unit and (by_name or not named) else by_name * 0.5 if is_number and by_name == 3 else 0
    if role == "event_type":
        known = sum(count for word, count in column.counts if event_type_of(word))
        means = known > 0.5 * (column.values - column.blank) and column.kind == "text"
        few = column.distinct <= 30 and column.share_blank < 0.1 and column.kind in ("text", "whole number")
        is_id = by_name == 3 and "id" in words_of(column.name) and "event_id" in named_roles(column.name)
        return 4.0 * means + by_name * (few and not is_id and (by_name == 3 or means))
    if role == "stars":
        inside = is_number and all(re.fullmatch(r"[1-5]([.,](0|5|00|50))?", w) for w, _ in column.counts)
        return by_name * inside + (not named and inside and 3 <= column.distinct <= 9)
    if role in ("quantity", "unit_price", "amount"):
        return by_name if is_number and by_name == 3 else 0
    if role in ("user_id", "item_id", "order_id", "session_id", "event_id"):
        if column.kind in ("time", "time of day") or (column.kind == "number" and not column.is_whole_float):
            return 0
        says_id = 0.5 if set(words_of(column.name)) & EMPTY_WORDS else 0
        return (by_name + says_id) * (by_name == 3)
    if role == "channel":
        return by_name * (by_name == 3 and column.distinct <= MOST_CHANNELS)
    if role in ("title", "text") and column.kind != "text":
        return 0
    return (by_name == 3) * (0.1 + (column.kind == "text") * (by_name - column.share_blank))


def _by_position(
    profiles: Sequence[Profile], rows: Sequence[Mapping[str, str | None]], roles: dict[Role, str]
) -> set[Role]:
    """Gives user and item, in this order, to the first columns that could be ids; what was given so.

    A column that says the same as the user's (another id of the same people) is no item's.
    """
    given: set[Role] = set()
    for p in profiles:
        counts = p.kind == "whole number" and p.distinct <= 50 and p.distinct < 0.2 * p.values
        is_id = p.kind == "text" or (p.kind == "whole number" and not counts) or p.is_whole_float
        if p.name in roles.values() or p.kind in ("time", "time of day", "blank") or not is_id or p.share_blank > 0.5:
            continue
        if "user_id" not in roles:
            roles["user_id"] = p.name
            given.add("user_id")
        elif "item_id" not in roles and not same_people(rows, roles["user_id"], p.name):
            roles["item_id"] = p.name
            given.add("item_id")
    return given


def same_people(rows: Sequence[Mapping[str, str | None]], one: str, other: str) -> bool:
    """Whether two columns are two names of the same: each value of one goes with one value of the other."""
    pairs = {(row.get(one), row.get(other)) for row in rows}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def _key(
    parts: list[str], roles: Mapping[Role, str], rows: Sequence[Mapping[str, str | None]], distinct: int
) -> tuple[str, ...]:
    wanted: tuple[Role, ...] = ("item_id", "event_type", "order_id", "quantity", "unit_price", "amount")
    rest = [roles[r] for r in wanted if r in roles]
    for count in range(len(rest) + 1):
        names = [*parts, *rest[:count]]
        if names and len({tuple(row.get(n) for n in names) for row in rows}) == distinct:
            return tuple(names)
    return ()


def _is_time(readings: Sequence[log_times.Reading]) -> bool:
    return log_times.choose(readings) is not None


def _number(value: str, decimal: str, grouping: str) -> float:
    plain = value.replace(grouping, "") if grouping else value
    try:
        return float(plain.replace(",", ".") if decimal == "," else plain)
    except ValueError:
        return float("inf")
