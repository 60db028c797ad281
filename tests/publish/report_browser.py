"""The report in a headless Chromium: what a person would see at a size, and what annoys there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
# Chromium's own services look for the network; a page of one file needs none.
QUIET = (
    *("--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)
LEAST_CONTRAST = 4.5  # WCAG 2.1, level AA, for text of any size
# Texts whose contrast with what lies behind them is too low: [ratio, text] each.
PALE = """least => {
  const channel = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 };
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n };
  const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const behind = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0.99) return c } return [255, 255, 255, 1] };
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    if (!text || !e.getClientRects().length) continue;
    const style = getComputedStyle(e), svg = e.closest("svg") && e.tagName !== "svg";
    const ink = parse(svg ? style.fill : style.color), paper = behind(svg ? e.closest("figure") : e);
    const a = light(ink), b = light(paper), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least) found.push([ratio.toFixed(2), text.slice(0, 40)]);
  }
  return found;
}"""
# Elements that reach over the page's edge without a part that scrolls around them.
WIDE = """() => [...document.querySelectorAll("body *")].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.right > document.documentElement.clientWidth + 1 && !e.closest(".wide, svg")
    && getComputedStyle(e).position !== "absolute";
}).map(e => e.tagName + "." + e.className)"""


def chromium() -> str:
    """The browser's path; without one the test is skipped, or fails where REKINDLE_BROWSER=required."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        told = "no Chromium on PATH (Debian: the package chromium); the report was not looked at in a browser"
        if os.environ.get("REKINDLE_BROWSER") == "required":
            pytest.fail(told)
        pytest.skip(told)
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """A started Chromium."""
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        try:
            yield started
        finally:
            started.close()


def faults(started: Any, page: Path, sections: tuple[str, ...], size: str, scheme: str, picture: Path) -> list[str]:
    """What is wrong with the page at that size, in words; a picture of it is kept."""
    width, height = SIZES[size]
    context = started.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_timeout(60_000)
    found: list[str] = []
    shown = context.new_page()
    shown.on("console", lambda one: found.append(f"console {one.type}: {one.text}") if one.type == "error" else None)
    shown.on("pageerror", lambda error: found.append(f"error: {error}"))
    shown.on("request", lambda one: None if one.url.startswith(("file:", "data:")) else found.append(f"asks {one.url}"))
    shown.goto(page.as_uri())
    found += [f"no section {name}" for name in sections if not shown.locator(f"section#{name} h2").is_visible()]
    shown.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    over = shown.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if over > 0:
        found.append(f"scrolls sideways by {over} pixels: {shown.evaluate(WIDE)[:5]}")
    found += [f"contrast {ratio}: {text}" for ratio, text in shown.evaluate(PALE, LEAST_CONTRAST)]
    shown.screenshot(path=picture, full_page=True)
    context.close()
    return found


def reached_by_keyboard(started: Any, page: Path) -> list[str]:
    """The first stops of the tab key, by their text or address."""
    shown = started.new_page()
    shown.goto(page.as_uri())
    stops = []
    for _ in range(4):
        shown.keyboard.press("Tab")
        stops.append(shown.evaluate("document.activeElement.getAttribute('href') || document.activeElement.tagName"))
    shown.close()
    return stops
