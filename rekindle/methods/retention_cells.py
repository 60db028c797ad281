"""Which users a cohort or a wait for the second order counts."""

from __future__ import annotations

MEASURES = ("active", "last", "window", "repeat", "waiting")
