"""The shelves of the simulated shop: twenty categories, their items, and what each item is like.

Everything here is invented: no brand, title or price is anybody's. Kinds of category:

* a **consumable** is used up and comes back on its own clock (`clock_days`, the median household's);
* a **durable** is bought once: nobody buys the same item again, and a household that has just bought one
  leaves the whole category alone for `clock_days` (a kettle for years, a book for a week).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

STYLES = 6
"""Dimensions of style (plain to playful, cheap to fine, ...); a user's taste and an item's look share them."""


@dataclass(frozen=True)
class Category:
    """One category: its words, its prices, its clock and its season.

    `price` is the range (EUR) that two thirds of the items lie in. `peak` is the month (1 to 12) with most
    interest and `swing` how strong the season is: log-interest moves by ± `swing` over the year.
    `demand` is the category's log-interest beside the others, and `likes` / `dislikes` are what reviews say of it.
    """

    name: str
    kind: Literal["consumable", "durable"]
    clock_days: float
    price: tuple[float, float]
    nouns: tuple[str, ...]
    traits: tuple[str, ...]
    brands: tuple[str, ...]
    likes: str
    dislikes: str
    peak: int = 1
    swing: float = 0.0
    demand: float = 0.0


CATEGORIES: tuple[Category, ...] = (
    Category(
        name="coffee",
        kind="consumable",
        clock_days=14,
        price=(6, 16),
        nouns=("Espresso Beans 500 g", "Filter Coffee 500 g", "Lungo Capsules 40"),
        traits=("Dark", "Mild", "Organic", "Morning", "House"),
        brands=("Brandt & Ruh", "Kolibri", "Hafenröst", "Nordbohne"),
        likes="rich aroma",
        dislikes="bitter and stale",
        peak=12,
        swing=0.15,
        demand=0.5,
    ),
    Category(
        name="tea",
        kind="consumable",
        clock_days=24,
        price=(3, 11),
        nouns=("Green Tea 100 g", "Rooibos 100 g", "Herbal Blend 25 bags"),
        traits=("Calm", "Fresh", "Mountain", "Evening", "Lemon"),
        brands=("Teehof", "Auenblatt", "Samowa", "Kolibri"),
        likes="lovely taste",
        dislikes="tastes of paper",
        peak=12,
        swing=0.35,
    ),
    Category(
        name="cat food",
        kind="consumable",
        clock_days=21,
        price=(9, 28),
        nouns=("Dry Food 2 kg", "Pouches 24", "Kitten Mix 1.5 kg"),
        traits=("Salmon", "Chicken", "Sensitive", "Indoor", "Rabbit"),
        brands=("Mauzer", "Pfotenglück", "Felidor", "Tiermann"),
        likes="the cat loves it",
        dislikes="the cat refuses it",
    ),
    Category(
        name="snacks",
        kind="consumable",
        clock_days=10,
        price=(2, 9),
        nouns=("Nut Mix 300 g", "Oat Bars 12", "Dried Mango 200 g", "Crackers 250 g"),
        traits=("Salted", "Crunchy", "Honey", "Spicy", "Plain"),
        brands=("Knabberei", "Feldgut", "Mio Mio", "Haferkind"),
        likes="crunchy and fresh",
        dislikes="soggy and too sweet",
        peak=12,
        swing=0.2,
        demand=0.4,
    ),
    Category(
        name="nappies",
        kind="consumable",
        clock_days=12,
        price=(8, 24),
        nouns=("Nappies Size 2", "Nappies Size 3", "Nappies Size 4", "Night Pants"),
        traits=("Soft", "Dry", "Eco", "Active", "Tender"),
        brands=("Windelwicht", "Kleinfuß", "Baby Bär", "Lumi"),
        likes="keeps dry all night",
        dislikes="leaks every night",
        peak=6,
        swing=0.0,
        demand=-0.6,
    ),
    Category(
        name="laundry",
        kind="consumable",
        clock_days=35,
        price=(5, 15),
        nouns=("Washing Liquid 2 l", "Washing Powder 3 kg", "Softener 1 l"),
        traits=("Sensitive", "Colour", "White", "Spring", "Wool"),
        brands=("Klarwerk", "Seifenhaus", "Frischling", "Lumi"),
        likes="clean and mild smell",
        dislikes="stains stay in",
        peak=4,
        swing=0.1,
    ),
    Category(
        name="skin care",
        kind="consumable",
        clock_days=42,
        price=(7, 32),
        nouns=("Face Cream 50 ml", "Hand Balm 75 ml", "Serum 30 ml", "Sun Milk 200 ml"),
        traits=("Rose", "Aloe", "Rich", "Light", "Night"),
        brands=("Hautsache", "Ringelblume", "Solenne", "Auenblatt"),
        likes="skin feels soft",
        dislikes="gave me a rash",
        peak=7,
        swing=0.25,
        demand=0.1,
    ),
    Category(
        name="vitamins",
        kind="consumable",
        clock_days=30,
        price=(6, 22),
        nouns=("Vitamin D 90", "Magnesium 60", "Zinc 120", "Omega 3 60"),
        traits=("Daily", "Forte", "Gentle", "Vegan", "Winter"),
        brands=("Vitalon", "Gesundwerk", "Apfelkern", "Solenne"),
        likes="easy to swallow",
        dislikes="upset my stomach",
        peak=1,
        swing=0.4,
    ),
    Category(
        name="printer ink",
        kind="consumable",
        clock_days=50,
        price=(11, 38),
        nouns=("Ink Black XL", "Ink Colour Set", "Toner Black", "Photo Ink"),
        traits=("Office", "Home", "Refill", "Long Life", "Value"),
        brands=("Druckgut", "Tintenfass", "Papyrus", "Kontor"),
        likes="prints sharply",
        dislikes="the printer rejects it",
        peak=9,
        swing=0.1,
        demand=-0.5,
    ),
    Category(
        name="books",
        kind="durable",
        clock_days=6,
        price=(8, 24),
        nouns=("Crime Novel", "Travel Stories", "Cookery Book", "History Reader", "Short Stories"),
        traits=("The Quiet Harbour", "Nine Winters", "Salt Roads", "A Garden Late", "The Glass Orchard", "Northbound"),
        brands=("Lesart", "Papyrus", "Kranich Press", "Turmalin"),
        likes="could not put it down",
        dislikes="dull and badly bound",
        peak=12,
        swing=0.4,
        demand=0.7,
    ),
    Category(
        name="toys",
        kind="durable",
        clock_days=14,
        price=(9, 42),
        nouns=("Wooden Train", "Building Blocks", "Doll's Kitchen", "Puzzle 200", "Kite"),
        traits=("Little", "Big", "Rainbow", "Forest", "Harbour"),
        brands=("Spielgut", "Baby Bär", "Holzwurm", "Kobold"),
        likes="the children love it",
        dislikes="broke on the first day",
        peak=12,
        swing=0.6,
        demand=0.3,
    ),
    Category(
        name="board games",
        kind="durable",
        clock_days=25,
        price=(14, 48),
        nouns=("Strategy Game", "Card Game", "Dice Game", "Co-op Adventure"),
        traits=("Lost Valley", "Harbour Masters", "Fox & Crow", "Star Bakers", "Rail Barons"),
        brands=("Kobold", "Würfelwerk", "Spielgut", "Rabenstein"),
        likes="great evening for four",
        dislikes="rules make no sense",
        peak=12,
        swing=0.5,
    ),
    Category(
        name="decoration",
        kind="durable",
        clock_days=18,
        price=(6, 36),
        nouns=("Vase", "Picture Frame", "Wall Clock", "Cushion Cover", "Lantern"),
        traits=("Linen", "Copper", "Terracotta", "Matt Black", "Pastel"),
        brands=("Wohnlich", "Nordlicht", "Tonwerk", "Casa Lena"),
        likes="looks beautiful",
        dislikes="the colour is off",
        peak=11,
        swing=0.3,
        demand=0.4,
    ),
    Category(
        name="lamps",
        kind="durable",
        clock_days=120,
        price=(19, 89),
        nouns=("Table Lamp", "Floor Lamp", "Desk Lamp", "Pendant Light"),
        traits=("Brass", "Paper", "Oak", "Steel", "Opal"),
        brands=("Nordlicht", "Lumen & Sohn", "Wohnlich", "Helio"),
        likes="warm light",
        dislikes="flickers and hums",
        peak=11,
        swing=0.35,
    ),
    Category(
        name="kettles",
        kind="durable",
        clock_days=900,
        price=(22, 79),
        nouns=("Kettle 1.7 l", "Travel Kettle 0.5 l", "Gooseneck Kettle 1 l"),
        traits=("Steel", "Glass", "Retro", "Silent", "Thermo"),
        brands=("Siedepunkt", "Helio", "Kochwerk", "Brandt & Ruh"),
        likes="boils quickly",
        dislikes="stopped working",
        peak=11,
        swing=0.15,
    ),
    Category(
        name="cookware",
        kind="durable",
        clock_days=60,
        price=(16, 95),
        nouns=("Frying Pan 28 cm", "Saucepan 2 l", "Casserole 5 l", "Baking Tin", "Chef's Knife"),
        traits=("Cast Iron", "Copper", "Ceramic", "Carbon", "Everyday"),
        brands=("Kochwerk", "Gusseisen", "Casa Lena", "Siedepunkt"),
        likes="nothing sticks",
        dislikes="warped at once",
        peak=12,
        swing=0.2,
        demand=0.1,
    ),
    Category(
        name="headphones",
        kind="durable",
        clock_days=400,
        price=(25, 160),
        nouns=("Over-Ear Headphones", "Earbuds", "Sport Earphones"),
        traits=("Studio", "City", "Silent", "Bass", "Air"),
        brands=("Klangkörper", "Sonora", "Helio", "Oktave"),
        likes="excellent sound",
        dislikes="crackle in one ear",
        peak=12,
        swing=0.3,
    ),
    Category(
        name="garden tools",
        kind="durable",
        clock_days=40,
        price=(9, 65),
        nouns=("Secateurs", "Spade", "Watering Can 9 l", "Hose 20 m", "Raised Bed"),
        traits=("Forged", "Light", "Long", "Classic", "Compact"),
        brands=("Gärtnerei Lohmann", "Feldgut", "Grünspan", "Holzwurm"),
        likes="sturdy and sharp",
        dislikes="bent in a week",
        peak=5,
        swing=1.1,
    ),
    Category(
        name="running shoes",
        kind="durable",
        clock_days=150,
        price=(49, 145),
        nouns=("Road Shoe", "Trail Shoe", "Racing Shoe", "Walking Shoe"),
        traits=("Swift", "Cloudy", "Ridge", "Tempo", "Barefoot"),
        brands=("Läufer", "Fernweg", "Aeris", "Gams"),
        likes="light and comfortable",
        dislikes="the sole came off",
        peak=4,
        swing=0.5,
    ),
    Category(
        name="bedding",
        kind="durable",
        clock_days=90,
        price=(18, 110),
        nouns=("Duvet Cover", "Pillow", "Fitted Sheet", "Wool Blanket"),
        traits=("Linen", "Satin", "Flannel", "Cotton", "Striped"),
        brands=("Traumhaus", "Wohnlich", "Federleicht", "Nordlicht"),
        likes="soft and warm",
        dislikes="thin and scratchy",
        peak=11,
        swing=0.25,
    ),
)

CONSUMABLES: Ints = np.array([i for i, c in enumerate(CATEGORIES) if c.kind == "consumable"], dtype=np.int64)
DURABLES: Ints = np.array([i for i, c in enumerate(CATEGORIES) if c.kind == "durable"], dtype=np.int64)
CLOCK_DAYS: Floats = np.array([c.clock_days for c in CATEGORIES], dtype=np.float64)
IS_DURABLE: Bools = np.array([c.kind == "durable" for c in CATEGORIES], dtype=np.bool_)


@dataclass(frozen=True)
class Catalogue:
    """Items as arrays, one entry an item unless said otherwise.

    `look` is (items, STYLES); `members` is (categories, widest category), padded with item 0 where `is_member` is
    false. `launch_day` counts from the shop's first day: 0 for what is on the shelves at the start.
    """

    sku: list[str]
    title: list[str]
    brand: list[str]
    category: Ints
    price_eur: Floats
    appeal: Floats
    quality: Floats
    look: Floats
    launch_day: Ints
    members: Ints
    is_member: Bools

    def __len__(self) -> int:
        return len(self.sku)


def stock_shelves(rng: np.random.Generator, items: int) -> Catalogue:
    """`items` items spread evenly over the categories; the same generator state gives the same shelves.

    A brand has a look of its own in a category and its items vary around it. One item in twelve comes to the
    shelves later, spread over the first 300 days. Raises ValueError for fewer than two items a category.
    """
    if items < 2 * len(CATEGORIES):
        raise ValueError(f"items is {items}, expected at least {2 * len(CATEGORIES)}: two for each category")
    category = np.sort(np.arange(items) % len(CATEGORIES))
    sku: list[str] = []
    title: list[str] = []
    brand: list[str] = []
    price = np.empty(items)
    look = np.empty((items, STYLES))
    for number, kind in enumerate(CATEGORIES):
        brand_look = rng.standard_normal((len(kind.brands), STYLES))
        low, high = np.log(kind.price[0]), np.log(kind.price[1])
        for order, item in enumerate(np.flatnonzero(category == number)):
            which = order % len(kind.brands)
            word = kind.traits[order // len(kind.brands) % len(kind.traits)]
            series = order // (len(kind.brands) * len(kind.traits))
            noun = kind.nouns[(order + series) % len(kind.nouns)]
            sku.append(f"{kind.name[:2].upper()}-{1000 + 7 * int(item)}")
            brand.append(kind.brands[which])
            title.append(f"{kind.brands[which]} {word} {noun}" + (f" Series {series + 1}" if series else ""))
            price[item] = max(0.99, round(float(np.exp(rng.normal((low + high) / 2, (high - low) / 2))), 1) - 0.01)
            look[item] = 0.8 * brand_look[which] + 0.6 * rng.standard_normal(STYLES)
    width = int(np.bincount(category).max())
    members = np.zeros((len(CATEGORIES), width), dtype=np.int64)
    is_member = np.zeros((len(CATEGORIES), width), dtype=np.bool_)
    for number in range(len(CATEGORIES)):
        mine = np.flatnonzero(category == number)
        members[number, : len(mine)] = mine
        is_member[number, : len(mine)] = True
    comes_later = rng.random(items) < 1 / 12
    comes_later[members[:, 0]] = False  # no category is ever empty
    return Catalogue(
        sku=sku, title=title, brand=brand, category=category, price_eur=price,
        appeal=0.6 * rng.standard_normal(items), quality=0.6 * rng.standard_normal(items), look=look,
        launch_day=np.where(comes_later, rng.integers(1, 300, items), 0), members=members, is_member=is_member,
    )  # fmt: skip


def category_interest(day_of_year: int) -> Floats:
    """Log-interest in each category on a day of the year (1 to 366): its demand and its season."""
    return np.array(
        [c.demand + c.swing * np.cos(2 * np.pi * (day_of_year - 30.4 * (c.peak - 0.5)) / 365.25) for c in CATEGORIES]
    )
