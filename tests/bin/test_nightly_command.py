"""`make nightly` chooses the day, links the landing folder, and shows in a line why a night was refused."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from rekindle import settings
from rekindle.settings import SettingsError


@pytest.fixture(scope="module")
def nightly() -> ModuleType:
    """bin/nightly.py, which no package holds."""
    spec = importlib.util.spec_from_file_location("nightly_command", settings.ROOT / "bin/nightly.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shop(home: Path, source: str = "simulated_shop") -> settings.Settings:
    return settings.load(source).model_copy(update={"home": home})


def test_the_date_is_the_given_one_else_the_newest_landed_else_the_first_night(nightly: Any, tmp_path: Path) -> None:
    made = shop(tmp_path)
    assert nightly.chosen_date(made, None, False) == date(2026, 4, 30), "nothing has landed: the shop's first night"
    made.landing.mkdir(parents=True)
    for name in ("events-2026-05-02.jsonl.gz", "events-2026-05-01.jsonl.gz", "README.txt", "events-2026-06-01.tmp"):
        (made.landing / name).touch()
    assert nightly.chosen_date(made, None, False) == date(2026, 5, 2)
    assert nightly.chosen_date(made, None, True) == date(2026, 5, 3)
    assert nightly.chosen_date(made, "2026-04-01", True) == date(2026, 4, 1)
    with pytest.raises(SettingsError, match="DATE='tomorrow' is not a calendar day"):
        nightly.chosen_date(made, "tomorrow", False)


def test_a_source_that_never_landed_says_what_is_missing(nightly: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SOURCE=online_retail: no file matching .* give LANDING=<folder>"):
        nightly.chosen_date(shop(tmp_path, "online_retail"), None, False)


def test_files_that_bring_no_events_choose_no_night(nightly: Any, tmp_path: Path) -> None:
    made = shop(tmp_path, "jdata")
    made.landing.mkdir(parents=True)
    for name in ("JData_User.csv", "JData_Comment.csv", "JData_Action_201602.csv"):
        (made.landing / name).touch()
    assert nightly.chosen_date(made, None, False) == date(2016, 2, 29), "users landed in April, events in February"


def test_the_landing_folder_is_a_link_that_can_be_moved_and_never_hides_files(nightly: Any, tmp_path: Path) -> None:
    made = shop(tmp_path / "home", "online_retail")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "2011-08-31.csv").touch()
    nightly.use_landing(made, tmp_path / "one")
    assert nightly.landed_dates(made) == []
    nightly.use_landing(made, tmp_path / "two")
    assert nightly.landed_dates(made) == [date(2011, 8, 31)]
    with pytest.raises(SettingsError, match="no such folder; expected the folder where the files land"):
        nightly.use_landing(made, tmp_path / "three")
    own = shop(tmp_path / "own")
    own.landing.mkdir(parents=True)
    with pytest.raises(SettingsError, match="is a folder with files of its own; move it away first"):
        nightly.use_landing(own, tmp_path / "one")


def shown(nightly: Any, *lines: str) -> tuple[str, list[str]]:
    out, faults = io.StringIO(), []  # type: ignore[var-annotated]
    console = Console(file=out, width=120, highlight=False)
    for line in lines:
        nightly.show(line, console, faults)
    return out.getvalue(), faults


def test_a_stage_that_ended_is_shown_and_a_faults_own_words_are_kept(nightly: Any) -> None:
    told, faults = shown(
        nightly,
        "[task] INFO preflight_landing run=r0123456789abcdef files=120 lines=1234567 base=None train=True status=open",
        "INFO clean_events done source=simulated_shop date=2026-04-30 run=r0123456789abcdef seconds=41.3",
        "INFO clean_events something else",
        "[task] ERROR validate_events refused: table events, check row_count: expected 1 or more, found 0"
        " [airflow.task] loc=_job.py:120",
        "WARNING preflight_landing refused file=x.gz reason=empty_file: 0 bytes",
        "WARNING preflight_landing no file of shop has landed for 2026-05-01 in landing; nothing is published",
    )
    assert "run r0123456789abcdef: 120 files, 1,234,567 lines, open" in told
    assert "clean_events" in told
    assert "41.3 s" in told
    assert [fault.split(" ", 2)[1] for fault in faults] == ["validate_events", "preflight_landing", "preflight_landing"]
    assert faults[0].endswith("expected 1 or more, found 0")
    assert faults[2].endswith("nothing is published")


def test_a_command_that_fails_ends_with_the_reason_and_its_exit_code(nightly: Any, tmp_path: Path) -> None:
    script = "import sys; sys.stderr.write('ERROR clean_events refused: lines do not add up\\n' * 2); sys.exit(3)"
    out = io.StringIO()
    code = nightly.follow([sys.executable, "-c", script], tmp_path / "log", Console(file=out, width=120))
    assert code == 3
    assert out.getvalue().count("lines do not add up") == 1, "a reason is told once"


def test_the_running_scheduler_is_asked_where_there_is_one(nightly: Any, tmp_path: Path) -> None:
    conf = {"date": "2026-04-30", "source": "simulated_shop", "retrain": False}
    alone = nightly.airflow_command(conf, tmp_path)
    assert alone[1:] == ["airflow", "dags", "test", "nightly", "--conf", json.dumps(conf)]
    marker = tmp_path / "run" / "api-server.json"
    marker.parent.mkdir()
    marker.write_text(json.dumps({"pid": os.getpid()}))
    assert nightly.airflow_command(conf, tmp_path)[0].endswith("bin/trigger")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    marker.write_text(json.dumps({"pid": gone.pid}))
    assert nightly.airflow_command(conf, tmp_path) == alone, "a marker left by a dead server is no server"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--source", "shop"],
            f"error: SOURCE='shop' is unknown; legal values: {', '.join(settings.source_names())}\n",
        ),
        (["--source", "simulated_shop", "--date", "30.4."], "error: DATE='30.4.' is not a calendar day; expected"),
        (["--source", "online_retail", "--landing", "/no/such"], "error: LANDING=/no/such: no such folder; expected"),
    ],
)
def test_a_wrong_argument_is_one_line_before_anything_starts(tmp_path: Path, arguments: list[str], told: str) -> None:
    done = subprocess.run(
        [sys.executable, settings.ROOT / "bin/nightly.py", *arguments],
        capture_output=True, text=True, cwd=settings.ROOT,
        env=os.environ | {"REKINDLE_HOME": str(tmp_path), "PYTHONPATH": str(settings.ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
