"""The night's report from a real warehouse: every figure of it is a table's, in two languages, and nothing foreign
in it runs."""

from __future__ import annotations

import json
import re
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from jobs.publish import rebuild_report, report_night
from rekindle import settings
from rekindle.cli import UsageError
from rekindle.ledger import MODEL_KINDS, StageRecord
from rekindle.line_rules import REASONS as LINE_REASONS
from rekindle.methods.reason_words import NOTHING_STANDS_OUT, PHRASES, Values, associated
from rekindle.methods.retention_periods import BASES, GROUP_KINDS
from rekindle.methods.segment_features import FEATURES
from rekindle.methods.suppression import REASONS as SUPPRESSED
from rekindle.settings import DO_NOTHING
from report import page, trust
from report.asking import Ask, asking
from report.earlier import last_attempts
from report.files import look_at
from report.night import AIRFLOW, MLFLOW, Night, collect
from report.summary import summary
from report.words import PLACE, catalogue, number, words, written
from schemas import churn_changes, list_changes, segment_movements
from schemas.at_risk_users import RISK_BANDS
from schemas.recommendations import CANDIDATE_SOURCES
from schemas.segments import METHODS, STATUSES
from schemas.user_segments import UNSEGMENTED
from tests.dags.small_airflow import HEADLINE
from tests.publish.report_browser import browser, faults, reached_by_keyboard
from tests.publish.report_pages import FIGURES, Page
from tests.publish.reported_shop import DAY, SOURCE, ReportedShop, reported_shop

ROOT = Path(__file__).resolve().parent.parent.parent
# What is called the same in Chinese: figures by their names, programs, kinds of addresses.
SAME_IN_CHINESE = {
    *("CRM", "ROC", "AUC", "PR", "ECE", "PSI", "Brier", "ALS", "Kaplan", "Meier", "MLflow", "Airflow", "Spark", "EUR"),
    *("English",),
}


@pytest.fixture(scope="module")
def shop(environment: settings.Environment, tmp_path_factory: pytest.TempPathFactory) -> ReportedShop:
    """Three published nights; the two earlier ones left their headlines, the last one its whole report."""
    made = reported_shop(environment, tmp_path_factory.mktemp("home"))
    for back in (7, 1, 0):
        context = made.context(DAY - timedelta(days=back))
        with made.ledger.stage(context.run_id, "report_night") as detail:
            if back:
                detail["headline"] = collect(context).figures
            else:
                with (made.settings.home / "said").open("w") as said, redirect_stdout(said):
                    report_night.run(context)
                detail |= context.detail
    return made


@pytest.fixture(scope="module")
def night(shop: ReportedShop) -> Night:
    return collect(shop.context())


def folder(shop: ReportedShop) -> Path:
    return shop.settings.home / "reports" / SOURCE / f"{DAY}-{shop.runs[DAY].run_id}"


@pytest.fixture(scope="module")
def pages(shop: ReportedShop) -> dict[str, Page]:
    return {
        language: Page((folder(shop) / name).read_text(encoding="utf-8"))
        for language, name in (("en", "night.html"), ("zh", "night.zh.html"))
    }


def test_every_figure_of_the_page_is_the_tables_figure(shop: ReportedShop, pages: dict[str, Page]) -> None:
    run = shop.runs[DAY].run_id
    day_row = f"run_id = '{run}' AND period_unit = 'day' AND group_kind = 'all' AND period_start = '{DAY}'"
    expected: dict[str, float | None] = {}
    for statement in FIGURES:
        expected |= dict(shop.rows(statement.format(run=run, day=DAY, day_row=day_row)))
    made = shop.ledger.tables(run)
    expected |= {f"table.{name}": version.fingerprint.rows for name, version in made.items()}
    found = pages["en"].figures
    assert pages["zh"].figures == found, "both languages tell the same"
    assert len(found) > 220
    unproven = sorted(found.keys() - expected.keys())
    assert unproven == [], "a figure without SQL of its own is no figure of a table"

    def same(told: str, held: float | None) -> bool:
        return held is None if told == "" else held is not None and float(told) == pytest.approx(float(held), rel=1e-12)

    differing = {
        name: (told, expected[name])
        for name, told in found.items()
        if not all(same(one, expected[name]) for one in told)
    }
    assert differing == {}


def test_a_figure_is_shown_as_what_it_is(pages: dict[str, Page]) -> None:
    shown = {one.attributes["data-figure"]: one.said for one in pages["en"].of("data")}
    assert shown["headline.at_risk"] == "58"
    assert shown["risk.critical.value"] == f"{float(next(iter(pages['en'].figures['risk.critical.value']))):,.0f}"
    assert shown["health.calibration.ece"] == "0.210"
    assert shown["answer.share_that_left"] == "43.0%"


def test_how_users_came_is_compared_for_the_largest_and_left_out_where_nobody_tells(
    night: Night, pages: dict[str, Page]
) -> None:
    for language, shown in pages.items():
        told = [one.said for one in shown.of("caption")]
        assert words(language)("retention.came_by") in told
    names = {name.removeprefix("came_by.") for name in pages["en"].figures if name.startswith("came_by.")}
    told = ("users", "1", "2")  # three months have ended, and the first is number 0
    groups = ("all.all", *(f"channel.shop {n}" for n in range(5)), "category.tea <b>", "category.玩具")
    assert names == {f"{group}.{one}" for group in groups for one in told}
    assert night.staying is not None
    without = replace(night, staying=replace(night.staying, came_by=[]))
    shown = Page(page.page(without, "en", ("en", "zh")))
    assert words("en")("retention.came_by") not in [one.said for one in shown.of("caption")]


def test_tonight_stands_beside_yesterday_and_the_same_weekday_last_week(night: Night, pages: dict[str, Page]) -> None:
    cards = {card.name: card for card in night.cards}
    yesterday, last_week = DAY - timedelta(days=1), DAY - timedelta(days=7)
    assert [day for day, _ in cards["at_risk"].before.values()] == [yesterday, last_week]
    assert cards["left"].value == 5
    assert cards["left"].before == {"yesterday": (yesterday, 4.0), "last_week": (last_week, None)}
    assert cards["left"].trend("yesterday") == "bad"
    told = " ".join(pages["en"].words)
    assert "1 more than the day before (25%)" in told
    assert "比前一天多1（25%）" in " ".join(pages["zh"].words)


def test_no_english_word_is_left_in_the_chinese_page_beside_names(pages: dict[str, Page]) -> None:
    texts = [text.replace(SOURCE, "") for text in pages["zh"].words]
    left = {word for text in texts for word in re.findall(r"[A-Za-z]{2,}", text)}
    assert left - SAME_IN_CHINESE == {"xgboost"}, "a method's name in a plot's legend"
    assert next(one.said for one in pages["zh"].of("h2")) == "一分钟看懂这一夜"


def test_only_what_checks_found_is_left_in_english_and_says_so(pages: dict[str, Page]) -> None:
    foreign = {one.said for one in pages["zh"].elements if one.attributes.get("lang") == "en"}
    assert foreign == {"0.5 to 0.99", "0.31 <i>", "<b>usual</b> every 9", "English"}


def test_both_catalogues_have_the_same_keys_and_values_and_none_that_nobody_asks_for() -> None:
    english, chinese = catalogue("en"), catalogue("zh")
    assert english.keys() == chinese.keys()

    def places(text: str) -> set[str]:
        return {place[1] for place in PLACE.finditer(text)}

    assert [key for key in english if places(english[key]) != places(chinese[key])] == []
    files = [path for ending in ("*.py", "*.html") for path in sorted((ROOT / "report").rglob(ending))]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    literal = set(re.findall(r"""["']([a-z_]+\.[a-z_0-9]+)["']""", code))
    begun = re.findall(r"""["']([a-z_]+\.(?:[a-z_]*_)?)(?=["'{])""", code)
    groups = re.findall(r"""(?:term|term_or_code|in_words|has_term)\(\s*["'](\w+)["']""", code)
    asked = (*begun, *(f"{group}." for group in (*groups, "kind", "status")))
    assert [key for key in english if key not in literal and not key.startswith(asked)] == []


def test_every_value_that_a_contract_allows_has_words() -> None:
    conf = [settings.load(source) for source in settings.source_names()]
    asked = {
        "band": RISK_BANDS,
        "because": [f"segment_{cause}" for cause in segment_movements.CAUSES]
        + [f"list_{cause}" for cause in list_changes.CAUSES],
        "cause": [f"risk_{cause}" for cause in churn_changes.CAUSES]
        + [f"list_{cause}" for cause in list_changes.CAUSES],
        "changed": [f"risk_{cause}" for cause in churn_changes.CAUSES],
        "change": [*churn_changes.KINDS, *(f"list_{kind}" for kind in list_changes.KINDS)],
        "source": CANDIDATE_SOURCES,
        "unsegmented": UNSEGMENTED,
        "segments": [*METHODS, *(f"status_{status}" for status in STATUSES)],
        "suppressed": SUPPRESSED,
        "action": {one.action for each in conf for one in each.source.win_back.actions} | {DO_NOTHING},
        "rule": LINE_REASONS,
        "feature": [one.name for one in FEATURES],
        "group": GROUP_KINDS,
        "basis": BASES,
        "kind": MODEL_KINDS,
    }
    wanted = {f"{group}.{name}" for group, names in asked.items() for name in names}
    assert wanted - catalogue("en").keys() == set()
    assert all(words("zh")(f"feature.{one.name}") for one in FEATURES)


def test_every_reason_that_a_model_gives_is_known_in_chinese() -> None:
    untold = []
    for value in (None, 0.4, 1.0, 3.6, 41.0):
        for phrase in PHRASES.values():
            for leaving in (True, False):
                said = phrase(Values(dict.fromkeys(PHRASES, value)), leaving, "EUR")
                told = words("zh").sentence(associated(said, leaving, 7.0))
                if told is None or re.search(r"[A-Za-z]{2,}", told.replace("EUR", "")):
                    untold.append((said, told))
    assert untold == []
    assert words("zh").sentence(NOTHING_STANDS_OUT) is not None
    assert words("zh").sentence("what nobody ever wrote down") is None


def test_what_a_title_says_is_text_and_nothing_is_loaded(shop: ReportedShop, pages: dict[str, Page]) -> None:
    text = (folder(shop) / "night.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 1_500_000
    assert "&lt;script&gt;" in text
    for shown in pages.values():
        assert {one.tag for one in shown.elements} & {"script", "iframe", "object", "embed", "link", "form"} == set()
        handlers = [name for one in shown.elements for name in one.attributes if name.startswith("on")]
        assert handlers == []
        addresses = [
            one.attributes[name] for one in shown.elements for name in ("href", "src") if name in one.attributes
        ]
        assert [a for a in addresses if not re.match(rf"#|\.\./|night|summary\.txt|{MLFLOW}|{AIRFLOW}", a)] == []
    assert not re.search(r"url\(|@import", text)


def test_whoever_cannot_see_it_can_read_it(pages: dict[str, Page]) -> None:
    for language, shown in pages.items():
        assert shown.of("html")[0].attributes["lang"] == {"en": "en", "zh": "zh-CN"}[language]
        levels = [int(one.tag[1]) for one in shown.elements if re.fullmatch(r"h[1-6]", one.tag)]
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        ids = [one.attributes["id"] for one in shown.elements if "id" in one.attributes]
        assert len(set(ids)) == len(ids)
        assert set(page.SECTIONS) <= set(ids)
        targets = {
            one.attributes["href"][1:] for one in shown.of("a") if one.attributes.get("href", "").startswith("#")
        }
        assert targets <= set(ids)
        assert len(shown.of("caption")) == len(shown.of("table"))
        assert all("scope" in one.attributes for one in shown.of("th"))
        plots = [one for one in shown.elements if one.attributes.get("role") == "img"]
        assert len(plots) == len(shown.of("svg")) == 7
        assert all(len(one.attributes["aria-label"]) > 10 for one in plots)


def test_a_browser_finds_every_section_and_nothing_that_annoys(shop: ReportedShop, tmp_path: Path) -> None:
    with browser() as started:
        for name, size, scheme in (
            *(("night.html", "desktop", "light"), ("night.html", "phone", "dark")),
            *(("night.zh.html", "phone", "light"), ("night.zh.html", "desktop", "dark")),
        ):
            picture = tmp_path / f"{name}-{size}-{scheme}.png"
            assert faults(started, folder(shop) / name, page.SECTIONS, size, scheme, picture) == [], (
                name,
                size,
                scheme,
            )
            assert picture.stat().st_size > 50_000
        index = folder(shop).parent / "index.html"
        assert faults(started, index, (), "phone", "light", tmp_path / "index.png") == []
        stops = reached_by_keyboard(started, folder(shop) / "night.html")
    assert stops == ["#main", "../index.html", "night.zh.html", "#headline"]


def test_the_browser_tells_what_would_annoy(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<body><section id=a><h2>A</h2></section><p style='color:#aaa'>pale</p><div style='width:900px'>wide</div>"
        "<img src='http://127.0.0.1:9/x.png'><script>console.error('loud'); missing()</script>"
    )
    with browser() as started:
        found = " | ".join(faults(started, bad, ("a", "b"), "phone", "light", tmp_path / "bad.png"))
    told = (
        "no section b",
        "contrast 2.32: pale",
        "scrolls sideways",
        "DIV",
        "asks http",
        "error: loud",
        "missing is not",
    )
    assert [one for one in told if one not in found] == []


def test_the_summary_reads_well_in_a_terminal(shop: ReportedShop, night: Night) -> None:
    def said(language: str) -> str:
        places = look_at(shop.context(), Path("reports"), words(language))
        told = summary(night, [(what, Path(place).name) for what, place in places], language)
        assert max(cell_len(line) for line in told.splitlines()) <= 110
        return told

    flat = " ".join(said("en").split())
    facts = (
        *("night of Thu 30 Apr 2026: published", "trust it with care", "5 have left since Wed 29 Apr 2026", "critical"),
        *("warning: events.share_views: expected 0.5 to 0.99, found 0.31 <i>", "not readable as a line (malformed)"),
        *("Held out (all who are watched)", "wrote back of late: 12 counted; 1 quarantined, user not in the log yet"),
        *("Not to be contacted: 3 by their own word; 2 who were contacted", "popular: 12 buyers", "clean_events"),
        *("two_stages against baseline", "+0.1181 [+0.0900, +0.1400]", "5 moved (another model)"),
        *("Changes since the publication before: ", "make show-line FILE=<sha256> LINE=<number>"),
    )
    assert [fact for fact in facts if fact not in flat] == []
    chinese = said("zh")
    facts = (
        *("2026年4月30日(周四)夜间报告：已发布", "谨慎使用", "自2026年4月29日(周三)以来"),
        *("没有训练新的候选模型", "已有19天未出现"),
    )
    assert [fact for fact in facts if fact not in "".join(chinese.split())] == []
    beside = [line.partition("比前一天") for line in chinese.splitlines() if "比前一天" in line]
    assert len({cell_len(begins) for begins, _, _ in beside}) == 1 < len(beside), "wide characters take two columns"
    kept = (folder(shop) / "summary.txt").read_text(encoding="utf-8")
    assert kept.startswith(f"\n{SOURCE}, night of"), "the first language of report_language"


def test_programs_find_the_night_in_a_small_file(shop: ReportedShop) -> None:
    told = json.loads((folder(shop) / "summary.json").read_text(encoding="utf-8"))
    assert told["pages"] == ["night.html", "night.zh.html"]
    assert (told["status"], told["is_served"], told["verdict"]) == ("published", True, "care")
    assert told["headline"]["at_risk"] == 58
    assert told["lines"] == {"landed": 102, "clean": 90, "duplicate": 5, "quarantined": 7}
    assert told["checks"] == {"all": 2, "failed": 1}


def test_the_scheduler_is_told_the_night_in_one_line_with_the_reports_own_figures(
    shop: ReportedShop, night: Night
) -> None:
    [line] = (shop.settings.home / "said").read_text(encoding="utf-8").splitlines()
    told = json.loads(line)
    assert set(told) == set(HEADLINE), "what the small Airflow of the tests answers"
    assert (told.pop("seconds"), told.pop("message")) == (round(night.seconds, 1), "")
    assert told.pop("changed") == [
        "0 users have come under watch and 5 have left since Wed 29 Apr 2026.",
        "8 users moved to another segment, 0 came into one, 0 went out: 4 by their behaviour, 4 because the borders"
        " were drawn anew.",
    ]
    assert told.pop("trust") == (
        "With care: 3 of 10 things looked at need a look. 6.9% of the new lines are quarantined; conf allows 10.0%."
    )
    assert told == {
        "source": SOURCE, "date": "2026-04-30", "status": "published", "at_risk": 58, "users": 128,
        "recommendations": 612, "failed_checks": 1, "report": str(folder(shop) / "night.html"),
        "fates": {"landed": 102, "clean": 90, "duplicate": 5, "quarantined": 7},
    }  # fmt: skip


def test_a_past_night_is_told_again_with_the_same_words_and_is_listed(
    shop: ReportedShop, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in folder(shop).iterdir()}
    yesterday = DAY - timedelta(days=1)
    for day in (yesterday, DAY):
        assert str(day) in rebuild_report.rebuild(shop.settings, day, None)
    assert {path.name: path.read_bytes() for path in folder(shop).iterdir()} == before
    listed = Page((folder(shop).parent / "index.html").read_text(encoding="utf-8"))
    links = [one.attributes["href"] for one in listed.of("a") if one.attributes.get("href", "").endswith("night.html")]
    assert links == [
        f"{DAY}-{shop.runs[DAY].run_id}/night.html",
        f"{yesterday}-{shop.runs[yesterday].run_id}/night.html",
    ]
    assert all((folder(shop).parent / link).exists() for link in links)
    run = shop.runs[DAY].run_id
    assert listed.figures[f"{run}.at_risk"] == {"58.0"}
    everything = Page((folder(shop).parent.parent / "index.zh.html").read_text(encoding="utf-8"))
    assert f"{SOURCE}/{links[0].replace('.html', '.zh.html')}" in [
        one.attributes.get("href") for one in everything.of("a")
    ]
    older = (folder(shop).parent / links[1]).read_text(encoding="utf-8")
    assert "the CRM reads the night of Thu 30 Apr 2026" in older


def test_a_night_that_is_not_kept_is_refused_with_those_that_are(shop: ReportedShop) -> None:
    with pytest.raises(UsageError, match=r"DATE=2026-04-01 is not kept.*2026-04-30 \(r0000000000000002\), 2026-04-29"):
        rebuild_report.chosen(shop.settings, date(2026, 4, 1), None)
    with pytest.raises(UsageError, match="RUN=nobody"):
        rebuild_report.chosen(shop.settings, None, "nobody")
    assert rebuild_report.chosen(shop.settings, None, None) == (DAY, shop.runs[DAY].run_id)


def test_a_run_from_before_there_were_such_tables_says_so(night: Night) -> None:
    older = replace(night, risk=None, offers=None, groups=None, staying=None, models=[], checks=[], fates={}, cards=[])
    for language in ("en", "zh"):
        told = Page(page.page(older, language, ("en", "zh")))
        names = {one.said for one in told.of("code")}
        assert {"at_risk_users", "recommendations", "segments"} <= names
        assert len(told.of("section")) == len(page.SECTIONS)


def test_the_verdict_is_as_bad_as_its_worst_reason(shop: ReportedShop, night: Night) -> None:
    keys = {one.key for one in night.trust.against}
    assert keys == {"quarantine", "checks_warn", "calibration_alarm"}
    [bad] = [
        one
        for one in trust.lines(_asked(shop), {"landed": 9, "clean": 7, "duplicate": 1, "quarantined": 0})
        if one.level == "bad"
    ]
    assert bad.key == "lines_lost"
    assert trust.checked([])[0].key == "no_checks"
    failed = [replace(one, success=False, severity="critical") for one in night.checks]
    assert trust.checked(failed)[0].level == "bad"
    assert trust.Trust((*night.trust.reasons, bad)).verdict == "bad"
    first = replace(night.models[0], is_baseline=True)
    assert trust.serving([first])[0].key == "baseline_serves"


def _asked(shop: ReportedShop) -> Ask:
    """What `trust.lines` asks: conf alone."""
    return Ask(shop.context(), None, frozenset())  # type: ignore[arg-type]


def test_rows_that_are_not_those_of_the_lake_are_told(shop: ReportedShop) -> None:
    with asking(shop.context()) as ask:
        assert trust.fingerprints(ask).key == "fingerprints_equal"
    change = (
        "UPDATE serve.stagings SET hash_xor = hash_xor + {} WHERE run_id = '{}' AND table_name = 'outcomes' RETURNING 1"
    )
    run = shop.runs[DAY].run_id
    shop.rows(change.format(1, run))
    with asking(shop.context()) as ask:
        reason = trust.fingerprints(ask)
    shop.rows(change.format(-1, run))
    assert (reason.level, reason.values["tables"]) == ("bad", "outcomes")


def test_a_stage_is_told_by_its_last_finished_try_in_the_order_they_ended() -> None:
    at = datetime(2026, 4, 30, tzinfo=UTC)

    def tried(name: str, seconds: float | None, **detail: Any) -> StageRecord:
        return StageRecord(name, 1, "done" if seconds else "running", at, at, seconds, detail)

    tries = [tried("a", 9.0), tried("b", 2.0, spark_start_s=1.5), tried("a", 4.0), tried("c", None)]
    assert last_attempts(tries) == [("b", 2.0, 1.5), ("a", 4.0, 0.0)]


def test_figures_and_days_are_written_as_people_read_them() -> None:
    assert [number(v) for v in (None, 0.12345, 12345.6, 7, -0.5)] == ["–", "0.1235", "12,346", "7", "-0.5000"]
    assert [written(v, form) for v, form in ((0.125, "tenths"), (-3, "signed"), (None, "share"))] == [
        "12.5%",
        "−3",
        "–",
    ]
    english, chinese = words("en"), words("zh")
    assert (english.day(DAY), chinese.day(DAY)) == ("Thu 30 Apr 2026", "2026年4月30日(周四)")
    assert english("changed.fewer_lines", n=1204, usual=2000) == "1,204 new lines landed, fewer than the usual 2,000."
    assert english("trust.nights_missing", n=1) == "1 night before this one was not published."
    assert english.duration(250.0) == "4 minutes"
