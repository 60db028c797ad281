"""An Airflow plugin: when a run ends, its note says what came out, in numbers, or why nothing did.

It runs in the scheduler (and in `airflow dags test`), where the database is at hand: a task has no access to it, and
the REST API would need a password. It reads only what the run's tasks handed on (XCom), so it waits for nothing;
whatever goes wrong here is logged by Airflow and leaves the run as it is. What a person wrote into the note stays,
above.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

# Where our part of a note begins.
MARK = "▸ "
# Airflow's limit, which PostgreSQL enforces.
LONGEST = 1000


def printed(text: object) -> str:
    """A text from elsewhere as one line that Markdown takes for text."""
    return re.sub(r"([\\`*{}\[\]<>#|~])", r"\\\1", " ".join(str(text).split()))


def count(number: object) -> str:
    """A number as people read it; anything else as it is."""
    return f"{number:,}" if isinstance(number, int) else printed(number)


def night_words(headline: Mapping[str, Any]) -> list[str]:
    """What a night came to; the first line is all that Airflow shows before somebody opens the note."""
    status = {"published": "Published", "stored_older": "Stored, not served"}.get(
        headline["status"], headline["status"]
    )
    numbers = f"{count(headline['at_risk'])} at risk, {count(headline['recommendations'])} recommendations"
    whose = f"{printed(headline['source'])} {printed(headline['date'])}"
    lines = [f"{status}, {whose}: {numbers}, {headline['seconds']:.0f} s"]
    if headline["message"]:
        lines.append(printed(headline["message"]))
    lines += [printed(sentence) for sentence in (f"Can it be trusted? {headline['trust']}", *headline["changed"])]
    if fates := headline["fates"]:
        others = ", ".join(f"{name} {count(fates[name])}" for name in fates if name != "landed")
        lines.append(f"new lines {count(fates['landed'])}: {others}")
    lines.append(f"users watched {count(headline['users'])}")
    if failed := headline["failed_checks"]:
        lines.append(f"warnings: {count(failed)} of its checks did not hold, the report says which")
    return [*lines, f"report: `{headline['report']}`"]


def told(dag_id: str, state: str, whose: str, handed_on: Mapping[str, Mapping[str, Any]]) -> str:
    """Our part of the note, Markdown, at most LONGEST characters; empty where there is nothing to say.

    `whose` are source and day as far as the run says them, `handed_on` its XComs: task, then key.
    """
    values = {task: keys["return_value"] for task, keys in handed_on.items() if "return_value" in keys}
    reasons = [printed(keys["why"]) for keys in handed_on.values() if "why" in keys]
    reasons += [printed(late) for late in values.get("check_freshness", {}).get("late", [])]
    lines: list[str] = []
    if state == "failed":
        still = {"nightly": "Not published, what was served stays served"}.get(dag_id, "Failed")
        lines = [f"{still}: {'; '.join(reasons) or 'the red task has the reason'}", printed(whose)]
    elif "report_night" in values:
        lines = night_words(values["report_night"])
    elif "preflight_landing" in values and not values["preflight_landing"]["due"]:
        run = values["preflight_landing"]["run_id"]
        did = f"run {printed(run)} has done this very work" if run else "no file has landed"
        lines = [f"Nothing to do: {did}", printed(whose)]
    elif "check_freshness" in values:
        lines = [f"{count(values['check_freshness']['watched'])} sources watched, none is late"]
    if not lines:
        return ""
    text = MARK + "  \n".join(line for line in lines if line)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def combined(note: str | None, ours: str) -> str:
    """The note with our part behind what a person wrote; an earlier part of ours, of a run that was red and is green
    now, say, is replaced."""
    theirs = (note or "").partition(MARK)[0].rstrip()
    whole = f"{theirs}\n\n{ours}" if theirs and ours else theirs or ours
    return whole if len(whole) <= LONGEST else whole[: LONGEST - 1] + "…"


def write_note(dag_run: Any) -> None:
    """Put the note on a run that has just ended.

    In the scheduler the run belongs to the session that is about to store its end, and the note goes with it. In
    `airflow dags test` it belongs to none, and the note is stored by itself.
    """
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is not None:
        note_in(session, dag_run, dag_run.state)
        return
    with create_session() as own:
        same = select(DagRun).where(DagRun.dag_id == dag_run.dag_id, DagRun.run_id == dag_run.run_id)
        note_in(own, own.scalars(same).one(), dag_run.state)


def note_in(session: Any, dag_run: Any, state: Any) -> None:
    """Set the note of a run that belongs to the session; nothing is committed."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    with session.no_autoflush:
        rows = session.execute(
            select(XComModel.task_id, XComModel.key, XComModel.value).where(
                XComModel.dag_id == dag_run.dag_id,
                XComModel.run_id == dag_run.run_id,
                XComModel.key.in_(("return_value", "why")),
            )
        ).all()
    handed_on: dict[str, dict[str, Any]] = {}
    for task, key, value in rows:
        handed_on.setdefault(task, {})[key] = value
    conf = dag_run.conf or {}
    whose = ", ".join(str(part) for part in (conf.get("source"), conf.get("date") or dag_run.partition_key) if part)
    ours = told(dag_run.dag_id, str(getattr(state, "value", state)), whose, handed_on)
    if ours or dag_run.note:
        dag_run.note = combined(dag_run.note, ours)


class RunNotes:
    """Listens to the end of runs."""

    @hookimpl
    def on_dag_run_success(self, dag_run: Any, msg: str) -> None:
        write_note(dag_run)

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any, msg: str) -> None:
        write_note(dag_run)


class RunNotesPlugin(AirflowPlugin):
    """What Airflow finds in the folder of plugins."""

    name = "rekindle_run_notes"
    listeners = [RunNotes()]  # noqa: RUF012 (Airflow reads the class)
