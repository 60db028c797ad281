"""Lines that could not be used, with the reason and the place; never the text itself."""

from rekindle.contract import Column, Table

QUARANTINE = Table(
    name="quarantine",
    doc="One row per landed line that cannot be used: the first rule it broke, and where `make show-line` finds it.",
    key=("file_sha256", "line_number"),
    columns=(
        Column("rule", "string", "Id of the first rule the line broke."),
        Column("reason", "string", "The rule in words."),
        Column("landing_date", "date", "Day on which the file landed."),
        Column("file_sha256", "string", "Digest of the landed file."),
        Column("line_number", "bigint", "Line in that file, from 1, a header counted.", minimum=1),
        Column("byte_offset", "bigint", "Where the line starts in the decompressed file.", unit="bytes", minimum=0),
    ),
)
