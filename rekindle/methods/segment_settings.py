"""What a source's conf may say of segments. docs/segments.md tells the rules in full."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Segments(BaseModel):
    """Who is put into segments, how many there may be, and what keeps them from night to night.

    In a segment is who acted within `window_days` and at least `least_actions` times in them, where the shop has at
    least `least_users` such users. Borders are drawn on about `sample_users` of them, chosen by hash.

    `fewest` to `most` segments are tried: those whose adjusted Rand index over `resamples` bootstrap samples reaches
    `least_stability`, and whose smallest segment has `least_share` of the users, are compared by silhouette.
    `fewest_topics` to `most_topics` topics are compared by what they say of words left out; they are made of
    `topic_words` words of `topic_users` users.

    Borders stay until another conf, a training night or their being worse by `worse_by` (mean squared distance to the
    own centre, beside the night of the fit) has them drawn anew. A new segment goes on as an old one where the two
    share at least `least_overlap` of their users (Jaccard).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_days: Count = 180
    least_actions: Count = 3
    least_users: Annotated[int, Field(ge=20)] = 100
    sample_users: Annotated[int, Field(ge=100, le=200_000)] = 20_000
    fewest: Annotated[int, Field(ge=2)] = 4
    most: Annotated[int, Field(ge=2, le=30)] = 8
    resamples: Annotated[int, Field(ge=2)] = 5
    least_stability: Share = 0.7
    least_share: Share = 0.02
    fewest_topics: Annotated[int, Field(ge=2)] = 4
    most_topics: Annotated[int, Field(ge=2, le=50)] = 8
    topic_users: Annotated[int, Field(ge=100, le=50_000)] = 1500
    topic_words: Annotated[int, Field(ge=4, le=2000)] = 150
    worse_by: Annotated[float, Field(gt=0)] = 0.15
    least_overlap: Annotated[float, Field(gt=0, le=1)] = 0.3

    @model_validator(mode="after")
    def _rising(self) -> Segments:
        if self.most < self.fewest or self.most_topics < self.fewest_topics:
            raise ValueError(
                f"fewest {self.fewest} to most {self.most}, fewest_topics {self.fewest_topics} to most_topics"
                f" {self.most_topics}: the most must not be below the fewest"
            )
        return self
