"""Figures that the shop itself keeps of its items by day."""

from rekindle.contract import Column, Table
from schemas import LINE, ROW_ID

ITEM_MEASURES = Table(
    name="item_measures",
    doc="One row per item, day and measure, such as comments so far.",
    key=("row_id",),
    columns=(
        ROW_ID,
        Column("item_id", "string", "The shop's item number."),
        Column("measured_date", "date", "Day of the figure."),
        Column("measure", "string", "What was measured, by the mapping's name."),
        Column("value", "double", "The figure.", unit="the measure's"),
        *LINE,
    ),
)
