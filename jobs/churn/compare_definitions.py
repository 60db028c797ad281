"""Compare definitions of "churned" on the shop's own history, and propose one: `make churn-lab SOURCE=… [DATE=…]`.

Reads   events, excluded_users (of the served night)
Writes  reports/<source>/churn-lab-<date>/churn_lab.html

With a date it is as if the log ended with that day. Buyers reach the driver as day numbers without a key, and no more
than a sample of them by the hash of theirs. Excluded users are left out, as in training.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from jinja2 import Environment, FileSystemLoader, select_autoescape
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rekindle import cli, night, settings, warehouse
from rekindle.ledger import Ledger
from rekindle.methods import churn_definition_pages as pictures
from rekindle.methods import churn_definitions as definitions
from rekindle.methods import interpurchase
from rekindle.methods.churn_definitions import Comparison, Terms, Told
from rekindle.methods.cutoffs import TooLittleHistory
from rekindle.methods.interpurchase import Curve, Proposal, PurchaseDays, as_date
from rekindle.methods.not_customers import customers
from rekindle.refusals import DataRefused, UsageError
from rekindle.settings import Churn
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS

MOST_BUYERS = 100_000  # on the driver: their days of ten years of daily buying would be 3 GB, of usual buying 10 MB
NOT_A_TERMINAL = 120  # columns, where nobody says how wide the paper is
PAGE = "churn_lab.html"


@dataclass(frozen=True, eq=False)
class Lab:
    """All that the page and the terminal show.

    `buyers` of `all_buyers` were looked at. `curve` is of all spells, `by_number` by purchases so far.
    """

    source: str
    day: date
    conf: Churn
    terms: Terms
    all_buyers: int
    buyers: int
    first: date
    curve: Curve
    by_number: Mapping[str, Curve]
    proposal: Proposal
    found: Comparison

    @property
    def cutoffs(self) -> list[date]:
        """The days not looked at any more, rising."""
        return [as_date(t) for t in self.found.cutoffs]


def purchase_days(events: DataFrame, excluded: DataFrame, day: date) -> DataFrame:
    """One row a buyer who is not excluded: user_key and the local days of his purchases up to `day`, each once, counted
    from 1970-01-01."""
    bought = events.where((F.col("event_date") <= F.lit(day)) & (F.col("event_type") == "purchase"))
    return (
        customers(bought.select("user_key", F.unix_date("event_date").alias("day")), excluded)
        .groupBy("user_key")
        .agg(F.collect_set("day").alias("days"))
    )


def bring(days: DataFrame, buyers: int, most: int) -> PurchaseDays:
    """The buyers on the driver: all of them, or about `most` chosen by the hash of their key."""
    if buyers > most:
        share = int(1_000_000 * most / buyers)
        days = days.where(F.pmod(F.xxhash64("user_key"), F.lit(1_000_000)) < share)
    brought = days.select("days").toArrow().column("days")
    lists = pa.concat_arrays(brought.chunks) if brought.num_chunks else pa.array([], pa.list_(pa.int32()))
    sizes = lists.value_lengths().to_numpy(zero_copy_only=False)
    number = np.repeat(np.arange(len(lists), dtype=np.int64), sizes)
    return PurchaseDays.of(number, lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64))


def look_into(history: PurchaseDays, source: str, day: date, conf: Churn, all_buyers: int) -> Lab:
    """The whole comparison as of the end of `day`.

    Raises:
        DataRefused: the log is too short or has too few purchases to compare anything.
    """
    if not len(history):
        raise DataRefused(f"{source}: no purchase is known up to {day}, so nobody can have stopped buying")
    as_of = (day - as_date(0)).days + 1
    first = int(history.day.min())
    spells = history.spells(as_of)
    curve = Curve.of(spells)
    if curve.last < interpurchase.WEEK or not spells.ended.any():
        raise DataRefused(
            f"{source}: up to {day} {len(history)} buyers have {len(spells.days)} purchase days over"
            f" {as_of - first} days, {int(spells.ended.sum())} of them followed by another; expected a week or more"
            f" that {interpurchase.LEAST_AT_RISK} of them reach"
        )
    proposal = interpurchase.propose(
        curve,
        as_date(as_of),
        as_date(first),
        conf.horizon_days,
        conf.gap_days,
        conf.eligibility_days,
        conf.history_days,
        conf.cutoff_step_days,
    )
    room = definitions.room_for_windows(as_of, first, conf.gap_days, conf.history_days, conf.cutoff_step_days)
    terms = Terms(
        conf.horizon_days,
        conf.gap_days,
        conf.eligibility_days,
        conf.history_days,
        conf.cutoff_step_days,
        definitions.windows_of(conf.horizon_days, proposal.knee, room),
    )
    try:
        found = definitions.compare(history, as_of, terms)
    except TooLittleHistory as error:
        raise DataRefused(f"{source}, up to {day}: {error}") from None
    by_number = interpurchase.curves_by_number(spells)
    return Lab(source, day, conf, terms, all_buyers, len(history), as_date(first), curve, by_number, proposal, found)


def percent(value: float) -> str:
    """A share as people read it; a dash for none."""
    return "–" if np.isnan(value) else f"{100 * value:.1f} %"


def days_of(quartiles: Sequence[float]) -> str:
    """Median and quartiles of days; a dash for none, "never" for a day that does not come."""
    if np.isnan(quartiles[1]):
        return "–"
    low, middle, high = ("never" if np.isinf(q) else f"{q:.0f}" for q in quartiles)
    return middle if low == high else f"{middle} ({low} to {high})"


def regret_of(told: Told, cutoffs: int) -> str:
    """The share, and how many of the cut-offs know of it where not all do."""
    few = f" ({told.regret_cutoffs}/{cutoffs})" if 0 < told.regret_cutoffs < cutoffs else ""
    return percent(told.regret) + few


def in_words(lab: Lab) -> list[str]:
    """What conf's own window says, and which definition that need not wait is most like it."""
    told, own = lab.found.told, lab.terms.windows.index(lab.conf.horizon_days)
    window = told[own]
    sentences = [
        f"Conf's {window.name} call {percent(float(window.base.mean()))} of the asked gone. Of these"
        f" {percent(window.regret)} buy again within as many days more, and {percent(window.precision)} never came."
    ]
    alike = [
        (-np.inf if one.is_window or np.isnan(k) else k) for one, k in zip(told, lab.found.kappa[own], strict=True)
    ]
    best = int(np.argmax(alike))
    if np.isfinite(alike[best]):
        other = told[best]
        sentences.append(
            f"Of the definitions that need not wait {other.name} is most like it (kappa {alike[best]:.2f}): it calls"
            f" {percent(float(other.base.mean()))} gone, and {percent(other.regret)} of these buy within the next"
            f" {lab.conf.horizon_days} days."
        )
    return sentences


def hundredths(value: float) -> str:
    """A figure of the matrix; a dash where there is none."""
    return "–" if np.isnan(value) else f"{value:.2f}"


def page(lab: Lab) -> str:
    """The comparison as one HTML page without scripts or outside resources."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(["html"])
    )
    templates.filters |= {"percent": percent, "days": days_of, "hundredths": hundredths, "regret": regret_of}
    chance = interpurchase.come_back(lab.curve, lab.proposal.horizon_days)
    return templates.get_template(PAGE).render(
        lab=lab,
        sentences=in_words(lab),
        still_come=interpurchase.STILL_COME,
        quantile=definitions.CADENCE_QUANTILE,
        weight=definitions.CADENCE_WEIGHT,
        chance=chance,
        curve_plot=pictures.curve_plot(lab.curve, lab.by_number, lab.proposal.knee),
        return_plot=pictures.return_plot(
            chance, lab.proposal.horizon_days, lab.proposal.eligibility_days, lab.conf.eligibility_days
        )
        if len(chance)
        else "",
        base_plot=pictures.base_plot(lab.found, lab.cutoffs),
        lead_plot=pictures.lead_plot(lab.found, lab.terms.longest),
    )


def show(lab: Lab, where: Path, console: Console) -> None:
    """Print the figures, where the page is and the lines for conf."""
    found = lab.found
    asked = f"{found.asked.min():,} to {found.asked.max():,}"
    console.print(
        f"\n[bold]{lab.source}, up to {lab.day}[/]: {lab.buyers:,} of {lab.all_buyers:,} buyers since {lab.first},"
        f" {len(found.cutoffs)} cut-offs from {lab.cutoffs[0]} to {lab.cutoffs[-1]}, {asked} buyers asked about at each"
    )
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Called gone", title_justify="left", title_style="bold")
    for header in (
        "definition",
        "of the asked",
        "range",
        "regret",
        "days of silence",
        "days earlier",
        "never came",
        "of these",
    ):
        grid.add_column(header, justify="left" if header == "definition" else "right")
    for told in found.told:
        grid.add_row(
            told.name + (" (conf)" if told.name == f"{lab.conf.horizon_days} days" else ""),
            percent(float(told.base.mean())),
            f"{100 * told.base.min():.0f} to {100 * told.base.max():.0f} %",
            regret_of(told, len(found.cutoffs)),
            days_of(told.needed.tolist()),
            days_of(told.lead.tolist()),
            percent(told.precision),
            percent(told.recall),
        )
    console.print(grid)
    for sentence in in_words(lab):
        console.print(Text(sentence))
    console.print(
        "regret: bought again within the next horizon. days earlier: than the longest window knows it."
        "\nnever came: of those called gone, up to the log's end; of these: of all who never came, called gone."
    )
    matrix = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title="\nCohen's kappa above, share alike below",
        title_justify="left",
        title_style="bold",
    )
    matrix.add_column("")
    for told in found.told:
        matrix.add_column(told.name, justify="right")
    for row, told in enumerate(found.told):
        cells = [
            hundredths(float((found.kappa if column > row else found.alike)[row, column])) if column != row else "·"
            for column in range(len(found.told))
        ]
        matrix.add_row(told.name, *cells)
    console.print(matrix)
    for note in found.notes:
        console.print(Text(f"note: {note}"))
    knees = ", ".join(
        f"{bend or 'none'} over {part:.0%}" for part, bend in zip(interpurchase.RANGES, lab.proposal.knees, strict=True)
    )
    console.print(f"knee of the curve of buying again, in days: {knees} of its {lab.proposal.range_days} days")
    console.print(f"\n[bold]The page[/]  {where}", soft_wrap=True)
    console.print(f"[bold]For conf/sources/{lab.source}.yaml[/]")
    console.print(Text(lab.proposal.fragment.rstrip()), soft_wrap=True)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(prog="compare_definitions", allow_abbrev=False)
    parser.add_argument("--source", required=True, help="name of a mapping in conf/sources")
    parser.add_argument("--date", help="look no further than this day, YYYY-MM-DD; default: the served night's")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    return parser.parse_args(argv)


def look(context: cli.Context, most: int = MOST_BUYERS) -> Lab:
    """The comparison on what the run's night knows up to the context's date.

    Raises:
        UsageError: the run has no events.
        DataRefused: there is too little to compare.
    """
    days = purchase_days(
        night.read(context, EVENTS), night.read(context, EXCLUDED_USERS), context.business_date
    ).persist()
    buyers = days.count()
    history = bring(days, buyers, most)
    days.unpersist()
    context.log.info("brought buyers=%d of=%d purchase_days=%d", len(history), buyers, len(history.day))
    return look_into(history, context.source.name, context.business_date, context.source.churn, buyers)


def write(lab: Lab, home: Path) -> Path:
    """The page's place, after it is written."""
    folder = home / "reports" / lab.source / f"churn-lab-{lab.day}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(page(lab), encoding="utf-8")
    return folder / PAGE


def main(argv: Sequence[str]) -> int:
    """The exit code."""
    given = arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("py4j").setLevel(logging.WARNING)
    return cli.ended(lambda: compare(given))


def compare(given: argparse.Namespace) -> None:
    """Look at the served night of the arguments' source, write the page and show the figures.

    Raises:
        UsageError, DataRefused: as the command line or the log is.
    """
    loaded = settings.load(given.source, given.env)
    asked = settings.parse_date(given.date) if given.date else None
    ledger = Ledger(lambda: warehouse.connect(loaded.environment, "writer"))
    served = ledger.served(loaded.source.name)
    if served is None:
        raise DataRefused(f"{loaded.source.name} has no published night yet; run one with make nightly")
    day = asked or served.business_date
    if day > served.business_date:
        raise UsageError(f"DATE={day}: the served night is {served.business_date}; expected that day or an earlier")
    spark = cli.spark_session("compare_definitions", loaded.environment)
    try:
        run, log = ledger.run(served.run_id), logging.getLogger("compare_definitions")
        log.info("reading source=%s run=%s up_to=%s", loaded.source.name, served.run_id, day)
        lab = look(cli.Context(loaded, day, ledger, False, run, spark, {}, log))
    finally:
        spark.stop()
    console = Console(width=None if sys.stdout.isatty() else NOT_A_TERMINAL, highlight=False)
    show(lab, write(lab, loaded.home), console)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
