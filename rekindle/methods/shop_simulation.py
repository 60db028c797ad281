"""A made-up shop, day after day: from a seed to the events of any day, the same every time.

A `World` is the shop on the morning of a day; `World.next_day()` lives through that day and returns its events as the
shop's collector would log them. Days are lived strictly in order and every source of chance is a generator seeded by
(seed, day, purpose), so the events of a day depend on the conf and this code, never on when or how often they are
asked for. A world can be saved on any morning and goes on from there exactly as if it had never stopped.
"""

import hashlib
import io
import zlib
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from rekindle.methods.shop_catalogue import CATEGORIES, Catalogue, Floats, Ints, category_interest, stock_shelves
from rekindle.methods.shop_people import DEVICES, People, arrive, live_on
from rekindle.methods.shop_visits import (
    KINDS,
    ORDER,
    REFUND,
    REVIEW,
    SEARCH,
    Events,
    Outcomes,
    Shelf,
    come_true,
    join_events,
    join_outcomes,
    no_outcomes,
    spend_the_day,
)
from rekindle.methods.shop_words import write_query, write_review

Share = Annotated[float, Field(ge=0, le=1)]

# Two peaks, after lunch and after dinner; at weekends the morning is later and the evening flatter.
WORKDAY_HOURS = (6, 3, 2, 1, 1, 3, 10, 22, 28, 30, 33, 38, 48, 45, 38, 36, 38, 46, 58, 74, 82, 70, 40, 16)
WEEKEND_HOURS = (10, 6, 3, 2, 1, 2, 5, 12, 28, 48, 62, 66, 60, 54, 54, 56, 58, 58, 58, 62, 64, 52, 32, 16)
OWN_HOUR_SHARE = 0.6  # of visits that come at the person's usual hour rather than at the shop's
OFFER_SHARE = 0.1  # of items that are on offer in a given week, 15 to 30 % off
TROUBLED_WEEK_SHARE, TROUBLED_LATE_FACTOR = 0.15, 5.0  # weeks in which the courier is overwhelmed
CHANNELS = ("app", "mobile_web", "web")
SETTLED_TENURE_DAYS = 700  # those who are there on the first day came some time in the two years before


class SimulationConf(BaseModel):
    """conf/simulation.yaml: how large the shop is, how lively, how dirty its log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: Annotated[int, Field(ge=0)]
    first_day: date
    time_zone: str
    users_at_start: Annotated[int, Field(ge=1)]
    arrivals_per_day: Annotated[float, Field(ge=0)]
    items: Annotated[int, Field(ge=2 * len(CATEGORIES))]
    weekday_shape: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=7, max_length=7)]
    year_swing: Share
    taste_drift_per_day: Share
    leave_hazard_per_day: Share
    late_delivery_share: Share
    late_line_share: Share
    dirt_share: Share
    extra_field_share: Share

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"unknown time zone {name!r}, expected a name such as Europe/Berlin") from None
        return name


def stream(seed: int, day: int, purpose: str) -> np.random.Generator:
    """The generator for one purpose on one day (days from 0); -1 is what was before the first day."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, day + 1, zlib.crc32(purpose.encode())])))


def tempo_of(day: date, weekday_shape: tuple[float, ...], year_swing: float) -> float:
    """How busy the shop is on `day` beside an average day: weekday times time of year.

    The year peaks in mid-December and is calm in June; 24 to 26 December are at a third.
    """
    weekday = weekday_shape[day.weekday()] * 7 / sum(weekday_shape)
    turn = 2 * np.pi * (day.timetuple().tm_yday - 345) / 365.25
    year = 1 + year_swing * (np.cos(turn) + 0.4 * np.exp(4 * (np.cos(turn) - 1)) - 0.1)
    return float(weekday * year * (1 / 3 if (day.month, day.day) in {(12, 24), (12, 25), (12, 26)} else 1))


def hour_weights(day: date) -> Floats:
    """The shop's hour-of-day shape on `day`, local time: 24 probabilities."""
    hours = np.array(WEEKEND_HOURS if day.weekday() >= 5 else WORKDAY_HOURS, dtype=np.float64)
    return np.asarray(hours / hours.sum(), dtype=np.float64)


@dataclass
class World:
    """The shop on the morning of day `day` (0 is the first): its people and what is on its way to them."""

    conf: SimulationConf
    catalogue: Catalogue
    day: int
    people: People
    outcomes: Outcomes

    @property
    def date(self) -> date:
        """The calendar day that `next_day` will live through."""
        return self.conf.first_day + timedelta(days=self.day)

    def next_day(self) -> list[dict[str, Any]]:
        """Live through one day; its events in order of time, as the shop's fields, absent ones left out."""
        conf, day, today = self.conf, self.day, self.date
        newcomers = int(stream(conf.seed, day, "arrivals").poisson(conf.arrivals_per_day))
        arriving = stream(conf.seed, day, "newcomers")
        self.people = self.people.joined_by(arrive(arriving, day, newcomers, self.catalogue, hour_weights(today)))
        live_on(self.people, stream(conf.seed, day, "lives"), day, conf.taste_drift_per_day, conf.leave_hazard_per_day)
        shelf = self._shelf()
        tempo = tempo_of(today, conf.weekday_shape, conf.year_swing)
        visited, ordered = spend_the_day(
            stream(conf.seed, day, "visits"), self.people, shelf, day, tempo, self._late_delivery_share()
        )
        visits = int(visited.visit.max(initial=-1)) + 1
        sent_back = come_true(self.people, shelf, self.outcomes, day, visits)
        coming = self.outcomes.take(self.outcomes.on_day > day)
        self.outcomes = join_outcomes([coming, ordered])
        records = self._as_logged(join_events([visited, sent_back]))
        self.day += 1
        return records

    def _shelf(self) -> Shelf:
        week = self.date.toordinal() // 7  # Sunday to Saturday; what matters is that it goes on past New Year
        offers = stream(self.conf.seed, week, "offers").random((2, len(self.catalogue)))
        return Shelf(
            catalogue=self.catalogue,
            discount=np.where(offers[0] < OFFER_SHARE, 0.15 + 0.15 * offers[1], 0.0),
            is_available=self.catalogue.launch_day <= self.day,
            interest=category_interest(self.date.timetuple().tm_yday),
        )

    def _late_delivery_share(self) -> float:
        week = self.date.toordinal() // 7
        troubled = stream(self.conf.seed, week, "courier").random() < TROUBLED_WEEK_SHARE
        return min(1.0, self.conf.late_delivery_share * (TROUBLED_LATE_FACTOR if troubled else 1.0))

    def _seconds(self, events: Events) -> Ints:
        """When each event happens, in seconds since 1970 UTC; a visit lies inside the local day, an order's lines
        share their second. Rows must be sorted by visit and phase."""
        rng = stream(self.conf.seed, self.day, "clock")
        first = np.flatnonzero(np.diff(events.visit, prepend=-1))
        visitor = events.user[first]
        shop = rng.choice(24, size=len(first), p=hour_weights(self.date)) + rng.random(len(first))
        own = (self.people.hour[visitor] + 1.2 * rng.standard_normal(len(first))) % 24
        wall = 3600 * np.where(rng.random(len(first)) < OWN_HOUR_SHARE, own, shop)

        zone = ZoneInfo(self.conf.time_zone)
        midnight = datetime.combine(self.date, datetime.min.time(), zone)
        begins = int(midnight.timestamp())
        ends = int(datetime.combine(self.date + timedelta(days=1), datetime.min.time(), zone).timestamp())
        # Wall-clock hours that the day does not have, or has twice, follow the zone's own rule.
        by_hour = np.array([int(midnight.replace(hour=hour).timestamp()) for hour in range(24)])
        start = by_hour[(wall // 3600).astype(np.int64)] + (wall % 3600).astype(np.int64)

        pause = 4 + (45 * rng.standard_exponential(len(events))).astype(np.int64)
        same_order = (events.kind == ORDER) & (np.roll(events.kind, 1) == ORDER)
        pause[same_order] = 0
        pause[first] = 0
        passed = np.cumsum(pause)
        lengths = np.diff(np.append(first, len(events)))
        passed -= np.repeat(passed[first], lengths)
        last = passed[np.append(first[1:], len(events)) - 1] if len(first) else passed
        start = np.clip(start, begins, ends - 1 - last)
        return np.asarray(np.repeat(start, lengths) + passed, dtype=np.int64)

    def _as_logged(self, events: Events) -> list[dict[str, Any]]:
        shuffle = stream(self.conf.seed, self.day, "order").random(len(events))
        events = events.take(np.lexsort((shuffle, events.phase, events.visit)))
        seconds = self._seconds(events)
        by_time = np.argsort(seconds, kind="stable")
        events, seconds = events.take(by_time), seconds[by_time]
        words = stream(self.conf.seed, self.day, "words")
        zone = ZoneInfo(self.conf.time_zone)
        stamp = f"{self.date:%Y%m%d}"
        rows = zip(*(getattr(events, f.name).tolist() for f in fields(events)), seconds.tolist(), strict=True)
        return [
            self._record(f"e{stamp}-{number:06d}", stamp, zone, words, *row) for number, row in enumerate(rows, start=1)
        ]

    def _record(
        self, event_id: str, stamp: str, zone: ZoneInfo, words: np.random.Generator, kind: int, visit: int, phase: int,
        user: int, item: int, quantity: int, price: float, order_day: int, order_no: int, stars: int, is_late: bool,
        second: int,
    ) -> dict[str, Any]:  # fmt: skip
        shelf = self.catalogue
        record: dict[str, Any] = {
            "event_id": event_id,
            "ts": datetime.fromtimestamp(second, UTC).astimezone(zone).isoformat(),
            "type": KINDS[kind],
            "customer": customer_id(user),
        }
        if kind == SEARCH:
            record["query"] = write_query(words, shelf, item)
        else:
            record |= {
                "sku": shelf.sku[item],
                "title": shelf.title[item],
                "category": CATEGORIES[int(shelf.category[item])].name,
                "brand": shelf.brand[item],
                "price": price,
            }
        if kind in (ORDER, REFUND):
            record["qty"] = quantity
        if kind in (ORDER, REFUND, REVIEW):
            ordered = self.conf.first_day + timedelta(days=order_day)
            record["order_id"] = f"o{ordered:%Y%m%d}-{order_no:05d}"
        if kind == REVIEW:
            record["stars"] = stars
            if words.random() < 0.8:  # one review in five is stars alone
                record["text"] = write_review(words, stars, int(shelf.category[item]), is_late)
        record |= {
            "session": f"s{stamp}-{visit:05d}",
            "device": DEVICES[int(self.people.device[user])],
            "synthetic": True,
        }
        record["channel"] = channel_of(record["device"], record["customer"], record["session"])
        return record


def customer_id(user: int) -> str:
    """The id by which the shop's log knows the `user`-th person ever to arrive."""
    return f"C{100_000 + user}"


def channel_of(device: str, customer: str, session: str) -> str:
    """By what a visit came: a person keeps to one way in 60 to 100 % of the visits. No draw: a hash of who and which.

    Those with a phone or a tablet have the app or do not; those with a desktop come by the web.
    """
    visit = hashlib.sha256(f"{customer} {session}".encode()).digest()[:2]
    has_app, keeps_to, luck, other = hashlib.sha256(customer.encode()).digest()[:2] + visit
    usual = "web" if device == "desktop" else "app" if has_app < 140 else "mobile_web"
    if luck < 256 * 0.6 + keeps_to * 0.4:
        return usual
    return [name for name in CHANNELS if name != usual][other % 2]


def open_shop(conf: SimulationConf) -> World:
    """The shop on the morning of its first day, with the customers it already has."""
    catalogue = stock_shelves(stream(conf.seed, -1, "shelves"), conf.items)
    rng = stream(conf.seed, -1, "people")
    people = arrive(rng, 0, conf.users_at_start, catalogue, hour_weights(conf.first_day))
    settled = replace(people, arrived=-1 - rng.integers(0, SETTLED_TENURE_DAYS, conf.users_at_start))
    return World(conf, catalogue, 0, settled, no_outcomes())


def save_world(world: World) -> bytes:
    """The state of a world as a NumPy archive without pickled objects."""
    arrays = {f"people.{f.name}": getattr(world.people, f.name) for f in fields(People)}
    arrays |= {f"line.{f.name}": getattr(world.outcomes.line, f.name) for f in fields(Events)}
    arrays |= {"on_day": world.outcomes.on_day, "upset": world.outcomes.upset, "day": np.array(world.day)}
    whole = io.BytesIO()
    np.savez_compressed(whole, allow_pickle=False, **arrays)
    return whole.getvalue()


def restore_world(conf: SimulationConf, saved: bytes) -> World:
    """The world that `save_world` saved under the same conf and code.

    Raises:
        ValueError, KeyError, OSError, zipfile.BadZipFile: it is not such an archive.
    """
    with np.load(io.BytesIO(saved), allow_pickle=False) as kept:
        return World(
            conf=conf,
            catalogue=stock_shelves(stream(conf.seed, -1, "shelves"), conf.items),
            day=int(kept["day"]),
            people=People(**{f.name: kept[f"people.{f.name}"] for f in fields(People)}),
            outcomes=Outcomes(
                kept["on_day"], kept["upset"], Events(**{f.name: kept[f"line.{f.name}"] for f in fields(Events)})
            ),
        )
