"""The simulated shop as a data set: the only one whose users' tastes are known, and not only what they did.

It is lived through in memory, from conf/simulation.yaml; nothing is landed and no truth is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from rekindle.methods.ragged import Ragged
from rekindle.methods.shop_catalogue import CATEGORIES, Catalogue, category_interest
from rekindle.methods.shop_people import People
from rekindle.methods.shop_simulation import SimulationConf, customer_id, open_shop
from rekindle.methods.shop_visits import SHARPNESS, STYLE_PULL
from rekindle.methods.splits import Events, Split, at_instant

CONF = Path(__file__).resolve().parent.parent / "conf"
DAYS = 120
JUDGED_DAYS = 14
LIKED_SHARE = 0.1  # of the items that a user has not seen: those he likes best are what lists should find


@dataclass(frozen=True, eq=False)
class Lived:
    """A simulated shop after DAYS.

    Attributes:
        events: all that counts (see `weights`), days from the shop's first midnight; after the instant only purchases.
        affinity: float64 [people of the instant, items], see `affinity`.
        instant: the day from which on is judged.
    """

    events: Events
    affinity: NDArray[np.float64]
    catalogue: Catalogue
    instant: float

    @cached_property
    def split(self) -> Split:
        """Purchases of the last days as truth."""
        return at_instant(self.events, self.instant)

    def tastes(self) -> Split:
        """The same users, known things and unseen items, but truth is what they like: the LIKED_SHARE of the items
        that a user has not touched before the instant, of highest affinity; of equals the lower index."""
        explore = self.split.explore()
        open_to = np.tile(explore.eligible, (len(explore.served), 1))
        open_to[explore.seen.rows(), explore.seen.items] = False
        liking = np.where(open_to, self.affinity[explore.served], -np.inf)
        order = np.argsort(-liking, axis=1, kind="stable")
        wanted = np.ceil(LIKED_SHARE * open_to.sum(axis=1)).astype(np.int64)
        kept = np.arange(order.shape[1]) < wanted[:, None]
        truth = Ragged(np.concatenate([[0], np.cumsum(wanted)]), order[kept].astype(np.int64))
        return replace(explore, truth=truth)


def weights() -> dict[str, float]:
    """What an event of each kind weighs by conf/sources/simulated_shop.yaml, by the shop's own words for it."""
    conf = yaml.safe_load((CONF / "sources/simulated_shop.yaml").read_text(encoding="utf-8"))
    ours = conf["files"]["events"]["mapping"]["event_types"]
    weigh = conf["recommend"]["event_weights"]
    return {theirs: float(weigh[name]) for theirs, name in ours.items() if name in weigh}


def affinity(people: People, catalogue: Catalogue, day_of_year: int) -> NDArray[np.float64]:
    """How likely one look around the shop ends at each item, float64 [people, items], rows sum to 1.

    What `shop_visits` draws from, without offers and without what was bought lately: a category by
    exp(SHARPNESS · taste + interest), an item of it by exp(STYLE_PULL · fit of style + appeal).
    """
    category = np.exp(SHARPNESS * people.taste + category_interest(day_of_year))
    fit = people.style @ catalogue.look.T / np.sqrt(people.style.shape[1])
    item = np.exp(STYLE_PULL * fit + catalogue.appeal)
    found = np.zeros_like(item)
    for n in range(len(CATEGORIES)):
        of_it = catalogue.category == n
        within = item[:, of_it] / item[:, of_it].sum(axis=1, keepdims=True)
        found[:, of_it] = within * (category[:, n] / category.sum(axis=1))[:, None]
    return found


def live(days: int = DAYS, judged_days: int = JUDGED_DAYS, **changed: int) -> Lived:
    """The shop of conf/simulation.yaml (with these keys changed) after so many days; tastes are as of the instant."""
    content = yaml.safe_load((CONF / "simulation.yaml").read_text(encoding="utf-8"))
    conf = SimulationConf.model_validate(content | changed)
    weigh, world = weights(), open_shop(conf)
    item_of = {sku: n for n, sku in enumerate(world.catalogue.sku)}
    first = int(customer_id(0)[1:])
    instant = days - judged_days
    rows: list[tuple[int, int, float, float, bool]] = []
    liking = np.zeros((0, len(world.catalogue)))
    for day in range(days):
        if day == instant:
            liking = affinity(world.people, world.catalogue, world.date.timetuple().tm_yday)
        for event in world.next_day():
            bought = event["type"] == "order"
            if event["type"] in weigh and (bought or day < instant):
                local = datetime.fromisoformat(event["ts"])
                at = day + (local.hour * 3600 + local.minute * 60 + local.second) / 86_400
                who = int(event["customer"][1:]) - first
                rows.append((who, item_of[event["sku"]], weigh[event["type"]], at, bought))
    user, item, strength, at_day, purchase = (np.array(column) for column in zip(*rows, strict=True))
    events = Events(
        user.astype(np.int64), item.astype(np.int64), strength, at_day, len(world.people), len(item_of), purchase
    )
    return Lived(events, liking, world.catalogue, float(instant))
