"""Whether tonight's churn probabilities can be believed: calibration on known outcomes, base rates, drift."""

from rekindle.contract import Column, Table

HEALTH_KINDS = ("calibration", "base_rate", "feature_drift", "score_drift", "value")

CHURN_HEALTH = Table(
    name="churn_health",
    doc="One row per figure that the night watches of its churn model. docs/churn.md says how to read them.",
    key=("kind", "name"),
    readers="jobs, CRM and analysts (through crm.churn_health)",
    served=True,
    columns=(
        Column(
            "kind",
            "string",
            "Calibration of what was said on the newest cut-off with known outcomes; base rates there; PSI of a"
            " feature, or of the score, between that cut-off and tonight; value: money expected of its users in the"
            " outcome window beside what they spent.",
            allowed=HEALTH_KINDS,
        ),
        Column("name", "string", "The figure or the feature."),
        Column("value", "double", "Its value; null where it does not exist.", nullable=True),
        Column("alarm_above", "double", "Limit in conf, by size; null where the figure is only told.", nullable=True),
        Column("is_alarm", "boolean", "Whether the value, whatever its sign, is larger than the limit."),
        Column("known_as_of", "date", "The cut-off whose outcomes are the newest known ones."),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
