"""What a source's conf says of its files: how they are named, written and read as canonical columns.

One model a part of `conf/sources/<name>.yaml`; the expressions in it are checked when it is loaded. How to write one:
docs/sources.md.
"""

from __future__ import annotations

import calendar
import difflib
import re
from collections.abc import Iterator
from datetime import date, datetime
from functools import cached_property
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from rekindle import expressions, patterns
from rekindle.conf_faults import FaultsBelow
from rekindle.expressions import Kind, Numbers
from rekindle.methods.activity import WRITTEN_BACK

NAME = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")
Name = Annotated[str, Field(pattern=NAME.pattern)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _several(value: Any) -> Any:
    """One value stands for a list of one."""
    return (value,) if isinstance(value, str) else value


def _zone(name: str) -> str:
    if name not in available_timezones():
        near = difflib.get_close_matches(name, available_timezones(), 1)
        raise ValueError(f"unknown time zone {name!r}" + (f", did you mean {near[0]}?" if near else ""))
    return name


TimeZone = Annotated[str, AfterValidator(_zone)]

CORRUPT = "corrupt_"  # where Spark's parsers put what they cannot read

# In all of these a line feed is the byte 0A and nothing else is, so lines can be told before the text is read.
ENCODINGS = (
    "utf-8", "gbk", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr",
    "latin-1", "iso-8859-2", "iso-8859-15", "windows-1250", "windows-1251", "windows-1252",
)  # fmt: skip


class Landing(Strict):
    """Which names are this kind's files, and the day on which each landed: written in the name, or told here."""

    pattern: str
    date_format: str = "%Y-%m-%d"
    landed_on: date | None = None

    @model_validator(mode="after")
    def _tells_the_date(self) -> Landing:
        try:
            named = "date" in re.compile(self.pattern).groupindex
        except re.error as error:
            raise ValueError(f"the pattern is no regular expression: {error}") from None
        if named == (self.landed_on is not None):
            raise ValueError("the pattern must capture the landing date as (?P<date>…), or landed_on must name it")
        return self

    def landing_date(self, name: str) -> date | None:
        """The day a file of that name landed, or None if the name is not of this kind.

        A name that tells only a month (`date_format` without a day) landed on the month's last day.
        """
        found = re.fullmatch(self.pattern, name)
        if found is None:
            return None
        if self.landed_on is not None:
            return self.landed_on
        try:
            told = datetime.strptime(found["date"], self.date_format).date()  # noqa: DTZ007 (a calendar day)
        except ValueError:
            return None
        if re.search(r"%[dj]", self.date_format):
            return told
        return told.replace(day=calendar.monthrange(told.year, told.month)[1])


class LogFormat(Strict):
    """How a line is written. `fields` are the names by which expressions mean its parts; all are read as text.

    json_lines: one object a line, fields by key. csv: by the header's names where there is a header (in any order),
    else by position. fixed_width: by position, `widths` characters each. parquet: by column name. `optional` fields may
    be missing from a header, a Parquet schema or an object; a file without one of the others is refused by name.
    """

    kind: Literal["json_lines", "csv", "fixed_width", "parquet"]
    fields: tuple[str, ...]
    optional: tuple[str, ...] = ()
    encoding: Annotated[tuple[str, ...], BeforeValidator(_several)] = ("utf-8",)
    compression: Literal["by_name", "none", "gzip", "zstd"] = "by_name"
    delimiter: Annotated[str, Field(min_length=1, max_length=4)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] | None = '"'
    header: bool = False
    widths: tuple[Annotated[int, Field(ge=1)], ...] = ()
    numbers: NumberFormat = Field(default_factory=lambda: NumberFormat())

    @property
    def names(self) -> tuple[str, ...]:
        """Every declared field."""
        return self.fields + self.optional

    @property
    def is_objects(self) -> bool:
        """Whether cleaning sees each line as a JSON object."""
        return self.kind in ("json_lines", "parquet")

    @field_validator("encoding")
    @classmethod
    def _known(cls, encodings: tuple[str, ...]) -> tuple[str, ...]:
        for encoding in encodings:
            if encoding not in ENCODINGS:
                near = difflib.get_close_matches(encoding, ENCODINGS, 1)
                raise ValueError(f"unknown encoding {encoding!r}{f', did you mean {near[0]}?' if near else ''}")
        return encodings

    @model_validator(mode="after")
    def _fits(self) -> LogFormat:
        if (self.kind == "fixed_width") != bool(self.widths) or (self.widths and len(self.widths) != len(self.names)):
            raise ValueError("fixed_width, and it alone, needs widths: one for each field")
        if self.header and self.kind != "csv":
            raise ValueError("only csv has a header")
        if self.optional and self.kind in ("csv", "fixed_width") and not self.header:
            raise ValueError("fields told by position cannot be optional")
        if CORRUPT in self.names:
            raise ValueError(f"a field may not be named {CORRUPT}")
        lower = [f.lower() for f in self.names]
        twice = sorted({f for f in self.names if lower.count(f.lower()) > 1})
        if twice:
            raise ValueError(f"fields {', '.join(twice)} differ at most in case; each must be told once")
        if not self.fields:
            raise ValueError("at least one field is needed")
        return self


class NumberFormat(Strict):
    """The signs in written numbers: `1.234,5` has decimal "," and grouping "."."""

    decimal: Literal[".", ","] = "."
    grouping: Literal["", ",", ".", " ", "'"] = ""

    @model_validator(mode="after")
    def _differ(self) -> NumberFormat:
        if self.decimal == self.grouping:
            raise ValueError("decimal and grouping must differ")
        return self

    @property
    def told(self) -> Numbers:
        """The same for expressions."""
        return Numbers(self.decimal, self.grouping)


class EventId(Strict):
    """The event's id: the source's own column, or a hash of the columns that make an event the same event."""

    column: str | None = None
    hash_of: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _exactly_one(self) -> EventId:
        if bool(self.column) == bool(self.hash_of):
            raise ValueError("give either column or hash_of")
        return self


class EventTime(Strict):
    """Where the time stands and how it is written.

    `format` is Spark's pattern, or several tried in turn; `epoch` counts from 1970-01-01 UTC in the unit declared and
    never guessed. A format without an offset in it is local time of `zone` (default: the shop's).
    """

    expression: str
    format: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    epoch: Literal["seconds", "milliseconds", "microseconds"] | None = None
    has_offset: bool = False
    zone: TimeZone | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> EventTime:
        if bool(self.format) == bool(self.epoch):
            raise ValueError("give either format or epoch")
        if self.has_offset and (self.epoch or self.zone):
            raise ValueError("has_offset goes with format alone: the text itself tells the zone")
        for pattern in self.format:
            patterns.check_day(pattern)
            if patterns.tells_offset(pattern) != self.has_offset:
                told = "tells no offset (X, x, Z, V, z or O)" if self.has_offset else "tells an offset"
                raise ValueError(f"pattern {pattern!r} {told}: has_offset must be {str(not self.has_offset).lower()}")
        return self


class Rule(Strict):
    """A source's own reason to quarantine a line; the first whose `when` holds counts."""

    id: Name
    when: str
    reason: str


class Mark(Strict):
    """A mending that the mapping's expressions make, counted on the lines where `when` holds; or a flag on them."""

    id: Name
    when: str


class Mapped(Strict):
    """What every kind's mapping may say. Each other key is a canonical column, given as an expression."""

    rules: tuple[Rule, ...] = ()
    repairs: tuple[Mark, ...] = ()

    def expressions(self) -> Iterator[tuple[tuple[str | int, ...], str, Kind]]:
        """Every expression with its place below the mapping and the kind of value that it must give."""
        for key, kind in KINDS_OF[type(self).__name__].items():
            yield (key,), getattr(self, key), kind
        for name in ("rules", "repairs", "flags"):
            for n, mark in enumerate(getattr(self, name, ())):
                yield (name, n, "when"), mark.when, "flag"


class EventsMapping(Mapped):
    """From the shop's fields to events."""

    event_id: EventId
    event_time: EventTime
    event_type: str
    event_types: dict[str, str]
    user_id: str
    item_id: str = "NULL"
    title: str = "NULL"
    category: str = "NULL"
    brand: str = "NULL"
    order_id: str = "NULL"
    quantity: str = "NULL"
    unit_price: str = "NULL"
    stars: str = "NULL"
    text: str = "NULL"
    session_id: str = "NULL"
    channel: str = "NULL"
    denied_user_ids: tuple[str, ...] = ()
    flags: tuple[Mark, ...] = ()

    @property
    def tells_prices(self) -> bool:
        """Whether the log has prices at all; where it has, a purchase without one is a fault."""
        return self.unit_price.strip().upper() != "NULL"

    def expressions(self) -> Iterator[tuple[tuple[str | int, ...], str, Kind]]:
        yield from super().expressions()
        yield ("event_time", "expression"), self.event_time.expression, "text"


class ItemsMapping(Mapped):
    """From the shop's fields to items, as told on the landing day."""

    item_id: str
    title: str = "NULL"
    category: str = "NULL"
    brand: str = "NULL"
    unit_price: str = "NULL"
    text: str = "NULL"


class UsersMapping(Mapped):
    """From the shop's fields to what the shop knows of its users, as told on the landing day."""

    user_id: str
    registered_date: str = "NULL"
    age_band: str = "NULL"
    gender: str = "NULL"
    region: str = "NULL"
    occupation: str = "NULL"
    tier: str = "NULL"
    denied_user_ids: tuple[str, ...] = ()


class CampaignsMapping(Mapped):
    """From the shop's fields to campaigns, as told on the landing day."""

    campaign_id: str
    title: str = "NULL"
    category: str = "NULL"
    start_date: str = "NULL"
    end_date: str = "NULL"


class CampaignTargetsMapping(Mapped):
    """From the shop's fields to who was to be reached by a campaign."""

    campaign_id: str
    user_id: str
    denied_user_ids: tuple[str, ...] = ()


class CouponsMapping(Mapped):
    """From the shop's fields to coupons and the items on which they can be redeemed."""

    coupon_id: str
    item_id: str
    campaign_id: str = "NULL"


class ItemMeasuresMapping(Mapped):
    """From the shop's fields to figures that the shop itself keeps of its items by day (comments, stock)."""

    item_id: str
    measured_date: str
    measure: str
    value: str


_OF_KIND: dict[Kind, str] = {
    "text": "event_type user_id item_id title category brand order_id text session_id channel age_band gender region"
    " occupation tier campaign_id coupon_id measure",
    "number": "quantity unit_price stars value",
    "day": "registered_date start_date end_date measured_date",
}
KINDS: dict[str, Kind] = {name: kind for kind, names in _OF_KIND.items() for name in names.split()}
MAPPINGS = (
    EventsMapping, ItemsMapping, UsersMapping, CampaignsMapping, CampaignTargetsMapping, CouponsMapping,
    ItemMeasuresMapping,
)  # fmt: skip
KINDS_OF = {m.__name__: {k: KINDS[k] for k in m.model_fields if k in KINDS} for m in MAPPINGS}


class SourceFile(Strict):
    """One kind of files of a source: how they are named and written, and which table their lines fill."""

    table: str
    landing: Landing
    format: LogFormat
    mapping: Mapped

    @model_validator(mode="after")
    def _expressions_are_legal(self) -> SourceFile:
        mapping = self.mapping
        faults = []
        for place, text, wanted in mapping.expressions():
            try:
                expressions.check(text, self.format.names, wanted)
            except expressions.ExpressionError as error:
                faults.append((("mapping", *map(str, place)), str(error)))
        identity = getattr(mapping, "event_id", None)
        named = [identity.column] if identity and identity.column else list(identity.hash_of if identity else ())
        fields = self.format.names
        faults += [(("mapping", "event_id"), expressions.unknown_field(f, fields)) for f in named if f not in fields]
        if faults:
            raise FaultsBelow(faults)
        return self


class EventsFile(SourceFile):
    table: Literal["events"]
    mapping: EventsMapping


class ItemsFile(SourceFile):
    table: Literal["items"]
    mapping: ItemsMapping


class UsersFile(SourceFile):
    table: Literal["users"]
    mapping: UsersMapping


class CampaignsFile(SourceFile):
    table: Literal["campaigns"]
    mapping: CampaignsMapping


class CampaignTargetsFile(SourceFile):
    table: Literal["campaign_targets"]
    mapping: CampaignTargetsMapping


class CouponsFile(SourceFile):
    table: Literal["coupons"]
    mapping: CouponsMapping


class ItemMeasuresFile(SourceFile):
    table: Literal["item_measures"]
    mapping: ItemMeasuresMapping


FileKind = Annotated[
    EventsFile | ItemsFile | UsersFile | CampaignsFile | CampaignTargetsFile | CouponsFile | ItemMeasuresFile,
    Field(discriminator="table"),
]


# What the CRM writes back: a kind of files that every source has. They are made from the warehouse's inbox by
# rekindle/inbox.py and lie in no landing folder. Nothing that protects a user (a complaint, a contact) is refused for
# a detail that it lacks.
INBOX_KIND = "inbox"
INBOX_EVENT = "inbox/"  # before an outcome's id in its event's: the shop's own ids are apart
INBOX = EventsFile(
    table="events",
    landing=Landing(pattern=r"inbox-(?P<date>\d{4}-\d{2}-\d{2})-\d+\.jsonl"),
    format=LogFormat(
        kind="json_lines",
        compression="none",
        fields=("event_id", "outcome_id", "kind", "user_id", "happened_at", "is_user_known"),
        optional=("action", "channel", "campaign_id", "item_id", "order_id", "text"),
    ),
    mapping=EventsMapping(
        event_id=EventId(column="event_id"),
        event_time=EventTime(expression="happened_at", format=("yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",), has_offset=True),
        event_type="kind",
        event_types={kind: kind for kind in WRITTEN_BACK},
        user_id="user_id",
        item_id="item_id",
        order_id="order_id",
        text="text",
        rules=(
            Rule(
                id="unknown_kind",
                when=f"trim(kind) NOT IN ({', '.join(map(repr, WRITTEN_BACK))})",
                reason=f"the outcome's kind is none of {', '.join(WRITTEN_BACK)}",
            ),
            Rule(
                id="unknown_user",
                when="is_user_known = 'false'",
                reason="no line of the shop's log has named the outcome's user",
            ),
        ),
    ),
)


class NotCustomers(Strict):
    """Who is taken for a machine: each rule names users whose events no model learns from. None where null.

    Over the last `days`: at least `events_in_an_hour` events within one hour; at least `share_of_events` of all the
    source's events; or at least `events_of_one_item` events, all of them of one item.
    """

    days: Annotated[int, Field(ge=1)] = 28
    events_in_an_hour: Annotated[int, Field(ge=1)] | None = None
    share_of_events: Annotated[float, Field(gt=0, le=1)] | None = None
    events_of_one_item: Annotated[int, Field(ge=1)] | None = None


class Ingest(Strict):
    """Everything of a source that decides what becomes of a landed line. `files` are its kinds of files by name.

    A file whose events are out of the window (before `first_date`, or after the file landed) by more than
    `held_out_of_window_share` is another day's or another shop's: it is held whole.
    """

    name: Name
    time_zone: TimeZone
    first_date: date
    files: Annotated[dict[Name, FileKind], Field(min_length=1)]
    held_out_of_window_share: Annotated[float, Field(gt=0, le=1)] = 0.2

    @model_validator(mode="after")
    def _brings_events(self) -> Ingest:
        if not self.events:
            raise ValueError("files: none of them brings events")
        if INBOX_KIND in self.files:
            raise ValueError(f"files: {INBOX_KIND} is the kind of what the CRM writes back; name yours otherwise")
        return self

    @cached_property
    def kinds(self) -> dict[str, SourceFile]:
        """Every kind of files that is cleaned: those that land, and what the CRM writes back."""
        return {**self.files, INBOX_KIND: INBOX}

    @cached_property
    def events(self) -> tuple[EventsFile, ...]:
        """The kinds that bring the shop's events."""
        return tuple(f for f in self.files.values() if isinstance(f, EventsFile))
