"""What must hold of the models that put users into segments, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import functions as F

from rekindle.quality import Figure, Suite, always, suite_for
from schemas.segment_models import SEGMENT_MODELS


def suite(business_date: date) -> Suite:
    """The checks on rows."""
    return suite_for(
        SEGMENT_MODELS,
        always("of_this_night", f"rows of another date than {business_date}", F.col("business_date") == business_date),
        # A model of a later night has seen what tonight must not.
        always(
            "not_of_the_future", "models that were fitted after tonight", F.col("fitted_date") <= F.lit(business_date)
        ),
        always(
            "model_is_whole",
            "models without ids, names and groups in their JSON",
            F.get_json_object("model", "$.ids").isNotNull()
            & F.get_json_object("model", "$.parts").isNotNull()
            & F.get_json_object("model", "$.groups").isNotNull(),
        ),
        Figure("one_conf", "different confs that models were fitted by", F.count_distinct("conf_digest"), 0, 1),
        may_be_empty=True,
    )
