"""What must hold of the items' features, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import functions as F

from rekindle.quality import Suite, always, suite_for
from schemas.item_features import ITEM_FEATURES


def suite(as_of: date) -> Suite:
    """The checks on rows."""
    return suite_for(
        ITEM_FEATURES,
        always("of_this_night", f"rows as of another day than {as_of}", F.col("as_of") == F.lit(as_of)),
        always(
            "dates_in_order",
            "items first seen after they were last seen, or seen on or after the night's end",
            (F.col("first_seen_date") <= F.col("last_seen_date")) & (F.col("last_seen_date") < F.col("as_of")),
        ),
        always(
            "buyers_have_purchases",
            "items with more buyers than purchase lines",
            F.col("buyers_28d") <= F.col("purchases_28d"),
        ),
    )
