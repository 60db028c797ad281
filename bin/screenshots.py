"""Takes the pictures of docs/pictures after a night, while `make up` runs: the grid, the night's page, an MLflow run.

    PYTHONPATH=. var/env/jobs/bin/python bin/screenshots.py [--source simulated_shop] [--browser chromium]

It needs a Chromium (Debian: the package chromium) and the tests' environment (make check installs it). Pictures of more
than 200 KB are refused: the repository is cloned more often than they are looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, Error, Page, ViewportSize, sync_playwright

from rekindle import settings

AIRFLOW = f"http://127.0.0.1:{os.environ.get('REKINDLE_AIRFLOW_PORT', '8080')}"
MLFLOW = f"http://127.0.0.1:{os.environ.get('REKINDLE_MLFLOW_PORT', '5000')}"
PICTURES = settings.ROOT / "docs" / "pictures"
LARGEST = 200_000
SIZE: ViewportSize = {"width": 1280, "height": 800}
PATIENCE = 60_000  # milliseconds; the first page after a start compiles nothing but reads a cold disk


class Refused(Exception):
    """What keeps a picture from being taken, and what to do."""


def airflow(context: BrowserContext, page: Page, source: str) -> None:
    """The DAG `nightly` with its grid."""
    secret = json.loads((settings.home() / "secrets" / "airflow_passwords.json").read_text(encoding="utf-8"))
    [(user, password)] = secret.items()
    answer = context.request.post(f"{AIRFLOW}/auth/token", data={"username": user, "password": password})
    if not answer.ok:
        raise Refused(f"Airflow at {AIRFLOW} answered {answer.status} to a login; run make up and wait for it")
    # The cookie that the login page would set.
    context.add_cookies([{"name": "_token", "value": answer.json()["access_token"], "url": AIRFLOW}])
    page.goto(f"{AIRFLOW}/dags/nightly", timeout=PATIENCE)
    page.get_by_text("publish_night").first.wait_for(timeout=PATIENCE)


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
    "airflow-grid.png": airflow,
    "night-report.png": night,
    "mlflow-run.png": mlflow,
}


def take(browser: str, source: str) -> None:
    """Write every picture.

    Raises:
        Refused: a page is not there, or a picture is too large.
    """
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start for root.
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"] * (os.geteuid() == 0))
        context = started.new_context(viewport=SIZE, reduced_motion="reduce", color_scheme="light")
        for name, show in SHOTS.items():
            page = context.new_page()
            show(context, page, source)
            page.wait_for_timeout(1500)  # charts and fonts settle after the text is there
            picture = page.screenshot(animations="disabled")
            page.close()
            if len(picture) > LARGEST:
                raise Refused(f"{name} has {len(picture):,} bytes, expected at most {LARGEST:,}; make SIZE smaller")
            (PICTURES / name).write_bytes(picture)
            sys.stdout.write(f"docs/pictures/{name}: {len(picture):,} bytes\n")
        started.close()


def main() -> int:
    """0 when all pictures are taken, 2 with one line otherwise."""
    parser = argparse.ArgumentParser(prog="screenshots", allow_abbrev=False)
    parser.add_argument("--source", default="simulated_shop")
    parser.add_argument("--browser", default="chromium", help="a Chromium's name on PATH, or its path")
    given = parser.parse_args()
    browser = shutil.which(given.browser)
    if browser is None:
        sys.stderr.write(f"error: no program {given.browser!r}; install Debian's chromium, or give --browser\n")
        return 2
    try:
        take(str(Path(browser).resolve()), given.source)
    except (Refused, Error, FileNotFoundError) as error:
        sys.stderr.write(f"error: {str(error).splitlines()[0]}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
