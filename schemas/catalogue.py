"""All contracts: the lake's tables, and those staged in the warehouse for the CRM."""

from schemas.at_risk_users import AT_RISK_USERS
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.item_features import ITEM_FEATURES
from schemas.quarantine import QUARANTINE
from schemas.recommendations import RECOMMENDATIONS
from schemas.retention_metrics import RETENTION_METRICS
from schemas.user_features import USER_FEATURES
from schemas.user_profiles import USER_PROFILES

SERVED = (RECOMMENDATIONS, AT_RISK_USERS, USER_PROFILES, RETENTION_METRICS)
LAKE = (EVENTS, DUPLICATES, QUARANTINE, USER_FEATURES, ITEM_FEATURES, *SERVED)
