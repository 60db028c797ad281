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
