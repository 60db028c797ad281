"""Definitions of "gone" on a shop's own history: what is looked at, the page, and what is refused."""

from __future__ import annotations

import io
import logging
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from jobs.churn import compare_definitions as job
from rekindle import contract, embedded, night, settings, warehouse
from rekindle.cli import Context
from rekindle.ledger import Ledger, RunKey
from rekindle.methods.interpurchase import PurchaseDays
from rekindle.refusals import DataRefused
from schemas.catalogue import SERVED
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from tests.churn.conftest import AS_OF, CHURN, FIRST, shop_rows

DAY = AS_OF - timedelta(days=1)


def number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def told(user: str, day: int, kind: str = "purchase") -> dict[str, Any]:
    return {"user_key": user, "event_type": kind, "event_date": date(2026, 3, 1) + timedelta(days=day)}


def history(users: int = 500) -> PurchaseDays:
    bought = [row for row in shop_rows(users) if row["event_type"] == "purchase"]
    places = {user: place for place, user in enumerate(sorted({row["user_key"] for row in bought}))}
    rows = [(places[row["user_key"]], number(row["event_date"])) for row in bought]
    return PurchaseDays.of(*np.array(rows, dtype=np.int64).T)


@pytest.fixture(scope="module")
def lab() -> job.Lab:
    some = history()
    return job.look_into(some, "<b>shop</b>", DAY, CHURN, 3 * len(some))


class Reader(HTMLParser):
    """What a page is made of: its elements, what they would load, and the words that stand for pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.spoken: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        told = dict(attrs)
        self.loads += [f"{tag} {name}" for name in told if name in ("src", "href", "xlink:href", "srcset", "action")]
        self.loads += [f"{tag} {name}" for name in told if name.startswith("on")]
        if tag == "figure":
            self.spoken.append(told["aria-label"] or "")


def test_looked_at_are_days_of_purchase_of_buyers_who_are_not_excluded(frame: Any) -> None:
    rows = [
        *(told("twice", 1), told("twice", 1), told("twice", 4)),
        *(told("looker", 2, "view"), told("twice", 3, "return")),
        *(told("machine", 2), told("tomorrow", 11), told("last_day", 10)),
    ]
    excluded = frame(EXCLUDED_USERS, {"user_key": "machine", "rule": "share_of_events"})
    days = job.purchase_days(frame(EVENTS, *rows), excluded, date(2026, 3, 11)).persist()
    first = number(date(2026, 3, 1))
    assert {row.user_key: sorted(row.days) for row in days.collect()} == {
        "twice": [first + 1, first + 4],
        "last_day": [first + 10],
    }
    brought = job.bring(days, buyers=2, most=10)
    assert sorted(np.split(brought.day - first, brought.start[1:-1]), key=len)[1].tolist() == [1, 4]
    assert len(job.bring(days.where("user_key = 'nobody'"), 0, 10)) == 0


def test_of_many_buyers_the_driver_gets_a_sample_by_the_hash_of_their_key(spark: Any) -> None:
    days = spark.range(4_000).selectExpr("concat('u', id) AS user_key", "array(int(id), int(id) + 5000) AS days")
    brought = job.bring(days, buyers=4_000, most=1_000)
    assert 850 < len(brought) < 1_150
    assert len(brought.day) == 2 * len(brought)
    again = job.bring(days.repartition(3, "days"), buyers=4_000, most=1_000)
    assert sorted(again.day.tolist()) == sorted(brought.day.tolist())


def test_the_page_stands_alone_and_says_its_pictures_in_words(lab: job.Lab, tmp_path: Path) -> None:
    where = job.write(lab, tmp_path)
    assert where == tmp_path / "reports" / "<b>shop</b>" / "churn-lab-2026-03-31" / "churn_lab.html"
    page, reader = where.read_text(encoding="utf-8"), Reader()
    reader.feed(page)
    assert reader.loads == []
    assert not {"script", "link", "iframe", "img", "object"} & set(reader.tags)
    assert "&lt;b&gt;shop&lt;/b&gt;" in page
    assert "<b>shop" not in page
    assert reader.tags.count("svg") == len(reader.spoken) == 4
    assert all(len(words) > 60 and any(letter.isdigit() for letter in words) for words in reader.spoken)
    assert job.page(lab) == page, "the same twice"


def test_the_terminal_ends_with_the_page_and_lines_that_conf_takes(lab: job.Lab) -> None:
    paper = io.StringIO()
    job.show(lab, Path("somewhere") / job.PAGE, Console(file=paper, width=job.NOT_A_TERMINAL, highlight=False))
    shown = paper.getvalue()
    assert f"somewhere/{job.PAGE}" in shown
    lines = yaml.safe_load(shown[shown.index("\nchurn:") :])
    conf = settings.Churn(**CHURN.model_dump() | lines["churn"])
    assert conf.horizon_days % 7 == 0
    for name in ("14 days (conf)", "cadence", "BTYD", "survival"):
        assert name in shown


def test_the_page_s_first_sentence_is_what_conf_s_window_says(lab: job.Lab) -> None:
    window = next(one for one in lab.found.told if one.name == "14 days")
    sentence, other = job.in_words(lab)
    assert sentence.startswith(f"Conf's 14 days call {100 * window.base.mean():.1f} % of the asked gone.")
    assert f"{100 * window.regret:.1f} % buy again" in sentence
    assert "need not wait" in other


def test_a_log_too_short_to_compare_anything_is_refused_with_what_there_is() -> None:
    some = history(60)
    with pytest.raises(DataRefused, match="nobody can have stopped buying"):
        job.look_into(some.__class__(np.zeros(1, np.int64), np.zeros(0, np.int64)), "shop", DAY, CHURN, 0)
    with pytest.raises(DataRefused, match=r"shop: up to 2026-01-04 .* followed by another; expected a week or more"):
        job.look_into(some, "shop", date(2026, 1, 4), CHURN, len(some))
    patient = CHURN.model_copy(update={"history_days": 80})
    with pytest.raises(DataRefused, match="needs 80 days of log before a cut-off and 14 after it"):
        job.look_into(some, "shop", DAY, patient, len(some))


@pytest.fixture(scope="module")
def stored(_session: Any) -> Iterator[Context]:
    """A night of the shop in a lake and a ledger of its own: no more than what is read here."""
    # Not pytest's own folder: that is closed to others, and for root the server is another user.
    home = Path(tempfile.mkdtemp(prefix="rekindle-test-"))
    home.chmod(0o711)
    try:
        embedded.start(home)
        local = settings.load_environment("local")
        at_home = local.warehouse.model_copy(update={"secrets": home / "secrets", "port": embedded.port(home)})
        environment = local.model_copy(update={"warehouse": at_home})
        warehouse.migrate(environment, SERVED)
        loaded = settings.load("simulated_shop")
        source = loaded.source.model_copy(update={"name": "churn_lab_shop", "churn": CHURN, "first_date": FIRST})
        loaded = loaded.model_copy(update={"environment": environment, "source": source, "home": home})
        ledger = Ledger(lambda: warehouse.connect(environment, "writer"))
        key = RunKey("r0000000000000c41", source.name, DAY, "code", "conf", "ingest", 1, False)
        run = ledger.open_run(key, [], {"train": False})
        context = Context(loaded, DAY, ledger, False, run, _session, {}, logging.getLogger("churn_lab"))
        night.store(context, EVENTS, contract.frame(_session, EVENTS, *shop_rows(500)))
        night.store(context, EXCLUDED_USERS, contract.frame(_session, EXCLUDED_USERS))
        yield context
    finally:
        embedded.stop(home)
        shutil.rmtree(home)


def test_what_is_told_of_a_night_comes_from_its_own_snapshot(stored: Context) -> None:
    found, some = job.look(stored), history()
    assert (found.buyers, found.all_buyers, found.first) == (len(some), len(some), date(2026, 1, 1))
    here = job.look_into(some, "churn_lab_shop", DAY, CHURN, len(some))
    assert job.page(found) == job.page(here), "the lake has the buyers in another order"
    earlier = job.look(replace(stored, business_date=DAY - timedelta(days=10)))
    assert earlier.found.cutoffs[-1] == found.found.cutoffs[-1] - 10


def test_without_a_served_night_one_line_says_what_to_run(
    stored: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings, "load", lambda *_: stored.settings)
    assert job.main(["--source", "churn_lab_shop"]) == 3
    told = capsys.readouterr().err
    assert told == "error: churn_lab_shop has no published night yet; run one with make nightly\n"
