"""JSON lines told by the thousand: an object of plain values becomes columns of text without Spark's parser.

That parser and the closer looks around it (line_parsing) cost up to 50 µs a line. Here orjson, which takes strict JSON
and nothing else, tells for 3 µs each the lines about which there is no doubt; the others stay as they are, for the
parser to judge. No doubt means:

- the bytes are UTF-8 without a byte order mark or a NUL, written out or not, and one object with nothing behind it;
- as many keys came out as colons stand behind quotes, so none was told twice;
- no key differs from a declared field in case alone;
- every declared field is text, a whole number of 64 bits, a number that all write alike, true, false or null.

A test compares both ways on made-up lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rekindle.landing_blocks import ESCAPE, NUL, SPACED, WIDE
from rekindle.landing_streams import BYTE_ORDER_MARK

WRITTEN_NUL = b"\\u0000"
DEEPEST = 20  # of objects and lists within a line
LONGEST_NAME = 1_000  # Jackson, Spark's parser, refuses names of 50,000 characters
LONGEST_WITH_FLOAT = 1_000  # and numbers of 1,000 digits, which are not seen once they are parsed
# Where Java and Python both write a double without an exponent and by its shortest digits.
PLAIN_FLOATS, FLOAT_CHARACTERS = (1e-3, 1e7), 12
SHAPES = 10_000  # remembered sequences of keys; a log has dozens

SHORT = {str, int, bool, type(None)}

Object = dict[str, Any]


class Teller:
    """Tells the objects of one format, and remembers which sequences of keys are in order."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._lower = {name.lower() for name in names}
        self._shapes: dict[tuple[str, ...], bool] = {}

    def tell(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with `is_told` and the struct `told`, a text or null for every name; `value` is null where told.

        Where `is_told` is false, `told` says nothing.
        """
        objects = self._objects(batch)
        is_told = np.array([o is not None for o in objects], np.bool_)
        told = [o or {} for o in objects]
        columns = [_texts([o.get(name) for o in told], is_told) for name in self.names]
        value = batch.column("value")
        left = pc.if_else(pa.array(is_told), pa.scalar(None, value.type), value)
        found = {name: batch.column(name) for name in batch.schema.names} | {"value": left}
        found |= {"is_told": pa.array(is_told), "told": pa.StructArray.from_arrays(columns, names=self.names)}
        return pa.RecordBatch.from_arrays(list(found.values()), names=list(found))

    def _objects(self, batch: pa.RecordBatch) -> list[Object | None]:
        """The lines' objects, null where there is a doubt; the values of declared fields are not looked at."""
        value, marks, keys = (batch.column(name) for name in ("value", "marks", "keys"))
        _, bounds, data = value.buffers()
        text = b"" if data is None else data.to_pybytes()
        places = np.frombuffer(bounds, np.int32, len(value) + 1, 4 * value.offset).tolist()
        found: list[Object | None] = []
        for (start, end), mark, count in zip(pairwise(places), marks.to_pylist(), keys.to_pylist(), strict=True):
            line = text[start:end]
            is_odd = mark & (NUL | SPACED)
            if mark & (ESCAPE | WIDE) and not is_odd:
                is_odd = WRITTEN_NUL in line or BYTE_ORDER_MARK in line
            found.append(None if is_odd else self._object(line, count))
        return found

    def _object(self, line: bytes, keys: int) -> Object | None:
        try:
            told = orjson.loads(line)
        except orjson.JSONDecodeError:  # not swallowed: Spark's parser judges the line, and gives its reason
            return None
        if type(told) is not dict or not told:
            return None
        if len(told) != keys and _keys_below(told) != keys:
            return None
        shape = tuple(told)
        is_known = self._shapes.get(shape)
        if is_known is None:
            if len(self._shapes) >= SHAPES:
                self._shapes.clear()
            is_known = self._shapes[shape] = all(map(self._is_in_order, shape))
        if not is_known or (len(line) > LONGEST_WITH_FLOAT and not set(map(type, told.values())) <= SHORT):
            return None
        return told

    def _is_in_order(self, name: str) -> bool:
        if name in self.names:
            return True
        return name.isascii() and len(name) <= LONGEST_NAME and name.lower() not in self._lower


def _keys_below(value: object, depth: int = DEEPEST) -> int:
    """The keys of a value on all its levels; below zero if there are too many levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not depth:
        return -(2**31)
    return (len(inner) if isinstance(value, dict) else 0) + sum(_keys_below(v, depth - 1) for v in inner)


def _texts(values: list[Any], is_told: NDArray[np.bool_]) -> pa.Array:
    """The values as Spark's parser writes them; takes the lines back about whose value there is a doubt."""
    if not set(map(type, values)) <= {str, type(None)}:
        for k, value in enumerate(values):
            if type(value) is str or value is None:
                continue
            values[k] = _text(value)
            is_told[k] &= values[k] is not None
    return pa.array(values, pa.string())


def _text(value: object) -> str | None:
    """A number's or a boolean's text; null where there is a doubt."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        text = repr(value)
        if value == 0 or (PLAIN_FLOATS[0] <= abs(value) < PLAIN_FLOATS[1] and len(text) <= FLOAT_CHARACTERS):
            return text
    return None
