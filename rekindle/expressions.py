"""The language of source mappings: a checked part of Spark SQL over the log's own fields, which cannot fail on a line.

Every field is text. An expression is parsed and its kinds are checked before Spark starts; then it is built as a Spark
column from what was checked, never from its text. Only the functions below exist: none asks the clock, reads a file,
runs code, looks at another line or throws. Numbers come from text by `number(x)` alone, which is null for blank text
and NaN where something stands that is no number, so that an unreadable value is never taken for a missing one.
Text literals are taken as they stand: a backslash is a backslash, and only '' stands for a quote.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import sqlglot
from sqlglot import exp
from sqlglot.dialects.spark import Spark

from rekindle import patterns

if TYPE_CHECKING:
    from pyspark.sql import Column

Kind = Literal["text", "number", "flag", "day", "null"]
FieldOf = Callable[[str], "Column"]

KIND_WORDS: dict[str, str] = {
    "text": "text",
    "number": "a number (number(…) makes one of text)",
    "flag": "true or false",
    "day": "a day (day(text, 'yyyy-MM-dd') makes one)",
    "null": "NULL",
}


class ExpressionError(ValueError):
    """An expression is not of the language: what was found and what is legal, in one sentence."""


class _Fields(Spark):
    """Spark's grammar without functions of its own and with plain text literals."""

    class Tokenizer(Spark.Tokenizer):
        STRING_ESCAPES: ClassVar = ["'"]
        QUOTES: ClassVar = ["'"]
        IDENTIFIERS: ClassVar = ["`"]

    class Parser(Spark.Parser):  # type: ignore[valid-type, misc]  # the library says a class where it has a value
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}
        NO_PAREN_FUNCTION_PARSERS: ClassVar = {"CASE": Spark.Parser.NO_PAREN_FUNCTION_PARSERS["CASE"]}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {}


@dataclass(frozen=True)
class Signature:
    """What a function takes and gives.

    Beside kinds: `pattern`, `day_pattern`, `count` and `literal` are a regular expression, a day's pattern, a whole
    number and a text written out; `same` are values of one kind. The last of `takes` may be given `more` times or, with
    `optional`, left out.
    """

    takes: tuple[str, ...]
    gives: str
    optional: int = 0
    more: bool = False


TEXT = Signature(("text",), "text")
FUNCTIONS: dict[str, Signature] = {
    "trim": TEXT,
    "lower": TEXT,
    "upper": TEXT,
    "sha256": TEXT,
    "length": Signature(("text",), "number"),
    "concat": Signature(("text",), "text", more=True),
    "concat_ws": Signature(("literal", "text"), "text", more=True),
    "replace": Signature(("text", "literal", "literal"), "text"),
    "translate": Signature(("text", "literal", "literal"), "text"),
    "regexp_replace": Signature(("text", "pattern", "literal"), "text"),
    "regexp_extract": Signature(("text", "pattern", "count"), "text", optional=1),
    "substring": Signature(("text", "count", "count"), "text", optional=1),
    "left": Signature(("text", "count"), "text"),
    "right": Signature(("text", "count"), "text"),
    "lpad": Signature(("text", "count", "literal"), "text"),
    "split_part": Signature(("text", "literal", "count"), "text"),
    "get_json_object": Signature(("text", "literal"), "text"),
    "contains": Signature(("text", "literal"), "flag"),
    "startswith": Signature(("text", "literal"), "flag"),
    "endswith": Signature(("text", "literal"), "flag"),
    "number": Signature(("text",), "number"),
    "abs": Signature(("number",), "number"),
    "round": Signature(("number", "count"), "number", optional=1),
    "floor": Signature(("number",), "number"),
    "day": Signature(("text", "day_pattern"), "day"),
    "coalesce": Signature(("same",), "same", more=True),
    "nullif": Signature(("same", "same"), "same"),
    "if": Signature(("flag", "same", "same"), "same"),
}
# Counts that make sense of a line, which has 64 KiB at most; of signs filled up with, and of a number's digits.
LINE, MOST = 65_536, {"lpad": 1_000, "round": 15}
COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeEQ: "<=>",
}
ARITHMETIC: tuple[type[exp.Expr], ...] = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod)


def check(text: str, fields: Collection[str], wanted: Kind) -> None:
    """Nothing, where the expression is of the language, names only `fields` and gives what is wanted (or NULL).

    Raises:
        ExpressionError: it does not.
    """
    try:
        found = _kind(_parsed(text), fields)
    except RecursionError:
        raise ExpressionError(f"`{text[:60]}…` is nested too deep, or too long") from None
    if found not in (wanted, "null"):
        raise ExpressionError(f"`{text}` gives {KIND_WORDS[found]}, expected {KIND_WORDS[wanted]}")


def column(text: str, field: FieldOf, numbers: Numbers | None = None) -> Column:
    """The expression as a Spark column; `field` gives the text column of a field by its name."""
    from rekindle import expression_columns

    return expression_columns.build(_parsed(text), field, numbers or Numbers())


@dataclass(frozen=True)
class Numbers:
    """How the source writes numbers."""

    decimal: str = "."
    grouping: str = ""


def fields_of(text: str) -> list[str]:
    """The fields that the expression names, in order."""
    return list(dict.fromkeys(c.name for c in _parsed(text).find_all(exp.Column, bfs=False)))


def literal_of(node: exp.Expr) -> Any:
    """The value of a literal as Python has it; a whole number may carry a minus."""
    if isinstance(node, exp.Neg):
        return -literal_of(node.this)
    if isinstance(node, exp.Literal) and not node.is_string:
        return float(node.this) if re.search(r"[.eE]", node.this) else int(node.this)
    return node.this


def _parsed(text: str) -> exp.Expr:
    try:
        found = sqlglot.parse(text, dialect=_Fields)
    except sqlglot.errors.SqlglotError as error:
        told = " ".join(re.sub(r"\x1b\[\d+m", "", str(error)).split())
        raise ExpressionError(
            f"`{text}` cannot be read: {told} (a field with blanks, or named like a keyword, goes in backticks)"
        ) from None
    if len(found) != 1 or found[0] is None:
        raise ExpressionError(f"`{text}` is not one expression")
    return found[0]


def _kind(node: exp.Expr, fields: Collection[str]) -> Kind:
    """The kind of value that a node gives, after checking all below it."""
    if isinstance(node, exp.Paren):
        return _kind(node.this, fields)
    if isinstance(node, exp.Null):
        return "null"
    if isinstance(node, exp.Boolean):
        return "flag"
    if isinstance(node, exp.Literal):
        return "text" if node.is_string else "number"
    if isinstance(node, exp.Column):
        return _field(node, fields)
    if isinstance(node, exp.Anonymous):
        return _call(node, fields)
    if isinstance(node, exp.Case):
        return _case(node, fields)
    return _operator(node, fields)


def _field(node: exp.Column, fields: Collection[str]) -> Kind:
    if node.table:
        raise ExpressionError(f"`{node.table}.{node.name}`: a field has one name; put names with dots in backticks")
    if node.name not in fields:
        raise ExpressionError(unknown_field(node.name, fields))
    return "text"


def unknown_field(name: str, fields: Collection[str]) -> str:
    """The sentence about a field that there is not, with the nearest that there is."""
    near = difflib.get_close_matches(name, list(fields), 1)
    hint = f", did you mean {near[0]}?" if near else "."
    return f"unknown field `{name}`{hint} Fields: {', '.join(fields)}"


def _call(node: exp.Anonymous, fields: Collection[str]) -> Kind:
    name = str(node.this).lower()
    signature = FUNCTIONS.get(name)
    if signature is None:
        near = difflib.get_close_matches(name, FUNCTIONS, 1)
        hint = f", did you mean {near[0]}?" if near else "."
        raise ExpressionError(f"unknown function {name}{hint} Legal: {', '.join(FUNCTIONS)}")
    given, takes = node.expressions, list(signature.takes)
    if signature.more:
        takes += takes[-1:] * (len(given) - len(takes))
    if not len(takes) - signature.optional <= len(given) <= len(takes):
        raise ExpressionError(f"{name} takes {', '.join(signature.takes)}; {len(given)} given")
    kinds = [_argument(name, wanted, one, fields) for wanted, one in zip(takes, given, strict=False)]
    if name in ("regexp_extract", "regexp_replace", "split_part"):
        _check_count(name, given)
    if signature.gives != "same":
        return signature.gives  # type: ignore[return-value]
    return _one_kind(name, [k for k, wanted in zip(kinds, takes, strict=False) if wanted == "same"])


def _argument(name: str, wanted: str, node: exp.Expr, fields: Collection[str]) -> Kind:
    kind = _kind(node, fields)
    if wanted == "same":
        return kind
    if wanted in ("literal", "pattern", "day_pattern", "count"):
        inner = node.this if isinstance(node, exp.Neg) else node
        if not isinstance(inner, exp.Literal) or inner.is_string == (wanted == "count"):
            due = "a whole number" if wanted == "count" else "a text"
            raise ExpressionError(f"{name}: expected {due} written out, found {node.sql()}")
        if wanted == "count" and not isinstance(literal_of(node), int):
            raise ExpressionError(f"{name}: expected a whole number, found {node.sql()}")
        if wanted == "count" and abs(literal_of(node)) > MOST.get(name, LINE):
            raise ExpressionError(f"{name}: expected at most {MOST.get(name, LINE):,}, found {node.sql()}")
        if wanted == "pattern":
            _groups(inner.this)
        if wanted == "day_pattern":
            try:
                patterns.check_day(inner.this)
            except patterns.PatternError as error:
                raise ExpressionError(f"day: {error}") from None
        return kind
    if kind not in (wanted, "null"):
        raise ExpressionError(f"{name} takes {KIND_WORDS[wanted]}, found {KIND_WORDS[kind]}: {node.sql()}")
    return kind


def _groups(pattern: str) -> int:
    """How many groups the regular expression has."""
    try:
        return patterns.groups_of(pattern)
    except patterns.PatternError as error:
        raise ExpressionError(str(error)) from None


def _check_count(name: str, given: Sequence[exp.Expr]) -> None:
    """The group numbers and counts on which Spark would stop at the first line."""
    count: Any = literal_of(given[2]) if len(given) > 2 else 1  # regexp_extract's own default
    if name == "regexp_replace":
        groups = _groups(given[1].this)
        wrong = [g for g in re.findall(r"\$(.?)", count) if g not in tuple("0123456789") or int(g) > groups]
        if wrong:
            raise ExpressionError(f"regexp_replace: ${wrong[0]} in '{count}'; the pattern has {groups} groups")
        return
    if name == "split_part" and count == 0:
        raise ExpressionError("split_part counts from 1 (or back from -1), found 0")
    groups = _groups(given[1].this) if name == "regexp_extract" else 0
    if name == "regexp_extract" and not 0 <= count <= groups:
        raise ExpressionError(f"regexp_extract: group {count} of '{given[1].this}', which has {groups}")


def _case(node: exp.Case, fields: Collection[str]) -> Kind:
    asked = [] if node.this is None else [_kind(node.this, fields)]
    for branch in node.args["ifs"]:
        kind = _kind(branch.this, fields)
        if asked:
            _one_kind("CASE", [*asked, kind])
        elif kind not in ("flag", "null"):
            raise ExpressionError(f"CASE WHEN {branch.this.sql()}: expected true or false, found {KIND_WORDS[kind]}")
    otherwise = node.args.get("default")
    results = [b.args["true"] for b in node.args["ifs"]] + ([otherwise] if otherwise is not None else [])
    return _one_kind("CASE", [_kind(r, fields) for r in results])


def _operator(node: exp.Expr, fields: Collection[str]) -> Kind:
    wanted: str
    gives: Kind = "flag"
    parts = [node.this, *([node.expression] if isinstance(node, exp.Binary) else [])]
    if isinstance(node, exp.And | exp.Or | exp.Not):
        wanted = "flag"
    elif type(node) in ARITHMETIC or isinstance(node, exp.Neg):
        wanted, gives = "number", "number"
    elif isinstance(node, exp.DPipe):
        wanted, gives = "text", "text"
    elif isinstance(node, exp.Like | exp.ILike | exp.RegexpLike):
        wanted = "text"
        _check_matched(node)
    elif isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        _kind(node.this, fields)
        return gives
    elif type(node) in COMPARISONS:
        _one_kind(COMPARISONS[type(node)], [_kind(p, fields) for p in parts])
        return gives
    elif isinstance(node, exp.Between):
        _one_kind("BETWEEN", [_kind(p, fields) for p in (node.this, node.args["low"], node.args["high"])])
        return gives
    elif isinstance(node, exp.In) and node.expressions and not node.args.get("query"):
        _one_kind("IN", [_kind(p, fields) for p in (node.this, *node.expressions)])
        return gives
    else:
        raise ExpressionError(f"`{node.sql()}` is not of the mapping language (no casts, queries or windows)")
    for part in parts:
        if _kind(part, fields) not in (wanted, "null"):
            raise ExpressionError(
                f"`{node.sql()}` needs {KIND_WORDS[wanted]}, found {KIND_WORDS[_kind(part, fields)]}: {part.sql()}"
            )
    return gives


def _check_matched(node: exp.Expr) -> None:
    pattern = node.expression
    if not isinstance(pattern, exp.Literal) or not pattern.is_string:
        raise ExpressionError(f"`{node.sql()}`: expected a pattern written out")
    if isinstance(node, exp.RegexpLike):
        _groups(pattern.this)
    elif "\\" in pattern.this:
        raise ExpressionError(f"`{node.sql()}`: LIKE takes no backslash here; use RLIKE or contains")


def _one_kind(what: str, kinds: Sequence[Kind]) -> Kind:
    found = sorted({k for k in kinds if k != "null"})
    if len(found) > 1:
        raise ExpressionError(f"{what} takes values of one kind, found {' and '.join(KIND_WORDS[k] for k in found)}")
    return found[0] if found else "null"
