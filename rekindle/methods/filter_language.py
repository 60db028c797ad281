"""The language of list rules: a condition over an item, a user and what lies between them; where it is true, the item
is dropped from that user's list.

    item.stock <= 0
    history.bought_days < 14 and not item.durable
    item.category in ('wine', 'spirits') and user.purchases < 1

Spark's grammar (as for source mappings, decision 0020) without functions, casts and CASE; names have two parts. Numbers
take + − * /, = <> < <= > >=, BETWEEN and IN; a text field takes =, <>, IN and LIKE with texts written out; everything
takes IS NULL. Logic is SQL's, with three values: what is compared with an unknown value is neither true nor false, nor
is its NOT, and only what is true is dropped. An unknown stock sells nothing out. A division by 0 is unknown.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal

import sqlglot
from sqlglot import exp
from sqlglot.dialects.spark import Spark

Kind = Literal["text", "number", "flag"]

FIELDS: dict[str, tuple[Kind, str]] = {
    "item.id": ("text", "the shop's own id"),
    "item.category": ("text", "null: none"),
    "item.price": ("number", "null: not known"),
    "item.stock": ("number", "null: not known"),
    "item.age_days": ("number", "days since it was first seen"),
    "item.unseen_days": ("number", "days since anybody did anything with it; null: not told"),
    "item.events": ("number", "what was done with it, all users; null: not told"),
    "item.margin": ("number", "null: not known"),
    "item.sentiment": ("number", "null: not known"),
    "item.durable": ("flag", "of a category that is bought once in years, listed or learnt"),
    "user.items": ("number", "distinct items of the history"),
    "user.active_days": ("number", "days with any event; null: not told"),
    "user.days_since_event": ("number", "null: none"),
    "user.purchases": ("number", "items bought, again counts again"),
    "user.days_since_purchase": ("number", "null: never bought"),
    "history.seen_times": ("number", "the user's events with the item, 0 or more"),
    "history.seen_days": ("number", "days since the last of them; null: none"),
    "history.bought_times": ("number", "0 or more"),
    "history.bought_days": ("number", "days since the user bought the item; null: never"),
    "history.category_bought_days": ("number", "days since the user bought anything of its category; null: never"),
    "history.due": ("number", "days since bought over the interval expected; null: never bought, or no interval known"),
    "history.shown_nights": ("number", "nights on which it was shown and the user did not react, 0 or more"),
}
COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div)
KIND_WORDS: dict[Kind, str] = {"text": "a text", "number": "a number", "flag": "true or false"}


class FilterError(ValueError):
    """A condition is not of the language: where, what was found and which fields there are, in one line."""


class _Grammar(Spark):
    """Spark's without functions of its own and with plain text literals: names of functions are then nothing known."""

    class Tokenizer(Spark.Tokenizer):
        STRING_ESCAPES: ClassVar = ["'"]
        QUOTES: ClassVar = ["'"]
        IDENTIFIERS: ClassVar = ["`"]

    class Parser(Spark.Parser):  # type: ignore[valid-type, misc]  # the library says a class where it has a value
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}
        NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {}


@lru_cache(maxsize=256)
def parsed(text: str) -> exp.Expr:
    """The condition's nodes, of which every one is legal and the topmost gives true or false.

    Raises:
        FilterError: it is not of the language.
    """
    try:
        found = sqlglot.parse(text, dialect=_Grammar)
        if len(found) != 1 or found[0] is None:
            raise FilterError(_told(text, None, "not one condition"))
        kind = _kind(text, found[0])
    except sqlglot.errors.ParseError as error:
        place = error.errors[0] if error.errors else {}
        what = f"cannot be read at `{place.get('highlight') or 'its end'}`"
        raise FilterError(_told(text, place.get("col"), what)) from None
    except sqlglot.errors.SqlglotError:
        raise FilterError(_told(text, None, "cannot be read (a quote that is not closed?)")) from None
    except RecursionError:
        raise FilterError(_told(text[:60] + "…", None, "nested too deep, or too long")) from None
    if kind != "flag":
        raise FilterError(_told(text, 1, f"gives {KIND_WORDS[kind]}, expected true or false"))
    return found[0]


def field_name(node: exp.Expr) -> str:
    """The field of a column node, as in FIELDS."""
    return f"{node.args['table'].name}.{node.name}"


def number_of(node: exp.Expr) -> float:
    """The number of a literal node."""
    return float(node.this)


def _told(text: str, column: int | None, what: str) -> str:
    named = ", ".join(f"{name} ({kind})" for name, (kind, _) in FIELDS.items())
    place = f", character {column}" if column else ""
    return f"`{text}`{place}: {what}. Fields: {named}"


def _fault(text: str, node: exp.Expr, what: str) -> FilterError:
    starts = [part.meta["start"] for part in node.walk() if "start" in part.meta]
    return FilterError(_told(text, min(starts) + 1 if starts else None, what))


def _kind(text: str, node: exp.Expr) -> Kind:
    """The kind of value that a node gives, after checking all below it."""
    if isinstance(node, exp.Paren):
        return _kind(text, node.this)
    if isinstance(node, exp.Boolean):
        return "flag"
    if isinstance(node, exp.Literal):
        return "text" if node.is_string else "number"
    if isinstance(node, exp.Column):
        return _field(text, node)
    if isinstance(node, exp.And | exp.Or):
        _need(text, "flag", node.this, node.expression)
        return "flag"
    if isinstance(node, exp.Not):
        _need(text, "flag", node.this)
        return "flag"
    if type(node) in ARITHMETIC:
        _need(text, "number", node.this, node.expression)
        return "number"
    if isinstance(node, exp.Neg):
        _need(text, "number", node.this)
        return "number"
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        if not isinstance(node.this, exp.Column):
            raise _fault(text, node, "IS NULL is asked of a field")
        _field(text, node.this)
        return "flag"
    return _comparison(text, node)


def _comparison(text: str, node: exp.Expr) -> Kind:
    if type(node) in COMPARISONS:
        parts = [node.this, node.expression]
    elif isinstance(node, exp.Like) and not node.args.get("escape"):
        parts = [node.this, node.expression]
        if not (isinstance(parts[1], exp.Literal) and parts[1].is_string and "\\" not in parts[1].this):
            raise _fault(text, node, "LIKE takes a pattern of %, _ and other signs, written out, without a backslash")
    elif isinstance(node, exp.Between):
        parts = [node.this, node.args["low"], node.args["high"]]
    elif isinstance(node, exp.In) and node.expressions and not node.args.get("query"):
        parts = [node.this, *node.expressions]
    else:
        raise _fault(text, node, f"`{node.sql()}` is not of the language of rules (no functions, casts or queries)")
    kinds = [_kind(text, part) for part in parts]
    if len(set(kinds)) > 1:
        raise _fault(text, node, f"compares {' with '.join(KIND_WORDS[kind] for kind in dict.fromkeys(kinds))}")
    if kinds[0] == "flag":
        raise _fault(text, node, "what is true or false is not compared: write it, or NOT and it")
    if kinds[0] == "text":
        _check_texts(text, node, parts)
    elif isinstance(node, exp.Like):
        raise _fault(text, node, "LIKE takes a text, found a number")
    return "flag"


def _check_texts(text: str, node: exp.Expr, parts: Sequence[exp.Expr]) -> None:
    if not isinstance(node, exp.EQ | exp.NEQ | exp.In | exp.Like):
        raise _fault(text, node, "texts have no order: =, <>, IN and LIKE are for them")
    if not isinstance(parts[0], exp.Column) or not all(isinstance(part, exp.Literal) for part in parts[1:]):
        raise _fault(text, node, "a text field is compared with texts written out, the field on the left")


def _need(text: str, wanted: Kind, *parts: exp.Expr) -> None:
    for part in parts:
        kind = _kind(text, part)
        if kind != wanted:
            raise _fault(text, part, f"expected {KIND_WORDS[wanted]}, found {KIND_WORDS[kind]}")


def _field(text: str, node: exp.Column) -> Kind:
    parts = [part.name for part in node.parts]
    found = FIELDS.get(".".join(parts))
    if found is None:
        near = difflib.get_close_matches(".".join(parts), FIELDS, 1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise _fault(text, node, f"unknown field {'.'.join(parts)}{hint}")
    return found[0]
