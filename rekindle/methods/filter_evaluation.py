"""Conditions of list rules evaluated for all users and items of a batch at once, in arrays that broadcast.

What is true or false is held as two masks, where it is true and where it is false; where neither, it is unknown (Kleene
1938, the logic of SQL): NOT swaps them, AND is true where both are and false where either is, OR the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlglot import exp

from rekindle.methods.filter_language import FIELDS, field_name, number_of, parsed

Mask = NDArray[np.bool_]


class Flags(NamedTuple):
    """Where something is true and where it is false; unknown elsewhere."""

    true: Mask
    false: Mask


class Texts(NamedTuple):
    """Texts as places in a list of names; −1: unknown."""

    code: NDArray[np.int64]
    names: Sequence[str]


class Fields(Protocol):
    """Where values come from: arrays that broadcast to [users, items], by a field's name in FIELDS."""

    def number(self, name: str) -> NDArray[np.float64]:
        """NaN where unknown."""

    def texts(self, name: str) -> Texts:
        """Codes and names."""

    def flag(self, name: str) -> Mask:
        """Always known."""


def is_dropped(condition: str, fields: Fields) -> Mask:
    """Where the condition is true, bool, broadcasting to [users, items].

    Raises:
        FilterError: it is not of the language.
    """
    with np.errstate(all="ignore"):
        return _flags(parsed(condition), fields).true


def _flags(node: exp.Expr, fields: Fields) -> Flags:
    if isinstance(node, exp.Paren):
        return _flags(node.this, fields)
    if isinstance(node, exp.Boolean):
        return _known(np.array([[bool(node.this)]]))
    if isinstance(node, exp.Column):
        return _known(fields.flag(field_name(node)))
    if isinstance(node, exp.Not):
        inner = _flags(node.this, fields)
        return Flags(inner.false, inner.true)
    if isinstance(node, exp.And | exp.Or):
        left, right = _flags(node.this, fields), _flags(node.expression, fields)
        if isinstance(node, exp.And):
            return Flags(left.true & right.true, left.false | right.false)
        return Flags(left.true | right.true, left.false & right.false)
    if isinstance(node, exp.Is):
        return _known(_is_null(field_name(node.this), fields))
    if _is_text(node.this):
        return _of_texts(node, fields.texts(field_name(node.this)))
    return _of_numbers(node, fields)


def _known(true: Mask) -> Flags:
    return Flags(true, ~true)


def _is_null(name: str, fields: Fields) -> Mask:
    kind = FIELDS[name][0]
    if kind == "flag":
        return np.zeros((1, 1), dtype=np.bool_)
    return fields.texts(name).code < 0 if kind == "text" else np.isnan(fields.number(name))


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and FIELDS[field_name(node)][0] == "text"


def _of_texts(node: exp.Expr, texts: Texts) -> Flags:
    """Decided once for every name."""
    if isinstance(node, exp.Like):
        signs = {"%": ".*", "_": "."}
        pattern = re.compile("".join(signs.get(s, re.escape(s)) for s in node.expression.this), re.DOTALL)
        chosen = [pattern.fullmatch(name) is not None for name in texts.names]
    else:
        wanted = {part.this for part in (node.expressions if isinstance(node, exp.In) else [node.expression])}
        chosen = [name in wanted for name in texts.names]
    true = np.array([*chosen, False])[texts.code]  # the last is what an unknown one (−1) finds
    false = ~true & (texts.code >= 0)
    turned = isinstance(node, exp.NEQ) or bool(node.args.get("negate"))
    return Flags(false, true) if turned else Flags(true, false)


def _of_numbers(node: exp.Expr, fields: Fields) -> Flags:
    value = _number(node.this, fields)
    if isinstance(node, exp.Between):
        low, high = _number(node.args["low"], fields), _number(node.args["high"], fields)
        return Flags((value >= low) & (value <= high), (value < low) | (value > high))
    if isinstance(node, exp.In):
        found = [_equal(value, _number(part, fields)) for part in node.expressions]
        true, false = found[0]
        for one in found[1:]:
            true, false = true | one.true, false & one.false
        return Flags(true, false)
    other = _number(node.expression, fields)
    if isinstance(node, exp.EQ):
        return _equal(value, other)
    if isinstance(node, exp.NEQ):
        same = _equal(value, other)
        return Flags(same.false, same.true)
    if isinstance(node, exp.LT):
        return Flags(value < other, value >= other)
    if isinstance(node, exp.LTE):
        return Flags(value <= other, value > other)
    if isinstance(node, exp.GT):
        return Flags(value > other, value <= other)
    return Flags(value >= other, value < other)


def _equal(left: NDArray[np.float64], right: NDArray[np.float64]) -> Flags:
    return Flags(left == right, (left < right) | (left > right))


def _number(node: exp.Expr, fields: Fields) -> NDArray[np.float64]:
    if isinstance(node, exp.Paren):
        return _number(node.this, fields)
    if isinstance(node, exp.Literal):
        return np.array([[number_of(node)]])
    if isinstance(node, exp.Column):
        return fields.number(field_name(node))
    if isinstance(node, exp.Neg):
        return -_number(node.this, fields)
    left, right = _number(node.this, fields), _number(node.expression, fields)
    if isinstance(node, exp.Add):
        return left + right
    if isinstance(node, exp.Sub):
        return left - right
    if isinstance(node, exp.Mul):
        return left * right
    return np.asarray(np.where(right == 0, np.nan, left / right))
