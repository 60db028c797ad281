"""What the simulated shop's users type: reviews whose words fit their stars, and search queries."""

import numpy as np

from rekindle.methods.shop_catalogue import CATEGORIES, Catalogue

_OPENINGS = {
    1: ("Terrible.", "A waste of money.", "Very disappointed.", "Awful, never again.", "The worst I have had."),
    2: ("Not good.", "Rather disappointing.", "Poor for the price.", "I expected better.", "A bit of a let-down."),
    3: ("It is okay.", "Average.", "Does the job, no more.", "Neither good nor bad.", "Acceptable."),
    4: ("Good buy.", "I am happy with it.", "Nice quality.", "Works well.", "Pleasant surprise."),
    5: ("Excellent!", "Absolutely love it.", "Perfect, would buy again.", "Fantastic quality.", "Wonderful."),
}
_CLOSINGS = {
    1: ("I want my money back.", "Do not buy this.", "Looking elsewhere now.", ""),
    2: ("Would not recommend it.", "Not sure I will order again.", ""),
    3: ("Might try another one.", "Fine for the price.", ""),
    4: ("Would recommend it.", "Good value.", ""),
    5: ("Highly recommended.", "Thank you!", "Already told my friends.", ""),
}
_LATE = ("It arrived late.", "Delivery took far too long.", "Came days after the promised date.")
_QUERY_FRAMES = ("{noun}", "{brand} {category}", "{category}", "cheap {category}", "best {category}", "{brand}")


def write_review(rng: np.random.Generator, stars: int, category: int, is_late: bool) -> str:
    """One to four short English sentences about an item of `category`; `stars` is 1 to 5, `is_late` its delivery."""
    kind = CATEGORIES[category]
    aspect = {
        1: f"In short: {kind.dislikes}.",
        2: f"Sadly: {kind.dislikes}.",
        3: f"Hoped for more, though: {kind.likes}.",
        4: f"To its credit: {kind.likes}.",
        5: f"Best of all: {kind.likes}!",
    }[stars]
    parts = [_OPENINGS[stars][rng.integers(len(_OPENINGS[stars]))]]
    if rng.random() < 0.7:
        parts.append(aspect)
    if is_late:
        parts.append(_LATE[rng.integers(len(_LATE))])
    parts.append(_CLOSINGS[stars][rng.integers(len(_CLOSINGS[stars]))])
    return " ".join(part for part in parts if part)


def write_query(rng: np.random.Generator, catalogue: Catalogue, item: int) -> str:
    """What a user types who is looking for something like `item`: lower case, one in twelve with a slip of the keys."""
    kind = CATEGORIES[int(catalogue.category[item])]
    frame = _QUERY_FRAMES[rng.integers(len(_QUERY_FRAMES))]
    noun = kind.nouns[rng.integers(len(kind.nouns))]
    query = frame.format(noun=noun, brand=catalogue.brand[item], category=kind.name).lower()
    if rng.random() < 1 / 12:
        slip = int(rng.integers(1, len(query)))
        query = query[:slip] + query[slip + 1 :]
    return query
