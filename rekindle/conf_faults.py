"""The faults of a conf file as a person reads them: one line each, with file, line, key and what is legal there."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

SHOWN = 60  # characters of a found value; longer ones are a whole part of the file


def told(where: str, text: str, model: type[BaseModel], error: ValidationError) -> list[str]:
    """A sentence for each fault of the file `where` with that text."""
    return [sentence for fault in error.errors() for sentence in _sentences(where, text, model, fault)]


def told_twice(where: str, text: str) -> list[str]:
    """A sentence for each key that stands twice beside itself; YAML would silently take the last."""
    found, parts = [], [([""], yaml.compose(text, Loader=yaml.SafeLoader))]
    while parts:
        keys, node = parts.pop()
        if isinstance(node, yaml.SequenceNode):
            parts += [([*keys, str(at)], part) for at, part in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for name, value in node.value:
                line = name.start_mark.line + 1
                if name.value in seen:
                    place = ".".join([*keys[1:], name.value])
                    found.append(f"{where}:{line}: {place}: the key stands in line {seen[name.value]} already")
                seen.setdefault(name.value, line)
                parts.append(([*keys, name.value], value))
    return sorted(set(found))  # a part that is used twice (`*part`) is met twice


def _sentences(where: str, text: str, model: type[BaseModel], fault: Any) -> Iterator[str]:
    keys, choices = _walked(model, [str(part) for part in fault["loc"]])
    raised = fault.get("ctx", {}).get("error")
    if fault["type"] == "extra_forbidden":
        yield f"{_place(where, text, keys)}: unknown key{_hint(keys[-1], choices)}"
    elif fault["type"].startswith("union_tag_"):
        key = fault["ctx"]["discriminator"].strip("'")
        tag = fault["ctx"].get("tag")
        what = f"{key} is missing" if tag is None else f"unknown {key} {tag!r}"
        yield f"{_place(where, text, [*keys, key])}: {what}{_hint(str(tag), choices)}"
    elif isinstance(raised, FaultsBelow):
        for below, sentence in raised.faults:
            yield f"{_place(where, text, [*keys, *below])}: {sentence}"
    else:
        found = repr(fault["input"])
        is_told = fault["type"] != "missing" and len(found) <= SHOWN
        message = fault["msg"].removeprefix("Value error, ")
        yield f"{_place(where, text, keys)}: {message}{f', found {found}' if is_told else ''}"


class FaultsBelow(ValueError):
    """Several faults of one part of a file, each with its place below that part."""

    def __init__(self, faults: Sequence[tuple[tuple[str, ...], str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(below)}: {sentence}" for below, sentence in faults))
        self.faults = faults


def _place(where: str, text: str, keys: list[str]) -> str:
    line = _line_of(text, keys)
    return f"{where}{f':{line}' if line else ''}: {'.'.join(map(_printable, keys)) or 'the file'}"


def _printable(key: str) -> str:
    """The key on one line, whatever stands in the file."""
    return key if key.isprintable() else repr(key)[1:-1]


def _hint(word: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, choices, 1)
    return (f", did you mean {near[0]}?" if near else ".") + (f" Legal: {', '.join(choices)}" if choices else "")


def _walked(model: Any, loc: list[str]) -> tuple[list[str], list[str]]:
    """The keys as the file has them, and the legal ones in the place of the last.

    The library names the chosen member of a union by its tag, which is no key of the file; of a union whose tag is
    wrong, the legal ones are its tags.
    """
    keys: list[str] = []
    legal: list[str] = []
    here = model
    for part in loc:
        tags = _tags(here)
        if part in tags:
            here = tags[part]
            continue
        here, legal = _below(_bare(here), part)
        if part != "[key]":  # how the library says that a key, and not its value, is wrong
            keys.append(part)
    tags = _tags(here)
    return keys, list(tags) or legal


def _below(here: Any, key: str) -> tuple[Any, list[str]]:
    """The type of what stands under a key, and the legal keys beside it (none where any key is)."""
    if isinstance(here, type) and issubclass(here, BaseModel):
        field = here.model_fields.get(key)
        return (field.annotation if field else None), sorted(here.model_fields)
    inner = get_args(here)
    return (inner[-1] if get_origin(here) is dict else inner[0]) if inner else None, []


def _bare(here: Any) -> Any:
    """The type without its constraints and without null."""
    if get_origin(here) is Annotated:
        return _bare(get_args(here)[0])
    if get_origin(here) in (Union, UnionType):
        return _bare(next(member for member in get_args(here) if member is not type(None)))
    return here


def _tags(here: Any) -> dict[str, Any]:
    """The members of a union that one key tells apart, by that key's value; none for every other type."""
    constraints = get_args(here)[1:] if get_origin(here) is Annotated else ()
    key = next((one.discriminator for one in constraints if isinstance(one, FieldInfo) and one.discriminator), None)
    if not isinstance(key, str):
        return {}
    members = get_args(get_args(here)[0])
    return {tag: member for member in members for tag in get_args(member.model_fields[key].annotation)}


def _line_of(text: str, keys: list[str]) -> int | None:
    """The line on which the innermost of the keys stands, walking down the parsed nodes."""
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    line = None
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = _pair(node, key)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            node = node.value[int(key)]
            line = node.start_mark.line + 1
    return line


def _pair(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    """The key and its value, if need be from a part that is merged in (`<<: *part`)."""
    merged: list[yaml.Node] = []
    for name, value in node.value:
        if name.value == key:
            return name, value
        if name.value == "<<":
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
    found = (_pair(part, key) for part in merged if isinstance(part, yaml.MappingNode))
    return next((pair for pair in found if pair is not None), None)
