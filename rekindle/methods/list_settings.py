"""What conf says of the lists a shop sends: filters, clocks of buying again, caps, diversity, places for new items."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from rekindle.methods.filter_language import FilterError, parsed

OWN_RULES = ("durable_bought", "not_due")  # asked after the filters of conf, in this order

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Filter(Strict):
    """What is true of item, user and history where an item is not to be in a list; see `filter_language`."""

    id: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]
    drop: str

    @field_validator("drop")
    @classmethod
    def _is_of_the_language(cls, drop: str, told: ValidationInfo) -> str:
        try:
            parsed(drop)
        except FilterError as error:
            raise ValueError(f"rule {told.data.get('id')}: {error}") from None
        return drop


class Repurchase(Strict):
    """When what was bought comes back. Days since it was bought, over the days expected, is how due it is.

    Attributes:
        due_from, due_until: between these it counts as due; later it is one item among others.
        held_below: below this, what was bought stays out (rule not_due); 0 holds nothing back. Dear where people buy
            the same again soon: with 0.7 Online Retail loses a fifth of its nDCG, with 0.2 a sixteenth.
        due_boost: added to a due item's score, in standard deviations of the user's candidates.
        repeat_places: share of a list's places for what was bought before; null: as the scores order them. Where one
            kind runs out, the other takes its places.
        durables: `listed`: the categories that the source lists are bought once; `learn`: beside them those that
            `learn_buyers` or more bought at least `watch_days` ago and at most `learn_rebought` of them again.
        item_gaps, category_gaps, person_gaps, pace_gaps: how many observed gaps weigh as much as what is believed
            without them: of an item (then its category's), a category (the shop's), a user with an item (the item's),
            and a user's pace over all items (that of everybody).
    """

    due_from: Positive = 0.7
    due_until: Positive = 3.0
    held_below: Annotated[float, Field(ge=0)] = 0.0
    due_boost: Annotated[float, Field(ge=0)] = 0.0
    repeat_places: Share | None = None
    durables: Literal["listed", "learn"] = "listed"
    learn_buyers: Annotated[int, Field(ge=1)] = 50
    learn_rebought: Share = 0.01
    watch_days: Positive = 60.0
    item_gaps: Positive = 10.0
    category_gaps: Positive = 30.0
    person_gaps: Positive = 2.0
    pace_gaps: Positive = 5.0

    @model_validator(mode="after")
    def _rising(self) -> Repurchase:
        if not self.held_below <= self.due_from < self.due_until:
            found = f"{self.held_below}, {self.due_from}, {self.due_until}"
            raise ValueError(f"held_below, due_from, due_until are {found}; expected them to rise")
        return self


class Diversity(Strict):
    """Maximal marginal relevance: relevance counts `relevance`, likeness to what is in the list already the rest.

    With relevance 1 the list is as the scores order it. Items are alike by category (1 if the same, else 0) or by the
    cosine of their vectors.
    """

    relevance: Annotated[float, Field(gt=0, le=1)] = 1.0
    by: Literal["category", "vectors"] = "category"


class Terms(Strict):
    """Standard deviations of the score that one standard deviation of the term is worth, both within the user's
    candidates. An item whose term is not known gets nothing and loses nothing."""

    margin: float = 0.0
    sentiment: float = 0.0


class Exploration(Strict):
    """Places for new items, drawn for each user and night; the chance of each draw is logged.

    Attributes:
        places: of each list; 0: none.
        ranks: on which they stand, from 1; null: drawn too.
        new_days, most_events: new is what was first seen at most so many days ago and has at most so many events.
        choice: `uniform`: each eligible item is as likely; `softmax`: the better the sources rank it, the likelier.
        temperature: of softmax: from the last to the first of the eligible the chance grows e^(1/temperature)-fold.
    """

    places: Count = 0
    ranks: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    new_days: Positive = 14.0
    most_events: Count = 50
    choice: Literal["uniform", "softmax"] = "uniform"
    temperature: Annotated[float, Field(ge=0.05)] = 0.5

    @model_validator(mode="after")
    def _a_rank_a_place(self) -> Exploration:
        if self.ranks is not None and (len(set(self.ranks)), len(self.ranks)) != (self.places, self.places):
            raise ValueError(f"ranks {list(self.ranks)} for {self.places} places; expected as many, each once")
        return self


class Rules(Strict):
    """How scores become a list.

    Attributes:
        history_items: by source of the ladder, the distinct items a user must have before it is asked about him; 0
            for one that is not named.
        filters: in the order in which they are asked; the first that drops an item is the one that is named.
        most_of_category: at most so many of one category in a list; null: any number. Items without category count
            nowhere.
        category_caps: the same for single categories, by name.
        candidates: how many items of a user, after the filters, are looked at together for terms and diversity. Where
            caps leave places open, deeper ones are looked at.
    """

    history_items: dict[str, Count] = Field(default_factory=dict)
    filters: tuple[Filter, ...] = (Filter(id="sold_out", drop="item.stock <= 0"),)
    repurchase: Repurchase = Repurchase()
    most_of_category: Annotated[int, Field(ge=1)] | None = None
    category_caps: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    diversity: Diversity = Diversity()
    terms: Terms = Terms()
    exploration: Exploration = Exploration()
    candidates: Annotated[int, Field(ge=20)] = 200

    @model_validator(mode="after")
    def _each_id_once(self) -> Rules:
        ids = [one.id for one in self.filters]
        for id_ in ids:
            if ids.count(id_) > 1 or id_ in OWN_RULES:
                raise ValueError(f"filters: the id {id_} stands twice, or is one of {', '.join(OWN_RULES)}")
        return self
