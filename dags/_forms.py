"""The fields of the trigger forms: each with its legal values, a title and what it does.

Airflow's form, its REST API and `airflow dags test` refuse another value before any task starts. A pattern's end is
`$(?!\\n)`: Python's `$` alone would let a line feed follow.
"""

from __future__ import annotations

from _runtime import ZONE, sources
from airflow.sdk import Param

# One line of ordinary length, without control characters; beginning with a letter, so that it is no option either.
_REASON = r"^[^\W\d_][^\x00-\x1f\x7f-\x9f\u2028\u2029]{7,299}$(?!\n)"
_RUN = r"^r[0-9a-f]{16}$(?!\n)"
_DIGEST = r"^[0-9a-f]{16}$(?!\n)"


def business_day(description: str, title: str = "Business date") -> Param:
    """A day that may be left empty."""
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def required_day(title: str, description: str) -> Param:
    """A day that must be given."""
    return Param(type="string", format="date", title=title, description=description)


def source() -> Param:
    """One of the sources of this installation."""
    names = sources()
    return Param(
        "simulated_shop" if "simulated_shop" in names else names[0],
        type="string",
        enum=names,
        title="Source",
        description="Which shop: the name of its mapping in conf/sources. Nights of different shops never meet.",
    )


def yes_or_no(title: str, description: str, default: bool = False) -> Param:
    """A switch."""
    return Param(default, type="boolean", title=title, description=description)


def reason() -> Param:
    """Why somebody overrides what the nights decided; kept with the decision."""
    return Param(
        type="string",
        pattern=_REASON,
        minLength=8,
        maxLength=300,
        title="Reason",
        description="Why, in one line of 8 to 300 characters that begins with a letter. It is kept with the decision, "
        "beside your user name.",
    )


def served_run() -> Param:
    """The id of a kept run."""
    return Param(
        type="string",
        pattern=_RUN,
        minLength=17,
        maxLength=17,
        title="Run to serve",
        description="The run id of the night to serve again: r and 16 digits from 0 to f. Kept runs: "
        'make crm SQL="select run_id, business_date, is_served from publications where is_kept". '
        "Another id is refused with the list of those there are.",
    )


def model_kind() -> Param:
    """Which of the two models."""
    return Param(
        "recommender",
        type="string",
        enum=["recommender", "churn"],
        values_display={"recommender": "recommender: the lists of items", "churn": "churn: who may leave"},
        title="Model",
        description="Which of the source's two champions is replaced by an earlier one.",
    )


def model_digest() -> Param:
    """A model by its digest, or the champion before this one."""
    return Param(
        None,
        type=["null", "string"],
        pattern=_DIGEST,
        title="Digest",
        description="The model to go back to, by the 16 digits of its digest (the report and ops.models have them). "
        "Empty: the champion before this one that was not withdrawn.",
    )


def run_params() -> dict[str, Param]:
    """The parameters of whatever is about one day of one source."""
    return {
        "date": business_day(
            "The last day whose events count, YYYY-MM-DD. Empty: the day of the schedule, or on a manual run the local "
            f"day before today ({ZONE})."
        ),
        "source": source(),
    }
