"""The checker rejects what a reader must never see, and accepts what it may: on logs written by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.history import Move, Read, Seen, violations

MANIFESTS = {run: {"offers": (6, 15), "notes": (3, 3)} for run in ("a", "b", "c", "never")}
FIRST = date(2026, 4, 28)


def moved(*runs: str, begins: float = 10.0, lasts: float = 1.0) -> list[Move]:
    """The runs published one after the other: at 10 to 11, 20 to 21, …"""
    return [
        Move(
            runs[at - 1] if at else None,
            run,
            FIRST + timedelta(days=at),
            "published",
            begins * (at + 1),
            begins * (at + 1) + lasts,
        )
        for at, run in enumerate(runs)
    ]


def read(run: str, began: float, ended: float, session: str = "s") -> Read:
    """A whole read of one run."""
    return Read(session, "one statement", began, ended, (Seen("offers", (run,), 6, 15), Seen("notes", (run,), 3, 3)))


def kinds(moves: list[Move], *reads: Read, outages: tuple[tuple[float, float], ...] = ()) -> list[str]:
    return [violation.kind for violation in violations(moves, MANIFESTS, reads, outages)]


def test_whole_reads_of_what_was_served_are_accepted() -> None:
    reads = [read("a", 12, 13), read("a", 19, 22), read("b", 19.5, 22), read("b", 30, 40), read("c", 30.5, 30.6)]
    assert kinds(moved("a", "b", "c"), *reads) == []


def test_a_read_during_a_move_may_see_either_state_but_not_the_new_one_and_then_the_old_one() -> None:
    moves = moved("a", "b")
    assert kinds(moves, read("a", 20.1, 20.2, "x"), read("b", 20.15, 20.3, "y")) == []
    assert kinds(moves, read("b", 20.1, 20.2, "x"), read("a", 20.3, 20.4, "y")) == ["stale or early"]


def test_an_older_run_after_a_newer_one_is_rejected_in_one_session_and_across_sessions() -> None:
    assert kinds(moved("a", "b"), read("a", 21.5, 22)) == ["stale or early"]
    assert kinds(moved("a", "b"), read("b", 20.1, 20.2, "x"), read("a", 20.5, 22, "y")) == ["stale or early"]


def test_a_run_read_before_anyone_published_it_is_rejected() -> None:
    assert kinds(moved("a", "b"), read("b", 18, 19)) == ["stale or early"]


def test_a_read_as_long_as_three_states_may_have_seen_any_of_them() -> None:
    for run in ("a", "b", "c"):
        assert kinds(moved("a", "b", "c"), read(run, 15, 35)) == []


def test_a_rolled_back_run_may_be_read_again_but_only_after_the_rollback() -> None:
    back = [*moved("a", "b"), Move("b", "a", FIRST, "rolled_back", 30, 31)]
    assert kinds(back, read("a", 12, 13), read("b", 22, 23), read("a", 32, 33)) == []
    assert kinds(back, read("a", 25, 26)) == ["stale or early"]
    assert kinds(back, read("b", 32, 33)) == ["stale or early"]


def test_a_move_of_unknown_end_is_bounded_by_the_next_one() -> None:
    a, b, c = moved("a", "b", "c")
    killed = [a, replace(b, ended=float("inf")), c]
    assert kinds(killed, read("a", 25, 26), read("b", 27, 28)) == [], "nobody knows when the killed one's commit came"
    assert kinds(killed, read("a", 31.5, 32)) == ["stale or early"]


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (replace(read("a", 12, 13), seen=(Seen("offers", (), 0, 0), Seen("notes", ("a",), 3, 3))), "empty"),
        (replace(read("a", 12, 13), seen=(Seen("offers", (), 0, 0), Seen("notes", (), 0, 0))), "empty"),
        (replace(read("a", 12, 13), seen=(Seen("offers", ("a",), 6, 15), Seen("notes", ("b",), 3, 3))), "mixed"),
        (replace(read("a", 12, 13), seen=(Seen("offers", ("a", "b"), 6, 15), Seen("notes", ("a",), 3, 3))), "mixed"),
        (replace(read("a", 12, 13), seen=(Seen("offers", ("a",), 5, 10), Seen("notes", ("a",), 3, 3))), "partial"),
        (replace(read("a", 12, 13), seen=(Seen("offers", ("a",), 6, 14), Seen("notes", ("a",), 3, 3))), "partial"),
        (replace(read("a", 12, 13), seen=(Seen("offers", ("a",), 6, 15, 1), Seen("notes", ("a",), 3, 3))), "partial"),
        (read("never", 12, 13), "unknown run"),
        (Read("s", "one statement", 12, 13, error="relation offers does not exist"), "error"),
    ],
)
def test_what_no_reader_may_see_is_rejected(harm: Read, kind: str) -> None:
    assert kinds(moved("a", "b"), read("a", 11.5, 11.6), harm, read("b", 22, 23)) == [kind]


def test_an_error_is_forgiven_only_while_the_server_was_down_on_purpose() -> None:
    lost = Read("s", "one statement", 12, 13, error="server closed the connection")
    assert kinds(moved("a"), lost, outages=((12.5, 12.7),)) == []
    assert kinds(moved("a"), lost, outages=((14, 15),)) == ["error"]


def test_a_lost_update_a_date_gone_back_and_a_run_published_twice_are_rejected() -> None:
    a, b, c = moved("a", "b", "c")
    assert kinds([a, b, replace(c, from_run="a")]) == ["serial order"]
    assert kinds([a, b, replace(c, business_date=FIRST)]) == ["serial order"]
    assert kinds([a, b, replace(c, business_date=FIRST, cause="rolled_back")]) == []
    assert kinds([a, b, replace(c, to_run="a")]) == ["serial order"]


@given(
    st.lists(st.tuples(st.floats(0.1, 5), st.floats(0, 3)), min_size=2, max_size=8),
    st.lists(st.tuples(st.floats(0, 40), st.floats(0, 6), st.floats(0, 1)), max_size=30),
)
def test_a_history_that_happened_is_never_rejected(
    steps: list[tuple[float, float]], looks: list[tuple[float, float, float]]
) -> None:
    """Moves at instants inside their calls, each read at an instant inside it: the run served then is what it saw."""
    now, instants, moves = 1.0, [], []
    for at, (wait, lasts) in enumerate(steps):
        instants.append(now + wait)
        run = "ab"[at % 2] if at < 2 else "cab"[at % 3]
        cause = "published" if at < 2 else "rolled_back"
        before = moves[-1].to_run if moves else None
        moves.append(Move(before, run, FIRST + timedelta(days=at), cause, now, now + wait + lasts))  # type: ignore[arg-type]
        now += wait
    reads = []
    for began, lasts, where in looks:
        instant = began + lasts * where
        visible = [move.to_run for move, at in zip(moves, instants, strict=True) if at <= instant]
        if visible:
            reads.append(read(visible[-1], began, began + lasts, f"s{len(reads)}"))
    assert kinds(moves, *reads) == []
