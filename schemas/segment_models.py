"""By what users are put into segments: the borders, kept from night to night until they are drawn anew."""

from rekindle.contract import Column, Table
from schemas.segments import METHODS

SEGMENT_MODELS = Table(
    name="segment_models",
    doc="One row per method of segmentation: its fitted model. No person is inside.",
    key=("method",),
    columns=(
        Column("method", "string", "What it finds segments by.", allowed=METHODS),
        Column(
            "model",
            "string",
            "The fitted numbers as JSON: limits, middles and spreads of features, centres; of topics the words and"
            " each topic's counts. Read by rekindle/methods/segment_models.py.",
        ),
        Column("conf_digest", "string", "Of the conf it was fitted by: with another one borders are drawn anew."),
        Column("fitted_date", "date", "Business date of the night that fitted it."),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
