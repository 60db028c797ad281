"""A small shop's nights, from landed files to the CRM's views, through the real Airflow, Spark, Iceberg, GX, MLflow and
PostgreSQL: the first night, the same night again, a bad day, and the day mended. The same bytes on a cluster of
processes close it."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from rekindle import embedded, settings, warehouse
from rekindle.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
FIRST, NEXT = date(2026, 2, 25), date(2026, 2, 26)
FILLED = (
    *("recommendations", "item_similarities", "at_risk_users", "churn_health", "user_profiles", "user_vectors"),
    *("retention_metrics", "user_segments", "segments", "period_metrics", "cohort_retention", "retention_curves"),
    *("retention_windows", "repurchase_curves"),
)
CHANGES = (
    "churn_changes",
    "list_changes",
    "segment_movements",
    "changes",
    "suppressed_users",
    "outcomes",
)  # of which a first night has none
SERVED = (*FILLED, *CHANGES)


@dataclass(frozen=True)
class Shop:
    """A home and a conf of its own; commands run in it as a person would type them."""

    home: Path
    conf: Path
    airflow: Path

    @property
    def variables(self) -> dict[str, str]:
        own = {
            "REKINDLE_HOME": str(self.home),
            "REKINDLE_CONF": str(self.conf),
            "REKINDLE_JOBS_PYTHON": sys.executable,
            "REKINDLE_AIRFLOW_BIN": str(self.airflow),
            "PYTHONPATH": str(ROOT),
            "REKINDLE_RETRY_SECONDS": "1",
        }
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return kept | own

    def command(self, *words: str, seconds: int = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=ROOT, env=self.variables, capture_output=True, text=True, timeout=seconds, check=False
        )

    def night(self, day: date) -> subprocess.CompletedProcess[str]:
        return self.command(sys.executable, "bin/nightly.py", "--source", "simulated_shop", "--date", str(day))

    def ledger(self, monkeypatch: pytest.MonkeyPatch) -> Ledger:
        monkeypatch.setenv("REKINDLE_HOME", str(self.home))
        monkeypatch.setenv("REKINDLE_CONF", str(self.conf))
        loaded = settings.load("simulated_shop")
        return Ledger(lambda: warehouse.connect(loaded, "writer"))

    def crm(self, monkeypatch: pytest.MonkeyPatch, statement: str) -> list[tuple[object, ...]]:
        monkeypatch.setenv("REKINDLE_HOME", str(self.home))
        monkeypatch.setenv("REKINDLE_CONF", str(self.conf))
        with warehouse.connect(settings.load("simulated_shop"), "crm_reader") as connection:
            return connection.execute(statement.encode()).fetchall()

    def all_served(self, monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[object, ...]]]:
        return [self.crm(monkeypatch, f"SELECT t::text FROM crm.{t} t ORDER BY 1") for t in SERVED]


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    # Not below pytest's folder: that is closed (0700) to the user that the embedded server runs as under root.
    home = Path(tempfile.mkdtemp(prefix="rekindle-nights-"))
    home.chmod(0o711)
    conf = home / "conf"
    shutil.copytree(ROOT / "conf", conf)
    change(conf / "simulation.yaml", users_at_start=500, arrivals_per_day=4, items=200)
    change(conf / "sources/simulated_shop.yaml", first_night=FIRST)
    source = yaml.safe_load((conf / "sources/simulated_shop.yaml").read_text())
    source["churn"] |= {"horizon_days": 10, "history_days": 14, "cutoff_step_days": 4, "training_cutoffs": 3}
    # Two that may serve: every method is fitted in tests/churn.
    source["churn"]["methods"] = {name: {"method": name} for name in ("logistic", "xgboost")}
    methods = source["recommend"]["methods"]
    methods["als"] |= {"rank": 8, "iterations": 4}
    methods["two_stages"] |= {"rounds": 20, "candidates": 20}
    methods["two_stages"]["sources"][-1] |= {"rank": 8, "iterations": 4}
    (conf / "sources/simulated_shop.yaml").write_text(yaml.safe_dump(source))
    cluster = yaml.safe_load((conf / "environments/local.yaml").read_text())
    cluster["name"] = "processes"
    cluster["spark"]["master"] = "local-cluster[2,1,1024]"
    (conf / "environments/processes.yaml").write_text(yaml.safe_dump(cluster))
    (home / "jars").symlink_to(settings.home() / "jars")
    # Before any test points REKINDLE_HOME at the shop.
    made = Shop(home, conf, settings.home() / "env/airflow/bin")
    prepared = made.command(sys.executable, "jobs/publish/prepare_warehouse.py")
    assert prepared.returncode == 0, prepared.stderr
    airflow = made.command("bin/with-airflow", "python", "bin/services.py", "prepare")
    assert airflow.returncode == 0, airflow.stderr
    yield made
    embedded.stop(home)
    shutil.rmtree(home)


def change(path: Path, **values: object) -> None:
    """Other values for some keys of a conf file."""
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))


def landed(shop: Shop, day: date) -> Path:
    return shop.home / f"landing/simulated_shop/events-{day}.jsonl.gz"


def test_the_first_night_fills_every_view_of_the_crm(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    done = shop.night(FIRST)
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("New lines by fate", "Time by stage", "At risk", "The first items of one user", "Where to look"):
        assert part in done.stdout
    for table in CHANGES:
        assert shop.crm(monkeypatch, f"SELECT count(*) FROM crm.{table}") == [(0,)], table
    for table in FILLED:
        counted = shop.crm(monkeypatch, f"SELECT count(*), count(DISTINCT run_id), min(source) FROM crm.{table}")
        assert counted[0][0] > 0, table  # type: ignore[operator]
        assert counted[0][1:] == (1, "simulated_shop"), table
    per_user = shop.crm(monkeypatch, "SELECT DISTINCT count(*) FROM crm.recommendations GROUP BY user_id")
    assert per_user == [(20,)], "twenty items for every user"
    users = shop.crm(monkeypatch, "SELECT count(DISTINCT user_id) FROM crm.recommendations")
    assert users == shop.crm(monkeypatch, "SELECT count(*) FROM crm.user_profiles")
    ledger = shop.ledger(monkeypatch)
    served = ledger.served("simulated_shop")
    assert served is not None
    assert served.business_date == FIRST
    fates = ledger.fates(served.run_id)
    assert sum(f.landed for f in fates) == sum(f.clean + f.duplicate + f.quarantined for f in fates) > 10_000
    spark = [s for s in ledger.stages(served.run_id) if "spark_start_s" in s.detail]
    assert len(spark) <= 8, "at most eight Spark submits a night"


def test_the_same_night_again_is_already_published(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    before, history = shop.all_served(monkeypatch), shop.ledger(monkeypatch).history("simulated_shop")
    done = shop.night(FIRST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "already published" in done.stdout
    assert shop.all_served(monkeypatch) == before
    assert shop.ledger(monkeypatch).history("simulated_shop") == history


@pytest.fixture(scope="module")
def client() -> dict[str, Any]:
    """The CRM's client as docs/crm.md has it, whole: plain psycopg, nothing of the project."""
    (code,) = re.findall(r"```python\n(import os.+?)```", (ROOT / "docs/crm.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "client"}
    exec(compile(code, "docs/crm.md", "exec"), names)  # noqa: S102 - our own document
    return names


@contextmanager
def connected(shop: Shop, *flags: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the CRM makes it, by the string that it was given."""
    told = shop.command(sys.executable, "-m", "rekindle.crm", "--uri", *flags)
    with psycopg.connect(told.stdout.strip()) as connection:
        yield connection


def test_what_the_crm_does_is_written_back_before_the_next_night(shop: Shop, client: dict[str, Any]) -> None:
    with connected(shop) as reader:
        (written_to, action), (gone, _) = client["whom_to_contact"](reader, 2)
    at = datetime.combine(NEXT, time(9), UTC)
    outcomes = [
        client["outcome"]("mail 1", "contact", written_to, at, action, "mail"),
        client["outcome"]("word 1", "opt_out", gone, at),
        client["outcome"]("mail 2", "contact", "a stranger", at - timedelta(days=2), "voucher"),
    ]
    with connected(shop, "--writer") as writer:
        client["write_back"](writer, outcomes)
        client["write_back"](writer, outcomes[:1])  # the answer was lost
    with connected(shop) as reader:
        assert client["what_became"](reader, ["mail 1", "word 1", "mail 2"]) == {}, "they wait for their night"


def test_a_bad_day_is_red_and_yesterday_stays_byte_for_byte(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shop.all_served(monkeypatch)
    shop.command(sys.executable, "jobs/ingest/land_simulated_day.py", "--source", "simulated_shop", "--date", str(NEXT))
    good = landed(shop, NEXT).read_bytes()
    lines = gzip.decompress(good).splitlines(keepends=True)
    broken = [line[: len(line) // 2] + b"\n" if n % 2 else line for n, line in enumerate(lines)]
    landed(shop, NEXT).write_bytes(gzip.compress(b"".join(broken), mtime=0))
    done = shop.night(NEXT)
    assert done.returncode != 0
    assert "table events" in done.stdout
    assert "quarantined" in done.stdout
    assert shop.all_served(monkeypatch) == before

    landed(shop, NEXT).write_bytes(good)
    mended = shop.night(NEXT)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    ledger = shop.ledger(monkeypatch)
    served = ledger.served("simulated_shop")
    assert served is not None
    assert served.business_date == NEXT
    run = ledger.run(served.run_id)
    assert ledger.run(run.plan["base"]).business_date == FIRST, "it builds on the night before"
    assert sorted(f.landed for f in ledger.fates(served.run_id))[0] == 3, "what the CRM wrote"
    assert len(ledger.fates(served.run_id)) == 2, "and cleans only what is new"
    for table in ("churn_changes", "list_changes", "segment_movements"):
        changed = shop.crm(monkeypatch, f"SELECT DISTINCT compared_date, business_date FROM crm.{table}")
        assert changed == [(FIRST, NEXT)], "a day later somebody has come, left or moved"
    told = shop.crm(monkeypatch, "SELECT DISTINCT table_name FROM crm.changes ORDER BY 1")
    assert told == [("at_risk_users",), ("recommendations",), ("user_segments",)]


def test_what_was_written_back_counts_the_night_after(shop: Shop, client: dict[str, Any]) -> None:
    with connected(shop) as reader:
        assert client["what_became"](reader, ["mail 1", "word 1", "mail 2"]) == {
            "mail 1": ("event", None),
            "word 1": ("event", None),
            "mail 2": ("quarantined", "unknown_user"),
        }
        suppressed = "SELECT user_id, reason, until FROM crm.suppressed_users ORDER BY reason"
        (gone, consent, end), (written_to, contacted, until) = reader.execute(suppressed).fetchall()
        assert (consent, end) == ("consent", None)
        assert (contacted, until) == ("contacted", NEXT + timedelta(days=14))
        told = reader.execute(
            "SELECT user_id, suggested_action, suppressed_by, round(days_since_contact::numeric, 2)"
            " FROM crm.at_risk_users WHERE suppressed_by IS NOT NULL ORDER BY suppressed_by"
        ).fetchall()
        # From 10:00 of the shop's clock to midnight.
        assert told == [
            (gone, "do_nothing", "consent", None),
            (written_to, "do_nothing", "contacted", Decimal("0.58")),
        ]
        assert {gone, written_to}.isdisjoint(user for user, _ in client["whom_to_contact"](reader, 10_000))


@pytest.mark.long  # 270 s beside the others; make test-cluster has the same night on a real standalone cluster
def test_a_cluster_of_processes_makes_the_same_tables(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = shop.ledger(monkeypatch)
    served = ledger.served("simulated_shop")
    if served is None:  # the tests before made nights, but are not of the long ones
        done = shop.night(FIRST)
        assert done.returncode == 0, done.stdout + done.stderr
        served = ledger.served("simulated_shop")
    assert served is not None
    before = {name: version.fingerprint for name, version in ledger.tables(served.run_id).items()}
    arguments = ["--source", "simulated_shop", "--date", str(served.business_date), "--run", served.run_id]
    for job, tables in (
        ("ingest/clean_events", ("events", "duplicates", "quarantine")),
        ("recommend/recommend_items", ("recommendations", "item_similarities", "list_changes")),
        ("churn/score_churn", ("at_risk_users", "churn_changes", "churn_health")),
    ):
        done = shop.command("bin/spark-submit", f"jobs/{job}.py", *arguments, "--env", "processes")
        assert done.returncode == 0, done.stderr[-3000:]
        after = ledger.tables(served.run_id)
        for table in tables:
            assert after[table].fingerprint == before[table], f"{table} depends on a shared process"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--source", "simulated_shopp"], "SOURCE='simulated_shopp' is unknown; legal values: cdnow, complete_journey"),
        (["--source", "simulated_shop", "--date", "2026-02-30"], "DATE='2026-02-30' is not a calendar day"),
    ],
)
def test_a_wrong_word_is_one_line_before_anything_starts(shop: Shop, words: list[str], told: str) -> None:
    done = shop.command(sys.executable, "bin/nightly.py", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_key_of_conf_is_one_line_with_the_nearest_legal_one(shop: Shop) -> None:
    path = shop.conf / "business.yaml"
    whole = path.read_text()
    path.write_text(whole.replace("list_length", "list_lenght"))
    try:
        done = shop.command(sys.executable, "bin/nightly.py", "--source", "simulated_shop")
    finally:
        path.write_text(whole)
    assert done.returncode == 2
    assert "unknown key, did you mean list_length?" in done.stderr
