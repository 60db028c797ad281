"""What each task does and what to do when it is red: shown on the task and, all together, on its DAG's page."""

from __future__ import annotations

from collections.abc import Iterable

# In running order. task: (what it does, what to do if it fails)
TASKS: dict[str, tuple[str, str]] = {
    "land_simulated_day": (
        "Writes the log files of every simulated day up to the business date that has not landed yet. "
        "For a real source it has nothing to do.",
        "Look for a full disk or a read-only landing folder. Nothing else depends on the outside; clear the task.",
    ),
    "preflight_landing": (
        "Reads every landed file once (sha256, complete gzip, regular file, its ready mark), works out the run id from "
        "them, the code and the configuration, and says whether there is work and whether models are to be trained.",
        "Exit code 3 names the file that is not complete or not what it claims: have the shop send it again, then "
        "clear the task. Exit code 2 names a wrong date, source or configuration key: correct it, trigger a new run.",
    ),
    "night_is_due": (
        "Skips the rest when this very work is published already or no file has landed; the run is then green.",
        "It only reads the result of `preflight_landing`; clear that task and this one.",
    ),
    "clean_events": (
        "Turns landed lines into events, duplicates and quarantined lines (each with its rule and reason) on the run's "
        "own branch of the lake. No line is lost.",
        "Usually memory or disk: the reason is the last line of the log. Clear the task; it replaces what it began.",
    ),
    "validate_events": (
        "Checks the branch against the contract and the expectations. Only then does the lake's main branch follow.",
        "Exit code 3 means that the data is bad, and the last good night stays served: the log names table, check, "
        "expected, found and rows. Repair the source or the expectation, then trigger the same date again.",
    ),
    "build_features": (
        "Describes every user and item as of the business date: recency, frequency, money, segments.",
        "Clear the task; it reads the accepted snapshot only. If it fails again, the last log line names the column.",
    ),
    "training_is_due": (
        "Skips the two training tasks unless there is no champion yet or `retrain` was asked for.",
        "It only reads the result of `preflight_landing`; clear that task and this one.",
    ),
    "train_recommender": (
        "Trains the recommender on the days before the slice it is judged on, and registers it as a candidate.",
        "The old champion goes on serving. Out of memory: give Spark more in conf/environments, then clear the task. "
        "To publish the night without training, trigger it again without `retrain`.",
    ),
    "train_churn": (
        "Fits the declared churn methods on sliding past cut-offs, calibrates and judges all on the same later users, "
        "and registers those that may serve as candidates. Started by `train`, it also searches their settings.",
        "As for `train_recommender`. Exit code 3: too few users left or stayed to learn from; the log has the numbers.",
    ),
    "judge_models": (
        "Compares candidates with the champions on the same later days and promotes what is better beyond chance.",
        "Usually the warehouse is out of reach; clear the task once it answers. Judging twice gives the same verdict.",
    ),
    "recommend_items": (
        "Folds every user in from tonight's events and writes the top items for each, with reasons.",
        "Clear the task. A champion file whose digest is wrong is refused by name: make rollback-model.",
    ),
    "score_churn": (
        "Gives every active user a calibrated probability of leaving, a band, the three reasons that weigh most, the "
        "value at stake and a suggested action; says who changed the band and why, and if the model can be believed.",
        "Clear the task. A champion file whose digest is wrong is refused by name: make rollback-model.",
    ),
    "validate_outputs": (
        "Checks the tables that the CRM will read before anybody can read them.",
        "Exit code 3: nothing is published, the last good night stays served. The log names table, check, expected "
        "and found; most often the cause lies in `recommend_items` or `score_churn` of the same run.",
    ),
    "publish_night": (
        "Copies the night's rows into the warehouse and moves the source's one pointer, in one transaction.",
        "The CRM sees the last good night or this one, never a mixture. Check that the warehouse answers and has disk, "
        "then clear the task; a publication that did happen is found and not repeated. "
        "An older date than the served one is stored, not served, and that is green.",
    ),
    "report_night": (
        "Writes the night's summary: rows by fate, checks, model figures, time by stage, where to look.",
        "The night is published already. Clear the task to write the page again.",
    ),
    "days_to_run": (
        "Lists the days from the first to the last, both included, with the parameters of each night.",
        "The span is empty or has more than 400 days: trigger the DAG again with other days.",
    ),
    "run_one_day": (
        "Starts the DAG `nightly` for one day and waits for its end, one day after another, the earliest first. "
        "A day whose work is done already is green at once, and publishes nothing.",
        "That day's run of `nightly` is red: its own note and red task say why (the button Triggered DAG leads there). "
        "Mend it, then clear this day's task: the days behind it follow. Days that were skipped because of it are "
        "cleared the same way.",
    ),
    "night_to_replay": (
        "Finds the published night of the day that was asked for, or the served one.",
        "Exit code 2 lists the days of which a night is published: trigger again with one of them.",
    ),
    "replay_quarantine": (
        "Cleans the files with quarantined lines again by the mapping as it is now, and says by rule what would become "
        "of them. It keeps nothing.",
        "Exit code 2: the mapping does not load, or declares the file itself otherwise (make check-source shows it). "
        "Exit code 3: bronze lost lines; restore it from its backup.",
    ),
    "apply_was_asked": (
        "Skips the rest unless `apply` was switched on.",
        "It only reads the run's parameters; clear it.",
    ),
    "run_the_night": (
        "Starts the DAG `nightly` for that night and waits for its end. A mapping that has changed cleans everything "
        "from bronze again; one that has not leaves nothing to do.",
        "The run of `nightly` is red: its own note and red task say why. Mend it, then clear this task.",
    ),
    "rollback_night": (
        "Moves the source's one pointer to a kept run: the CRM reads that night again, at once. The next night that is "
        "not older takes over.",
        "Exit code 2 lists the kept runs: trigger again with one of them. Nothing was changed.",
    ),
    "rollback_model": (
        "Makes an earlier champion serve again from the next night on; the one that is left is withdrawn.",
        "Exit code 2 says what there is to go back to, or that the artefact is not whole. Nothing was changed.",
    ),
    "sweep_runs": (
        "Removes rows of old, failed and abandoned runs from the warehouse, and checks that what is served is what was "
        "published.",
        "Exit code 3: somebody changed served rows; `rollback` serves an earlier run. Otherwise clear the task.",
    ),
    "check_freshness": (
        "Looks whether every watched source has a publication of its last night by the hour in conf/environments "
        "(`alerts.freshness`), and writes one alert a day for each that has none.",
        "The check itself failed, so nothing is known: most often the warehouse is out of reach. The next one runs "
        "within half an hour.",
    ),
    "send_alerts": (
        "Delivers what lies in the spool of alerts to the receivers in conf/environments (`alerts`), each letter once.",
        "A receiver did not answer or refused: the log says which and why. Nothing is lost; the next try is within "
        "half an hour.",
    ),
    "everything_is_fresh": (
        "Red while a watched source has no publication of its last night; the alert was sent already.",
        "Look at the last run of `nightly` of the source that the log names: its note says why it did not publish.",
    ),
}


def task_doc(task_id: str) -> str:
    """The Markdown shown on one task.

    Raises:
        KeyError: the task has no entry, so nobody would know what to do when it fails.
    """
    what, if_it_fails = TASKS[task_id]
    return f"{what}\n\n**If it fails**: {if_it_fails}"


def runbook(introduction: str, task_ids: Iterable[str]) -> str:
    """The Markdown shown on a DAG: its introduction, then every task with what to do if it fails, in running order."""
    shown = set(task_ids)
    rows = (f"| `{task}` | {what} | {if_it_fails} |" for task, (what, if_it_fails) in TASKS.items() if task in shown)
    table = "\n".join(["| Task | What it does | If it fails |", "|---|---|---|", *rows])
    return f"{introduction.strip()}\n\n## Task by task\n\n{table}\n"
