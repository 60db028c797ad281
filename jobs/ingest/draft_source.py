"""Profile one landed file and write a draft of its source's mapping, for a person to finish.

Reads   the landing folder (one file of it)
Writes  conf/sources

A manual job: `make new-source FILE=… NAME=…`. A mapping that exists is never overwritten.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader

from rekindle import expressions, settings
from rekindle.log_profile import NAMED_DAYS, LogProfile, landing_of, literal, look
from rekindle.methods import log_guessing, log_times
from rekindle.methods.log_guessing import Profile, Role
from rekindle.methods.log_shapes import Encoding, Shape
from rekindle.refusals import UsageError
from rekindle.sources import NAME

TO_FILL_IN = "`FILL IN`"
WHO_AND_WHAT: tuple[Role, ...] = ("user_id", "item_id")
AS_TEXT: tuple[Role, ...] = ("order_id", "session_id", "title", "category", "brand", "text", "channel")
WEIGHTS = {"view": 1, "cart": 3, "favourite": 3, "purchase": 5, "rating": 1}
EXTENSIONS = re.compile(r"(\.(csv|tsv|txt|json|jsonl|ndjson|log|data|dat|parquet|gz|zst))+$", re.IGNORECASE)


def scalar(text: str) -> str:
    """The text as YAML reads it back, without quotes where it needs none."""
    try:
        if yaml.safe_load(f"- {text}") == [text] and not re.search(r"[,\[\]{}]", text):
            return text
    except yaml.YAMLError:
        pass  # it needs quotes
    return "'" + text.replace("'", "''") + "'"


def shown(text: str, longest: int = 60) -> str:
    """A value for a comment: on one line, cut, and without what YAML does not allow."""
    cut = text if len(text) <= longest else text[:longest] + "…"
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in cut) + '"'


def field_expression(name: str) -> str:
    """The field as an expression names it: in backticks where the grammar would read something else."""
    try:
        if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            expressions.check(name, [name], "text")
            return name
    except expressions.ExpressionError:
        pass  # it needs backticks
    return f"`{name}`"


def id_expression(column: Profile) -> str:
    """An id, without the .0 of one that was printed as a float."""
    field = field_expression(column.name)
    return rf"regexp_replace(trim({field}), '\.0$', '')" if column.is_whole_float else field


def notes_on(column: Profile) -> str:
    """What was found in a column, on one line."""
    kind: str = "whole number printed as a float" if column.is_whole_float else column.kind
    told = f"{kind}, {100 * column.share_blank:.1f} % blank, {column.distinct} different"
    if column.smallest is not None and column.largest is not None:
        told += f", {shown(column.smallest, 30)} to {shown(column.largest, 30)}"
    if column.decimal == "," or column.grouping:
        told += f", decimal sign {column.decimal!r}, groups by {column.grouping!r}"
    return told + (f"; samples {', '.join(shown(s) for s in column.samples)}" if column.samples else "")


def time_values(draft: LogProfile) -> tuple[str, list[str]]:
    """The expression of the time's text and its values: of one column, or of a day and a time of day in two."""
    column, clock = draft.column("event_time"), draft.guess.clock
    if column is None:
        return TO_FILL_IN, []
    day = field_expression(column.name)
    values = [row[column.name] or "" for row in draft.rows]
    padded = any(v != v.strip() for v in values)
    if clock is None:
        return (f"trim({day})" if padded else day), [v.strip() for v in values]
    both = [f"{v.strip()} {(row[clock] or '').strip()}" for v, row in zip(values, draft.rows, strict=True)]
    return f"concat(trim({day}), ' ', trim({field_expression(clock)}))", both


@dataclass(frozen=True)
class Time:
    """The lines of YAML for the event's time, and the days between which events lie; null where nobody can say."""

    lines: list[str]
    first: date | None
    last: date | None
    is_zoned: bool


def time_of(draft: LogProfile, landed: date | None) -> Time:
    """How the event's time is read; where two readings fit, both as comments for the user to choose from."""
    expression, values = time_values(draft)
    column = draft.column("event_time")
    units = log_times.epoch_units(values)
    found = log_times.readings(list(dict.fromkeys(values)))
    choice = log_times.choose(found, landed) if column and column.kind == "time" else None
    head = ["event_time:", f"  expression: {scalar(expression)}"]
    if choice is None:
        return _epoch(head, units)
    evidence = [
        f"  # {r.pattern} reads {100 * r.share:.1f} %: {at(r.first)} to {at(r.last)}"
        for r in found
        if r.pattern in choice.patterns or r in choice.rivals or r.share >= 0.01
    ]
    if choice.rivals:
        told = [f"  # format: {scalar(p)}" for p in (choice.patterns[0], *(r.pattern for r in choice.rivals))]
        fill_in = ["  # FILL IN: day and month can be either way round; keep the line that is right."]
        return Time(head + evidence + fill_in + told, None, None, choice.has_offset)
    several = "[" + ", ".join(map(scalar_quoted, choice.patterns)) + "]"
    made = scalar(choice.patterns[0]) if len(choice.patterns) == 1 else several
    lines = [*head, *evidence, f"  format: {made}"]
    lines += ["  has_offset: true"] if choice.has_offset else []
    lines += [f"  zone: {choice.zone}   # the text says so itself"] if choice.zone else []
    return Time(lines, choice.first.date(), choice.last.date(), choice.has_offset or choice.zone is not None)


def at(when: datetime | None) -> str:
    """An instant to the second."""
    return when.strftime("%Y-%m-%d %H:%M:%S") if when else "beyond the calendar"


def _epoch(head: list[str], units: list[log_times.Unit]) -> Time:
    if not units:
        return Time(
            [*head, "  # FILL IN: no column was found that tells a time.", "  format: FILL IN"], None, None, False
        )
    unit = log_times.epoch_unit(units)
    lines = list(head)
    for one in units:
        span = f"{at(one.first)} to {at(one.last)}"
        mark = "" if one is unit else "# "
        lines.append(f"  {mark}epoch: {one.name}   # {span}; {100 * one.share_plausible:.1f} % between 1990 and 2100")
    if unit is None or unit.first is None or unit.last is None:
        return Time([*lines, "  # FILL IN: keep the unit that is right."], None, None, True)
    return Time(lines, unit.first.date(), unit.last.date(), True)


def event_types_of(draft: LogProfile) -> tuple[list[str], list[str]]:
    """The lines of YAML for what happened, and the canonical types that there are."""
    column = draft.column("event_type")
    if column is None:
        return _without_types(draft)
    field = id_expression(column)
    text = column.kind == "text"
    counts: dict[str, int] = {}
    for word, count in column.counts:
        told = word.lower() if text else re.sub(r"\.0$", "", word)
        counts[told] = counts.get(told, 0) + count
    lines = [f"event_type: {scalar(f'lower(trim({field}))' if text else f'trim({field})')}"]
    meant = {word: log_guessing.event_type_of(word) for word in counts}
    known = [t for t in dict.fromkeys(meant.values()) if t]
    lines.append("event_types:" if known else "event_types: {}")
    for word, count in counts.items():
        kind = meant[word]
        mark = "" if kind else "# "
        lines.append(f"  {mark}{scalar(word)}: {kind or 'FILL IN'}   # {count} lines looked at")
    if not known:
        lines.append("# FILL IN: no word above is one that is known; until then every line is quarantined.")
        lines.append("# Put the lines below event_types in place of {} and take the # away.")
    elif len(known) < len(counts):
        lines.append("# Lines of a word without a type are quarantined as unknown_action.")
    more = column.distinct - len(column.counts)
    return lines + ([f"# … and {more} more words"] if more else []), known


def _without_types(draft: LogProfile) -> tuple[list[str], list[str]]:
    quantity = draft.column("quantity")
    if draft.column("stars"):
        return ["# No column tells what happened; the stars do.", *_constant("rating")], ["rating"]
    if quantity or draft.column("unit_price") or draft.column("amount"):
        minus = quantity is not None and (quantity.smallest or "").startswith("-")
        if minus and quantity:
            when = f"CASE WHEN number({field_expression(quantity.name)}) < 0 THEN 'return' ELSE 'purchase' END"
            told = ["# No column tells what happened: quantities are of purchases, negative ones of returns."]
            kinds = "{purchase: purchase, return: return}"
            return [*told, f"event_type: {scalar(when)}", f"event_types: {kinds}"], ["purchase", "return"]
        return ["# No column tells what happened: taken for purchases.", *_constant("purchase")], ["purchase"]
    return ["# No column tells what happened: taken for views. Is that so?", *_constant("view")], ["view"]


def _constant(kind: str) -> list[str]:
    return [f"""event_type: "'{kind}'\"""", f"event_types: {{{kind}: {kind}}}"]


def event_id_of(draft: LogProfile) -> list[str]:
    """The lines of YAML for the event's id: a column of its own, else the hash of all fields."""
    own, guess = draft.column("event_id"), draft.guess
    if own:
        return [f"event_id: {{column: {scalar(own.name)}}}   # no value stands twice in {own.values} lines"]
    every = ", ".join(scalar(c.name) for c in draft.columns)
    lines = [f"# No column is an id. {guess.repeated} of {len(draft.rows)} lines repeat an earlier one whole."]
    if guess.alone:
        lines.append(f"# No value stands twice in {', '.join(guess.alone[:5])}.")
    if guess.together:
        lines.append(f"# These alone tell different lines apart here: {', '.join(guess.together)}.")
    return [*lines, f"event_id: {{hash_of: [{every}]}}"]


def mapping_of(draft: LogProfile, time: Time, types: list[str]) -> list[str]:
    """The lines of the mapping."""
    lines = [*event_id_of(draft), *time.lines, *types]
    for role in WHO_AND_WHAT:
        column = draft.column(role)
        lines += _remarks(draft, role)
        if column is None:
            of_what = "user" if role == "user_id" else "item; a log without items can give a constant, as in \"'all'\""
            lines += [f"# FILL IN: no column was found that names the {of_what}", f"{role}: {scalar(TO_FILL_IN)}"]
        else:
            lines.append(f"{role}: {scalar(id_expression(column))}")
    for role in AS_TEXT:
        column = draft.column(role)
        if column:
            make = id_expression if role.endswith("_id") else lambda c: field_expression(c.name)
            lines += [*_remarks(draft, role), f"{role}: {scalar(make(column))}"]
    return lines + _number_lines(draft)


def _number_lines(draft: LogProfile) -> list[str]:
    lines = []
    quantity, price = draft.column("quantity"), draft.column("unit_price")
    amount, stars = draft.column("amount"), draft.column("stars")
    number_of = f"number({field_expression(quantity.name)})" if quantity else "1"
    if quantity:
        minus = (quantity.smallest or "").startswith("-")
        lines.append(f"quantity: {f'abs({number_of})' if minus else number_of}")
    elif price or amount:
        lines += ["# No column tells how many: one of each.", 'quantity: "1"']
    if price:
        lines += [*_remarks(draft, "unit_price"), f"unit_price: {scalar(f'number({field_expression(price.name)})')}"]
    elif amount:
        told = f"number({field_expression(amount.name)})" + (f" / {number_of}" if quantity else "")
        lines += [f"# {amount.name} is taken for the whole line's money.", f"unit_price: {scalar(told)}"]
    if stars:
        lines.append(f"stars: {scalar(f'number({field_expression(stars.name)})')}")
    return lines


def _remarks(draft: LogProfile, role: Role) -> list[str]:
    told = []
    if role in draft.guess.by_position:
        told.append(f"# {role}: guessed from the column's place alone. Is it so?")
    others = draft.guess.others.get(role)
    return [*told, f"# {role}: it might also be {', '.join(others)}"] if others else told


def format_of(shape: Shape, columns: tuple[Profile, ...]) -> list[str]:
    """The lines of the format between its kind and its fields."""
    lines = []
    if shape.kind == "csv":
        delimiter = {"\t": '"\\t"', "\x01": '"\\x01"'}.get(shape.delimiter, f'"{shape.delimiter}"')
        quote = "null" if shape.quote is None else scalar(shape.quote)
        lines = [f"delimiter: {delimiter}   # {100 * shape.share:.1f} % of the lines have the same number of fields"]
        lines += [f"quote: {quote}", f"header: {str(shape.header).lower()}"]
        if not shape.header:
            lines.append("# There is no header: the names are ours; rename them here and below.")
    if shape.kind == "fixed_width":
        told = ", ".join(map(str, shape.widths))
        lines = [f"widths: [{told}]   # {100 * shape.share:.1f} % of the lines are as long"]
    signs = {(c.decimal, c.grouping) for c in columns if c.decimal == "," or c.grouping}
    if signs:
        decimal, grouping = min(signs)
        lines += ["# A comma before three digits may be either sign: look at the samples."] if grouping == "," else []
        lines.append(f"numbers: {{decimal: '{decimal}', grouping: \"{grouping}\"}}")
    return lines


def encoding_notes(encoding: Encoding) -> list[str]:
    """What speaks for the encoding, where it is not plain."""
    if not encoding.beyond_ascii:
        return []
    told = [f"{encoding.beyond_ascii} of {encoding.lines} lines looked at hold more than ASCII."]
    if encoding.decodable:
        able = ", ".join(f"{n} {count}" for n, count in encoding.decodable.items())
        told += [f"Lines that each encoding can read: {able}.", "Several can; look at the samples below."]
    return told


def render(draft: LogProfile, name: str) -> str:
    """The draft as YAML."""
    named = landing_of(draft.file)
    time = time_of(draft, named[2] if named else None)
    types, known = event_types_of(draft)
    last = named[2] if named else time.last
    if named:
        landing = f"{{pattern: {scalar_quoted(named[0])}, date_format: {scalar_quoted(named[1])}}}"
        landing_notes = [f"The name tells {last}; files of other days have to fit the pattern, too."]
    else:
        landing = f"{{pattern: {scalar_quoted(literal(draft.file))}, landed_on: {last or 'FILL IN'}}}"
        landing_notes = ["The name tells no day. landed_on is the day of the last event looked at; later ones are"]
        landing_notes += ["quarantined. A pattern with (?P<date>…) takes files of many days."]
    first = time.first.replace(day=1) if time.first else None
    optional = set(draft.shape.optional)
    groups = [("fields", [c for c in draft.columns if c.name not in optional])]
    groups += [("optional", [c for c in draft.columns if c.name in optional])] if optional else []
    plain = draft.encoding.names == ("utf-8",)
    weights = {kind: WEIGHTS[kind] for kind in known if kind in WEIGHTS} or {"view": 1, "cart": 3, "purchase": 5}
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,  # noqa: S701 (YAML, and every value goes through scalar or shown)
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("source_draft.yaml").render(
        file=shown(draft.file)[1:-1],
        evidence=f"{draft.sample.count} lines, {len(draft.rows)} of them looked at.",
        name=name,
        description=scalar(f"Draft of a mapping, made from {shown(draft.file)[1:-1]}."),
        zone_notes=zone_notes(time),
        first_date_notes=["Earlier events are quarantined: the first of the month of the earliest looked at."],
        first_date=first or "FILL IN",
        landing_notes=landing_notes,
        landing=landing,
        kind=draft.shape.kind,
        encoding_notes=[] if draft.shape.kind == "parquet" else encoding_notes(draft.encoding),
        encoding="" if plain else f"[{', '.join(draft.encoding.names)}]",
        format_lines=format_of(draft.shape, draft.columns),
        fields=[(group, [(scalar(c.name), notes_on(c)) for c in columns]) for group, columns in groups],
        left_out=[f"Left out, a mapping cannot name it: {shown(n)}" for n in draft.shape.left_out],
        mapping=mapping_of(draft, time, types),
        weights="{" + ", ".join(f"{k}: {w}" for k, w in weights.items()) + "}",
    )


def scalar_quoted(text: str) -> str:
    """The text in single quotes: YAML reads no escape in it."""
    return "'" + text.replace("'", "''") + "'"


def zone_notes(time: Time) -> list[str]:
    """What is known of the shop's zone."""
    if time.is_zoned:
        return ["The times tell their own zone; this one says where the shop's days begin. Not guessed: put it right."]
    return ["Times are written without a zone and are read in this one. Not guessed: put the shop's own here."]


def name_of(file: str, told: str | None) -> str:
    """The source's name: as told, else made from the file's name.

    Raises:
        UsageError: it is no legal name, or there is such a source.
    """
    named = landing_of(file)
    bare = file if named is None else re.sub(rf"{NAMED_DAYS[[f for _, f in NAMED_DAYS].index(named[1])][0]}", "", file)
    made = re.sub(r"[^a-z0-9]+", "_", EXTENSIONS.sub("", bare).lower()).strip("_")
    name = told or made
    if not NAME.fullmatch(name):
        raise UsageError(f"NAME={name!r}: expected small letters, digits and _, beginning with a letter; give NAME=…")
    if name in settings.source_names():
        raise UsageError(f"conf/sources/{name}.yaml exists and is not overwritten; give another NAME=… or remove it")
    return name


def write(path: Path, told: str | None) -> Iterator[str]:
    """Write the draft; what to tell the user, a sentence at a time.

    Raises:
        UsageError: the file cannot be read or guessed, or the name is taken.
    """
    name = name_of(path.name, told)
    text = render(look(path), name)
    target = settings.conf_folder() / "sources" / f"{name}.yaml"
    with target.open("x", encoding="utf-8") as file:
        file.write(text)
    yield f"wrote conf/sources/{name}.yaml, a draft. It holds samples of the log: delete them before you share it."
    try:
        settings.load(name)
    except settings.SettingsError as error:
        yield "It does not load yet; to fill in:"
        yield from (f"  {fault}" for fault in error.faults)
    else:
        yield f"It loads. Read it, then: make check-source SOURCE={name} LANDING=<folder>"


if __name__ == "__main__":
    try:
        if len(sys.argv) not in (2, 3) or not sys.argv[1]:
            raise UsageError("usage: make new-source FILE=<a log> [NAME=<the source's name>]")
        for sentence in write(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else None):
            sys.stdout.write(f"{sentence}\n")
    except (UsageError, settings.SettingsError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
