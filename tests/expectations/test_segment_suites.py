"""What must hold of segments, of who is in them and of who moved, each thing shown not to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from expectations import segment_models, segment_movements, segments, user_segments
from schemas.segment_models import SEGMENT_MODELS
from schemas.segment_movements import SEGMENT_MOVEMENTS
from schemas.segments import SEGMENTS
from schemas.user_profiles import USER_PROFILES
from schemas.user_segments import USER_SEGMENTS

Broken = Callable[..., dict[str, str]]
Frame = Callable[..., Any]

DAY, BEFORE, AFTER = date(2026, 4, 30), date(2026, 4, 29), date(2026, 5, 1)


def member(user: str, segment: str = "s001", following: str = "s002", **more: Any) -> dict[str, Any]:
    names = {"segment_name": f"name {segment}", "group_id": "b001", "group_name": "group", "nearness": 0.5}
    topic = {"topic_id": "t001", "topic_name": "tea", "topic_share": 0.7}
    told = {"user_key": user, "segment_id": segment, "next_segment_id": following, "business_date": DAY}
    return told | names | topic | more


def outside(user: str, why: str = "silent", **more: Any) -> dict[str, Any]:
    return {"user_key": user, "unsegmented_as": why, "business_date": DAY} | more


def test_who_is_in_no_segment_has_a_reason_and_everybody_has_a_row(broken: Broken, frame: Frame) -> None:
    def found(*rows: dict[str, Any]) -> dict[str, str]:
        return broken(user_segments.suite(DAY), frame(USER_SEGMENTS, *rows))

    assert found(member("a"), outside("b"), member("c", topic_id=None, topic_name=None, topic_share=None)) == {}
    told = found(
        member("a", "s002", business_date=BEFORE),
        outside("b", unsegmented_as=None),
        member("c", topic_name=None),
        outside("d", topic_id="t001", topic_name="tea", topic_share=0.7),
    )
    assert told == {f"{name}_or_reason": "1 of 4" for name in user_segments.OF_SEGMENT} | {
        "of_this_night": "1 of 4",
        "topic_is_whole": "2 of 4",
        "next_is_another": "2 of 3",
    }
    both = user_segments.by_user(
        frame(USER_SEGMENTS, member("a"), member("b")), frame(USER_PROFILES, {"user_key": "a"}, {"user_key": "c"})
    )
    assert broken(user_segments.suite_by_user(), both) == {
        "by_user_has_row": "1 of 2",
        "by_user_has_profile": "1 of 2",
    }


def segment(number: str = "s001", **more: Any) -> dict[str, Any]:
    return {
        "segment_id": number,
        "method": {"s": "k_means", "b": "bisecting", "t": "topics"}[number[0]],
        "name": f"name {number}",
        "name_parts": ["buyers"],
        "status": "kept",
        "users": 2,
        "share": 1.0,
        "users_before": 3,
        "users_entered": 1,
        "users_left": 2,
        "spend_90d": 10.0,
        "spend_90d_mean": 5.0,
        "features": ["frequency"],
        "feature_means": [1.0],
        "overall_means": [1.0],
        "z_differences": [0.0],
        "highest_number": 9,
        "fitted_date": BEFORE,
        "compared_date": BEFORE,
        "business_date": DAY,
    } | more


GONE = {"status": "dissolved", "users": 0, "share": 0.0, "users_entered": 0, "users_left": 3, "spend_90d_mean": None}
FIRST = {"status": "new", **dict.fromkeys(("users_before", "users_entered", "users_left", "compared_date"))}


def test_sizes_add_up_with_who_came_and_who_went(broken: Broken, frame: Frame) -> None:
    def found(*rows: dict[str, Any]) -> dict[str, str]:
        return broken(segments.suite(DAY), frame(SEGMENTS, *rows))

    assert found() == {}, "a shop with too few users has none"
    assert found(segment("s001"), segment("s002", **GONE, name="name s001"), segment("b001"), segment("t001")) == {}
    assert found(segment(**FIRST)) == {}
    told = found(
        segment("s001", share=0.5, users_left=1, name="name s002"),
        segment("s002", share=0.5, spend_90d_mean=None, business_date=BEFORE),
        segment("b010", share=0.4, feature_means=[1.0, 2.0], fitted_date=AFTER),
        segment("b001", share=0.4, method="topics", users_before=None),
        segment("s003", **{**GONE, "users": 1, "users_left": 2, "spend_90d_mean": 1.0}),
    )
    assert told == {
        "of_this_night": "1 of 5",
        "movements_add_up": "2 of 5",
        "compared_or_first": "1 of 5",
        "status_fits": "1 of 5",
        "means_have_users": "1 of 5",
        "each_feature_has_its_figures": "1 of 5",
        "id_of_the_method": "2 of 5",
        "drawn_by_tonight": "1 of 5",
        "names_differ": "1",
        "shares_add_up": "-1.2",
    }


def test_a_segment_has_the_users_and_the_name_that_the_crm_reads_of_each_user(broken: Broken, frame: Frame) -> None:
    members = frame(USER_SEGMENTS, member("a"), member("b"), outside("c"))
    group, topic = segment("b001", name="group"), segment("t001", name="tea")

    def found(*rows: dict[str, Any]) -> dict[str, str]:
        return broken(segments.suite_by_segment(), segments.by_segment(frame(SEGMENTS, *rows), members))

    assert found(segment(), group, topic, segment("s002", **GONE)) == {}
    assert found(segment(name="other"), segment("b001", users=3, name="group"), segment("s002")) == {
        # Topic t001 has users and is not told.
        "by_segment_users_are_counted": "3 of 4",
        "by_segment_name_is_its_users": "2 of 3",
    }


def moved(user: str, before: str | None, after: str | None, **more: Any) -> dict[str, Any]:
    what = "entered" if before is None else "left" if after is None else "moved"
    told = {"user_key": user, "change": what, "segment_before": before, "segment_after": after, "cause": "behaviour"}
    names = {"name_before": before and f"name {before}", "name_after": after and f"name {after}"}
    return told | names | {"compared_date": BEFORE, "business_date": DAY} | more


def test_a_movement_has_the_segments_that_it_tells_of(broken: Broken, frame: Frame) -> None:
    def found(*rows: dict[str, Any]) -> dict[str, str]:
        return broken(segment_movements.suite(DAY), frame(SEGMENT_MOVEMENTS, *rows))

    good = [moved("a", None, "s001"), moved("b", "s001", None), moved("c", "s001", "s002", cause="borders")]
    assert found(*good) == {}
    assert found() == {}, "the first night compares with nothing"
    assert found(
        *good,
        moved("d", "s001", "s001"),
        moved("e", None, "s001", change="left"),
        moved("f", None, "s001", cause="born", name_after=None),
        moved("g", None, "s001", compared_date=date(2026, 4, 27), business_date=BEFORE),
    ) == {
        "segments_fit_the_change": "2 of 7",
        "names_fit_the_segments": "1 of 7",
        "borders_move_only_who_stayed": "1 of 7",
        "of_this_night": "1 of 7",
        "one_publication": "2",
    }
    both = segment_movements.by_user(
        frame(SEGMENT_MOVEMENTS, moved("a", None, "s002"), moved("b", "s001", None)),
        frame(USER_SEGMENTS, member("a"), outside("b"), member("c")),
    )
    assert broken(segment_movements.suite_by_user(), both) == {"by_user_segment_is_tonights": "1 of 2"}


def test_a_model_is_whole_and_not_of_a_later_night(broken: Broken, frame: Frame) -> None:
    def model(method: str, text: str = '{"ids": [], "parts": [], "groups": []}', **more: Any) -> dict[str, Any]:
        told = {"method": method, "model": text, "conf_digest": "c", "fitted_date": BEFORE, "business_date": DAY}
        return told | more

    def found(*rows: dict[str, Any]) -> dict[str, str]:
        return broken(segment_models.suite(DAY), frame(SEGMENT_MODELS, *rows))

    assert found(model("k_means"), model("topics")) == {}
    assert found() == {}
    assert found(
        model("k_means", '{"ids": []}', conf_digest="d"), model("topics", fitted_date=AFTER, business_date=BEFORE)
    ) == {"model_is_whole": "1 of 2", "not_of_the_future": "1 of 2", "of_this_night": "1 of 2", "one_conf": "2"}
