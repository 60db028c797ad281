"""Reading a page of the report as a program would, and what independent SQL says of each figure in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass(frozen=True)
class Element:
    """A tag with its attributes, the tags around it, and the text inside it."""

    tag: str
    attributes: dict[str, str]
    around: tuple[str, ...]
    text: list[str] = field(default_factory=list)

    @property
    def said(self) -> str:
        return " ".join("".join(self.text).split())


class Page(HTMLParser):
    """All elements of a page in document order, and its words outside of names and of the shop's own texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.words: list[str] = []
        self._open: list[Element] = []
        self.feed(text)
        assert self._open == [], "every tag is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        around = tuple(one.tag for one in self._open)
        element = Element(tag, {name: value or "" for name, value in attrs}, around)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text.append(data)
        foreign = any(
            one.tag in ("style", "code", "bdi") or one.attributes.get("lang") == "en" for one in self._open[1:]
        )
        if not foreign and data.strip():
            self.words.append(data)

    def of(self, tag: str) -> list[Element]:
        return [one for one in self.elements if one.tag == tag]

    @property
    def figures(self) -> dict[str, set[str]]:
        """Every value told of a figure, by its name."""
        found: dict[str, set[str]] = {}
        for one in self.of("data"):
            found.setdefault(one.attributes["data-figure"], set()).add(one.attributes["value"])
        return found


# (figure, value) of one run, by SQL that the report does not share; {run}, {day} and {before} are the test's.
FIGURES = (
    "SELECT 'headline.active_users', active_users FROM serve.period_metrics WHERE {day_row}",
    "SELECT 'headline.buyers', buyers FROM serve.period_metrics WHERE {day_row}",
    "SELECT 'headline.orders', orders FROM serve.period_metrics WHERE {day_row}",
    "SELECT 'headline.revenue', net_revenue FROM serve.period_metrics WHERE {day_row}",
    "SELECT unnest(ARRAY['headline.at_risk', 'answer.at_risk']), count(*) FROM serve.at_risk_users"
    " WHERE run_id = '{run}' AND risk_band IN ('high', 'critical')",
    "SELECT unnest(ARRAY['headline.value_at_stake', 'answer.value_at_stake']), sum(value_at_stake)"
    " FROM serve.at_risk_users WHERE run_id = '{run}' AND risk_band IN ('high', 'critical')",
    "SELECT 'answer.watched', count(*) FROM serve.at_risk_users WHERE run_id = '{run}'",
    "SELECT 'answer.critical', count(*) FROM serve.at_risk_users WHERE run_id = '{run}' AND risk_band = 'critical'",
    "SELECT unnest(ARRAY['headline.left', 'answer.left', 'changes.left']), count(*) FROM serve.churn_changes"
    " WHERE run_id = '{run}' AND change = 'left'",
    "SELECT 'changes.entered', count(*) FROM serve.churn_changes WHERE run_id = '{run}' AND change = 'entered'",
    "SELECT 'changes.by_' || cause, count(*) FROM serve.churn_changes WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'changes.band_down', count(*) FROM serve.churn_changes WHERE run_id = '{run}' AND change = 'moved'",
    "SELECT 'changes.band_up', 0",
    "SELECT 'change.' || concat_ws('.', change, cause, coalesce(band_before, ''), coalesce(band_after, '')), count(*)"
    " FROM serve.churn_changes WHERE run_id = '{run}' GROUP BY 1",
    "SELECT unnest(ARRAY['headline.listed_share', 'offers.share']), count(DISTINCT user_key)::double precision"
    " / (SELECT count(*) FROM serve.user_profiles WHERE run_id = '{run}') FROM serve.recommendations"
    " WHERE run_id = '{run}'",
    "SELECT 'offers.listed', count(DISTINCT user_key) FROM serve.recommendations WHERE run_id = '{run}'",
    "SELECT 'offers.users', count(*) FROM serve.user_profiles WHERE run_id = '{run}'",
    "SELECT 'offers.items', count(DISTINCT item_id) FROM serve.recommendations WHERE run_id = '{run}'",
    "SELECT 'offers.rows', count(*) FROM serve.recommendations WHERE run_id = '{run}'",
    "SELECT 'source.' || candidate_source || '.rows', count(*) FROM serve.recommendations WHERE run_id = '{run}'"
    " GROUP BY 1",
    "SELECT 'source.' || candidate_source || '.users', count(DISTINCT user_key) FROM serve.recommendations"
    " WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'source.' || candidate_source || '.items', count(DISTINCT item_id) FROM serve.recommendations"
    " WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'source.' || candidate_source || '.first', count(*) FROM serve.recommendations WHERE run_id = '{run}'"
    " AND rank = 1 GROUP BY 1",
    "SELECT 'lists.changed', count(*) FROM serve.list_changes WHERE run_id = '{run}'",
    "SELECT 'list.' || change || '.' || cause, count(*) FROM serve.list_changes WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'risk.' || risk_band || '.users', count(*) FROM serve.at_risk_users WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'risk.' || risk_band || '.value', sum(value_at_stake) FROM serve.at_risk_users WHERE run_id = '{run}'"
    " GROUP BY 1",
    "SELECT 'risk.' || risk_band || '.probability', avg(churn_probability) FROM serve.at_risk_users"
    " WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'action.' || suggested_action || '.users', count(*) FROM serve.at_risk_users WHERE run_id = '{run}'"
    " GROUP BY 1",
    "SELECT 'action.' || suggested_action || '.value', sum(value_at_stake) FROM serve.at_risk_users"
    " WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'sample.' || left(user_key, 8) || '.probability', churn_probability FROM serve.at_risk_users"
    " WHERE run_id = '{run}'",
    "SELECT 'sample.' || left(user_key, 8) || '.value', value_at_stake FROM serve.at_risk_users WHERE run_id = '{run}'",
    "SELECT 'health.' || kind || '.' || name, value FROM serve.churn_health WHERE run_id = '{run}'",
    "SELECT 'health.limit', alarm_above FROM serve.churn_health WHERE run_id = '{run}' AND is_alarm",
    "SELECT 'answer.share_that_left', value FROM serve.churn_health WHERE run_id = '{run}'"
    " AND name = 'share_that_left'",
    "SELECT 'tenth.1.said', value FROM serve.churn_health WHERE run_id = '{run}' AND name = 'tenth_10_said'",
    "SELECT 'tenth.1.came', value FROM serve.churn_health WHERE run_id = '{run}' AND name = 'tenth_10_came'",
    "SELECT 'suppressed.' || reason, count(*) FROM serve.suppressed_users WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'outcome.' || concat_ws(': ', fate, rule), count(*) FROM serve.outcomes WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'holdout.watched.held_out', count(*) FROM serve.at_risk_users t JOIN vault.user_keys k USING (user_key)"
    " WHERE run_id = '{run}' AND holdout_draw < 0.05",
    "SELECT 'holdout.watched.all', count(*) FROM serve.at_risk_users WHERE run_id = '{run}'",
    "SELECT 'holdout.watched.rate', avg(churn_probability) FROM serve.at_risk_users WHERE run_id = '{run}'",
    "SELECT 'holdout.at_risk.held_out', count(*) FROM serve.at_risk_users t JOIN vault.user_keys k USING (user_key)"
    " WHERE run_id = '{run}' AND holdout_draw < 0.05 AND is_at_risk",
    "SELECT 'holdout.at_risk.all', count(*) FROM serve.at_risk_users WHERE run_id = '{run}' AND is_at_risk",
    "SELECT 'holdout.at_risk.rate', avg(churn_probability) FROM serve.at_risk_users WHERE run_id = '{run}'"
    " AND is_at_risk",
    "SELECT 'lines.' || fate, sum(lines) FROM ops.file_fates, LATERAL (VALUES ('landed', landed), ('clean', clean),"
    " ('duplicate', duplicate), ('quarantined', quarantined)) f (fate, lines) WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'before.' || business_date || '.' || fate, sum(lines) FROM ops.file_fates JOIN ops.runs USING (run_id),"
    " LATERAL (VALUES ('landed', landed), ('clean', clean), ('duplicate', duplicate), ('quarantined', quarantined))"
    " f (fate, lines) WHERE business_date < '{day}' GROUP BY 1",
    "SELECT 'rule.' || key, value::text::int FROM ops.stages, jsonb_each(detail -> 'rules')"
    " WHERE run_id = '{run}' AND name = 'clean_events'",
    "SELECT 'table.' || table_name, row_count FROM serve.stagings WHERE run_id = '{run}'",
    "SELECT 'checks.all', count(*) FROM ops.checks WHERE run_id = '{run}'",
    "SELECT 'checks.held', count(*) FROM ops.checks WHERE run_id = '{run}' AND success",
    "SELECT 'checks.' || table_name || '.all', count(*) FROM ops.checks WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'checks.' || table_name || '.critical', count(*) FILTER (WHERE NOT success AND severity = 'critical')"
    " FROM ops.checks WHERE run_id = '{run}' GROUP BY table_name",
    "SELECT 'checks.' || table_name || '.warning', count(*) FILTER (WHERE NOT success AND severity = 'warning')"
    " FROM ops.checks WHERE run_id = '{run}' GROUP BY table_name",
    "SELECT 'seconds.' || name, extract(epoch FROM ended_at - started_at)::double precision FROM ops.stages"
    " WHERE run_id = '{run}'",
    "SELECT 'seconds.all', sum(extract(epoch FROM ended_at - started_at)::double precision) FROM ops.stages"
    " WHERE run_id = '{run}' AND name <> 'report_night'",
    # segments
    "SELECT 'segment.' || segment_id || '.' || what, value FROM serve.segments, LATERAL (VALUES ('users', users),"
    " ('entered', users_entered), ('left', users_left)) f (what, value) WHERE run_id = '{run}'",
    "SELECT 'segment.' || segment_id || '.' || what, value FROM serve.segments, LATERAL (VALUES ('share', share),"
    " ('spend_90d', spend_90d), ('spend_90d_mean', spend_90d_mean), ('value_at_stake', value_at_stake))"
    " f (what, value) WHERE run_id = '{run}'",
    "SELECT 'movement.' || coalesce(segment_before, '') || '.' || coalesce(segment_after, ''), count(*)"
    " FROM serve.segment_movements WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'movements.' || k, count(change) FROM unnest(ARRAY['entered', 'left', 'moved']) k"
    " LEFT JOIN serve.segment_movements ON change = k AND run_id = '{run}' GROUP BY 1",
    "SELECT 'unsegmented.' || unsegmented_as, count(*) FROM serve.user_segments WHERE run_id = '{run}'"
    " AND unsegmented_as IS NOT NULL GROUP BY 1",
    # retention
    "SELECT 'cohort.' || concat_ws('.', basis, period_unit, cohort_start, 'users'), cohort_users"
    " FROM serve.cohort_retention WHERE run_id = '{run}' AND period_number = 0 AND group_kind = 'all'",
    "SELECT 'cohort.' || concat_ws('.', basis, period_unit, cohort_start, period_number), retention"
    " FROM serve.cohort_retention WHERE run_id = '{run}' AND group_kind = 'all'",
    "SELECT 'came_by.' || concat_ws('.', group_kind, group_name, 'users'), sum(cohort_users)"
    " FROM serve.cohort_retention WHERE run_id = '{run}' AND basis = 'activity' AND period_unit = 'month'"
    " AND period_number = 0 GROUP BY 1",
    "SELECT 'came_by.' || concat_ws('.', group_kind, group_name, period_number), sum(active_users)::double precision"
    " / sum(cohort_users) FROM serve.cohort_retention WHERE run_id = '{run}' AND basis = 'activity'"
    " AND period_unit = 'month' GROUP BY 1",
    "SELECT 'window.' || basis || '.' || first_day || '.users', sum(cohort_users) FROM serve.retention_windows"
    " WHERE run_id = '{run}' AND period_unit = 'week' GROUP BY 1",
    "SELECT 'window.' || basis || '.' || first_day || '.active', sum(active_users) FROM serve.retention_windows"
    " WHERE run_id = '{run}' AND period_unit = 'week' GROUP BY 1",
    "SELECT 'window.' || basis || '.' || first_day || '.retention', sum(active_users)::double precision"
    " / sum(cohort_users) FROM serve.retention_windows WHERE run_id = '{run}' AND period_unit = 'week'"
    " GROUP BY 1",
    "SELECT unnest(ARRAY[period_unit || '.', period_unit || 's.' || period_start || '.']) || what, value"
    " FROM serve.period_metrics p,"
    " LATERAL (SELECT key AS what, nullif(value::text, 'null')::double precision AS value"
    " FROM jsonb_each(to_jsonb(p)) WHERE jsonb_typeof(value) IN ('number', 'null')) f WHERE run_id = '{run}'"
    " AND group_kind = 'all' ORDER BY period_start",
    "SELECT unnest(ARRAY['answer.churn_rate', 'answer.lost_users']), unnest(ARRAY[churn_rate, lost_users])"
    " FROM serve.period_metrics WHERE run_id = '{run}' AND period_unit = 'week' AND group_kind = 'all'"
    " ORDER BY period_start",
    "SELECT 'group.' || group_kind || '.' || group_name || '.' || what, value FROM serve.period_metrics p,"
    " LATERAL (SELECT key AS what, nullif(value::text, 'null')::double precision AS value"
    " FROM jsonb_each(to_jsonb(p)) WHERE jsonb_typeof(value) IN ('number', 'null')) f WHERE run_id = '{run}'"
    " AND period_unit = 'week' AND group_kind <> 'all'",
    "SELECT 'repurchase.' || group_kind || '.' || group_name || '.buyers', max(buyers) FROM serve.repurchase_curves"
    " WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'repurchase.' || group_kind || '.' || group_name || '.median_days', max(median_days)"
    " FROM serve.repurchase_curves WHERE run_id = '{run}' GROUP BY 1",
    "SELECT 'repurchase.' || group_kind || '.' || group_name || '.by_' || day_number, repurchased"
    " FROM serve.repurchase_curves WHERE run_id = '{run}' AND day_number IN (30, 60, 90)",
)
