"""One day of the simulated shop: who comes by, what they look at, what they buy, and how it turns out for them.

Arrays all the way: one row a visit, a view or an order line. Chance comes only from the generators handed in.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from rekindle.methods.shop_catalogue import CLOCK_DAYS, CONSUMABLES, IS_DURABLE, Bools, Catalogue, Floats, Ints
from rekindle.methods.shop_people import LONG_AGO, REMEMBERED, People, engagement

KINDS = ("search", "pageview", "wishlist", "add_to_cart", "order", "refund", "review")
SEARCH, VIEW, FAVOURITE, CART, ORDER, REFUND, REVIEW = range(len(KINDS))
UPSET = len(KINDS)  # an outcome that leaves no line in the log: the delivery disappointed

STYLE_PULL = 2.2  # log-odds between two items of a category that differ by one standard deviation of fit
SHARPNESS = 1.3  # how much of a person's taste over categories shows in one visit
PAUSE_PENALTY = 3.0  # looking at kettles a week after buying one is e^-3 as likely
MISSION_RATE = 0.5  # someone who needs something comes on about every second day
STOCK_UP_DAYS = 3  # who is here anyway also buys what runs out within three days
LOYALTY = 0.85  # share of repeat purchases that are the same item as before
FROM_MIND = 0.7  # share of wishes fulfilled from what was looked at lately
SHARE_DAY_TO_DAY = 0.12  # of wishes that are a consumable outside one's habits


@dataclass
class Shelf:
    """What the shop offers today: discount (0 to 1) and availability by item, log-interest by category."""

    catalogue: Catalogue
    discount: Floats
    is_available: Bools
    interest: Floats

    def price(self, items: Ints) -> Floats:
        """Today's price in EUR, to the cent."""
        return np.round(self.catalogue.price_eur[items] * (1 - self.discount[items]), 2)


@dataclass
class Events:
    """One row an event, by visit. `item`, `order_no` and `stars` are -1 where there is none; `order_day` and
    `order_no` name the order together. `visit` numbers the day's visits; `phase` orders the events of one."""

    kind: Ints
    visit: Ints
    phase: Ints
    user: Ints
    item: Ints
    quantity: Ints
    price: Floats
    order_day: Ints
    order_no: Ints
    stars: Ints
    is_late: Bools

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: Ints | Bools) -> "Events":
        """The given rows, in that order."""
        return Events(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@dataclass
class Outcomes:
    """What order lines will lead to on a later day; `line` says what, `upset` is the disappointment (UPSET only)."""

    on_day: Ints
    upset: Floats
    line: Events

    def take(self, rows: Ints | Bools) -> "Outcomes":
        """The given rows, in that order."""
        return Outcomes(self.on_day[rows], self.upset[rows], self.line.take(rows))


def events_of(kind: int, phase: int, visit: Ints, user: Ints, item: Ints) -> Events:
    """Events of one kind without order, price or stars."""
    none, count = np.full(len(visit), -1, dtype=np.int64), len(visit)
    return Events(
        kind=np.full(count, kind, dtype=np.int64), visit=visit, phase=np.full(count, phase, dtype=np.int64), user=user,
        item=item, quantity=np.ones(count, dtype=np.int64), price=np.zeros(count), order_day=none, order_no=none,
        stars=none, is_late=np.zeros(count, dtype=np.bool_),
    )  # fmt: skip


def join_events(parts: list[Events]) -> Events:
    """All rows of `parts`, one part after another."""
    return Events(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Events)})


def join_outcomes(parts: list[Outcomes]) -> Outcomes:
    """All rows of `parts`, one part after another."""
    return Outcomes(
        np.concatenate([part.on_day for part in parts]),
        np.concatenate([part.upset for part in parts]),
        join_events([part.line for part in parts]),
    )


def no_outcomes() -> Outcomes:
    """Outcomes without a row: those of a shop that has sold nothing yet."""
    nobody = np.empty(0, dtype=np.int64)
    return Outcomes(nobody, np.empty(0), events_of(UPSET, 0, nobody, nobody, nobody))


def draw_each_row(rng: np.random.Generator, weights: Floats) -> Ints:
    """One column of `weights` (rows, columns) for each row, in proportion to it; -1 where a row has no weight."""
    edges = np.cumsum(weights, axis=1)
    drawn = (edges <= (rng.random(len(weights)) * edges[:, -1])[:, None]).sum(axis=1)
    return np.where(edges[:, -1] > 0, np.minimum(drawn, weights.shape[1] - 1), -1)


def choose_categories(
    rng: np.random.Generator, people: People, shelf: Shelf, users: Ints, day: int, sharpness: Floats
) -> Ints:
    """One category for each of `users`, by taste and season; what was bought lately is left alone."""
    resting = day - people.last_bought[users] < CLOCK_DAYS
    logits = sharpness[:, None] * people.taste[users] + shelf.interest - PAUSE_PENALTY * (resting & IS_DURABLE)
    return draw_each_row(rng, np.exp(logits))


def choose_items(rng: np.random.Generator, people: People, shelf: Shelf, users: Ints, categories: Ints) -> Ints:
    """One item of the given category for each of `users`, by fit of style, appeal and offers; -1 if none is left."""
    items = shelf.catalogue.members[categories]
    fit = np.einsum("nmk,nk->nm", shelf.catalogue.look[items], people.style[users]) / np.sqrt(people.style.shape[1])
    bargain = 2.0 * np.maximum(people.thrift[users], -0.5)[:, None] * shelf.discount[items]
    possible = shelf.catalogue.is_member[categories] & shelf.is_available[items]
    possible &= ~people.owned[users[:, None], items]
    weight = np.where(possible, np.exp(STYLE_PULL * fit + shelf.catalogue.appeal[items] + bargain), 0.0)
    column = draw_each_row(rng, weight)
    return np.where(column >= 0, items[np.arange(len(users)), column], -1)


def _fill_baskets(
    rng: np.random.Generator, people: People, shelf: Shelf, buyers: Ints, day: int
) -> tuple[Ints, Ints, Ints]:
    """Who on a mission wants what: (index into `buyers`, item, habit), habit -1 for what is no habit."""
    running_out = people.habit[buyers] & (people.due[buyers] <= day + STOCK_UP_DAYS)
    who, habit = np.nonzero(running_out)
    users = buyers[who]
    usual = people.favourite[users, habit]
    other = choose_items(rng, people, shelf, users, CONSUMABLES[habit])
    needed = np.where((usual >= 0) & (rng.random(len(users)) < LOYALTY), usual, other)

    wishes = ((people.next_want[buyers] <= day) | (people.arrived[buyers] == day)).astype(np.int64)
    wishes += wishes * (rng.random(len(buyers)) < 0.25)
    wisher = np.repeat(np.arange(len(buyers)), wishes)
    users = buyers[wisher]
    mind = people.in_mind[users]
    theirs = shelf.catalogue.category[mind]
    resting = day - people.last_bought[users[:, None], theirs] < CLOCK_DAYS[theirs]
    wanted = (mind >= 0) & ~people.owned[users[:, None], mind] & ~resting
    slot = draw_each_row(rng, wanted.astype(np.float64))
    remembered = np.where(slot >= 0, mind[np.arange(len(users)), slot], -1)
    pause = np.where(day - people.last_bought[users] < CLOCK_DAYS, 6.0, 0.0)
    logits = SHARPNESS * people.taste[users] + shelf.interest - pause * IS_DURABLE
    day_to_day = rng.random(len(users)) < SHARE_DAY_TO_DAY
    category = draw_each_row(rng, np.exp(logits) * (day_to_day[:, None] != IS_DURABLE))
    fresh = choose_items(rng, people, shelf, users, category)
    wish = np.where((remembered >= 0) & (rng.random(len(users)) < FROM_MIND), remembered, fresh)

    index = np.concatenate([who, wisher])
    item = np.concatenate([needed, wish])
    habit = np.concatenate([habit, np.full(len(wish), -1, dtype=np.int64)])
    # One line an item in an order: a second wish for the same item is the same wish.
    _, first = np.unique(index * (len(shelf.catalogue) + 1) + item, return_index=True)
    kept = np.sort(first[item[first] >= 0])
    return index[kept], item[kept], habit[kept]


def _remember_purchases(
    rng: np.random.Generator, people: People, shelf: Shelf, lines: Events, habit: Ints, day: int
) -> None:
    """Order lines change their buyers, in place: clocks restart, durables are owned, wishes are fulfilled."""
    count = len(lines)
    jitter = 0.8 + 0.4 * rng.random(count)
    until_next_wish = 0.5 * rng.standard_exponential((count, 2)).sum(axis=1)
    again = habit >= 0
    users, habits = lines.user[again], habit[again]
    stock = np.where(lines.quantity[again] > 1, 1.8, 1.0)
    people.due[users, habits] = day + CLOCK_DAYS[CONSUMABLES[habits]] * people.pace[users] * jitter[again] * stock
    people.favourite[users, habits] = lines.item[again]
    wish = ~again
    people.next_want[lines.user[wish]] = day + 1 + people.want_every[lines.user[wish]] * until_next_wish[wish]
    category = shelf.catalogue.category[lines.item]
    lasting = IS_DURABLE[category]
    people.owned[lines.user[lasting], lines.item[lasting]] = True
    people.last_bought[lines.user[lasting], category[lasting]] = day


def foresee(
    rng: np.random.Generator, people: People, shelf: Shelf, lines: Events, day: int, late_share: float, fading: Floats
) -> Outcomes:
    """What order lines lead to: disappointment on delivery, perhaps a refund, perhaps a review.

    Satisfaction is the item's hidden quality, its fit with the buyer's style and luck; a late delivery takes 1.6 off.
    `fading` (0 settled to 1 gone) makes stars harsher.
    """
    count = len(lines)
    is_late = rng.random(count) < late_share
    delivery = day + rng.integers(2, 5, count) + np.where(is_late, 5, 0)
    fit = (shelf.catalogue.look[lines.item] * people.style[lines.user]).mean(axis=1)
    satisfaction = shelf.catalogue.quality[lines.item] + 0.5 * fit + 0.7 * rng.standard_normal(count) - 1.6 * is_late
    lasting = IS_DURABLE[shelf.catalogue.category[lines.item]]
    let_down = satisfaction < -0.9
    refunds = rng.random(count) < np.where(lasting, 1.0, 0.35) * np.where(let_down, 0.3, 0.025)
    reviews = rng.random(count) < np.where(let_down, 0.32, np.where(satisfaction > 1.2, 0.22, 0.1))
    stars = 1 + np.digitize(satisfaction - 0.9 * fading, [-1.4, -0.8, -0.2, 0.6])
    lines = replace(lines, is_late=is_late)
    none = np.zeros(count)
    disappointment = np.clip(-satisfaction - 0.4, 0, 2.0)
    return join_outcomes(
        [
            Outcomes(when, amount, replace(lines, kind=np.full(count, kind), stars=given)).take(happens)
            for kind, when, amount, given, happens in (
                (UPSET, delivery, disappointment, lines.stars, disappointment > 0),
                (REFUND, delivery + rng.integers(2, 13, count), none, lines.stars, refunds),
                (REVIEW, delivery + rng.integers(1, 15, count), none, stars, reviews),
            )
        ]
    )


def come_true(people: People, shelf: Shelf, outcomes: Outcomes, day: int, first_visit: int) -> Events:
    """The refunds and reviews of today by people still here, each a visit of its own numbered from `first_visit`.

    Changes `people` in place: disappointments are felt, and who sends a durable back needs another.
    """
    today = outcomes.take((outcomes.on_day == day) & (people.left[outcomes.line.user] > day))
    np.add.at(people.upset, today.line.user, today.upset)
    lines = today.line.take(today.line.kind != UPSET)
    back = lines.take(lines.kind == REFUND)
    people.last_bought[back.user, shelf.catalogue.category[back.item]] = LONG_AGO
    return replace(lines, visit=first_visit + np.arange(len(lines)), phase=np.full(len(lines), 6))


def spend_the_day(
    rng: np.random.Generator, people: People, shelf: Shelf, day: int, tempo: float, late_share: float
) -> tuple[Events, Outcomes]:
    """All visits of `day`: their events, and what the orders among them will lead to. Changes `people` in place.

    `tempo` is how busy the shop is (1 on an average day) and `late_share` the share of orders delivered late.
    """
    interest = engagement(people, day)
    luck = rng.random((len(people), 2))
    is_new = people.arrived == day
    in_need = (people.due <= day).any(axis=1) | (people.next_want <= day)
    comes_to_buy = np.where(is_new, luck[:, 0] < 0.6, in_need & (luck[:, 0] < MISSION_RATE * tempo * interest**1.5))
    browses = np.where(is_new, ~comes_to_buy, luck[:, 1] < people.browse_rate * tempo * interest)
    buyers = np.flatnonzero(comes_to_buy)
    user = np.concatenate([buyers, np.flatnonzero(browses)])
    fading = 1 - interest[user]
    on_mission = np.arange(len(user)) < len(buyers)

    # Looking around: each visit has a theme and mostly a second one, fewer when interest fades.
    theme = choose_categories(rng, people, shelf, user, day, SHARPNESS + fading)
    second = choose_categories(rng, people, shelf, user, day, SHARPNESS + fading)
    second = np.where(rng.random(len(user)) < 0.75 * (1 - fading), second, theme)
    looks = 1 + rng.poisson(np.where(on_mission, 1.1, 3.0) * (0.4 + 0.6 * interest[user]))
    visit = np.repeat(np.arange(len(user)), looks)
    category = np.where(rng.random(len(visit)) < 0.6, theme[visit], second[visit])
    item = choose_items(rng, people, shelf, user[visit], category)
    visit, item = visit[item >= 0], item[item >= 0]
    viewer = user[visit]
    views = events_of(VIEW, 1, visit, viewer, item)
    luck = rng.random((len(views), 2))
    favourites = events_of(FAVOURITE, 2, visit, viewer, item).take(luck[:, 0] < 0.07 * interest[viewer])
    idle_carts = events_of(CART, 3, visit, viewer, item).take(luck[:, 1] < 0.05 + 0.1 * fading[visit])
    searching = np.unique(visit, return_index=True)[1]
    searching = searching[rng.random(len(searching)) < 0.3]
    searches = events_of(SEARCH, 0, visit[searching], viewer[searching], item[searching])

    who, bought, habit = _fill_baskets(rng, people, shelf, buyers, day)
    quantity = 1 + ((habit >= 0) & (rng.random(len(who)) < 0.12)).astype(np.int64)
    looked_up = rng.random(len(who)) < 0.7
    carts = replace(events_of(CART, 4, who, buyers[who], bought), quantity=quantity)
    goes_through = (rng.random(len(buyers)) >= 0.08 + 0.6 * fading[: len(buyers)])[who]
    order_no = np.unique(who, return_inverse=True)[1]
    orders = replace(
        carts,
        kind=np.full(len(who), ORDER),
        phase=np.full(len(who), 5),
        order_day=np.full(len(who), day),
        order_no=order_no,
    ).take(goes_through)
    orders.price = shelf.price(orders.item)
    found = events_of(VIEW, 3, who, buyers[who], bought).take(looked_up)

    kept = views.take(IS_DURABLE[shelf.catalogue.category[views.item]])
    people.in_mind[kept.user, day % REMEMBERED] = kept.item
    outcomes = foresee(rng, people, shelf, orders, day, late_share, 1 - interest[orders.user])
    _remember_purchases(rng, people, shelf, orders, habit[goes_through], day)
    events = join_events([searches, views, favourites, found, idle_carts, carts, orders])
    events.price = np.where(events.kind == SEARCH, 0.0, shelf.price(events.item))
    return events, outcomes
