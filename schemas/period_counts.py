"""Exact sums over users from which the metrics of a period are told."""

from rekindle.contract import Column, Table
from rekindle.methods.retention_counted import COUNTS, MONEYS
from rekindle.methods.retention_periods import UNITS
from schemas.period_metrics import GROUP

PERIOD_COUNTS = Table(
    name="period_counts",
    doc="One row per period and group in which anything is counted: sums to which a night adds its users' difference.",
    key=("period_unit", "period_start", "group_kind", "group_name"),
    columns=(
        Column("period_unit", "string", "Length of the period.", allowed=UNITS),
        Column("period_start", "date", "First local day of the period; periods that have not ended are counted too."),
        *GROUP,
        *(Column(name, "bigint", doc) for name, doc in COUNTS.items()),
        *(Column(name, "decimal(38,6)", doc, "shop currency") for name, doc in MONEYS.items()),
    ),
)
