"""A headless Chromium for the tests that see Airflow as an analyst does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

# Nothing that asks the network, and no sandbox where root runs the tests.
ARGUMENTS = (
    *("--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)
PATIENCE = 60_000  # milliseconds, on a busy machine


def chromium() -> str:
    """The browser's path; the test is skipped where there is none, and fails where REKINDLE_BROWSER=required."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        told = "no chromium on PATH (Debian: the package chromium), so nobody looks at Airflow's pages"
        if os.environ.get("REKINDLE_BROWSER") == "required":
            pytest.fail(told)
        pytest.skip(told)
    return str(Path(found).resolve())


@contextmanager
def page(base_url: str) -> Iterator[Page]:
    """One page of a fresh browser."""
    browser = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=list(ARGUMENTS))
        context = started.new_context(
            viewport={"width": 1280, "height": 800},
            reduced_motion="reduce",
            timezone_id="Europe/Berlin",
            base_url=base_url,
        )
        context.set_default_timeout(PATIENCE)
        try:
            yield context.new_page()
        finally:
            started.close()


def log_in(page: Page, user: str, password: str) -> None:
    """Through the form that Airflow shows."""
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(password)
    page.get_by_role("button", name="Sign in").click()


def until_over(page: Page) -> str:
    """The end state of the run that the page shows; asked over REST, by the page's own login."""
    address = page.url.split("?")[0].replace("/dags/", "/api/v2/dags/").replace("/runs/", "/dagRuns/")
    for _ in range(300):
        answer = page.request.get(address)
        assert answer.ok, answer.text()
        state = str(answer.json()["state"])
        if state in ("success", "failed"):
            return state
        page.wait_for_timeout(1_000)
    raise AssertionError(f"{page.url} is not over: {state}")
