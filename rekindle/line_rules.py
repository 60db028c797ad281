"""From a log's own fields to canonical columns, and the first rule that a line breaks.

What stands in a line and cannot be read is never taken for missing: a number is NaN, a day the year 1, and a rule says
so. Which rules there are, in the order in which they count: REASONS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle import expressions
from rekindle.expression_columns import SECONDS, blank_to_null, instant_of, number_of, unreadable_day
from rekindle.expressions import Numbers
from rekindle.line_parsing import LINEAGE, PARSE_REASONS, field_of
from rekindle.methods.activity import WITHOUT_ITEM
from rekindle.sources import KINDS_OF, EventsMapping, EventTime, Ingest, Mapped, SourceFile

WITH_QUANTITY = ("purchase", "return")
IDS = ("row_id", "user_id", "item_id", "order_id", "session_id", "campaign_id", "coupon_id")
EPOCH_UNITS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
# Characters that are not seen, that combine with the one before, or that NFC writes otherwise: with them two ids can
# look like one, and one id can be written in two ways.
# The last of the two Korean ranges are parts that join the syllable before them.
ODD = (
    r"[\p{C}\p{M}\u0374\u037e\u0387\u0958-\u095f\u09dc\u09dd\u09df\u0a33\u0a36\u0a59-\u0a5b\u0a5e\u0b5c\u0b5d"
    r"\u0f43\u0f4d\u0f52\u0f57\u0f5c\u0f69\u1161-\u1175\u11a8-\u11c2\u1f71\u1f73\u1f75\u1f77\u1f79\u1f7b\u1f7d\u1fbb"
    r"\u1fbe\u1fc9\u1fcb\u1fd3\u1fdb\u1fe3\u1feb\u1fee\u1fef\u1ff9\u1ffb\u1ffd\u2000\u2001\u2126\u212a\u212b\u2329\u232a"
    r"\u2adc\uf900-\ufaff\ufb1d-\ufb4e\x{1d15e}-\x{1d164}\x{1d1bb}-\x{1d1c0}\x{2f800}-\x{2fa1d}]"
)

REASONS = PARSE_REASONS | {
    "nested_value": "an id is an object or a list where one value is due",
    "odd_id": "an id holds invisible, combining or not normalised characters",
    "no_event_id": "the event id is missing",
    "no_user": "the user is missing or on the deny list",
    "no_item": "the item is missing",
    "no_campaign": "the campaign is missing",
    "no_coupon": "the coupon is missing",
    "no_measure": "the measure, its value or its day is missing",
    "unknown_action": "the event type is none of the mapping's",
    "unreadable_time": "the time cannot be read by the declared format",
    "unreadable_day": "a day cannot be read by the declared format",
    "unreadable_number": "a number cannot be read",
    "out_of_window": "the event is older than the source's first date",
    "future": "the event is dated after the day its file landed",
    "bad_quantity": "the quantity is missing, zero, negative or not a number",
    "bad_price": "the price is missing, zero, negative or not a number",
    "bad_stars": "the stars are not between 1 and 5",
    "held": "too much of the file is out of the window: it is another day's or another shop's",
    "id_conflict": "an earlier line tells the same event id with another content",
}
MISSING = {
    "user_id": "no_user",
    "item_id": "no_item",
    "campaign_id": "no_campaign",
    "coupon_id": "no_coupon",
    "measure": "no_measure",
    "value": "no_measure",
    "measured_date": "no_measure",
}
OUT_OF_WINDOW = ("out_of_window", "future")


def reason_words(source: Ingest) -> dict[str, str]:
    """Every rule that a line of the source can break, in words."""
    return REASONS | {rule.id: rule.reason for file in source.kinds.values() for rule in file.mapping.rules}


def canonical(parsed: DataFrame, source: Ingest, file: SourceFile) -> DataFrame:
    """Canonical columns of one kind of files, with `row_id` and `rule`, the first rule broken, or null.

    `row_id` is an event's id; for what the shop tells of items, users and campaigns, a digest of landing day and row.
    """
    mapping, numbers = file.mapping, file.format.numbers.told

    def told_by(expression: str) -> Column:
        return expressions.column(expression, field_of, numbers)

    columns = _columns(source, mapping, told_by)
    own_rules = [F.when(told_by(rule.when), F.lit(rule.id)) for rule in mapping.rules]
    # One projection, so that expressions see the log's fields and never a canonical column of the same name.
    told = parsed.select(
        *LINEAGE,
        "unreadable",
        "escaped",
        *[c.alias(name) for name, c in columns.items()],
        F.coalesce(F.lit(None).cast("string"), *own_rules).alias("own_rule"),
    )
    if isinstance(mapping, EventsMapping):
        return told.withColumn("rule", events_rule(source, mapping)).drop(*HELPERS)
    kinds = KINDS_OF[type(mapping).__name__]
    told_text = [F.coalesce(F.col(c).cast("string"), F.lit("\\N")) for c in kinds]
    digest = F.sha2(F.concat_ws("\x1f", F.lit(file.table), F.col("landing_date").cast("string"), *told_text), 256)
    return told.withColumn("row_id", digest).withColumn("rule", reference_rule(mapping)).drop(*HELPERS)


def has_own_id(file: SourceFile) -> bool:
    """Whether `row_id` is the source's own event id, and not a digest of what the line tells."""
    return isinstance(file.mapping, EventsMapping) and file.mapping.event_id.column is not None


def _columns(source: Ingest, mapping: Mapped, told: Callable[[str], Column]) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for name, kind in KINDS_OF[type(mapping).__name__].items():
        value = told(getattr(mapping, name))
        found[name] = blank_to_null(value.cast("string")) if kind == "text" else value.cast(SQL_TYPES[kind])
    mended = [F.when(told(m.when), F.lit(m.id)) for m in mapping.repairs]
    mended.append(F.concat(F.lit("transcoded_"), F.translate("transcoded", "-", "_")))
    found["repairs"] = F.nullif(F.concat_ws(",", *mended), F.lit(""))
    if isinstance(mapping, EventsMapping):
        instant = event_instant(mapping.event_time, source.time_zone, told)
        code = found["event_type"]
        found |= {
            "row_id": _event_id(mapping),
            "event_ts": instant,
            "event_date": F.to_date(F.from_utc_timestamp(instant, source.time_zone)),
            "event_type": F.coalesce(*[F.when(code == k, F.lit(v)) for k, v in mapping.event_types.items()]),
            "flags": F.nullif(F.concat_ws(",", *[F.when(told(m.when), F.lit(m.id)) for m in mapping.flags]), F.lit("")),
        }
    return found


HELPERS = ("unreadable", "escaped", "own_rule")
SQL_TYPES = {"number": "double", "day": "date"}


def event_instant(time: EventTime, shop_zone: str, told: Callable[[str], Column]) -> Column:
    """The instant in UTC; null where the text is not written as declared, or no year of four digits comes out."""
    text = told(time.expression)
    if time.epoch:
        per_second = EPOCH_UNITS[time.epoch]
        count = number_of(text, Numbers())
        low, high = (bound * per_second for bound in SECONDS)
        return F.when(count.between(low, high), F.timestamp_micros((count * (1_000_000 / per_second)).cast("bigint")))
    instant = F.coalesce(*[instant_of(text, f) for f in time.format])
    return instant if time.has_offset else F.to_utc_timestamp(instant, time.zone or shop_zone)


def _event_id(mapping: EventsMapping) -> Column:
    """The source's own id, or SHA-256 of the business key, absent parts told apart from empty ones."""
    if mapping.event_id.column:
        return blank_to_null(field_of(mapping.event_id.column))
    parts = [F.coalesce(field_of(c), F.lit("\\N")) for c in mapping.event_id.hash_of]
    return F.sha2(F.concat_ws("\x1f", *parts), 256)


def _ids_rule(names: Sequence[str], rule: Column) -> Column:
    """The rules about the form of ids, after those of `rule`."""
    ids = F.concat_ws("", *names)
    # Nearly all are ASCII and show all they hold; asked first, for the classes of characters cost 1 µs.
    plain = (F.octet_length(ids) == F.length(ids)) & ~F.col("escaped")
    for name in names:
        rule = rule.when(F.substring(name, 1, 1).isin("{", "["), "nested_value")
        # A JSON number with a point comes as a double's text, and 17 digits may stand for two ids.
        rule = rule.when((F.substring(name, 2, 1) == ".") & F.col(name).rlike(r"^\d\.\d{14,}E\d+$"), "odd_id")
    return rule.when(~plain & ids.rlike(ODD), "odd_id")


def events_rule(source: Ingest, mapping: EventsMapping) -> Column:
    """The id of the first rule that a line of events breaks, or null if it can be used."""
    kind, price, quantity, stars = F.col("event_type"), F.col("unit_price"), F.col("quantity"), F.col("stars")
    ids = [name for name in IDS if name in (*KINDS_OF["EventsMapping"], "row_id")]
    rule = F.when(F.col("unreadable").isNotNull(), F.col("unreadable"))
    return (
        _ids_rule(ids, rule)
        .when(F.col("row_id").isNull(), "no_event_id")
        .when(_denied(mapping.denied_user_ids), "no_user")
        .when(F.col("own_rule").isNotNull(), F.col("own_rule"))
        .when(kind.isNull(), "unknown_action")
        .when(F.col("event_ts").isNull(), "unreadable_time")
        .when(F.col("event_date") < F.lit(source.first_date), "out_of_window")
        .when(F.col("event_date") > F.col("landing_date"), "future")
        .when(F.col("item_id").isNull() & ~kind.isin(*WITHOUT_ITEM), "no_item")
        .when(kind.isin(*WITH_QUANTITY) & ~F.coalesce(positive(quantity), F.lit(False)), "bad_quantity")
        .when(quantity.isNotNull() & ~(positive(quantity) | (quantity == 0)), "bad_quantity")
        .when(
            F.lit(mapping.tells_prices) & (kind == "purchase") & ~F.coalesce(positive(price), F.lit(False)), "bad_price"
        )
        .when(price.isNotNull() & ~(positive(price) | (price == 0)), "bad_price")
        .when(stars.isNotNull() & ~stars.between(1, 5), "bad_stars")
    )


def reference_rule(mapping: Mapped) -> Column:
    """The id of the first rule that a line about items, users or campaigns breaks, or null if it can be used."""
    kinds = KINDS_OF[type(mapping).__name__]
    rule = F.when(F.col("unreadable").isNotNull(), F.col("unreadable"))
    rule = _ids_rule([name for name in IDS if name in kinds], rule)
    for name, missing in MISSING.items():
        if name in kinds and type(mapping).model_fields[name].is_required():
            absent = _denied(getattr(mapping, "denied_user_ids", ())) if name == "user_id" else F.col(name).isNull()
            rule = rule.when(absent, missing)
    rule = rule.when(F.col("own_rule").isNotNull(), F.col("own_rule"))
    for name, kind in kinds.items():
        if kind == "number":
            rule = rule.when(F.isnan(name) | (F.abs(name) == float("inf")), "unreadable_number")
        elif kind == "day":
            rule = rule.when(F.col(name) == unreadable_day(), "unreadable_day")
    return rule


def _denied(words: Sequence[str]) -> Column:
    """Whether there is no user, or one that is a word for none."""
    return F.col("user_id").isNull() | F.lower("user_id").isin(*[w.lower() for w in words])


def positive(number: Column) -> Column:
    """Whether a number is above zero and finite: NaN compares as larger than everything in Spark."""
    return (number > 0) & (number < F.lit(float("inf")))
