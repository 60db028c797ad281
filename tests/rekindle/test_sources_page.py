"""docs/sources.md, the page by which people write mappings, knows everything that a mapping can say."""

from __future__ import annotations

import re

from pydantic import BaseModel

from rekindle import sources
from rekindle.expressions import ARITHMETIC, COMPARISONS, FUNCTIONS
from rekindle.settings import ROOT, Source

PAGE = (ROOT / "docs/sources.md").read_text(encoding="utf-8")
WORDS = {word for span in re.findall(r"`([^`\n]+)`", PAGE) for word in re.findall(r"\w[\w-]*", span)}


def test_the_page_names_every_key_of_a_source() -> None:
    models = [m for m in vars(sources).values() if isinstance(m, type) and issubclass(m, BaseModel)] + [Source]
    keys = {key for model in models for key in model.model_fields}
    assert len(keys) > 60
    assert sorted(keys - WORDS) == []


def test_the_page_names_every_function_and_operator_of_expressions() -> None:
    assert [name for name in FUNCTIONS if f"`{name}(" not in PAGE] == []
    signs = [*COMPARISONS.values(), "+", "-", "*", "/", "%"]
    assert len(ARITHMETIC) == 5
    assert [sign for sign in signs if f"`{sign}`" not in PAGE] == []


def test_the_page_names_every_table_encoding_and_kind_of_format() -> None:
    tables = {str(kind.model_fields["table"].annotation.__args__[0]) for kind in sources.SourceFile.__subclasses__()}  # type: ignore[union-attr]
    formats = sources.LogFormat.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
    assert sorted({*tables, *formats, *sources.ENCODINGS} - WORDS) == []
