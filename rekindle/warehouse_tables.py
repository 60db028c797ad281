"""What the warehouse consists of, besides the run-scoped tables of the contracts: statements, views and rights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rekindle import inbox_tables
from rekindle.contract import POSTGRES_TYPES, Column, Table

# The CRM's own view of the publications; `schemas/` holds the contracts of all other views.
PUBLICATIONS = Table(
    name="publications",
    doc="One row per published run: what was served when, and up to which instant its data reach.",
    key=("run_id",),
    readers="CRM (crm.publications)",
    columns=(
        Column("run_id", "string", "The run; every row of the other views carries it."),
        Column("business_date", "date", "The shop's local day whose night made the run."),
        Column("data_through", "timestamp", "The run saw nothing from this instant on: the end of its business date."),
        Column("published_at", "timestamp", "When the run was published.", unit="UTC instant"),
        Column(
            "status",
            "string",
            "What publishing it did: served it, or stored it because a newer date was served already.",
            allowed=("served", "stored_older"),
        ),
        Column("is_served", "boolean", "Whether it is the run that the views show now; one per source."),
        Column("is_kept", "boolean", "Whether its rows can still be read from the views named …_by_run."),
    ),
)

SCHEMAS = ("ops", "serve", "vault", "crm", "inbox")

LEDGER = (
    """CREATE TABLE IF NOT EXISTS ops.files (
  source text NOT NULL, name text NOT NULL, landing_date date NOT NULL, sha256 text NOT NULL,
  size_bytes bigint NOT NULL, mtime_ns bigint NOT NULL, lines bigint NOT NULL, header_lines bigint NOT NULL,
  status text NOT NULL CHECK (status IN ('accepted', 'refused')), reason text,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (source, name, landing_date, sha256),
  CHECK (status = 'accepted' OR reason IS NOT NULL))""",
    # Rows from before sources had several kinds of files: preflight reads such a file again and fills these in.
    "ALTER TABLE ops.files ADD COLUMN IF NOT EXISTS kind text NOT NULL DEFAULT '',"
    " ADD COLUMN IF NOT EXISTS columns text[] NOT NULL DEFAULT '{}'",
    # A line is known by its file's digest and its number: one content may be accepted only once.
    "CREATE UNIQUE INDEX IF NOT EXISTS files_accepted_once ON ops.files (source, sha256) WHERE status = 'accepted'",
    """CREATE TABLE IF NOT EXISTS ops.runs (
  run_id text PRIMARY KEY, source text NOT NULL, business_date date NOT NULL, code_version text NOT NULL,
  conf_fingerprint text NOT NULL, ingest_version text NOT NULL, key_version integer NOT NULL,
  retrain boolean NOT NULL, plan jsonb NOT NULL, attempt integer NOT NULL DEFAULT 1,
  status text NOT NULL DEFAULT 'open'
    CHECK (status IN ('open', 'failed', 'published', 'stored_older', 'nothing_landed')),
  message text, published_at timestamptz, opened_at timestamptz NOT NULL DEFAULT now())""",
    """CREATE TABLE IF NOT EXISTS ops.run_files (
  run_id text NOT NULL REFERENCES ops.runs, file_sha256 text NOT NULL, PRIMARY KEY (run_id, file_sha256))""",
    "CREATE SEQUENCE IF NOT EXISTS ops.acceptances",
    """CREATE TABLE IF NOT EXISTS ops.run_tables (
  run_id text NOT NULL REFERENCES ops.runs, table_name text NOT NULL, snapshot_id bigint NOT NULL,
  metadata_location text NOT NULL, row_count bigint NOT NULL, key_count bigint NOT NULL, hash_sum numeric NOT NULL,
  hash_xor bigint NOT NULL, accepted boolean NOT NULL, acceptance bigint, PRIMARY KEY (run_id, table_name))""",
    """CREATE TABLE IF NOT EXISTS ops.file_fates (
  run_id text NOT NULL REFERENCES ops.runs, file_sha256 text NOT NULL, landed bigint NOT NULL CHECK (landed >= 0),
  clean bigint NOT NULL CHECK (clean >= 0), duplicate bigint NOT NULL CHECK (duplicate >= 0),
  quarantined bigint NOT NULL CHECK (quarantined >= 0),
  PRIMARY KEY (run_id, file_sha256), CHECK (landed = clean + duplicate + quarantined))""",
    """CREATE TABLE IF NOT EXISTS ops.checks (
  run_id text NOT NULL REFERENCES ops.runs, stage text NOT NULL, number integer NOT NULL, table_name text NOT NULL,
  check_id text NOT NULL, severity text NOT NULL, success boolean NOT NULL, expected text NOT NULL,
  found text NOT NULL, unexpected_rows bigint, PRIMARY KEY (run_id, stage, number))""",
    """CREATE TABLE IF NOT EXISTS ops.stages (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_id text NOT NULL REFERENCES ops.runs,
  name text NOT NULL, attempt integer NOT NULL, status text NOT NULL CHECK (status IN ('running', 'done', 'failed')),
  started_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz, detail jsonb NOT NULL DEFAULT '{}')""",
    "CREATE INDEX IF NOT EXISTS stages_of_run ON ops.stages (run_id, number)",
    """CREATE TABLE IF NOT EXISTS ops.models (
  source text NOT NULL, kind text NOT NULL CHECK (kind IN ('recommender', 'churn')), digest text NOT NULL,
  method text NOT NULL, path text NOT NULL, metrics jsonb NOT NULL, trained_through date NOT NULL,
  run_id text NOT NULL REFERENCES ops.runs,
  status text NOT NULL CHECK (status IN ('candidate', 'champion', 'refused', 'retired', 'withdrawn')),
  number bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (source, kind, digest))""",
    # Ledgers from before models could be rolled back.
    "ALTER TABLE ops.models DROP CONSTRAINT IF EXISTS models_status_check, ADD CONSTRAINT models_status_check"
    " CHECK (status IN ('candidate', 'champion', 'refused', 'retired', 'withdrawn'))",
    """CREATE TABLE IF NOT EXISTS ops.champions (
  source text NOT NULL, kind text NOT NULL, digest text NOT NULL, since_run text REFERENCES ops.runs,
  PRIMARY KEY (source, kind), FOREIGN KEY (source, kind, digest) REFERENCES ops.models)""",
    """CREATE TABLE IF NOT EXISTS ops.champion_decisions (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source text NOT NULL, kind text NOT NULL,
  run_id text REFERENCES ops.runs, before_digest text, digest text NOT NULL, decision jsonb NOT NULL,
  decided_at timestamptz NOT NULL DEFAULT now())""",
    # An operator rolls back between runs: the run is null.
    "ALTER TABLE ops.champions ALTER COLUMN since_run DROP NOT NULL",
    "ALTER TABLE ops.champion_decisions ALTER COLUMN run_id DROP NOT NULL",
    """CREATE TABLE IF NOT EXISTS ops.model_decisions (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_id text REFERENCES ops.runs,
  source text NOT NULL, kind text NOT NULL, digest text NOT NULL, method text NOT NULL,
  decision text NOT NULL CHECK (decision IN ('promoted', 'kept', 'refused', 'baseline', 'rolled_back')),
  reason text NOT NULL, against text, against_method text, metric text,
  value double precision, against_value double precision, difference double precision,
  low double precision, high double precision, judged_rows bigint,
  coverage double precision, against_coverage double precision,
  overlap double precision, flip_rate double precision, list_flip_rate double precision,
  decided_by text, decided_at timestamptz NOT NULL DEFAULT now(),
  CHECK ((run_id IS NULL) = (decision = 'rolled_back')))""",
    "CREATE UNIQUE INDEX IF NOT EXISTS model_decided_once ON ops.model_decisions"
    " (run_id, kind, digest, coalesce(against, ''))",
    """CREATE TABLE IF NOT EXISTS ops.run_champions (
  run_id text NOT NULL REFERENCES ops.runs, kind text NOT NULL, digest text NOT NULL, PRIMARY KEY (run_id, kind))""",
    "CREATE TABLE IF NOT EXISTS ops.views (name text PRIMARY KEY, definition text NOT NULL)",
)

SERVING = (
    """CREATE TABLE IF NOT EXISTS serve.publications (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source text NOT NULL, run_id text NOT NULL UNIQUE,
  business_date date NOT NULL, data_through timestamptz NOT NULL, key_version integer NOT NULL,
  attempt integer NOT NULL, status text NOT NULL CHECK (status IN ('served', 'stored_older')), manifest jsonb NOT NULL,
  is_kept boolean NOT NULL DEFAULT true, published_at timestamptz NOT NULL DEFAULT now())""",
    # run_id is null only until the source's first publication commits
    """CREATE TABLE IF NOT EXISTS serve.pointers (
  source text PRIMARY KEY, run_id text REFERENCES serve.publications (run_id), business_date date,
  key_version integer, published_at timestamptz)""",
    # What stage() proved of each table of a run: the fingerprint that the database counted over its rows.
    """CREATE TABLE IF NOT EXISTS serve.stagings (
  run_id text NOT NULL REFERENCES ops.runs, table_name text NOT NULL, source text NOT NULL, attempt integer NOT NULL,
  row_count bigint NOT NULL, hash_sum numeric NOT NULL, hash_xor bigint NOT NULL,
  staged_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (run_id, table_name))""",
    # Runs published before there were proofs have theirs in the manifest: without one nobody would remove their rows.
    "INSERT INTO serve.stagings (run_id, table_name, source, attempt, row_count, hash_sum, hash_xor, staged_at)"
    " SELECT run_id, m.key, source, attempt, (m.value->>'rows')::bigint, (m.value->>'hash_sum')::numeric,"
    " (m.value->>'hash_xor')::bigint, published_at FROM serve.publications, jsonb_each(manifest) m WHERE is_kept"
    " ON CONFLICT DO NOTHING",
    """CREATE TABLE IF NOT EXISTS serve.pointer_moves (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source text NOT NULL, from_run text, to_run text NOT NULL,
  cause text NOT NULL CHECK (cause IN ('published', 'rolled_back')), moved_at timestamptz NOT NULL DEFAULT now())""",
    """CREATE TABLE IF NOT EXISTS vault.user_keys (
  source text NOT NULL, key_version integer NOT NULL, user_key text NOT NULL, user_id text NOT NULL,
  PRIMARY KEY (source, key_version, user_key))""",
    "CREATE INDEX IF NOT EXISTS user_keys_by_id ON vault.user_keys (source, user_id)",
)

# Columns that came later: (table, column, type, statements once it is there). Added only where they are missing, since
# even an ALTER without effect waits for every reader of the table.
LATER_COLUMNS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("ops.views", "version", "integer NOT NULL DEFAULT 1", ()),
    ("serve.publications", "holdout_share", "double precision NOT NULL DEFAULT 0", ()),
    ("serve.pointers", "holdout_share", "double precision NOT NULL DEFAULT 0", ()),
    (
        "serve.pointers",
        "data_through",
        "timestamptz",
        (
            "UPDATE serve.pointers p SET data_through = h.data_through FROM serve.publications h"
            " WHERE h.run_id = p.run_id",
        ),
    ),
    ("serve.pointer_moves", "decided_by", "text", ()),
    ("serve.pointer_moves", "reason", "text", ()),
    # From 0 to 1, by salted hash of source and user id: whoever is below the served run's share is held out. Users
    # from before there was a holdout are given theirs by `warehouse.migrate`.
    ("vault.user_keys", "holdout_draw", "double precision", ()),
)

# What PostgreSQL lets every role do in every database, and the CRM's reader has no use for. Needs a superuser, so
# an outside server's administrator decides; see docs/crm.md.
SUPERUSER_RIGHTS = (
    "REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC",
    "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
    "REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea),"
    " lo_put(oid, bigint, bytea), lo_unlink(oid), lowrite(integer, bytea), lo_open(oid, integer) FROM PUBLIC",
)

READER_SETTINGS = (
    ("default_transaction_read_only", "on"),
    ("default_transaction_isolation", "repeatable read"),  # two statements of one transaction see one night
    ("statement_timeout", "60s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "10min"),
    ("timezone", "UTC"),
)


@dataclass(frozen=True)
class View:
    """A view: its name, its select, what it and its columns mean, and which version of it this is."""

    name: str
    definition: str
    doc: str
    columns: tuple[tuple[str, str], ...]
    version: int = 1
    schema: str = "crm"

    def create(self) -> str:
        """The CREATE VIEW statement."""
        return f"CREATE VIEW {self.schema}.{self.name} AS {self.definition}"

    def comments(self) -> list[str]:
        """COMMENT statements for the view and every column."""
        qualified = f"{self.schema}.{self.name}"
        lines = [f"COMMENT ON VIEW {qualified} IS {text(f'{self.doc} Version {self.version}.')}"]
        return lines + [f"COMMENT ON COLUMN {qualified}.{c} IS {text(told)}" for c, told in self.columns]


def views_of(table: Table) -> tuple[View, View]:
    """The table's two views: `crm.<table>` of the served run, and `crm.<table>_by_run` of every kept one.

    Columns: source, the contract's with `user_key` resolved to the shop's own `user_id`, run_id, published_at,
    data_through. Rows of users who are held out are withheld.
    """
    resolved = "user_key" in table.by_name
    columns = ", ".join("k.user_id" if c == "user_key" else f"t.{c}" for c in table.names)
    vault = (
        " JOIN vault.user_keys k ON k.source = p.source AND k.key_version = p.key_version AND k.user_key = t.user_key"
        " AND k.holdout_draw >= p.holdout_share"
        if resolved
        else ""
    )
    told = (
        ("source", "The shop; first part of every key."),
        *(
            ("user_id", "The shop's own id of the user.") if c.name == "user_key" else (c.name, c.meaning)
            for c in table.columns
        ),
        ("run_id", "The run that made the row: one and the same in all rows of a source, in every view."),
        ("published_at", "When that run was published. UTC instant."),
        ("data_through", "The run saw nothing from this instant on: now() less this is the age of the row's data."),
    )

    def select(pointer: str, condition: str) -> str:
        return (
            f"SELECT t.source, {columns}, t.run_id, p.published_at, p.data_through FROM serve.{pointer} p"  # noqa: S608 (our own names)
            f" JOIN serve.{table.name} t ON t.source = p.source AND t.run_id = p.run_id{vault}{condition}"
        )

    by_run = f"{table.doc} Of every kept published run: filter on run_id to page through one of them."
    return (
        View(table.name, select("pointers", ""), table.doc, told, table.version),
        View(f"{table.name}_by_run", select("publications", " WHERE p.is_kept"), by_run, told, table.version),
    )


def publications_view() -> View:
    """`crm.publications`: the history, source first."""
    select = (
        "SELECT h.source, h.run_id, h.business_date, h.data_through, h.published_at, h.status,"
        " h.run_id = p.run_id AS is_served, h.is_kept"
        " FROM serve.publications h JOIN serve.pointers p ON p.source = h.source"
    )
    told = (("source", "The shop."), *((c.name, c.meaning) for c in PUBLICATIONS.columns))
    return View(PUBLICATIONS.name, select, PUBLICATIONS.doc, told)


def users_views() -> tuple[View, View]:
    """`crm.users`: whom a pseudonym stands for; `serve.users`: the same for analysts, who are not told whom."""
    source = ("source", "The shop.")
    held_out = (
        "is_held_out",
        "Whether the user belongs to the holdout: no other view of the CRM has a row of theirs, and no campaign of any"
        " kind is to reach them, or nothing can be said of what contacting brings.",
    )
    joined = "FROM serve.pointers p JOIN vault.user_keys k ON k.source = p.source AND k.key_version = p.key_version"
    doc = "One row per user whom the shop's log has ever named, held out or not."
    is_held_out = "k.holdout_draw < p.holdout_share AS is_held_out"
    return (
        View(
            "users",
            f"SELECT k.source, k.user_key, k.user_id, {is_held_out} {joined}",
            doc,
            (
                source,
                ("user_key", "The pseudonym, whose beginning the night's report shows."),
                ("user_id", "The shop's own id of the user."),
                held_out,
            ),
        ),
        View(
            "users",
            f"SELECT k.source, k.user_key, {is_held_out} {joined}",
            doc,
            (source, ("user_key", "The pseudonym, as in the other tables of serve."), held_out),
            schema="serve",
        ),
    )


def fixed() -> list[str]:
    """Statements that make the schemas, the ledger, the pointer and the vault, where they are missing."""
    return [*(f"CREATE SCHEMA IF NOT EXISTS {name}" for name in SCHEMAS), *LEDGER, *SERVING, *inbox_tables.INBOX]


def rights(database: str, tables: Sequence[str]) -> list[str]:
    """Statements that give each role what it needs and take the rest from everybody. `tables`: the run-scoped ones."""
    scoped = ", ".join(f"serve.{name}" for name in tables)
    views = ", ".join(f"crm.{name}" for table in tables for name in (table, f"{table}_by_run"))
    return [
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        f"GRANT CONNECT, TEMPORARY ON DATABASE {database} TO writer",
        f"GRANT CONNECT ON DATABASE {database} TO analyst, crm_reader",
        "GRANT USAGE ON SCHEMA ops, serve, vault, crm TO writer",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ops.files, ops.runs, ops.run_files, ops.run_tables, ops.file_fates,"
        " ops.checks, ops.stages, ops.models, ops.champions, ops.run_champions TO writer",
        "GRANT SELECT, INSERT ON ops.champion_decisions, ops.model_decisions, serve.pointer_moves, vault.user_keys"
        " TO writer",
        "GRANT USAGE ON SEQUENCE ops.acceptances TO writer",
        "GRANT SELECT, INSERT, UPDATE ON serve.pointers, serve.publications TO writer",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON serve.stagings TO writer",
        "GRANT SELECT ON serve.users TO writer",
        f"GRANT SELECT, INSERT, DELETE ON {scoped} TO writer",
        f"GRANT SELECT ON {views}, crm.publications TO writer, crm_reader",
        "GRANT SELECT ON crm.users TO crm_reader",
        "GRANT USAGE ON SCHEMA crm TO crm_reader",
        # By pseudonym only: neither the vault nor the views that resolve it.
        "GRANT USAGE ON SCHEMA serve, ops TO analyst",
        "GRANT SELECT ON ALL TABLES IN SCHEMA serve, ops TO analyst",
        # Of 60 on the embedded server: the night keeps its place.
        "ALTER ROLE crm_reader CONNECTION LIMIT 40",
        "ALTER ROLE analyst CONNECTION LIMIT 5",
        *(
            f"ALTER ROLE {role} IN DATABASE {database} SET {key} = {text(value)}"
            for role, search_path in (("crm_reader", "crm"), ("analyst", "serve"))
            for key, value in (*READER_SETTINGS, ("search_path", search_path))
        ),
        *inbox_tables.rights(database),
    ]


def maintenance(tables: Sequence[str]) -> list[str]:
    """Statements that let the writer analyse what it fills. `tables`: the run-scoped ones."""
    filled = ", ".join(["vault.user_keys", *(f"serve.{name}" for name in tables)])
    return [f"GRANT MAINTAIN ON {filled} TO writer"]


def formatted_type(column: Column) -> str:
    """The column's type as PostgreSQL's format_type spells it."""
    return POSTGRES_TYPES[column.type].replace("timestamptz", "timestamp with time zone")


def text(value: str) -> str:
    """A text literal."""
    return "'" + value.replace("'", "''") + "'"
