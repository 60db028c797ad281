"""Land the simulated shop's log, one gzip JSON-lines file a day, up to the business date.

Reads   conf/simulation.yaml
Writes  landing/simulated_shop/events-YYYY-MM-DD.jsonl.gz, truth/simulated_shop (which no job reads)

A day's bytes depend on conf/simulation.yaml and this code alone, not on when or in what order days were landed; a day
that is there is left as it is. The state after the last simulated day is kept beside the truth, only to save time.
For a source that is not simulated there is nothing to do.
"""

import gzip
import hashlib
import io
import json
import logging
import os
import zipfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from rekindle.cli import Context, main
from rekindle.methods.shop_catalogue import CATEGORIES
from rekindle.methods.shop_dirt import FATES, LandedDay, land_lines
from rekindle.methods.shop_people import NEVER
from rekindle.methods.shop_simulation import (
    SimulationConf,
    World,
    customer_id,
    open_shop,
    restore_world,
    save_world,
    stream,
)
from rekindle.settings import ROOT, SettingsError, conf_folder, digest_of_code

SOURCE = "simulated_shop"
CONF = Path("conf/simulation.yaml")
GZIP_LEVEL = 6  # fixed, for it is part of the bytes
README = (
    "Everything in this folder is SYNTHETIC: made by jobs/ingest/land_simulated_day.py from conf/simulation.yaml.\n"
    "No person, brand or purchase in it exists.\n"
)

log = logging.getLogger("land_simulated_day")


def read_conf(path: Path) -> SimulationConf:
    """conf/simulation.yaml, checked.

    Raises:
        SettingsError: not YAML, an unknown or missing key, a value out of bounds; all faults in one line.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return SimulationConf.model_validate(content)
    except yaml.YAMLError as error:
        raise SettingsError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        legal = ", ".join(SimulationConf.model_fields)
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}, found {e['input']!r}" for e in error.errors()
        )
        raise SettingsError(f"{where}: {faults} (legal keys: {legal})") from None


def land(conf: SimulationConf, home: Path, day: date) -> list[Path]:
    """The files of all absent days from the shop's first up to `day`, landed now, in order; none if all were there.

    Raises:
        SettingsError: `day` is before the shop's first, or landed days were made by another conf.
    """
    if day < conf.first_day:
        raise SettingsError(f"DATE={day} is before the simulated shop's first day, {conf.first_day}")
    landing, truth = home / "landing" / SOURCE, home / "truth" / SOURCE
    days = [conf.first_day + timedelta(days=n) for n in range((day - conf.first_day).days + 1)]
    absent = [each for each in days if not landing_file(landing, each).exists()]
    if not absent:
        return []
    _refuse_another_conf(conf, landing, truth)
    for folder in (landing, truth):
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "README.txt", README.encode())
    stamp = _stamp(conf)
    _write(truth / "conf.json", json.dumps({"synthetic": True, "conf": _conf_digest(conf)}).encode())

    kept = _resume(conf, truth / "state.npz", stamp)
    world, carried = kept or (open_shop(conf), LandedDay())
    cached_until = world.day if kept else 0
    if world.date > absent[0]:
        world, carried = open_shop(conf), LandedDay()
    log.info("simulating source=%s from=%s to=%s absent=%d", SOURCE, world.date, day, len(absent))
    landed: list[Path] = []
    while world.date <= day:
        today = world.date
        carried = _live_and_land(conf, world, carried, landing_file(landing, today), truth, landed)
    if world.day > cached_until:
        _write(truth / "people.jsonl.gz", _gzipped(_people_lines(world)))
        _write(truth / "state.npz", _archive(stamp, world, carried))
    return landed


def landing_file(landing: Path, day: date) -> Path:
    """Where the file of landing date `day` lies in the folder `landing`."""
    return landing / f"events-{day}.jsonl.gz"


def _live_and_land(
    conf: SimulationConf, world: World, carried: LandedDay, path: Path, truth: Path, landed: list[Path]
) -> LandedDay:
    today, rng = world.date, stream(conf.seed, world.day, "dirt")
    file = land_lines(rng, world.next_day(), carried, conf.dirt_share, conf.late_line_share, conf.extra_field_share)
    content = _gzipped(file.lines)
    if not path.exists():
        (truth / "days").mkdir(exist_ok=True)
        # The truth first: a landed file always has one.
        _write(truth / "days" / f"{today}.json", json.dumps(_day_truth(today, file), indent=1).encode())
        _write(path, content)
        landed.append(path)
    elif path.read_bytes() != content:
        log.warning("kept file=%s: it is not what this conf and code make; delete it to land the day anew", path.name)
    return file


def _day_truth(day: date, file: LandedDay) -> dict[str, Any]:
    fates = dict.fromkeys(("quarantined", "repaired", "duplicate"), 0)
    for kind, fate in FATES.items():
        fates[fate] += len(file.kinds.get(kind, ()))
    return {"synthetic": True, "day": str(day), "lines": len(file.lines), "fates": fates, "kinds": file.kinds}


def _people_lines(world: World) -> list[bytes]:
    """One line a person: who they are as of the world's last day, and who has left and when (null: not yet)."""
    people, first = world.people, world.conf.first_day

    def day_or_null(day: int) -> str | None:
        return None if day == NEVER else str(first + timedelta(days=day))

    return [
        json.dumps(
            {
                "synthetic": True,
                "as_of": str(world.date),
                "customer": customer_id(n),
                "arrived": str(first + timedelta(days=int(people.arrived[n]))),
                "fading_since": day_or_null(int(people.fade_start[n])),
                "left": day_or_null(int(people.left[n])),
                "taste": {c.name: round(float(t), 4) for c, t in zip(CATEGORIES, people.taste[n], strict=True)},
                "style": [round(float(s), 4) for s in people.style[n]],
            }
        ).encode()
        for n in range(len(people))
    ]


def _conf_digest(conf: SimulationConf) -> str:
    return hashlib.sha256(conf.model_dump_json().encode()).hexdigest()[:16]


def _stamp(conf: SimulationConf) -> str:
    """What a kept state depends on: conf, code, and NumPy, whose distributions may change between versions."""
    modules = [f"rekindle/methods/{p.name}" for p in sorted((ROOT / "rekindle/methods").glob("shop_*.py"))]
    code = digest_of_code(ROOT, *modules, "jobs/ingest/land_simulated_day.py")
    return f"{_conf_digest(conf)} {code} {np.__version__}"


def _refuse_another_conf(conf: SimulationConf, landing: Path, truth: Path) -> None:
    noted, files = truth / "conf.json", sorted(landing.glob("events-*.jsonl.gz"))
    if not noted.exists() or not files:
        return
    found = json.loads(noted.read_text(encoding="utf-8"))["conf"]
    if found != _conf_digest(conf):
        raise SettingsError(
            f"{CONF} has changed (digest {_conf_digest(conf)}) since {len(files)} days were landed under {found}: two "
            f"different shops must not share a log; change it back, or delete landing/{SOURCE} and truth/{SOURCE}"
        )


def _archive(stamp: str, world: World, carried: LandedDay) -> bytes:
    whole = io.BytesIO()
    np.savez(
        whole,
        allow_pickle=False,
        stamp=np.array(stamp),
        world=np.frombuffer(save_world(world), dtype=np.uint8),
        late=np.frombuffer(b"\n".join(carried.carried_late), dtype=np.uint8),
        twice=np.frombuffer(b"\n".join(carried.carried_twice), dtype=np.uint8),
    )
    return whole.getvalue()


def _resume(conf: SimulationConf, path: Path, stamp: str) -> tuple[World, LandedDay] | None:
    """The kept state, or null if there is none of this conf and code: then the shop is lived through anew."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["stamp"]) != stamp:
                log.info("state=%s was kept by other code; simulating from %s", path.name, conf.first_day)
                return None
            carried = LandedDay(
                carried_late=kept["late"].tobytes().splitlines(), carried_twice=kept["twice"].tobytes().splitlines()
            )
            return restore_world(conf, kept["world"].tobytes()), carried
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        log.warning("state=%s cannot be read (%s); simulating from %s", path.name, error, conf.first_day)
        return None


def _gzipped(lines: list[bytes]) -> bytes:
    """The lines as gzip; no time and no file name in its header, so equal lines are equal bytes."""
    whole = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=whole, compresslevel=GZIP_LEVEL, mtime=0) as packed:
        packed.write(b"".join(line + b"\n" for line in lines))
    return whole.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(path)


def run(context: Context) -> None:
    """Land what is absent up to the business date; nothing to do for a source that is not simulated."""
    source = context.source
    if not source.simulated:
        context.log.info("nothing to do: source=%s is not simulated", source.name)
        return
    conf = read_conf(conf_folder() / "simulation.yaml")
    if (conf.first_day, conf.time_zone) != (source.first_date, source.time_zone):
        raise SettingsError(
            f"{CONF} has first_day {conf.first_day} and time_zone {conf.time_zone}, "
            f"conf/sources/{source.name}.yaml has {source.first_date} and {source.time_zone}; expected the same"
        )
    landed = land(conf, context.settings.home, context.business_date)
    context.log.info("landed source=%s date=%s files=%d", source.name, context.business_date, len(landed))


if __name__ == "__main__":
    main(run, "land_simulated_day", spark=False)
