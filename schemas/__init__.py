"""Every table of Rekindle: one file a table, and here the columns that several share. `schemas.catalogue` lists all."""

from rekindle.contract import Column

# Of whom a row tells.
USER = (
    Column("user_key", "string", "Keyed pseudonym of the user (HMAC-SHA-256, hex).", privacy="pseudonym"),
    Column("key_version", "int", "Version of the key that made `user_key`.", minimum=1),
)
# Of what the shop tells beside events: which row, and from which line.
ROW_ID = Column("row_id", "string", "Digest of the landing day and all that the row tells.")
LINE = (
    Column("repairs", "string", "Ids of the repairs made to the line, by comma; null if none.", nullable=True),
    Column("landing_date", "date", "Day on which the shop told it."),
    Column("file_sha256", "string", "Digest of the landed file."),
    Column("line_number", "bigint", "Line in that file, from 1, a header counted.", minimum=1),
)
