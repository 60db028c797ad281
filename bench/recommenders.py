"""`make bench-recommenders`: every method of recommendation on public shops, beside popularity on the same split.

With --write the tables stand in docs/recommenders.md, between two markers; without, on the terminal. Data sets are
read from ../shared/data (or --data); one that is absent is skipped.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import jinja2
from rich.console import Console
from rich.table import Table

from bench.explicit_als import ExplicitAls
from bench.recommender_data import DATA_SETS, TASTES, TRUTH_DAYS, DataSet
from rekindle.methods.baselines import Popularity, RepeatLast, RepeatMost, Uniform
from rekindle.methods.bootstrap import Interval
from rekindle.methods.bpr import Bpr
from rekindle.methods.content import Content
from rekindle.methods.deep import Descent, extra_is_missing
from rekindle.methods.factorization_machine import FactorizationMachine
from rekindle.methods.faded import Faded
from rekindle.methods.implicit_als import ImplicitAls
from rekindle.methods.interactions import Method
from rekindle.methods.item2vec import Item2Vec
from rekindle.methods.judging import Figures, compare, interval, judge_method
from rekindle.methods.neighbours import ItemNeighbours, UserNeighbours
from rekindle.methods.sasrec import Sasrec
from rekindle.methods.session_neighbours import SessionNeighbours
from rekindle.methods.splits import GROUPS, Split
from rekindle.methods.transfer import Transfer
from rekindle.methods.two_stage import TwoStage
from rekindle.methods.two_tower import TwoTower

T = TypeVar("T")
K = 10
SEED = 20260101
ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/recommenders.md"
TEMPLATES = ROOT / "bench/templates"
BEGIN = "<!-- begin: made by bench/recommenders.py -->"
END = "<!-- end: made by bench/recommenders.py -->"
BASELINE = "popularity"
TWO_STAGES = "two stages"
OF_ALL_EVENTS = "two stages, of all events"
ALS, FADED_ALS = "implicit ALS, α 2", "implicit ALS, α 2, histories faded"
NEIGHBOURS = tuple(f"item neighbours, {weighting}" for weighting in ("jaccard", "cosine", "bm25"))
# What names its candidates, by the words of the tables; repetition only where users repeat, and there ALS that fades.
# None keeps a user in its artefact, so the night may serve it.
SOURCES = (BASELINE, "repeat last", *NEIGHBOURS[:2], "content", FADED_ALS, ALS)
WIDTH = 260  # of a table that goes to no terminal
SHOWN = ("precision", "recall", "map", "mrr", "hit_rate")
HEADINGS = (
    *("method", "fit s", f"nDCG@{K} (95 %)", "precision", "recall", "MAP", "MRR", "hit rate"),
    *("coverage", "novelty", "Gini", "diversity", "again", "nDCG − popularity (95 %)"),
)


@dataclass(frozen=True)
class Row:
    """One method on one task; the difference is to popularity, None for itself or where it did not take part."""

    method: str
    fit_seconds: float
    figures: Figures
    ndcg: Interval
    difference: Interval | None = None


@dataclass(frozen=True)
class Asked:
    """One task of a data set and how each method did."""

    task: str
    split: Split
    rows: list[Row]


def line_up(data: DataSet) -> Iterator[tuple[str, Method]]:
    """Every method by the words of the tables; settings are those of these lines on all data sets."""
    repeats = "repeat" in data.splits
    found: dict[str, Method] = {
        "uniform": Uniform(SEED),
        BASELINE: Popularity(data.half_life_days, data.window_days),
        **({"repeat last": RepeatLast(), "repeat most": RepeatMost()} if repeats else {}),
        "content": Content(data.texts),
        "item neighbours, jaccard": ItemNeighbours(200, "jaccard"),
        "item neighbours, cosine": ItemNeighbours(200, "cosine", 10.0),
        "item neighbours, bm25": ItemNeighbours(200, "bm25"),
        "user neighbours, cosine": UserNeighbours(100, "cosine", 10.0),
        "session neighbours": SessionNeighbours(200, 2000),
        # Chosen of 24 on the 28 days before the instant of Online Retail; α 10 with λ 0.05, as its conf has, is worse.
        ALS: ImplicitAls(48, 0.1, 2.0, 12, SEED),
        **({FADED_ALS: Faded(ImplicitAls(48, 0.1, 2.0, 12, SEED), 90.0)} if repeats else {}),
        **({"implicit ALS, α 2, half-life 90 days": ImplicitAls(48, 0.1, 2.0, 12, SEED, 90.0)} if repeats else {}),
        "implicit ALS, α 10": ImplicitAls(48, 0.05, 10.0, 12, SEED),
        # λ, rate and half-life were the best of 5 on the 28 days before the instant of Online Retail.
        "factorization machine": FactorizationMachine(32, 0.05, 0.005, 10, SEED, half_life_days=60.0),
        "item2vec": Item2Vec(32, 0.1, 5, 5, 2, SEED),  # the only setting tried
        # Rank and λ were the best of 6 on the 28 days before the instant of The Complete Journey.
        **({} if data.domain is None else {"transfer": Transfer(data.domain, 4, 200.0)}),
        "BPR": Bpr(64, 0.005, 0.03, 400, SEED),
    }
    yield from found.items()
    if not extra_is_missing():
        yield from deep(data)
    # Of the cold in the target candidates would be of all domains; a random split has no instant to learn before.
    if data.rated is None and data.domain is None:
        # Kind, depth, ridge and rounds of the trees were chosen on the 28 days before the instant of two data sets.
        two_stage = TwoStage(sources_of(found), 50, 28.0, 150, SEED, data.least_strength)
        yield TWO_STAGES, two_stage
        if data.least_strength:
            yield OF_ALL_EVENTS, replace(two_stage, least_strength=0.0)


def sources_of(found: Mapping[str, T]) -> list[T]:
    """Those of SOURCES, by the words of the tables, that name candidates: one ALS is enough."""
    left_out = ALS if FADED_ALS in found else ""
    return [found[label] for label in SOURCES if label in found and label != left_out]


def deep(data: DataSet) -> Iterator[tuple[str, Method]]:
    """The methods that JAX trains. They foretell the days that truth covers; a random split has no order to learn."""
    horizon = math.inf if data.rated is not None else float(TRUTH_DAYS)
    # First guesses but for the window, texts and horizon, chosen of seven fits on days before the truth.
    descent = Descent(epochs=12, learning_rate=0.003, batch=32, negatives=512, dropout=0.2, decay=0.0, seed=SEED)
    yield "two towers", TwoTower(64, 128, 50, horizon, descent, tuple(data.texts))
    yield "SASRec", Sasrec(64, 1, 2, 50, horizon, descent)


def judge(data: DataSet, methods: Iterable[tuple[str, Method]], say: Callable[[str], None]) -> list[Asked]:
    """Fit every method once and ask it every task; explicit ALS too where the data set has ratings."""
    known = next(iter(data.splits.values())).known
    entrants = [(label, method, known) for label, method in methods]
    if data.rated is not None:
        entrants.append(("explicit ALS (rating error)", ExplicitAls(), data.rated))
    asked = [Asked(task, split, []) for task, split in data.splits.items()]
    for label, method, learnt in entrants:
        started = time.perf_counter()
        fitted = method.fit(learnt)
        seconds = time.perf_counter() - started
        # Who fades what it learns from is served histories faded alike; popularity looks at none.
        half_life = None if label == BASELINE else getattr(method, "half_life_days", None)
        for task in asked:
            split = task.split.faded(half_life) if half_life else task.split
            figures = judge_method(fitted, split, K, data.category)
            task.rows.append(Row(label, seconds, figures, interval(figures)))
        say(f"{data.title}: {label}, {seconds:.1f} s to fit, {time.perf_counter() - started - seconds:.1f} s to judge")
    return [replace(task, rows=compared(task.rows)) for task in asked]


def compared(rows: Sequence[Row]) -> list[Row]:
    """The same rows with their difference to popularity."""
    baseline = next((row for row in rows if row.method == BASELINE), None)
    if baseline is None:
        return list(rows)
    return [row if row is baseline else replace(row, difference=compare(row.figures, baseline.figures)) for row in rows]


def best_source(asked: Asked) -> str:
    """How two stages differ from the best of the methods that name their candidates; empty where they take no part."""
    rows = {row.method: row for row in asked.rows}
    sources = sources_of(rows)
    if TWO_STAGES not in rows or not sources:
        return ""
    best = max(sources, key=lambda row: row.ndcg.point)
    found = compare(rows[TWO_STAGES].figures, best.figures)
    return f"Two stages less the best of their sources ({best.method}): {spread(found, '+')}."


def recovered(asked: Asked) -> list[str]:
    """How each of our models differs from each simple method against the planted tastes; empty for other tasks."""
    rows = {row.method: row for row in asked.rows}
    if asked.task != TASTES:
        return []
    found = []
    others = [label for label in ("uniform", BASELINE, *NEIGHBOURS) if label in rows]
    for ours in [label for label in (ALS, FADED_ALS, TWO_STAGES, OF_ALL_EVENTS) if label in rows]:
        told = "; ".join(f"{other} {spread(compare(rows[ours].figures, rows[other].figures), '+')}" for other in others)
        found.append(f"{ours} less {told}.")
    return found


def cells(asked: Asked) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a task's table, as words.

    A group of users has a column where there is more than one.
    """
    groups = [name for name in GROUPS if any(name in row.figures.groups for row in asked.rows)]
    groups = groups if len(groups) > 1 else []
    counts = {name: row.figures.groups[name].users for row in asked.rows[:1] for name in groups}
    headings = [*HEADINGS, *(f"{name} ({counts[name]:,})" for name in groups)]
    told = []
    for row in asked.rows:
        f = row.figures
        shares = [*(f.accuracy[name] for name in SHOWN), f.coverage, f.novelty, f.gini, f.diversity, f.repeat_share]
        told.append(
            [
                row.method,
                f"{row.fit_seconds:.1f}",
                spread(row.ndcg, ""),
                *map(number, shares),
                "" if row.difference is None else spread(row.difference, "+"),
                *(number(f.groups[name].accuracy["ndcg"]) for name in groups),
            ]
        )
    return headings, told


def number(value: float) -> str:
    """Three decimals; empty where there is no figure."""
    return "" if math.isnan(value) else f"{value:.3f}"


def spread(found: Interval, sign: str) -> str:
    """A figure with its interval."""
    point, low, high = (f"{value:{sign}.3f}" for value in (found.point, found.low, found.high))
    return f"{point} ({low} to {high})"


def page(judged: Sequence[tuple[DataSet, list[Asked]]], skipped: Sequence[str]) -> str:
    """What stands between the markers; the same figures give the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - Markdown of our own words and numbers
    )
    sets = []
    for data, tasks in judged:
        tables = []
        for asked in tasks:
            headings, rows = cells(asked)
            users, items = asked.rows[0].figures.users, int(asked.split.eligible.sum())
            told = {"name": asked.task, "users_judged": f"{users:,}", "items_listed": f"{items:,}"}
            tables.append(
                told
                | {"headings": headings, "rows": rows, "best_source": best_source(asked), "recovered": recovered(asked)}
            )
        sets.append({"title": data.title, "told": data.told, "tasks": tables})
    return environment.get_template("recommenders.md.j2").render(sets=sets, k=K, skipped=skipped)


def between_markers(text: str, made: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with `made` between its markers and every other line as it was.

    Raises:
        ValueError: the page does not have each marker once, the first before the second.
    """
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"a page needs one line {begin!r} and after it one {end!r}")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{made.strip()}\n\n{end}{rest.split(end)[1]}"


def shown(data: DataSet, asked: Asked) -> Table:
    """A task's table for a terminal."""
    headings, rows = cells(asked)
    found = Table(title=f"{data.title}: {asked.task}, {asked.rows[0].figures.users:,} users judged")
    for n, heading in enumerate(headings):
        found.add_column(heading, justify="right" if n else "left")
    for row in rows:
        found.add_row(*row)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge and show, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help=f"data sets by comma, of {', '.join(DATA_SETS)}; default: all")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="the folder of the data sets")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)} instead of showing")
    given = parser.parse_args(arguments)
    wanted = [name for name in given.only.split(",") if name] or list(DATA_SETS)
    if unknown := [name for name in wanted if name not in DATA_SETS]:
        parser.error(f"no data set {', '.join(unknown)}; there are {', '.join(DATA_SETS)}")
    if given.write and given.only:
        parser.error("--write makes the whole page and takes no --only")
    terminal = Console()
    console = Console(width=max(terminal.width, WIDTH) if not terminal.is_terminal else None)
    if missing := extra_is_missing():
        console.print(f"two towers, SASRec: skipped; training them {missing}")
    judged, skipped = [], []
    for name in wanted:
        try:
            data = DATA_SETS[name](given.data)
        except FileNotFoundError as fault:
            console.print(f"{name}: skipped, there is no {fault.filename or fault}")
            skipped.append(name)
            continue
        judged.append((data, judge(data, line_up(data), console.print)))
        if not given.write:
            for asked in judged[-1][1]:
                console.print(shown(data, asked))
                for told in [best_source(asked), *recovered(asked)]:
                    console.print(told)
    if given.write:
        PAGE.write_text(between_markers(PAGE.read_text(encoding="utf-8"), page(judged, skipped)), encoding="utf-8")
        console.print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
