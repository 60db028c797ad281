"""The four questions of a morning, answered from the night's figures: who left, who is about to, what changed, and
whether last night can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from report.changes import Told
from report.headline import Card
from report.night import Night
from report.trust import Reason
from report.words import Figure, Name, Words

MOST_CHANGES = 4


@dataclass(frozen=True)
class Answer:
    """An answer with the section that tells more; `level` colours it."""

    name: str
    text: Markup
    section: str
    level: str


def answers(night: Night, changed: Sequence[Told], words: Words) -> list[Answer]:
    """All four, in the order of a morning."""
    against = night.trust.against
    believed = [words.html(f"verdict_words.{night.trust.verdict}", n=len(against), all=len(night.trust.reasons))]
    believed += [reason_words(one, words) for one in against[:2]]
    return [
        Answer("left", joined(who_left(night, words), words), "changed", "plain"),
        Answer("about", joined(who_is_about_to(night, words), words), "risk", "plain"),
        Answer("changed", joined(what_changed(changed, words), words), "changed", "plain"),
        Answer("trust", joined(believed, words), "trust", night.trust.verdict),
    ]


def joined(parts: Sequence[Markup], words: Words) -> Markup:
    """Sentences one after the other; they bring their own full stops."""
    return (Markup() if words.language == "zh" else Markup(" ")).join(parts)


def reason_words(reason: Reason, words: Words) -> Markup:
    """A reason for or against the night as a sentence."""
    values = {k: words.term(k, v) if k in ("kind", "status") else v for k, v in reason.values.items()}
    return words.html(f"trust.{reason.key}", **{k: Name(v) if k in NAMES else v for k, v in values.items()})


# Values of reasons that are names of ours, and not words of a language.
NAMES = ("tables", "names", "method")


def who_left(night: Night, words: Words) -> list[Markup]:
    """Who is no longer watched, and how many of those watched earlier did not buy again."""
    if night.risk is None:
        return [words.html("answer.no_champion")]
    told = []
    rows = night.risk.changes
    left = night.figures.get("left")
    if left is None:
        told.append(words.html("answer.left_unknown"))
    else:
        day = rows[0]["compared_date"] if rows else None
        about = {"n": Figure("answer.left", int(left)), "days": night.eligibility_days}
        told.append(words.html("answer.left" if day else "answer.left_none", day=day, **about))
    share, watched = night.risk.figure("share_that_left"), night.risk.watched
    if share is not None and watched:
        told.append(
            words.html(
                "answer.base_rate",
                share=Figure("answer.share_that_left", share, "tenths"),
                day=watched[0]["known_as_of"],
                days=night.horizon_days,
            )
        )
    week = night.staying.last_week if night.staying else None
    if week is not None and week["churn_rate"] is not None:
        told.append(
            words.html(
                "answer.week",
                day=week["period_start"],
                lost=Figure("answer.lost_users", week["lost_users"]),
                churn=Figure("answer.churn_rate", week["churn_rate"], "tenths"),
            )
        )
    return told


def who_is_about_to(night: Night, words: Words) -> list[Markup]:
    """Users at risk, the money that hangs on them, and how that compares with the day before."""
    if night.risk is None:
        return [words.html("answer.no_champion")]
    figures = night.figures
    critical = sum(b["users"] for b in night.risk.bands if b["risk_band"] == "critical")
    told = [
        words.html(
            "answer.at_risk",
            n=Figure("answer.at_risk", _whole(figures.get("at_risk"))),
            watched=Figure("answer.watched", _whole(figures.get("watched"))),
            critical=Figure("answer.critical", critical),
            days=night.horizon_days,
        )
    ]
    card = next((one for one in night.cards if one.name == "at_risk"), None)
    if card is not None and card.before["yesterday"][1] is not None:
        told.append(words.html("answer.that_is", than=than(card, "yesterday", words)))
    if figures.get("value_at_stake") is not None:
        value = Figure("answer.value_at_stake", figures["value_at_stake"], "money")
        told.append(words.html("answer.stake", value=value, currency=night.currency))
    return told


def what_changed(changed: Sequence[Told], words: Words) -> list[Markup]:
    """The first changes; the section has all of them."""
    if not changed:
        return [words.html("changed.nothing")]
    return [words.html(one.key, **one.values) for one in changed[:MOST_CHANGES]]


def than(card: Card, when: str, words: Words) -> str:
    """A figure beside that of an earlier day, in words."""
    day, past = card.before[when]
    if past is None or card.value is None:
        return words(f"than.{when}_unknown")
    is_share = card.name.endswith("_share")
    difference = (card.value - past) * (100 if is_share else 1)
    shown = f"{abs(difference):,.1f}" if is_share else f"{abs(difference):,.0f}"
    if float(shown.replace(",", "")) == 0:
        return words(f"than.{when}_same", day=words.short_day(day))
    key = f"than.{when}_{'more' if difference > 0 else 'less'}"
    told = words(f"{key}_points" if is_share else key, n=shown, day=words.short_day(day))
    if is_share or not past:
        return told
    return told + words("than.percent", share=f"{abs(difference) / abs(past):.0%}")


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
