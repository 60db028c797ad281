"""DuckDB doing the work of cleaning, from the same files to Parquet: the reference of `bench/ingest.py`.

One script, as fast as we could honestly make it: lines are read raw and parsed strictly, every rule of the simulated
shop's mapping is asked in the order of rekindle/line_rules.py, pseudonyms are made once a user, only ids told twice are
compared with their content, and the lines of undecodable bytes come back from the reader's table of rejects. One thing
of ours it leaves out, in its favour: the byte offset of quarantined lines. Parquet is written with zstd, as Iceberg
does by default, in one file a table (ours is partitioned by month).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import duckdb

from bench.ingest_lines import MadeFile
from rekindle.methods.activity import WITHOUT_ITEM
from rekindle.settings import Source

FIELDS = (
    "event_id", "ts", "type", "customer", "sku", "title", "category", "brand", "price", "qty", "order_id", "session",
    "stars", "text", "query", "channel",
)  # fmt: skip
CONTENT = (
    "event_type", "event_ts", "user_id", "item_id", "title", "category", "brand", "order_id", "quantity", "unit_price",
    "stars", "text", "session_id", "channel",
)  # fmt: skip
BLANKS = "' ' || chr(9) || chr(13) || chr(10)"
BLOCK_BYTES = 64  # of SHA-256

FILES = """
CREATE TABLE files (file_id SMALLINT, path VARCHAR, landing_date DATE, file_sha256 VARCHAR, lines BIGINT)
"""
READER = """
read_csv([$paths], delim = chr(1), quote = '', escape = '', header = false, auto_detect = false, new_line = '\\n',
         columns = {line: 'VARCHAR'}, filename = true, $on_error, max_line_size = 65536,
         compression = '$compression')
"""
# A log's lines have few shapes: keys are looked at one by one only where the first file has no good line of that shape.
SHAPES = """
SELECT array_to_string(keys, chr(31)) AS shape, count(*) FROM (
    SELECT json_keys(line) AS keys FROM $first_reader WHERE json_valid(line) AND json_type(line) = 'OBJECT'
) WHERE len(list_distinct(keys)) = len(keys) AND NOT $in_other_case
GROUP BY shape ORDER BY count(*) DESC, shape LIMIT 12
"""
IN_OTHER_CASE = "len(list_filter(keys, lambda k: lower(k) IN ($names) AND k NOT IN ($names))) > 0"
# Rows must be stored in the order of the files, for a row's place tells its line number. So no join comes before that:
# behind one rows come thread by thread, and five words or more within IN (...) are a join.
LINES = """
CREATE TABLE lines AS
WITH told AS (
    SELECT filename, line, CASE WHEN json_valid(line) THEN json_transform(line, '$shape') END AS said,
           CASE WHEN json_valid(line) THEN json_keys(line) END AS keys, array_to_string(keys, chr(31)) AS key_names
    FROM $reader
), named AS (
    SELECT filename, said.*, lower($type) AS code,
           CASE WHEN contains(line, chr(0)) OR contains(line, chr(65279)) OR contains(line, '\\u0000')
                THEN 'control_character'
                WHEN said IS NULL THEN 'malformed'
                WHEN $shape_known THEN NULL
                WHEN len(list_distinct(keys)) < len(keys) THEN 'duplicate_key'
                WHEN $in_other_case
                THEN 'key_case' END AS unreadable
    FROM told
), canonical AS (
    SELECT filename, unreadable, $event_id AS event_id,
           CASE code $event_types END AS event_type,
           try_strptime(ts, '%Y-%m-%dT%H:%M:%S%z') AS event_ts,
           $user_id AS user_id, $item_id AS item_id, $title AS title, $category AS category, $brand AS brand,
           $order_id AS order_id, $quantity AS quantity, $unit_price AS unit_price, $stars AS stars, $text AS text,
           $session_id AS session_id, $channel AS channel,
           CASE WHEN type <> code THEN 'event_type_case' END AS repairs
    FROM named
), dated AS (
    SELECT * EXCLUDE (filename), $file_id AS file_id, ([$landing_dates])[$file_id + 1] AS landing_date,
           timezone('$zone', event_ts)::DATE AS event_date,
           concat_ws(chr(31), event_id, user_id, item_id, order_id, session_id) AS ids
    FROM canonical
)
SELECT * EXCLUDE (unreadable, landing_date, ids),
       CASE WHEN unreadable IS NOT NULL THEN unreadable
            WHEN $nested THEN 'nested_value'
            WHEN NOT regexp_full_match(ids, '[ -~\\x1f]*')
                 AND regexp_matches(
                     replace(ids, chr(31), ''), '[\\p{C}\\p{M}\\x{2126}\\x{212A}\\x{212B}\\x{F900}-\\x{FAFF}]')
            THEN 'odd_id'
            WHEN event_id IS NULL THEN 'no_event_id'
            WHEN user_id IS NULL OR $denied THEN 'no_user'
            WHEN event_type IS NULL THEN 'unknown_action'
            WHEN event_ts IS NULL THEN 'unreadable_time'
            WHEN event_date < DATE '$first_date' THEN 'out_of_window'
            WHEN event_date > landing_date THEN 'future'
            WHEN item_id IS NULL AND event_type NOT IN ($without_item) THEN 'no_item'
            WHEN event_type IN ('purchase', 'return') AND NOT coalesce($positive_quantity, false) THEN 'bad_quantity'
            WHEN quantity IS NOT NULL AND NOT ($positive_quantity OR quantity = 0) THEN 'bad_quantity'
            WHEN event_type = 'purchase' AND NOT coalesce($positive_price, false) THEN 'bad_price'
            WHEN unit_price IS NOT NULL AND NOT ($positive_price OR unit_price = 0) THEN 'bad_price'
            WHEN stars IS NOT NULL AND NOT stars BETWEEN 1 AND 5 THEN 'bad_stars'
       END AS rule
FROM dated
"""
# Rejects are no rows of `lines`: behind the n-th of a file, line numbers are n ahead of the row's place in the file.
REJECTED = """
CREATE TABLE rejected AS
SELECT f.file_id, e.line AS line_number,
       CASE e.error_type WHEN 'INVALID ENCODING' THEN 'encoding' ELSE 'oversize' END AS rule
FROM reject_errors e JOIN reject_scans s ON s.scan_id = e.scan_id AND s.file_id = e.file_id
     JOIN files f ON f.path = s.file_path
"""
STARTS = """
CREATE TABLE starts AS
WITH firsts AS (SELECT file_id, min(rowid) AS first_row FROM lines GROUP BY file_id),
numbered AS (SELECT *, row_number() OVER (PARTITION BY file_id ORDER BY line_number) AS n FROM rejected),
told AS (
    SELECT first_row + line_number - n AS from_row, 1 + n - first_row AS ahead FROM numbered JOIN firsts USING (file_id)
    UNION ALL SELECT first_row, 1 - first_row FROM firsts
)
SELECT from_row, max(ahead) AS ahead FROM told GROUP BY from_row ORDER BY from_row
"""
PLACES = """
CREATE TABLE places AS SELECT l.rowid AS place, l.rowid + ahead AS line_number
FROM lines l ASOF JOIN starts s ON l.rowid >= s.from_row
"""
HELD = """
UPDATE lines SET rule = 'held' WHERE rule IS NULL AND file_id IN (
    SELECT file_id FROM (
        SELECT file_id, count_if(rule IN ('out_of_window', 'future')) AS late FROM lines GROUP BY file_id
    ) JOIN files USING (file_id) WHERE late > $held * files.lines
)
"""
REPEATS = """
CREATE TABLE repeats AS
WITH twice AS (SELECT event_id, min(rowid) AS kept FROM lines WHERE rule IS NULL GROUP BY event_id HAVING count(*) > 1)
SELECT l.rowid AS place, kept, ($content_l) IS DISTINCT FROM ($content_k) AS is_conflict
FROM lines l JOIN twice USING (event_id) JOIN lines k ON k.rowid = kept WHERE l.rule IS NULL AND l.rowid <> kept
"""
# HMAC-SHA-256: the key is padded to a block and met with the two constants beforehand.
USERS = """
CREATE TABLE users AS
SELECT user_id, sha256(unhex('$outer') || unhex(sha256(unhex('$inner') || encode('$source' || chr(31) || user_id))))
       AS user_key
FROM (SELECT DISTINCT user_id FROM lines WHERE rule IS NULL)
"""
EVENTS = """
COPY (
    SELECT event_id, user_key, 1 AS key_version, event_type, event_ts, event_date, item_id, title, category, brand,
           order_id, quantity, unit_price, stars, text, session_id, channel, repairs, NULL::VARCHAR AS flags,
           landing_date, file_sha256, line_number
    FROM lines l JOIN files USING (file_id) JOIN users USING (user_id) JOIN places p ON p.place = l.rowid
         ANTI JOIN repeats r ON r.place = l.rowid
    WHERE rule IS NULL
) TO '$folder/events.parquet' (FORMAT parquet, COMPRESSION zstd)
"""
DUPLICATES = """
COPY (
    SELECT l.event_id, f.landing_date, f.file_sha256, p.line_number, g.landing_date AS kept_landing_date,
           g.file_sha256 AS kept_file_sha256, q.line_number AS kept_line_number
    FROM repeats r JOIN lines l ON l.rowid = r.place JOIN places p ON p.place = r.place JOIN files f USING (file_id)
         JOIN lines k ON k.rowid = r.kept JOIN places q ON q.place = r.kept JOIN files g ON g.file_id = k.file_id
    WHERE NOT is_conflict
) TO '$folder/duplicates.parquet' (FORMAT parquet, COMPRESSION zstd)
"""
QUARANTINE = """
COPY (
    SELECT rule, reason, landing_date, file_sha256, line_number FROM (
        SELECT coalesce(l.rule, 'id_conflict') AS rule, file_id, line_number
        FROM lines l JOIN places p ON p.place = l.rowid LEFT JOIN repeats r ON r.place = l.rowid
        WHERE l.rule IS NOT NULL OR r.is_conflict
        UNION ALL SELECT rule, file_id, line_number FROM rejected
    ) JOIN files USING (file_id) JOIN reasons USING (rule)
) TO '$folder/quarantine.parquet' (FORMAT parquet, COMPRESSION zstd)
"""
FATES = """
CREATE TABLE fates AS
SELECT file_sha256, fate, rule, count(*) AS lines FROM (
    SELECT file_id, CASE WHEN l.rule IS NOT NULL OR is_conflict THEN 'quarantined' WHEN r.place IS NOT NULL
                    THEN 'duplicate' ELSE 'clean' END AS fate,
           coalesce(l.rule, CASE WHEN is_conflict THEN 'id_conflict' END) AS rule
    FROM lines l LEFT JOIN repeats r ON r.place = l.rowid
    UNION ALL SELECT file_id, 'quarantined', rule FROM rejected
) JOIN files USING (file_id) GROUP BY ALL
"""


@dataclass(frozen=True)
class Reference:
    """What DuckDB took and found; `fates` are lines by (file, fate, rule)."""

    phases: dict[str, float]
    fates: list[tuple[str, str, str | None, int]]
    processor_seconds: float
    peak_bytes: int

    @property
    def seconds(self) -> float:
        """Wall time of all phases."""
        return sum(self.phases.values())


def clean(
    files: Sequence[MadeFile], landing: Path, source: Source, key: bytes, reasons: dict[str, str], folder: Path
) -> Reference:
    """Clean the files with two threads and 6 GB, written as Parquet below `folder`; a connection of its own."""
    ordered = sorted(files, key=lambda f: (f.landing_date, f.sha256))
    # Only declared fields are extracted. The mapping is this shop's, written out by hand in SQL.
    paths = [str(landing / f.name) for f in ordered]
    values = _values(source, key, ordered, paths, folder)
    before = resource.getrusage(resource.RUSAGE_SELF)
    phases = {}
    settings = {"threads": 2, "memory_limit": "6GB", "temp_directory": str(folder / "spill")}
    with duckdb.connect(":memory:", config=settings) as connection:  # type: ignore[arg-type]
        started = time.perf_counter()
        connection.execute("SET timezone = 'UTC'")
        connection.execute(FILES)
        known = connection.execute(Template(SHAPES).substitute(values)).fetchall()
        values["shape_known"] = " OR ".join(f"key_names = {_text(shape)}" for shape, _ in known) or "false"
        rows = [(n, p, f.landing_date, f.sha256, f.lines) for n, (f, p) in enumerate(zip(ordered, paths, strict=True))]
        connection.executemany("INSERT INTO files VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("CREATE TABLE reasons (rule VARCHAR, reason VARCHAR)")
        connection.executemany("INSERT INTO reasons VALUES (?, ?)", list(reasons.items()))
        for phase, statements in {
            "read, parse, rules": (LINES,),
            "line numbers": (REJECTED, STARTS, PLACES),
            "duplicates": (HELD, REPEATS, FATES),
            "pseudonyms": (USERS,),
            "write": (EVENTS, DUPLICATES, QUARANTINE),
        }.items():
            for statement in statements:
                connection.execute(Template(statement).substitute(values))
            now = time.perf_counter()
            phases[phase], started = now - started, now
        fates = connection.execute("SELECT file_sha256, fate, rule, lines FROM fates").fetchall()
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Reference(phases, fates, spent, after.ru_maxrss * 1024)


def _values(
    source: Source, key: bytes, files: Sequence[MadeFile], paths: Sequence[str], folder: Path
) -> dict[str, Any]:
    """What stands for the $names of the statements."""
    mapping = source.events[0].mapping
    known = source.events[0].format.names
    padded = key.ljust(BLOCK_BYTES, b"\0")
    values = {
        "paths": ", ".join(_text(p) for p in paths),
        "on_error": "store_rejects = true, rejects_limit = 0",
        "compression": "gzip" if paths[0].endswith(".gz") else "none",
        "shape": "{" + ", ".join(f'"{f}": "VARCHAR"' for f in FIELDS) + "}",
        "names": ", ".join(map(_text, known)),
        "type": _trimmed("said.type"),
        "event_types": " ".join(f"WHEN {_text(k)} THEN {_text(v)}" for k, v in mapping.event_types.items()),
        "user_id": _filled("customer"),
        "item_id": f"CASE WHEN lower({_trimmed('sku')}) NOT IN ('null', 'undefined') THEN {_filled('sku')} END",
        "quantity": f"CASE WHEN code IN ('order', 'refund') THEN {_number('qty')} END",
        "unit_price": _number("price"),
        "stars": f"CASE WHEN code = 'review' THEN {_number('stars')} END",
        "text": _filled("coalesce(text, query)"),
        "session_id": _filled("session"),
        "file_id": f"(list_position([{', '.join(map(_text, paths))}], filename) - 1)::SMALLINT",
        "landing_dates": ", ".join(f"DATE '{f.landing_date}'" for f in files),
        "zone": source.time_zone,
        "nested": " OR ".join(
            f"{c}[1] IN ('{{', '[')" for c in ("event_id", "user_id", "item_id", "order_id", "session_id")
        ),
        "denied": " OR ".join(f"lower(user_id) = {_text(d)}" for d in mapping.denied_user_ids),
        "first_date": source.first_date.isoformat(),
        "without_item": ", ".join(map(_text, WITHOUT_ITEM)),
        "positive_quantity": "(quantity > 0 AND quantity < 'inf'::DOUBLE)",
        "positive_price": "(unit_price > 0 AND unit_price < 'inf'::DOUBLE)",
        "held": source.held_out_of_window_share,
        "content_l": ", ".join(f"l.{c}" for c in CONTENT),
        "content_k": ", ".join(f"k.{c}" for c in CONTENT),
        "inner": bytes(b ^ 0x36 for b in padded).hex(),
        "outer": bytes(b ^ 0x5C for b in padded).hex(),
        "source": source.name,
        "folder": str(folder).replace("'", "''"),
    }
    values |= {c: _filled(c) for c in ("title", "category", "brand", "order_id", "channel")}
    values["event_id"] = _filled("event_id")
    values["in_other_case"] = Template(IN_OTHER_CASE).substitute(values)
    values["reader"] = Template(READER).substitute(values)
    values["first_reader"] = Template(READER).substitute(
        values | {"paths": _text(paths[0]), "on_error": "ignore_errors = true"}
    )
    return values


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _trimmed(column: str) -> str:
    """Without blanks around it; DuckDB's trim with a set of characters is slow, so it is called where there are any."""
    ends = " OR ".join(f"suffix({column}, {end})" for end in ("' '", "chr(9)", "chr(13)", "chr(10)"))
    return f"CASE WHEN {column} < '!' OR {ends} THEN trim({column}, {BLANKS}) ELSE {column} END"


def _filled(column: str) -> str:
    return f"nullif({_trimmed(column)}, '')"


def _number(column: str) -> str:
    found = f"coalesce(try_cast({_trimmed(column)} AS DOUBLE), 'nan'::DOUBLE)"
    return f"CASE WHEN length({_trimmed(column)}) > 0 THEN {found} END"
