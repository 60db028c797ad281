"""All contracts: the lake's tables, and those staged in the warehouse for the CRM."""

from schemas.at_risk_users import AT_RISK_USERS
from schemas.campaign_targets import CAMPAIGN_TARGETS
from schemas.campaigns import CAMPAIGNS
from schemas.churn_changes import CHURN_CHANGES
from schemas.churn_health import CHURN_HEALTH
from schemas.cohort_retention import COHORT_RETENTION
from schemas.coupons import COUPONS
from schemas.day_profiles import DAY_PROFILES
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.item_measures import ITEM_MEASURES
from schemas.item_similarities import ITEM_SIMILARITIES
from schemas.items import ITEMS
from schemas.list_changes import LIST_CHANGES
from schemas.outcomes import OUTCOMES
from schemas.period_counts import PERIOD_COUNTS
from schemas.period_metrics import PERIOD_METRICS
from schemas.quarantine import QUARANTINE
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
from schemas.users import USERS

SERVED = (
    *(RECOMMENDATIONS, ITEM_SIMILARITIES, LIST_CHANGES, USER_PROFILES, USER_VECTORS, RETENTION_METRICS),
    *(USER_SEGMENTS, SEGMENTS, SEGMENT_MOVEMENTS),
    *(PERIOD_METRICS, COHORT_RETENTION, RETENTION_CURVES, RETENTION_WINDOWS, REPURCHASE_CURVES),
    *(AT_RISK_USERS, CHURN_CHANGES, CHURN_HEALTH),
    *(SUPPRESSED_USERS, OUTCOMES),
)
# What a source may tell beside events; a source without such files has no such table.
REFERENCE = (ITEMS, USERS, CAMPAIGNS, CAMPAIGN_TARGETS, COUPONS, ITEM_MEASURES)
LAKE = (
    *(EVENTS, DUPLICATES, QUARANTINE, *REFERENCE, DAY_PROFILES),
    *(USER_FEATURES, ITEM_FEATURES, EXCLUDED_USERS),
    *(SEGMENT_MODELS, USER_DAYS, PERIOD_COUNTS, RETENTION_COUNTS, *SERVED),
)
