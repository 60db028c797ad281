"""What the nightly report is written in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field


def _several(told: object) -> object:
    return [told] if isinstance(told, str) else told


def _each_once(told: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(told)) < len(told):
        raise ValueError(f"{', '.join(told)}: each language once")
    return told


# One language, or a list of them; the first is that of night.html.
ReportLanguages = Annotated[
    tuple[Literal["en", "zh"], ...], BeforeValidator(_several), Field(min_length=1), AfterValidator(_each_once)
]
