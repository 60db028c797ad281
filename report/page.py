"""The night as one HTML page in a language: no script, nothing loaded, plots inside as SVG."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from rekindle.methods import segment_names
from report import changes, plots
from report.answers import answers, reason_words, than
from report.night import AIRFLOW, MLFLOW, Night
from report.words import TEMPLATES, Figure, Name, Words, number, words, written

SECTIONS = (
    *("headline", "trust", "changed", "risk", "retention", "segments", "recommendations", "models"),
    *("dialogue", "lines", "checks", "times", "look"),
)
FORMS = {"revenue": "money", "value_at_stake": "money", "listed_share": "tenths"}
# Features of users that are shares; the others are counted in their own unit.
SHARES = ("discount_mean_90d", "return_rate")
LANGUAGE_NAMES = {"en": "English", "zh": "中文"}


def templates(language: Words) -> Environment:
    """The templates with what every page of a language asks."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "w": language,
        "fig": Figure,
        "F": Figure,
        "code": Name,
        "number": number,
        "written": written,
        "page_name": page_name,
        "language_name": LANGUAGE_NAMES.__getitem__,
        "style": Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
    }
    made.filters["number"] = number
    return made


def page_name(stem: str, language: str, languages: tuple[str, ...] = ("en",)) -> str:
    """The file of a page in a language: the first language's has none in its name."""
    return f"{stem}.html" if language == languages[0] else f"{stem}.{language}.html"


def page(night: Night, language: str, languages: tuple[str, ...]) -> str:
    """The night's page in one language, with links to those in the others."""
    w = words(language)
    changed = changes.told(night, w)
    made = templates(w)
    rules = sorted({rule for rule, _ in night.rules} | {rule for one in night.before for rule in one.rules})
    tonight_rules = dict(night.rules)
    usual = night.usual_seconds
    made.globals |= helpers(night, w) | {
        "night": night,
        "page_name": lambda stem, which: page_name(stem, which, languages),
        "others": [(other, page_name("night", other, languages)) for other in languages if other != language],
        "sections": SECTIONS,
        "forms": {card.name: FORMS.get(card.name, "count") for card in night.cards},
        "answers": answers(night, changed, w),
        "changed": changed,
        "plots": drawn(night, w),
        "raw": Markup,  # of a plot: Vega escapes its texts
        "status_level": "good" if night.status in ("published", "stored_older") else "bad",
        "served": served_words(night, w),
        "most_in_band": max([b["users"] for b in night.risk.bands] or [1]) if night.risk else 1,
        "rules": sorted(rules, key=lambda rule: (-tonight_rules.get(rule, 0), rule)),
        "tonight_rules": tonight_rules,
        "longest": max([s for _, s, _ in night.stages] or [1]),
        "usual_of_tonight": sum(usual.get(name, 0.0) for name, _, _ in night.stages),
        "value_words": value_words(night.risk.value, w) if night.risk else "",
        "repurchase_words": w("plot.about_repurchase"),
        "mlflow": MLFLOW,
        "airflow": AIRFLOW,
    }
    text = made.get_template("night.html").render()
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n"


def helpers(night: Night, w: Words) -> dict[str, Callable[..., Any]]:
    """How the night's own names are written."""

    def in_words(group: str, name: str) -> Markup | str:
        known = w.has_term(group, name) or w.language == "en"
        return w.term(group, name) if known else Name(name).__html__()

    def health_name(one: dict[str, Any]) -> Markup:
        name = one["name"]
        if one["kind"] == "feature_drift":
            return Markup("{} {}").format(w("health.drift_of"), Name(name))
        return Markup("{}").format(in_words("health", name))

    return {
        "term": in_words,
        "term_or_code": lambda group, name: Markup("{} {}").format(
            w.term(group, name) if w.has_term(group, name) else "", Name(name)
        ),
        "told": lambda english: sentence_words(english, w),
        "than": lambda card, when: than(card, when, w),
        "reason_words": lambda reason: reason_words(reason, w),
        "holdout": lambda group: holdout_words(group, w),
        "health_name": health_name,
        "fate_words": lambda name: fate_words(name, w),
        "segment_name": lambda row: segment_name(row.get("name") or row.get("segment_name"), row["name_parts"], w),
        "moved_name": lambda row, when: segment_name(row[f"name_{when}"], parts_of(night, row[f"segment_{when}"]), w),
        "apart": lambda row: apart(row, w),
    }


def fate_words(told: str, w: Words) -> str:
    """What became of outcomes, `fate` or `fate: rule`, in words."""
    fate, _, rule = told.partition(": ")
    return w.listed([w.term("outcome", fate), *([w.term("rule", rule)] if rule else [])])


def sentence_words(english: str, w: Words) -> Markup:
    """A sentence of a table in the page's language, or as it is and marked."""
    found = w.sentence(english)
    return quoted(english if found is None else found, foreign=found is None)


def quoted(text: str, foreign: bool) -> Markup:
    """A sentence of a table, marked where it is not in the page's language; so are titles of the shop inside it."""
    safe = str(escape(text))
    parts = safe.split("“")
    marked = parts[0] + "".join(
        "“<bdi translate='no'>" + part.replace("”", "</bdi>”", 1) if "”" in part else "“" + part for part in parts[1:]
    )
    return Markup(f'<span lang="en">{marked}</span>' if foreign else marked)  # noqa: S704 - escaped above


def parts_of(night: Night, segment_id: str | None) -> list[str]:
    """What tonight's name of a segment is made of; nothing for one that is unknown tonight."""
    rows = night.groups.segments if night.groups else []
    return next((row["name_parts"] for row in rows if row["segment_id"] == segment_id), [])


def segment_name(name: str | None, parts: list[str] | None, w: Words) -> Markup:
    """A segment's name in the page's language, from the parts that it is made of; a topic's words are the shop's."""
    if not name:
        return Markup("–")
    if parts and parts[0] in segment_names.PHRASES:
        return escape(segment_names.name(parts, "zh" if w.language == "zh" else "en"))
    return Markup("<bdi translate='no'>{}</bdi>").format(name)


def apart(row: dict[str, Any], w: Words) -> Markup:
    """What sets a segment apart: its features with their means beside those of all."""
    told = []
    for at, feature in enumerate((row["features"] or [])[:3]):
        own, everybody = row["feature_means"][at], row["overall_means"][at]
        if row["method"] == "topics":
            told.append(Markup("<bdi translate='no'>{}</bdi>").format(feature))
        else:
            name = w.term("feature", feature)
            shown = escape(name) if w.has_term("feature", feature) else Markup("{}").format(Name(feature))
            form = "share" if feature in SHARES else "one"
            values = (written(own, form), w("segments.all"), written(everybody, form))
            told.append(Markup("{} {} ({} {})").format(shown, *values))
    return (Markup(", ") if w.language == "en" else Markup("、")).join(told)


def drawn(night: Night, w: Words) -> dict[str, plots.Plot]:
    """Every plot that has figures, by name."""
    found: dict[str, plots.Plot] = {}
    if night.risk:
        champion = next((m.method for m in night.models if m.kind == "churn"), "")
        for kind, draw in (("reliability", plots.reliability), ("roc", plots.roc)):
            if night.risk.curves.get(kind):
                found[kind] = draw(night.risk.curves[kind], champion, w)
    if night.staying is None:
        return found
    staying = night.staying
    if len(staying.days) > 1:
        found["by_day"] = plots.by_day(staying.days, w)
    if len(staying.weeks) > 1:
        found["decomposition"] = plots.decomposition(staying.weeks, w)
    for (basis, unit), rows in staying.curves.items():
        if unit == "week" and len(rows) > 1:
            points = [
                {"period": row["period_number"], "kind": kind, "share": row[column]}
                for row in rows
                for kind, column in (("bounded", "retention"), ("unbounded", "unbounded_retention"))
            ]
            found[f"curve_{basis}"] = plots.curves(points, w, unit)
    if any(row["repeats"] for row in staying.repurchase):
        found["repurchase"] = plots.repurchase(
            [
                {
                    "day": row["day_number"],
                    "share": row["repurchased"],
                    "low": row["repurchased_low"],
                    "high": row["repurchased_high"],
                }
                for row in staying.repurchase
            ],
            w,
        )
    return found


def served_words(night: Night, w: Words) -> str:
    """What the CRM reads."""
    if night.served is None:
        return w("page.served_nothing")
    if night.is_served:
        return w("page.served_this")
    return w("page.served_other", day=night.served[0])


def holdout_words(group: dict[str, Any], w: Words) -> Markup:
    """A group's holdout in a sentence."""
    at = f"holdout.{group['name']}"
    about = {
        "group": w(f"dialogue.group_{group['name']}"),
        "n": Figure(f"{at}.held_out", group["held_out"]),
        "all": Figure(f"{at}.all", group["held_out"] + group["others"]),
    }
    if group["seen"] is None:
        return w.html("dialogue.holdout_blind", **about)
    rate, seen = Figure(f"{at}.rate", group["rate"], "share"), f"{100 * group['seen']:.1f}"
    return w.html("dialogue.holdout", rate=rate, seen=seen, **about)


def value_words(told: dict[str, Any], w: Words) -> Markup:
    """What score_churn said of its models of purchases."""
    if "model" not in told:
        why = told.get("not_told")
        return w.html("risk.no_value", why=sentence_words(why, w)) if why else Markup("")
    found = [w.html("risk.value", model=Name(told["model"]), buyers=told["buyers"])]
    found += [Markup("{}{}").format(sentence_words(one, w), w("page.stop")) for one in told["degraded"]]
    return Markup(" ").join(found)
