"""Landing days of a small simulated shop: same bytes whenever and however they are asked for."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from jobs.ingest.land_simulated_day import SOURCE, land, read_conf
from rekindle.methods.shop_people import NEVER, live_on
from rekindle.methods.shop_simulation import SimulationConf, open_shop, stream, tempo_of
from rekindle.settings import ROOT, SettingsError

REAL = ROOT / "conf/simulation.yaml"
FIRST = date(2026, 1, 1)


@pytest.fixture
def small() -> SimulationConf:
    """A shop of 300 people and 200 items with the real shop's habits."""
    return read_conf(REAL).model_copy(update={"users_at_start": 300, "arrivals_per_day": 2.0, "items": 200})


def day(number: int) -> date:
    """The shop's `number`-th day, from 1."""
    return FIRST + timedelta(days=number - 1)


def landed_bytes(home: Path) -> dict[str, bytes]:
    """All landed files by name."""
    return {path.name: path.read_bytes() for path in sorted((home / "landing" / SOURCE).glob("events-*"))}


def test_a_day_has_the_same_bytes_in_whatever_calls_and_order_it_lands(small: SimulationConf, tmp_path: Path) -> None:
    at_once, day_by_day, torn = tmp_path / "once", tmp_path / "daily", tmp_path / "torn"
    assert len(land(small, at_once, day(12))) == 12
    for number in (1, 2, 7, 12):
        land(small, day_by_day, day(number))
    land(small, torn, day(12))
    for number in (3, 9, 12):
        (torn / "landing" / SOURCE / f"events-{day(number)}.jsonl.gz").unlink()
    assert [path.name for path in land(small, torn, day(9))] == [f"events-{day(n)}.jsonl.gz" for n in (3, 9)]
    land(small, torn, day(12))
    assert len(landed_bytes(at_once)) == 12
    assert landed_bytes(at_once) == landed_bytes(day_by_day) == landed_bytes(torn)


def test_landing_again_changes_nothing(small: SimulationConf, tmp_path: Path) -> None:
    land(small, tmp_path, day(3))
    once = landed_bytes(tmp_path)
    assert land(small, tmp_path, day(3)) == []
    assert land(small, tmp_path, day(2)) == []
    assert landed_bytes(tmp_path) == once


def test_a_lost_or_damaged_state_costs_time_and_nothing_else(small: SimulationConf, tmp_path: Path) -> None:
    whole, broken, lost = tmp_path / "whole", tmp_path / "broken", tmp_path / "lost"
    for home in (whole, broken, lost):
        land(small, home, day(4))
    state = Path("truth") / SOURCE / "state.npz"
    (broken / state).write_bytes(b"PK\x03\x04 not an archive")
    (lost / state).unlink()
    for home in (whole, broken, lost):
        land(small, home, day(6))
    assert len(landed_bytes(whole)) == 6
    assert landed_bytes(whole) == landed_bytes(broken) == landed_bytes(lost)


def test_a_kept_file_that_this_shop_did_not_make_stays_and_is_named(
    small: SimulationConf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    land(small, tmp_path, day(3))
    (tmp_path / "truth" / SOURCE / "state.npz").unlink()
    strange = tmp_path / "landing" / SOURCE / f"events-{day(2)}.jsonl.gz"
    strange.write_bytes(gzip.compress(b'{"corrected":"by hand"}\n'))
    kept = strange.read_bytes()
    land(small, tmp_path, day(4))
    assert strange.read_bytes() == kept
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and strange.name in r.getMessage()]


def test_another_conf_is_refused_where_days_have_landed(small: SimulationConf, tmp_path: Path) -> None:
    land(small, tmp_path, day(2))
    before = landed_bytes(tmp_path)
    with pytest.raises(SettingsError, match=r"conf/simulation.yaml has changed .* since 2 days were landed"):
        land(small.model_copy(update={"seed": 1}), tmp_path, day(3))
    assert landed_bytes(tmp_path) == before


def test_another_seed_is_another_shop(small: SimulationConf, tmp_path: Path) -> None:
    land(small, tmp_path / "a", day(1))
    land(small.model_copy(update={"seed": 1}), tmp_path / "b", day(1))
    assert landed_bytes(tmp_path / "a") != landed_bytes(tmp_path / "b")


def test_a_day_before_the_shop_opened_is_refused_by_name(small: SimulationConf, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DATE=2025-12-31 is before the simulated shop's first day, 2026-01-01"):
        land(small, tmp_path, date(2025, 12, 31))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dirty_share: 0.1", "dirty_share: Extra inputs are not permitted"),
        ("dirt_share: 2", "dirt_share: Input should be less than or equal to 1, found 2"),
        ("time_zone: Europe/Atlantis", "unknown time zone 'Europe/Atlantis'"),
        ("weekday_shape: [1, 1]", "weekday_shape: Tuple should have at least 7 items"),
        ("items: 39", "items: Input should be greater than or equal to 40"),
    ],
)
def test_a_wrong_key_or_value_in_the_conf_is_one_line_that_names_it(tmp_path: Path, line: str, message: str) -> None:
    key = line.split(":")[0]
    kept = [old for old in REAL.read_text(encoding="utf-8").splitlines() if not old.startswith(f"{key}:")]
    wrong = tmp_path / "simulation.yaml"
    wrong.write_text("\n".join([*kept, line]), encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        read_conf(wrong)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_lands_says_that_it_is_synthetic(small: SimulationConf, tmp_path: Path) -> None:
    (path,) = land(small, tmp_path, day(1))
    whole = [line for line in gzip.decompress(path.read_bytes()).splitlines() if line.endswith(b"}")]
    assert all(b'"synthetic":true' in line for line in whole)
    assert "SYNTHETIC" in (path.parent / "README.txt").read_text(encoding="utf-8")
    people = gzip.decompress((tmp_path / "truth" / SOURCE / "people.jsonl.gz").read_bytes()).splitlines()
    assert all(json.loads(person)["synthetic"] is True for person in people)


def test_the_gzip_header_carries_no_time_and_no_name(small: SimulationConf, tmp_path: Path) -> None:
    (path,) = land(small, tmp_path, day(1))
    header = path.read_bytes()[:10]
    assert header[:4] == b"\x1f\x8b\x08\x00"
    assert header[4:8] == bytes(4)


def test_december_is_busier_than_june_and_christmas_is_quiet() -> None:
    even = (1.0,) * 7
    december, june = tempo_of(date(2027, 12, 14), even, 0.2), tempo_of(date(2027, 6, 14), even, 0.2)
    assert 1.3 < december / june < 2
    assert tempo_of(date(2026, 12, 25), even, 0.2) < 0.5
    assert tempo_of(date(2026, 12, 14), even, 0.0) == pytest.approx(tempo_of(date(2026, 6, 15), even, 0.0))


def test_an_average_week_of_the_year_is_about_one() -> None:
    shape = read_conf(REAL).weekday_shape
    year = [tempo_of(FIRST + timedelta(days=n), shape, 0.2) for n in range(365)]
    assert np.mean(year) == pytest.approx(1, abs=0.03)


def test_refunds_and_reviews_follow_an_order_of_the_same_person_and_item(small: SimulationConf) -> None:
    shop = open_shop(small)
    ordered: set[tuple[str, str, str]] = set()
    followed = Counter[str]()
    for _ in range(40):
        today = shop.next_day()
        for event in today:
            if event["type"] in ("refund", "review"):
                assert (event["order_id"], event["sku"], event["customer"]) in ordered
                followed[event["type"]] += 1
        # Orders of the same day do not count: nothing is delivered at once.
        ordered |= {(e["order_id"], e["sku"], e["customer"]) for e in today if e["type"] == "order"}
    assert followed["refund"] > 10
    assert followed["review"] > 50


def test_bad_experiences_drive_people_away(small: SimulationConf) -> None:
    shop = open_shop(small.model_copy(update={"users_at_start": 4000}))
    fading = {}
    for upset in (0.0, 1.5):
        people = open_shop(shop.conf).people
        for number in range(1, 11):
            people.upset[:] = upset
            live_on(people, stream(7, number, "lives"), number, 0.05, 0.005)
        fading[upset] = (people.fade_start < NEVER).sum()
    assert 30 < fading[0.0] < 400
    assert fading[1.5] > 2.5 * fading[0.0]


def test_tastes_drift_slowly_and_keep_their_spread(small: SimulationConf) -> None:
    people = open_shop(small).people
    before = people.style.copy()
    for number in range(1, 121):
        live_on(people, stream(7, number, "lives"), number, 0.05, 0.005)
    assert np.corrcoef(before.ravel(), people.style.ravel())[0, 1] == pytest.approx(0.86, abs=0.04)
    assert people.style.std() == pytest.approx(before.std(), abs=0.05)


def test_a_shop_keeps_its_customers_for_years(small: SimulationConf) -> None:
    shop = open_shop(small)
    lines = [len(shop.next_day()) for _ in range(500)]
    here = (shop.people.left > shop.day).sum()
    assert 150 < here < 900
    assert 0.5 < np.mean(lines[365:395]) / np.mean(lines[:30]) < 2.5
