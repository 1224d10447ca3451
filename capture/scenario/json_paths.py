"""Parts of JSON documents: paths such as `$.a."b c"[0]`, read and changed."""

from __future__ import annotations

import copy
import json
import re
from decimal import Decimal
from typing import Any, Final

from capture.scenario.comparing import Json, Value, as_text
from capture.scenario.refusal import StatementRefused

_LEG: Final = re.compile(r'\s*(?:\.\s*(?:([A-Za-z_$][\w$]*)|("(?:[^"\\]|\\.)*"))|\[\s*(\d+)\s*\])')
_MISSING: Final = object()


def document_of(text: str) -> Json:
    """The document of JSON text."""
    try:
        return Json(json.loads(text, parse_int=_integer, parse_constant=_no_number))
    except (ValueError, RecursionError) as error:
        raise StatementRefused(f"{text[:60]!r} is no JSON document: {error}") from None


def is_document(value: Value) -> bool:
    """Whether a value is a JSON document, or the text of one."""
    if isinstance(value, Json):
        return True
    if not isinstance(value, str):
        raise StatementRefused("JSON_VALID is played for texts and documents; write its value")
    try:
        document_of(value)
    except StatementRefused:
        return False
    return True


def _integer(digits: str) -> int | float:
    value = int(digits) if len(digits) <= 20 else None
    return value if value is not None and -1 << 63 <= value < 1 << 64 else float(digits)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def part_of_document(value: Value) -> Any:
    """A value as a part of a document."""
    if isinstance(value, Json):
        return copy.deepcopy(value.document)
    if value is None or isinstance(value, bool | int | float | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, Decimal):
        return value
    raise StatementRefused(f"a {type(value).__name__} within a JSON document is not played; write it as a text")


def are_same_documents(first: Any, second: Any) -> bool:
    """Whether an UPDATE takes one for the other: 1 and 1.0 are the same (sql/field.cc `Field_json::cmp_binary`)."""
    if isinstance(first, dict) and isinstance(second, dict):
        same_keys = first.keys() == second.keys()
        return same_keys and all(are_same_documents(part, second[key]) for key, part in first.items())
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(are_same_documents, first, second))
    return isinstance(first, bool) is isinstance(second, bool) and bool(first == second)


def extracted(value: Value, path: Value) -> Value:
    """JSON_EXTRACT of one path: a part, or NULL where there is none."""
    if value is None or path is None:
        return None
    part = _document(value)
    for leg in _legs(as_text(path)):
        part = _step(part, leg)
        if part is _MISSING:
            return None
    return Json(part)


def unquoted(value: Value) -> Value:
    """JSON_UNQUOTE: a string without its quotes, anything else as text."""
    if not isinstance(value, Json):
        return value if value is None else as_text(value)
    document = value.document
    if isinstance(document, str):
        return document
    if document is None or isinstance(document, bool):
        return json.dumps(document)
    if isinstance(document, int):
        return str(document)
    if isinstance(document, Decimal):
        return as_text(document)
    if isinstance(document, float) and "e" not in repr(document):
        return repr(document)
    raise StatementRefused("an array or object is not made a text here; take a part of it")


def changed(value: Value, path: Value, part: Value, *, replaces: bool, adds: bool) -> Value:
    """JSON_SET, JSON_INSERT and JSON_REPLACE of one path."""
    if value is None or path is None:
        return None
    legs = _legs(as_text(path))
    if not legs:
        return Json(part_of_document(part)) if replaces else value
    *way, last = legs
    document = copy.deepcopy(_document(value))
    holder = document
    for leg in way:
        holder = _step(holder, leg)
    _set(holder, last, part_of_document(part), replaces=replaces, adds=adds)
    return Json(document)


def _set(holder: Any, leg: str | int, part: Any, *, replaces: bool, adds: bool) -> None:
    exists = _step(holder, leg) is not _MISSING
    if not (replaces if exists else adds):
        return
    if isinstance(holder, dict) and isinstance(leg, str):
        holder[leg] = part
    elif isinstance(holder, list) and isinstance(leg, int):
        holder[leg : leg + 1] = [part]
    elif isinstance(leg, int) and holder is not _MISSING:
        raise StatementRefused("a path that makes an array of what is none is not played")


def removed(value: Value, path: Value) -> Value:
    """JSON_REMOVE of one path."""
    if value is None or path is None:
        return None
    legs = _legs(as_text(path))
    if not legs:
        raise StatementRefused("JSON_REMOVE of a whole document is an error of a server")
    *way, last = legs
    document = copy.deepcopy(_document(value))
    holder = document
    for leg in way:
        holder = _step(holder, leg)
    if _step(holder, last) is not _MISSING and isinstance(holder, dict | list):
        del holder[last]  # type: ignore[arg-type]
    return Json(document)


def _document(value: Value) -> Any:
    return value.document if isinstance(value, Json) else document_of(as_text(value)).document


def _step(part: Any, leg: str | int) -> Any:
    if isinstance(part, dict) and isinstance(leg, str):
        return part.get(leg, _MISSING)
    if isinstance(part, list) and isinstance(leg, int):
        return part[leg] if leg < len(part) else _MISSING
    if leg == 0 and isinstance(leg, int) and part is not _MISSING:
        return part  # what is no array is taken for one with itself in it
    return _MISSING


def _legs(path: str) -> list[str | int]:
    legs: list[str | int] = []
    text = path.strip()
    if not text.startswith("$"):
        raise StatementRefused(f"{path!r} is no JSON path; it begins with $")
    position = 1
    while position < len(text):
        found = _LEG.match(text, position)
        if found is None:
            raise StatementRefused(f"the JSON path {path!r} is not played; names and numbers of elements are")
        name, quoted, number = found.groups()
        legs.append(name if name is not None else json.loads(quoted) if quoted is not None else int(number))
        position = found.end()
    return legs
