"""Say what came out of the night: a page in every language of conf, a summary for the terminal, the index of nights.

Reads   ops, the registry, recommendations, list_changes, at_risk_users, churn_changes, churn_health, outcomes,
        suppressed_users, user_profiles (as staged in the warehouse)
Writes  reports/<source>/<date>-<run>/summary.txt, summary.json, night.html, index.html

People are shown by the first digits of their pseudonyms: a report lies in more places than the CRM's tables. The
headline figures are kept in the stage's detail, for the nights to come to compare with. The last line on standard
output is the night in JSON, which the scheduler makes the run's note of.
"""

from __future__ import annotations

import json
import sys

from rekindle.cli import Context, main
from rekindle.failpoints import failpoint
from report.files import write
from report.night import collect
from report.note import note


def run(context: Context) -> None:
    """Write all forms beside each other and log where."""
    night = collect(context)
    context.detail["headline"] = night.figures
    failpoint("report.before_files")
    first = write(context, night)
    context.log.info("report=%s verdict=%s", first, night.trust.verdict)
    sys.stdout.write(json.dumps(note(night, first)) + "\n")


if __name__ == "__main__":
    main(run, "report_night", spark=False)
