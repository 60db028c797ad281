"""Lines that repeat an event already told."""

from rekindle.contract import Column, Table

DUPLICATES = Table(
    name="duplicates",
    doc="One row per landed line whose event id an earlier line already told, with a pointer to that line.",
    key=("file_sha256", "line_number"),
    columns=(
        Column("event_id", "string", "The event both lines tell."),
        Column("landing_date", "date", "Day on which the file with this line landed."),
        Column("file_sha256", "string", "Digest of the landed file."),
        Column("line_number", "bigint", "Line in that file, from 1.", minimum=1),
        Column("kept_landing_date", "date", "Landing day of the line that was kept."),
        Column("kept_file_sha256", "string", "File of the line that was kept."),
        Column("kept_line_number", "bigint", "Line that was kept.", minimum=1),
    ),
)
