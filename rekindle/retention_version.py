"""By what the sums of retention were made: a night adds only to those of the same version."""

from __future__ import annotations

import hashlib

from rekindle.settings import Settings, digest_of_code

# What decides the sums, as far as code does, beside what decides a line's fate (settings.INGEST_CODE).
CODE = (
    *(f"rekindle/methods/retention{part}.py" for part in ("", "_cells", "_days", "_members", "_periods", "_sums")),
    *("rekindle/methods/activity.py", "rekindle/methods/user_features.py"),
    *("schemas/user_days.py", "schemas/period_counts.py", "schemas/retention_counts.py"),
)
# How far the tables tell: read from the sums, and no part of them.
TELLING = {"told", "groups", "repurchase_days"}


def retention_version(settings: Settings) -> str:
    """Digest of the code that makes the sums and of the conf it reads."""
    told = settings.source.retention.model_dump_json(exclude=TELLING)
    code = digest_of_code(settings.root, *CODE)
    return hashlib.sha256(f"{told} {code}".encode()).hexdigest()[:16]
