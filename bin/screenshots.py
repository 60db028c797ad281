"""Takes the pictures of docs/pictures after a night, while `make up` runs: Airflow, the night's page, an MLflow run.

    PYTHONPATH=. var/env/jobs/bin/python bin/screenshots.py [--source simulated_shop] [--only airflow-]

`--only` takes those whose names begin so, `--into` puts them elsewhere. It needs a Chromium (Debian: the package
chromium; `--browser` names another) and the tests' environment (make check installs it). Pictures of more than 200 KB
are refused: the repository is cloned more often than they are looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import BrowserContext, Error, Page, ViewportSize, sync_playwright

from rekindle import settings

AIRFLOW = f"http://127.0.0.1:{os.environ.get('REKINDLE_AIRFLOW_PORT', '8080')}"
MLFLOW = f"http://127.0.0.1:{os.environ.get('REKINDLE_MLFLOW_PORT', '5000')}"
PICTURES = settings.ROOT / "docs" / "pictures"
LARGEST = 200_000
SIZE: ViewportSize = {"width": 1280, "height": 800}
WIDE: ViewportSize = {"width": 2060, "height": 700}
TALL: ViewportSize = {"width": 1000, "height": 1300}
SETTLE = 1500  # milliseconds: charts and fonts come after the text
PATIENCE = 60_000  # milliseconds; the first page after a start compiles nothing but reads a cold disk


class Refused(Exception):
    """What keeps a picture from being taken, and what to do."""


def logged_in(context: BrowserContext) -> dict[str, str]:
    """The headers of the REST API; the browser has the cookie that the login page would set."""
    secret = json.loads((settings.home() / "secrets" / "airflow_passwords.json").read_text(encoding="utf-8"))
    [(user, password)] = secret.items()
    answer = context.request.post(f"{AIRFLOW}/auth/token", data={"username": user, "password": password})
    if not answer.ok:
        raise Refused(f"Airflow at {AIRFLOW} answered {answer.status} to a login; run make up and wait for it")
    token = answer.json()["access_token"]
    context.add_cookies([{"name": "_token", "value": token, "url": AIRFLOW}])
    return {"Authorization": f"Bearer {token}"}


def keep(page: Page, **choices: str) -> None:
    """Choices that Airflow's pages remember in the browser, made before the next page opens."""
    for name, value in choices.items():
        page.add_init_script(f"localStorage.setItem({json.dumps(name)}, {json.dumps(json.dumps(value))})")


def grid(context: BrowserContext, page: Page, source: str) -> None:
    """The DAG `nightly` with its grid."""
    logged_in(context)
    keep(page, default_dag_view="grid")
    page.goto(f"{AIRFLOW}/dags/nightly", timeout=PATIENCE)
    page.get_by_text("publish_night").first.wait_for(timeout=PATIENCE)


def graph(context: BrowserContext, page: Page, source: str) -> None:
    """The graph of the DAG `nightly`, from top to bottom, alone on a tall page."""
    logged_in(context)
    keep(page, default_dag_view="graph", **{"direction-nightly": "DOWN"})
    page.set_viewport_size(TALL)
    page.goto(f"{AIRFLOW}/dags/nightly", timeout=PATIENCE)
    page.get_by_text("publish_night").first.wait_for(timeout=PATIENCE)
    page.get_by_label("Collapse Details Panel").click()
    page.wait_for_timeout(SETTLE)
    page.get_by_label("Fit View").click()


def trigger_form(context: BrowserContext, page: Page, source: str) -> None:
    """The form by which a night is started, with its help."""
    logged_in(context)
    keep(page, default_dag_view="grid")
    page.goto(f"{AIRFLOW}/dags/nightly", timeout=PATIENCE)
    page.get_by_role("button", name="Trigger").first.click(timeout=PATIENCE)
    page.get_by_role("dialog").get_by_text("Which shop").wait_for(timeout=PATIENCE)


def assets(context: BrowserContext, page: Page, source: str) -> None:
    """Where crm.at_risk_users comes from, table by table, back to the landed files."""
    headers = logged_in(context)
    found = context.request.get(f"{AIRFLOW}/api/v2/assets?name_pattern=crm/at_risk_users", headers=headers)
    known = found.json().get("assets", []) if found.ok else []
    if not known:
        raise Refused(
            f"Airflow at {AIRFLOW} knows no asset crm/at_risk_users (status {found.status}); see its DAG errors"
        )
    page.set_viewport_size(WIDE)
    # The asset's own panel, at the right, as narrow as it gets: all of the way is to be seen.
    panels = '{"defaultSize":30,"minSize":20},{"defaultSize":70,"minSize":6}'
    layout = json.dumps({panels: {"expandToSizes": {}, "layout": [80, 20]}})
    page.add_init_script(f"localStorage.setItem('react-resizable-panels:asset-ltr', {json.dumps(layout)})")
    page.goto(f"{AIRFLOW}/assets/{known[0]['id']}", timeout=PATIENCE)
    page.get_by_text("Task Dependencies").click(timeout=PATIENCE)
    # What lies outside the frame is not drawn, so it is moved into it first.
    page.locator(".react-flow__minimap-node").first.wait_for(state="attached", timeout=PATIENCE)
    page.wait_for_timeout(SETTLE)
    page.get_by_label("Fit View").click()
    page.locator(".react-flow__node").filter(has_text="landing/").first.wait_for(state="attached", timeout=PATIENCE)


def finished_run(context: BrowserContext, page: Page, source: str) -> None:
    """The newest green run of `nightly` and its note."""
    headers = logged_in(context)
    asked = f"{AIRFLOW}/api/v2/dags/nightly/dagRuns?state=success&order_by=-run_after&limit=20"
    runs = context.request.get(asked, headers=headers).json().get("dag_runs", [])
    noted = [run for run in runs if "Published" in (run["note"] or "")]
    if not noted:
        raise Refused("no run of nightly published anything yet; run make nightly")
    keep(page, default_dag_view="grid")
    page.goto(f"{AIRFLOW}/dags/nightly/runs/{quote(noted[0]['dag_run_id'])}", timeout=PATIENCE)
    page.get_by_text("Published").first.wait_for(timeout=PATIENCE)


def night(context: BrowserContext, page: Page, source: str) -> None:
    """The page of the source's newest night."""
    pages = sorted((settings.home() / "reports" / source).glob("*/night.html"))
    if not pages:
        raise Refused(f"no night.html below {settings.home() / 'reports' / source}; run make nightly SOURCE={source}")
    page.goto(pages[-1].as_uri(), timeout=PATIENCE)


def mlflow(context: BrowserContext, page: Page, source: str) -> None:
    """The newest churn run."""
    asked = {"filter": f"name = '{source}-churn'", "max_results": 1}
    found = context.request.post(f"{MLFLOW}/api/2.0/mlflow/experiments/search", data=asked)
    experiments = found.json().get("experiments", []) if found.ok else []
    if not experiments:
        raise Refused(f"MLflow at {MLFLOW} has no experiment {source}-churn (status {found.status}); run make up")
    number = experiments[0]["experiment_id"]
    wanted = {"experiment_ids": [number], "max_results": 1, "order_by": ["attributes.start_time DESC"]}
    runs = context.request.post(f"{MLFLOW}/api/2.0/mlflow/runs/search", data=wanted).json().get("runs", [])
    if not runs:
        raise Refused(f"MLflow's experiment {source}-churn has no run; run make nightly RETRAIN=1")
    page.goto(f"{MLFLOW}/#/experiments/{number}/runs/{runs[0]['info']['run_id']}", timeout=PATIENCE)
    page.get_by_text("roc_auc").first.wait_for(timeout=PATIENCE)


SHOTS: dict[str, Callable[[BrowserContext, Page, str], None]] = {
    "airflow-grid.png": grid,
    "airflow-graph.png": graph,
    "airflow-trigger-form.png": trigger_form,
    "airflow-assets.png": assets,
    "airflow-run.png": finished_run,
    "night-report.png": night,
    "mlflow-run.png": mlflow,
}


def take(browser: str, source: str, only: str, folder: Path) -> None:
    """Write every picture whose name begins with `only`.

    Raises:
        Refused: a page is not there, or a picture is too large.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start for root.
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"] * (os.geteuid() == 0))
        for name, show in SHOTS.items():
            if not name.startswith(only):
                continue
            # A fresh one each: Airflow remembers in the browser what was looked at.
            context = started.new_context(
                viewport=SIZE, reduced_motion="reduce", color_scheme="light", timezone_id="Europe/Berlin"
            )
            page = context.new_page()
            show(context, page, source)
            page.wait_for_timeout(SETTLE)
            picture = page.screenshot(animations="disabled")
            context.close()
            if len(picture) > LARGEST:
                raise Refused(f"{name} has {len(picture):,} bytes, expected at most {LARGEST:,}; make SIZE smaller")
            (folder / name).write_bytes(picture)
            sys.stdout.write(f"{folder / name}: {len(picture):,} bytes\n")
        started.close()


def main() -> int:
    """0 when all pictures are taken, 2 with one line otherwise."""
    parser = argparse.ArgumentParser(prog="screenshots", allow_abbrev=False)
    parser.add_argument("--source", default="simulated_shop")
    parser.add_argument("--only", default="", help="only pictures whose names begin so, as in airflow-")
    parser.add_argument("--into", type=Path, default=PICTURES, help="the folder of the pictures")
    parser.add_argument("--browser", default="chromium", help="a Chromium's name on PATH, or its path")
    given = parser.parse_args()
    browser = shutil.which(given.browser)
    if browser is None:
        sys.stderr.write(f"error: no program {given.browser!r}; install Debian's chromium, or give --browser\n")
        return 2
    try:
        take(str(Path(browser).resolve()), given.source, given.only, given.into)
    except (Refused, Error, FileNotFoundError) as error:
        sys.stderr.write(f"error: {str(error).splitlines()[0]}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
