"""`make nightly` and `make next-night`: one night through Airflow, with progress by stage and the summary at its end.

Everything that can be refused without Spark is refused here, in one line that names the key and its legal values.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

from rich.console import Console

from rekindle import settings, warehouse
from rekindle.ledger import Ledger

ROOT = settings.ROOT
# How a job says in its log that it is done (rekindle/cli.py), and that it was refused or failed.
DONE = re.compile(r"INFO (\w+) done source=\S+ date=\S+ run=\S+ seconds=([\d.]+)")
OPENED = re.compile(r"INFO preflight_landing run=(r[0-9a-f]{16}) files=(\d+) lines=(\d+) .*status=(already \w+|\w+)")
FAULT = re.compile(r"(?:WARNING preflight_landing refused|(?:ERROR|WARNING preflight_landing no file)) ?.*")
# What Airflow adds around a job's line.
NOISE = re.compile(r"""\s*(\[\S*\] )?loc=\S+$|", "log_url".*$""")
STAGES = (
    "land_simulated_day", "preflight_landing", "clean_events", "validate_events", "build_features",
    "train_recommender", "train_churn", "judge_models", "recommend_items", "score_churn", "validate_outputs",
    "publish_night", "report_night",
)  # fmt: skip


def landed_dates(loaded: settings.Settings) -> list[date]:
    """Days for which the landing folder has a file of events, in order."""
    if not loaded.landing.is_dir():
        return []
    names = [p.name for p in loaded.landing.resolve().iterdir()]
    found = (kind.landing.landing_date(name) for kind in loaded.source.events for name in names)
    return sorted(day for day in found if day is not None)


def use_landing(loaded: settings.Settings, folder: Path) -> None:
    """Let the source's landing folder be a link to where its files land.

    Raises:
        SettingsError: no such folder, or the source has landed files of its own already.
    """
    if not folder.is_dir():
        raise settings.SettingsError(f"LANDING={folder}: no such folder; expected the folder where the files land")
    link = loaded.landing
    if link.exists() and not link.is_symlink():
        raise settings.SettingsError(f"LANDING={folder}: {link} is a folder with files of its own; move it away first")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(folder.resolve())


def chosen_date(loaded: settings.Settings, given: str | None, following: bool) -> date:
    """The business date: the given one, the day after the last landed one, or the newest landed.

    Raises:
        SettingsError: not a date, or nothing has landed.
    """
    if given:
        return settings.parse_date(given)
    landed = landed_dates(loaded)
    if landed:
        return landed[-1] + timedelta(days=int(following))
    if loaded.source.first_night is not None:
        return loaded.source.first_night
    raise settings.SettingsError(
        f"SOURCE={loaded.source.name}: no file matching"
        f" {' or '.join(kind.landing.pattern for kind in loaded.source.events)} in {loaded.landing};"
        " give LANDING=<folder> with the shop's files"
    )


def airflow_command(conf: dict[str, object], home: Path) -> list[str]:
    """Through the running scheduler where there is one (`make up`), else one run of the DAG in this process tree."""
    told = json.dumps(conf)
    marker = home / "run" / "api-server.json"
    if marker.exists() and is_alive(int(json.loads(marker.read_text())["pid"])):
        return [str(ROOT / "bin/trigger"), "nightly", "--conf", told]
    return [str(ROOT / "bin/with-airflow"), "airflow", "dags", "test", "nightly", "--conf", told]


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def follow(command: list[str], log: Path, console: Console) -> int:
    """Run the command with its output in `log`, showing each stage as it ends; its exit code."""
    faults: list[str] = []
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as out, console.status("starting Airflow") as status:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT)
        with log.open(encoding="utf-8", errors="replace") as told:
            while True:
                over = process.poll() is not None
                for line in told:
                    show(line, console, faults)
                    done = DONE.search(line) or OPENED.search(line)
                    if done:
                        stage = done[1] if done[1] in STAGES else "preflight_landing"
                        following = STAGES.index(stage) + 1
                        status.update(f"after {stage}: {STAGES[following] if following < len(STAGES) else 'closing'} …")
                if over:
                    break
                time.sleep(0.3)
    if process.returncode:
        for fault in dict.fromkeys(faults):
            console.print(f"[red]{fault}[/]", soft_wrap=True)
    console.print(f"  {'all, Airflow included':24}{time.monotonic() - started:7.1f} s")
    return process.returncode


def show(line: str, console: Console, faults: list[str]) -> None:
    """One line of the log: a stage that ended is shown, the words of a fault are kept."""
    opened, done, fault = OPENED.search(line), DONE.search(line), FAULT.search(line)
    if opened:
        console.print(f"  run {opened[1]}: {int(opened[2]):,} files, {int(opened[3]):,} lines, {opened[4]}")
    elif done:
        console.print(f"  {done[1]:24}{float(done[2]):7.1f} s")
    elif fault:
        faults.append(NOISE.sub("", fault[0]).strip())


def closing(loaded: settings.Settings, day: date, console: Console) -> None:
    """The night's summary, as report_night wrote it."""
    folder = loaded.home / "reports" / loaded.source.name
    served = Ledger(lambda: warehouse.connect(loaded, "writer")).served(loaded.source.name)
    written = sorted(folder.glob(f"{day}-r*/summary.txt"), key=lambda p: p.stat().st_mtime)
    if not written:
        last = f"the CRM reads the night of {served.business_date}" if served else "nothing was ever published"
        console.print(f"nothing was published for {loaded.source.name}, {day}; {last}")
        return
    sys.stdout.write(written[-1].read_text(encoding="utf-8"))


def main() -> int:
    """Check, run, show; 0 if the night is served, stored or there was nothing to do."""
    parser = argparse.ArgumentParser(prog="nightly", allow_abbrev=False)
    parser.add_argument("--source", required=True)
    parser.add_argument("--date")
    parser.add_argument("--landing")
    parser.add_argument("--retrain", action="store_true")
    parser.add_argument("--next", action="store_true", dest="following")
    given = parser.parse_args()
    console = Console(highlight=False)
    try:
        loaded = settings.load(given.source, os.environ.get("REKINDLE_ENV", "local"))
        if given.landing:
            use_landing(loaded, Path(given.landing).expanduser().resolve())
        day = chosen_date(loaded, given.date, given.following)
    except settings.SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    conf = {"date": str(day), "source": loaded.source.name, "retrain": given.retrain}
    log = loaded.home / "logs" / f"nightly-{loaded.source.name}-{day}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    console.print(f"[bold]{loaded.source.name}, night of {day}[/] (log: {log})", soft_wrap=True)
    code = follow(airflow_command(conf, loaded.home), log, console)
    if code:
        console.print("[red]The night failed[/]; what was served before stays served.", soft_wrap=True)
        console.print(f"The whole log: {log}", soft_wrap=True)
        return code
    closing(loaded, day, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
