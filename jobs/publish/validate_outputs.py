"""Check everything the night made of its events; only then may it be staged for the CRM.

Reads   events, tables (the night's outputs, TABLES below)
Writes  ops.checks, ops.run_tables (accepted), the lake's main
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from expectations import (
    at_risk_users,
    churn_changes,
    churn_health,
    cohort_retention,
    excluded_users,
    item_features,
    item_similarities,
    list_changes,
    outcomes,
    period_counts,
    period_metrics,
    recommendations,
    repurchase_curves,
    retention_counts,
    retention_curves,
    retention_metrics,
    retention_windows,
    segment_models,
    segment_movements,
    segments,
    suppressed_users,
    user_days,
    user_features,
    user_profiles,
    user_segments,
    user_vectors,
)
from rekindle import checking, night, quality
from rekindle.cli import Context, main
from rekindle.ledger import LandedFile
from rekindle.methods.activity import activity
from rekindle.methods.churn_labels import eligible
from rekindle.settings import Business, Source
from rekindle.sources import INBOX_KIND
from schemas.at_risk_users import AT_RISK_USERS
from schemas.churn_changes import CHURN_CHANGES
from schemas.churn_health import CHURN_HEALTH
from schemas.cohort_retention import COHORT_RETENTION
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.item_similarities import ITEM_SIMILARITIES
from schemas.list_changes import LIST_CHANGES
from schemas.outcomes import OUTCOMES
from schemas.period_counts import PERIOD_COUNTS
from schemas.period_metrics import PERIOD_METRICS
from schemas.recommendations import RECOMMENDATIONS
from schemas.repurchase_curves import REPURCHASE_CURVES
from schemas.retention_counts import RETENTION_COUNTS
from schemas.retention_curves import RETENTION_CURVES
from schemas.retention_metrics import RETENTION_METRICS
from schemas.retention_windows import RETENTION_WINDOWS
from schemas.segment_models import SEGMENT_MODELS
from schemas.segment_movements import SEGMENT_MOVEMENTS
from schemas.segments import SEGMENTS
from schemas.suppressed_users import SUPPRESSED_USERS
from schemas.user_days import USER_DAYS
from schemas.user_features import USER_FEATURES
from schemas.user_profiles import USER_PROFILES
from schemas.user_segments import USER_SEGMENTS
from schemas.user_vectors import USER_VECTORS

TABLES = (
    *(USER_FEATURES, ITEM_FEATURES, EXCLUDED_USERS),
    *(USER_PROFILES, USER_VECTORS, RETENTION_METRICS, RECOMMENDATIONS, ITEM_SIMILARITIES, LIST_CHANGES),
    *(USER_SEGMENTS, SEGMENTS, SEGMENT_MOVEMENTS, SEGMENT_MODELS),
    *(USER_DAYS, PERIOD_COUNTS, RETENTION_COUNTS),
    *(PERIOD_METRICS, COHORT_RETENTION, RETENTION_CURVES, RETENTION_WINDOWS, REPURCHASE_CURVES),
    *(AT_RISK_USERS, CHURN_CHANGES, CHURN_HEALTH, SUPPRESSED_USERS, OUTCOMES),
)


def batches(
    frames: Mapping[str, DataFrame],
    rows: Mapping[str, int],
    source: Source,
    business: Business,
    business_date: date,
    as_of: date,
    taken: outcomes.Taken,
) -> list[quality.Batch]:
    """The night's output tables with their suites, and the frames derived from some of them with theirs.

    `frames` and `rows` (what the ledger holds) are by table name, `events` among the frames.
    """
    profiles, features = frames[USER_PROFILES.name], frames[USER_FEATURES.name]
    members, moved = frames[USER_SEGMENTS.name], frames[SEGMENT_MOVEMENTS.name]
    items, lists = frames[ITEM_FEATURES.name], frames[RECOMMENDATIONS.name]
    tonight = features.where(F.col("as_of") == F.lit(as_of))
    [first] = activity(frames[EVENTS.name]).agg(F.min("event_date").alias("day")).collect()
    weeks = retention_metrics.whole_weeks(first["day"] or as_of, as_of)
    users = rows[USER_PROFILES.name]
    # A shop with fewer items than a list has places lists them all.
    length = min(business.list_length, rows[ITEM_FEATURES.name])

    def whole(suite: quality.Suite, df: DataFrame) -> quality.Batch:
        return quality.Batch(suite, df, rows[suite.table])

    return [
        whole(user_features.suite(as_of, users), features),
        whole(item_features.suite(as_of), items),
        whole(excluded_users.suite(source, as_of), frames[EXCLUDED_USERS.name]),
        quality.Batch(
            excluded_users.suite_by_user(), excluded_users.by_user(frames[EXCLUDED_USERS.name], profiles), None
        ),
        whole(user_profiles.suite(business_date), profiles),
        quality.Batch(user_profiles.suite_by_user(), user_profiles.by_user(profiles, frames[EVENTS.name]), None),
        whole(user_vectors.suite(business_date, source.profiles.vectors.dimension), frames[USER_VECTORS.name]),
        quality.Batch(user_vectors.suite_by_user(), user_vectors.by_user(frames[USER_VECTORS.name], profiles), None),
        whole(user_segments.suite(business_date), members),
        quality.Batch(user_segments.suite_by_user(), user_segments.by_user(members, profiles), None),
        whole(segments.suite(business_date), frames[SEGMENTS.name]),
        quality.Batch(segments.suite_by_segment(), segments.by_segment(frames[SEGMENTS.name], members), None),
        whole(segment_movements.suite(business_date), moved),
        quality.Batch(segment_movements.suite_by_user(), segment_movements.by_user(moved, members), None),
        whole(segment_models.suite(business_date), frames[SEGMENT_MODELS.name]),
        whole(retention_metrics.suite(business_date, weeks), frames[RETENTION_METRICS.name]),
        *retention_batches(frames, rows, source, business_date),
        whole(recommendations.suite(business_date), recommendations.with_known(lists, items)),
        whole(
            item_similarities.suite(business_date),
            item_similarities.with_known(frames[ITEM_SIMILARITIES.name], items),
        ),
        quality.Batch(recommendations.suite_by_user(users, length), recommendations.by_user(lists, profiles), None),
        whole(list_changes.suite(business_date), frames[LIST_CHANGES.name]),
        quality.Batch(list_changes.suite_by_user(), list_changes.by_user(frames[LIST_CHANGES.name], lists), None),
        whole(
            at_risk_users.suite(business.risk_bands, source.win_back, source.churn.horizon_days, business_date),
            frames[AT_RISK_USERS.name],
        ),
        quality.Batch(
            at_risk_users.suite_by_user(),
            at_risk_users.by_user(frames[AT_RISK_USERS.name], eligible(tonight, source.churn.eligibility_days)),
            None,
        ),
        whole(churn_changes.suite(business_date), frames[CHURN_CHANGES.name]),
        quality.Batch(
            churn_changes.suite_by_user(),
            churn_changes.by_user(frames[CHURN_CHANGES.name], frames[AT_RISK_USERS.name]),
            None,
        ),
        whole(
            churn_health.suite(business_date, source.churn.gap_days + source.churn.horizon_days),
            frames[CHURN_HEALTH.name],
        ),
        whole(suppressed_users.suite(business_date, as_of), frames[SUPPRESSED_USERS.name]),
        quality.Batch(
            suppressed_users.suite_by_user(),
            suppressed_users.by_user(frames[SUPPRESSED_USERS.name], frames[AT_RISK_USERS.name]),
            None,
        ),
        whole(outcomes.suite(business_date, business.inbox.outcome_days, taken), frames[OUTCOMES.name]),
    ]


def retention_batches(
    frames: Mapping[str, DataFrame], rows: Mapping[str, int], source: Source, business_date: date
) -> list[quality.Batch]:
    """What users did by day, the sums over it, and what is told of these."""
    periods, cohorts = frames[PERIOD_METRICS.name], frames[COHORT_RETENTION.name]
    days = user_days.landed(frames[USER_DAYS.name], business_date)
    weekly = period_metrics.by_week(periods, frames[RETENTION_METRICS.name])
    told = [
        period_counts.suite(),
        retention_counts.suite(),
        period_metrics.suite(business_date),
        cohort_retention.suite(business_date),
        retention_curves.suite(business_date),
        retention_windows.suite(business_date, source.retention.windows),
        repurchase_curves.suite(business_date),
    ]
    return [
        quality.Batch(user_days.suite(business_date), days, None),
        *(quality.Batch(suite, frames[suite.table], rows[suite.table]) for suite in told),
        quality.Batch(period_metrics.suite_by_week(), weekly, None),
        quality.Batch(cohort_retention.suite_by_period(), cohort_retention.by_period(cohorts, periods), None),
        quality.Batch(cohort_retention.suite_by_kind(), cohort_retention.by_kind(cohorts), None),
    ]


def taken_of(files: Sequence[LandedFile], events: DataFrame, first: date) -> outcomes.Taken:
    """What the CRM wrote back in files that landed from `first` on: their lines, and the events that came of them."""
    written_back = [f for f in files if f.kind == INBOX_KIND and f.landing_date >= first]
    if not written_back:
        return outcomes.Taken(0, 0)
    own = events.where(F.col("file_sha256").isin([f.sha256 for f in written_back]))
    return outcomes.Taken(sum(f.lines for f in written_back), own.count())


def run(context: Context) -> None:
    """Evaluate, and let the tables pass or refuse the night."""
    versions = context.ledger.tables(context.run_id)
    frames = {t.name: night.read(context, t) for t in (EVENTS, *TABLES)}
    rows = {name: version.fingerprint.rows for name, version in versions.items()}
    as_of = context.settings.as_of(context.business_date)
    business, day = context.settings.business, context.business_date
    first = outcomes.first_told(day, business.inbox.outcome_days)
    taken = taken_of(context.ledger.run_files(context.run_id), frames[EVENTS.name], first)
    checked = batches(frames, rows, context.source, business, day, as_of, taken)
    checking.examine(context, "validate_outputs", checked)
    checking.accept(context, TABLES)


if __name__ == "__main__":
    main(run, "validate_outputs")
