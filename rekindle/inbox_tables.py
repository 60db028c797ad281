"""The warehouse's inbox, where the CRM writes back what came of its doing: its tables, and who may do what there.

The database keeps out what is too long to be a row; what a row means is judged by the night (`sources.INBOX`), so that
a wrong one is told as such in crm.outcomes and stops nobody's transaction.
"""

from __future__ import annotations

ID_CHARACTERS = 200
# Whatever the characters, a row is a line of at most 64 KiB then: beyond it no line is read.
TEXT_CHARACTERS = 8_000

REQUIRED = ("source", "outcome_id", "kind", "user_id", "happened_at")
OPTIONAL = ("action", "channel", "campaign_id", "item_id", "order_id", "text")
WRITTEN_BY_THE_CRM = (*REQUIRED, *OPTIONAL)

_SHORT = ", ".join(
    f"CONSTRAINT {name}_length CHECK (length({name}) BETWEEN {int(name in REQUIRED)} AND {ID_CHARACTERS})"
    for name in ("outcome_id", "kind", "user_id", *OPTIONAL[:-1])
)

INBOX = (
    # Who may be written of: the night adds its source. It is also what one night after the other locks; the CRM's
    # open transactions, which refer to it, do not hold that lock up.
    """CREATE TABLE IF NOT EXISTS inbox.sources (
  source text PRIMARY KEY, since timestamptz NOT NULL DEFAULT now())""",
    """CREATE TABLE IF NOT EXISTS inbox.batches (
  source text NOT NULL REFERENCES inbox.sources, number integer NOT NULL, landing_date date NOT NULL,
  outcomes bigint NOT NULL, taken_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (source, number))""",
    # The last three are the night's: when an outcome was taken, in which batch, and whether the vault knew the user.
    f"""CREATE TABLE IF NOT EXISTS inbox.outcomes (
  source text NOT NULL REFERENCES inbox.sources, outcome_id text NOT NULL, kind text NOT NULL, user_id text NOT NULL,
  happened_at timestamptz NOT NULL, action text, channel text, campaign_id text, item_id text, order_id text, text text,
  received_at timestamptz NOT NULL DEFAULT now(), number bigint GENERATED ALWAYS AS IDENTITY,
  landing_date date, batch integer, is_user_known boolean,
  PRIMARY KEY (source, outcome_id), {_SHORT},
  CONSTRAINT text_length CHECK (length(text) <= {TEXT_CHARACTERS}),
  CONSTRAINT happened_at_is_a_time CHECK (happened_at >= '1970-01-01 UTC' AND happened_at < '10000-01-01 UTC'),
  CONSTRAINT taken_whole CHECK (num_nulls(landing_date, batch, is_user_known) IN (0, 3)))""",
    "CREATE INDEX IF NOT EXISTS outcomes_waiting ON inbox.outcomes (source, happened_at) WHERE landing_date IS NULL",
    "CREATE INDEX IF NOT EXISTS outcomes_by_batch ON inbox.outcomes (source, batch, number)",
)

WRITER_SETTINGS = (
    ("statement_timeout", "60s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "1min"),
    ("search_path", "inbox"),
    ("timezone", "UTC"),
)


def rights(database: str) -> list[str]:
    """Statements that let the CRM's writer insert its columns and nothing else, and the night take what was written."""
    return [
        f"GRANT CONNECT ON DATABASE {database} TO crm_writer",
        "GRANT USAGE ON SCHEMA inbox TO writer, crm_writer",
        f"GRANT INSERT ({', '.join(WRITTEN_BY_THE_CRM)}) ON inbox.outcomes TO crm_writer",
        "GRANT SELECT, UPDATE (landing_date, batch, is_user_known) ON inbox.outcomes TO writer",
        "GRANT SELECT, INSERT ON inbox.batches TO writer",
        "GRANT SELECT, INSERT, UPDATE (since) ON inbox.sources TO writer",  # whoever locks a row must be let change one
        "ALTER ROLE crm_writer CONNECTION LIMIT 5",
        *(f"ALTER ROLE crm_writer IN DATABASE {database} SET {key} = '{value}'" for key, value in WRITER_SETTINGS),
    ]
