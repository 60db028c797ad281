"""What must hold of the users left out of the models, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.methods.not_customers import FLAG, RULES
from rekindle.quality import Figure, Suite, always, row_count, suite_for
from rekindle.settings import Source
from schemas.excluded_users import EXCLUDED_USERS


def suite(source: Source, as_of: date) -> Suite:
    """The checks. Nobody excluded is the usual night."""
    asked = source.not_customers.model_dump(include=set(RULES), exclude_none=True)
    flags = sorted({f"{FLAG}{flag.id}" for kind in source.events for flag in kind.mapping.flags})
    rule, threshold = F.col("rule"), F.col("threshold")
    by_rule = F.coalesce(F.lit(None).cast("double"), *[F.when(rule == r, F.lit(float(t))) for r, t in asked.items()])
    return suite_for(
        EXCLUDED_USERS,
        always("as_of_this_night", f"rows as of another day than {as_of}", F.col("as_of") == F.lit(as_of)),
        # Whoever is left out must be able to learn by which line of the source's conf.
        always(
            "rule_declared",
            f"rows by a rule that is none of {', '.join([*asked, *flags]) or 'the source, which declares none'}",
            rule.isin(*asked, *flags),
        ),
        always(
            "threshold_declared",
            "rows with another threshold than the source declares for the rule",
            threshold.eqNullSafe(by_rule),
        ),
        always("is_met", "rows whose value is below the threshold", F.col("value") >= F.coalesce(threshold, F.lit(1))),
        may_be_empty=True,
    )


def by_user(excluded: DataFrame, profiles: DataFrame) -> DataFrame:
    """One row per user who is excluded, has a profile or both: `rules` and `excluded_as`, null where there is none."""
    rules = excluded.groupBy("user_key").agg(F.array_join(F.array_sort(F.collect_set("rule")), ",").alias("rules"))
    told = profiles.select("user_key", "excluded_as", F.lit(True).alias("has_profile"))
    return rules.join(told, "user_key", "full")


def suite_by_user() -> Suite:
    """The checks on who is excluded."""
    excluded = F.col("rules").isNotNull()
    return Suite(
        EXCLUDED_USERS.name,
        (
            row_count(1, what="users excluded or with a profile"),
            always("has_profile", "excluded users without a profile", F.col("has_profile"), where=excluded),
            always(
                "profile_says_so",
                "users whose profile names other rules than they are excluded by",
                F.col("excluded_as").eqNullSafe(F.col("rules")),
            ),
            # A rule with a slip in it takes a shop's people for machines, and models would learn from the rest.
            Figure("most_are_customers", "share of users who are excluded", F.avg(excluded.cast("double")), 0, 0.5),
        ),
        part="by_user",
    )
