"""The bench of recommenders: every method on a made-up shop, and a page whose own words nobody overwrites."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import recommenders
from bench.explicit_als import ExplicitAls
from bench.recommender_data import DATA_SETS, DataSet
from bench.recommenders import BEGIN, END, between_markers, cells, judge, line_up, page
from rekindle.methods.baselines import FittedRepeatMost, RepeatMost
from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.ragged import Ragged
from rekindle.methods.splits import Events, Split, at_instant

FOLDER = Path(recommenders.ROOT.parent / "shared/data")
TEXT = f"# Recommenders\n\nOurs.\n\n{BEGIN}\nold\n{END}\n\nOurs too.\n"


def tiny(rated: bool = False) -> DataSet:
    """Two tastes, thirty customers, twenty items, ten weeks."""
    drawn = np.random.default_rng(5)
    user = drawn.integers(0, 30, 900)
    item = (user % 2) * 10 + drawn.integers(0, 10, 900)
    events = Events(user, item, drawn.integers(1, 6, 900).astype(float), drawn.uniform(0, 70, 900), 30, 20)
    split = at_instant(events, 56, truth_days=7)
    return DataSet(
        title="A tiny shop",
        told="Made up.",
        splits={"everything": split, "repeat": split.repeat(), "explore": split.explore()},
        texts=["tea" if n < 10 else "rope" for n in range(20)],
        category=(np.arange(20) // 10).astype(np.int64),
        half_life_days=30,
        window_days=28,
        rated=split.known if rated else None,
    )


def silent(_: str) -> None:
    """Says nothing."""


@pytest.fixture
def without_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the extra: compiling what JAX trains takes half a minute, and one test has it."""
    monkeypatch.setattr(recommenders, "extra_is_missing", lambda: "needs the deep extra: bin/setup deep")


def test_every_method_is_judged_on_every_task_and_told_by_its_name() -> None:
    data = tiny(rated=True)
    asked = judge(data, line_up(data), silent)
    names = [label for label, _ in line_up(data)] + ["explicit ALS (rating error)"]
    assert [task.task for task in asked] == ["everything", "repeat", "explore"]
    for task in asked:
        assert [row.method for row in task.rows] == names
        assert all((row.difference is None) == (row.method == "popularity") for row in task.rows)
    told = page([(data, asked)], [])
    for name in names:
        assert told.count(f"| {name} |") == 3


@dataclass(frozen=True)
class Watched(RepeatMost):
    """Repeats, and remembers the histories it was served."""

    half_life_days: float | None = None
    served: list[Ragged] = field(default_factory=list)

    def fit(self, known: Interactions) -> FittedRepeatMost:
        fitted, served = super().fit(known), self.served

        class Watching(FittedRepeatMost):
            def scores(self, users: Users) -> NDArray[np.float64]:
                served.append(users.histories)
                return super().scores(users)

        return Watching(fitted.share)


def test_a_method_that_fades_what_it_learns_is_served_histories_faded_alike() -> None:
    data = tiny()
    plain, fading = Watched(), Watched(half_life_days=10.0)
    judge(data, [("plain", plain), ("fading", fading)], silent)
    split = data.splits["everything"]
    np.testing.assert_array_equal(values(plain.served[0]), values(split.users.histories))
    np.testing.assert_array_equal(values(fading.served[0]), values(split.faded(10.0).users.histories))
    assert (values(fading.served[0]) < values(plain.served[0])).all()


def values(rows: Ragged) -> NDArray[np.float64]:
    assert rows.values is not None
    return rows.values


def test_a_shop_of_two_tastes_is_understood_better_by_neighbours_than_by_popularity(without_deep: None) -> None:
    data = tiny()
    rows = {row.method: row for row in judge(data, line_up(data), silent)[0].rows}
    for method in ("item neighbours, jaccard", "user neighbours, cosine"):
        difference = rows[method].difference
        assert difference is not None
        assert difference.low > 0


def test_every_row_of_a_table_is_as_wide_as_its_headings(without_deep: None) -> None:
    data = tiny()
    asked = judge(data, line_up(data), silent)
    for task in asked:
        headings, rows = cells(task)
        assert {len(row) for row in rows} == {len(headings)}
    paragraphs = [part.splitlines() for part in page([(data, asked)], []).split("\n\n")]
    tables = [lines for lines in paragraphs if lines[0].startswith("|")]
    assert [len(lines) for lines in tables] == [len(asked[0].rows) + 2] * 3  # no line of a table stands alone
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1


def test_the_page_keeps_the_words_around_its_markers_and_is_the_same_twice() -> None:
    data = tiny()
    made = page([(data, judge(data, [next(line_up(data))], silent))], ["ml-100k-time"])
    assert made.endswith("absent: ml-100k-time.\n")
    assert "20 items in the catalogue" in made
    once = between_markers(TEXT, made)
    assert between_markers(once, made) == once
    assert once.startswith(TEXT[: TEXT.index(BEGIN)])
    assert once.endswith(TEXT[TEXT.index(END) :])
    assert "\nold\n" not in once
    assert "A tiny shop" in once


@pytest.mark.parametrize("text", ["no markers", f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_a_page_without_its_markers_is_not_written(text: str) -> None:
    with pytest.raises(ValueError, match="a page needs one line"):
        between_markers(text, "tables")


def test_the_command_shows_every_method_and_says_what_it_skips(
    without_deep: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(recommenders, "DATA_SETS", {"tiny": lambda _: tiny(), **DATA_SETS})
    recommenders.main(["--only", "tiny,online-retail,ml-100k-time,complete-journey", "--data", str(tmp_path)])
    said = capsys.readouterr().out
    assert "A tiny shop: repeat" in said
    for label, _ in line_up(tiny()):
        assert label in said
    for absent in ("online-retail", "ml-100k-time", "complete-journey"):
        assert f"{absent}: skipped" in said


def test_the_command_writes_the_page_between_the_markers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        recommenders, "DATA_SETS", {"tiny": lambda _: tiny(), "ml-100k-time": DATA_SETS["ml-100k-time"]}
    )
    monkeypatch.setattr(recommenders, "ROOT", tmp_path)
    monkeypatch.setattr(recommenders, "PAGE", tmp_path / "page.md")
    (tmp_path / "page.md").write_text(TEXT)
    recommenders.main(["--write", "--data", str(tmp_path / "nothing")])
    written = (tmp_path / "page.md").read_text()
    assert "### A tiny shop" in written
    assert "absent: ml-100k-time." in written
    assert written.startswith("# Recommenders\n\nOurs.\n")


@pytest.mark.parametrize("arguments", [["--only", "nowhere"], ["--write", "--only", "ml-100k-time"]])
def test_the_command_refuses_what_it_cannot_do(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        recommenders.main(arguments)


def test_the_real_page_has_its_markers() -> None:
    text = recommenders.PAGE.read_text(encoding="utf-8")
    assert (text.count(BEGIN), text.count(END)) == (1, 1)


def test_predicting_ratings_puts_first_what_few_rated_highly() -> None:
    """Twenty people gave the well-known film four stars, two gave the unknown one five: rating error prefers it."""
    rows = [(u, 0, 4.0) for u in range(20)] + [(u, 1, 3.0) for u in range(20)] + [(u, 2, 5.0) for u in (0, 1)]
    user, item, stars = (np.array(column) for column in zip(*rows, strict=True))
    fitted = ExplicitAls(rank=2).fit(Interactions(user, item, stars, np.zeros(len(rows)), 20, 4))
    scores = fitted.scores(Users(np.array([10, -1]), Ragged.from_lists([[0, 1], []])))
    assert scores[0, 2] > scores[0, 0] > scores[0, 1]
    assert scores[0, 3] == -np.inf
    assert (scores[1] == -np.inf).all()


def test_rating_error_is_what_explicit_als_makes_small() -> None:
    drawn = np.random.default_rng(2)
    true = drawn.normal(size=(15, 2)) @ drawn.normal(size=(2, 12)) + 5
    user, item = (part.ravel() for part in np.indices(true.shape))
    known = Interactions(user, item, np.maximum(true, 0.1).ravel(), np.zeros(true.size), 15, 12)
    fitted = ExplicitAls(rank=3, regularisation=1e-4, iterations=40).fit(known)
    users = Users(np.arange(15), known.histories())
    assert np.abs(fitted.scores(users) - np.maximum(true, 0.1)).max() < 0.35


def real(name: str) -> Split:
    try:
        return next(iter(DATA_SETS[name](FOLDER).splits.values()))
    except FileNotFoundError as fault:
        pytest.skip(f"{name} is not here: {fault}")


@pytest.mark.parametrize("name", [name for name in DATA_SETS if name != "simulated-shop"])
def test_every_event_of_a_public_shop_is_known_or_truth_or_left_out_for_a_reason(name: str) -> None:
    split = real(name)
    assert split.counts["known"] == len(split.known)
    assert (split.users.index >= 0).all()
    assert (split.truth.lengths() > 0).all()
    if name.startswith("ml-100k"):
        assert sum(split.counts.values()) == 100_000
