"""Checked expressions of source mappings as Spark columns. Nothing here throws on a line, with ANSI mode on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from sqlglot import exp

from rekindle.expressions import FieldOf, Numbers, literal_of

SECONDS = (-62_135_596_800, 253_402_300_799)  # from 1970: the first of the year 1, the last of the year 9999
BLANKS = " \t\r\n"  # SQL's own trim takes spaces only, and a tab is no user


def blank_to_null(text: Column) -> Column:
    """Text without blanks around it; null where nothing is left.

    Trimming by a set of characters costs 0.5 µs, so it is done only where a blank stands at either end.
    """
    first, last = F.substring(text, 1, 1), F.substring(text, -1, 1)
    return F.when((first > " ") & (last > " "), text).otherwise(F.nullif(F.btrim(text, F.lit(BLANKS)), F.lit("")))


def number_of(text: Column, numbers: Numbers) -> Column:
    """The number written in a text; null where it is blank, NaN where something else stands there.

    Java reads a trailing d or f as part of a number (1d, 2f); a log that has them has something else in mind.
    """
    plain = F.btrim(text, F.lit(BLANKS))
    if numbers.grouping:
        plain = F.replace(plain, F.lit(numbers.grouping), F.lit(""))
    if numbers.decimal != ".":
        # A point that is no decimal sign must not become one.
        plain = F.translate(plain, f".{numbers.decimal}", "x.")
    java = F.right(plain, F.lit(1)).isin("d", "f", "D", "F")
    return F.when(F.length(plain) > 0, F.coalesce(F.when(~java, plain.try_cast("double")), F.lit(float("nan"))))


def instant_of(text: Column, pattern: str) -> Column:
    """The instant written in a text by Spark's pattern, UTC where it tells no offset; null where it cannot be read.

    Spark's own reading throws at years that no instant has: `+999999-12-31` is legal where yyyy stands. Adding nothing
    by `try_add` makes a null of that, for 0.2 µs. Years beyond four digits are no days of a shop, and Python has none.
    """
    told = F.try_add(F.try_to_timestamp(text, F.lit(pattern)), F.expr("INTERVAL '0' SECOND"))
    first, last = (F.timestamp_seconds(F.lit(second)) for second in SECONDS)
    return F.when(told.between(first, last), told)


def unreadable_day() -> Column:
    """What stands for a day that cannot be read: the first of the year 1."""
    return F.lit("0001-01-01").cast("date")


def day_of(text: Column, pattern: str) -> Column:
    """The day written in a text by Spark's pattern; null where it is blank, `unreadable_day` if not readable."""
    plain = F.btrim(text, F.lit(BLANKS))
    return F.when(F.length(plain) > 0, F.coalesce(instant_of(plain, pattern).cast("date"), unreadable_day()))


def _parts(node: exp.Expr, field: FieldOf, numbers: Numbers) -> list[Any]:
    """A call's arguments: columns, but literals as they are."""

    def is_literal(part: exp.Expr) -> bool:
        return isinstance(part.this if isinstance(part, exp.Neg) else part, exp.Literal)

    return [literal_of(a) if is_literal(a) else build(a, field, numbers) for a in node.expressions]


def _column(value: Any) -> Column:
    if isinstance(value, Column):
        return value
    return F.lit(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _flag(value: Column) -> Column:
    """A bare NULL has no type, and Spark's CASE takes nothing but a boolean."""
    return value.cast("boolean")


CALLS: dict[str, Callable[..., Column]] = {
    "trim": lambda x: F.btrim(_column(x), F.lit(BLANKS)),
    "lower": lambda x: F.lower(_column(x)),
    "upper": lambda x: F.upper(_column(x)),
    "sha256": lambda x: F.sha2(_column(x), 256),
    "length": lambda x: F.length(_column(x)).cast("double"),
    "concat": lambda *x: F.concat(*map(_column, x)),
    "concat_ws": lambda sep, *x: F.concat_ws(sep, *map(_column, x)),
    "replace": lambda x, old, new: F.replace(_column(x), F.lit(old), F.lit(new)),
    "translate": lambda x, old, new: F.translate(_column(x), old, new),
    "regexp_replace": lambda x, pattern, new: F.regexp_replace(_column(x), pattern, new.replace("\\", "\\\\")),
    "regexp_extract": lambda x, pattern, group=1: F.regexp_extract(_column(x), pattern, group),
    "substring": lambda x, start, length=2**31 - 1: F.substring(_column(x), start, length),
    "left": lambda x, n: F.left(_column(x), F.lit(n)),
    "right": lambda x, n: F.right(_column(x), F.lit(n)),
    "lpad": lambda x, n, pad: F.lpad(_column(x), n, pad),
    "split_part": lambda x, sep, n: F.split_part(_column(x), F.lit(sep), F.lit(n)),
    "get_json_object": lambda x, path: F.get_json_object(_column(x), path),
    "contains": lambda x, part: F.contains(_column(x), F.lit(part)),
    "startswith": lambda x, part: F.startswith(_column(x), F.lit(part)),
    "endswith": lambda x, part: F.endswith(_column(x), F.lit(part)),
    "abs": lambda x: F.abs(_column(x)),
    "round": lambda x, digits=0: F.round(_column(x), digits),
    "floor": lambda x: _column(x) - F.pmod(_column(x), F.lit(1.0)),
    "day": lambda x, pattern: day_of(_column(x), pattern),
    "coalesce": lambda *x: F.coalesce(*map(_column, x)),
    "nullif": lambda x, y: F.nullif(_column(x), _column(y)),
    "if": lambda when, then, other: F.when(_flag(_column(when)), _column(then)).otherwise(_column(other)),
}

BINARY: dict[type[exp.Expr], Callable[[Column, Column], Column]] = {
    exp.And: lambda a, b: a & b,
    exp.Or: lambda a, b: a | b,
    exp.EQ: lambda a, b: a == b,
    exp.NEQ: lambda a, b: a != b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
    exp.NullSafeEQ: lambda a, b: a.eqNullSafe(b),
    exp.Add: lambda a, b: a + b,
    exp.Sub: lambda a, b: a - b,
    exp.Mul: lambda a, b: a * b,
    exp.Div: F.try_divide,
    exp.Mod: F.try_mod,
    exp.DPipe: F.concat,
}


def build(node: exp.Expr, field: FieldOf, numbers: Numbers) -> Column:
    """The column of a node that `expressions.check` has passed."""

    def inner(part: exp.Expr) -> Column:
        return build(part, field, numbers)

    if isinstance(node, exp.Paren):
        return inner(node.this)
    if isinstance(node, exp.Null):
        return F.lit(None)
    if isinstance(node, exp.Literal | exp.Boolean):
        return _column(literal_of(node))
    if isinstance(node, exp.Column):
        return field(node.name)
    if isinstance(node, exp.Anonymous):
        name = str(node.this).lower()
        given = _parts(node, field, numbers)
        return number_of(_column(given[0]), numbers) if name == "number" else CALLS[name](*given)
    if isinstance(node, exp.Case):
        return _case(node, inner)
    if isinstance(node, exp.Not):
        return ~inner(node.this)
    if isinstance(node, exp.Neg):
        return -inner(node.this)
    if isinstance(node, exp.Is):
        return inner(node.this).isNull()
    if isinstance(node, exp.In):
        return inner(node.this).isin(*[inner(e) for e in node.expressions])
    if isinstance(node, exp.Between):
        return inner(node.this).between(inner(node.args["low"]), inner(node.args["high"]))
    if isinstance(node, exp.Like | exp.ILike | exp.RegexpLike):
        text, pattern = inner(node.this), node.expression.this
        if isinstance(node, exp.RegexpLike):
            return text.rlike(pattern)
        found = text.like(pattern) if isinstance(node, exp.Like) else text.ilike(pattern)
        # sqlglot keeps NOT in front of LIKE inside the node, unlike that in front of any other comparison.
        return ~found if node.args.get("negate") else found
    return BINARY[type(node)](inner(node.this), inner(node.expression))


def _case(node: exp.Case, inner: Callable[[exp.Expr], Column]) -> Column:
    asked = None if node.this is None else inner(node.this)
    found: Column | None = None
    for branch in node.args["ifs"]:
        when = _flag(inner(branch.this)) if asked is None else asked == inner(branch.this)
        then = inner(branch.args["true"])
        found = F.when(when, then) if found is None else found.when(when, then)
    assert found is not None  # the grammar has no CASE without WHEN  # noqa: S101
    otherwise = node.args.get("default")
    return found if otherwise is None else found.otherwise(inner(otherwise))
