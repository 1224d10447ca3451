"""`binwire explain TOPIC OFFSET`: a record beside the bytes of the binlog that it was made of.

The record comes from the running server over its control socket, the definition of its table from the catalog, the
events from the source, over a connection of this command's own. Where the source does not have them any more, the rest
is shown and the reason told. Owns the layout: bytes in hexadecimal at the left, what each of them is called and says at
the right; what is the record's own row stands out. Left to others: what is true of a record (`capture/explain.py`).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broker.config_rules import ConfigError
from broker.control import ask
from broker.render import clip, json_line, lines, printable, style_for, value_text, width, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broker.config import Config
    from broker.render import Style

_COLUMNS_MIN, _COLUMNS_MAX = 80, 140
_WIDE_COLUMNS: Final = 110
_BYTES_A_LINE, _BYTES_A_NARROW_LINE = 16, 8
_BYTES_A_PART: Final = 128
"""What is longer is cut in people's output and whole in JSON."""
_OFFSET_DIGITS: Final = 4


class Part(NamedTuple):
    """Bytes `start` to `end` of an event: what they are called, what they say, and for a column of a row image its
    index, which image that is, and the rule by which they became the record's cell.
    """

    start: int
    end: int
    name: str
    value: str
    rule: str = ""
    image: str = ""
    column: int | None = None


class EventView(NamedTuple):
    """An event of the source: where it stands, the bytes that its parts' places count in, and what these are if they
    are not the event's own.
    """

    name: str
    place: str
    data: bytes
    parts: Sequence[Part]
    note: str


class DefinitionView(NamedTuple):
    """The definition a record was made with, since which position, and the statement that made it."""

    meta_version: int
    since: str
    statement: str | None
    table: str
    """As the catalog keeps it, JSON."""


class Explanation(NamedTuple):
    """What is known of a record; `missing` says why there are no events, `verdict` what comparing them came to."""

    origin: str
    position: str
    definition: DefinitionView | None
    events: Sequence[EventView]
    missing: str | None
    verdict: str | None


def run(config: Config, topic: str, offset: int, *, as_json: bool) -> int:
    """Explain one record; the exit status. Raises ConfigError, ControlError, StorageError."""
    index = next((number for number, channel in enumerate(config.channels) if channel.topic_name == topic), None)
    if index is None:
        topics = ", ".join(channel.topic_name for channel in config.channels) or "no channel at all"
        raise ConfigError(f"no channel has the topic {topic!r}; there are {topics}")
    answers = {name: fields for answer in _asked(config, topic, offset) for name, fields in answer.items()}
    value = base64.b64decode(answers["record"]["value"])
    from broker.capturing import explain_record, record_decoder

    decode = record_decoder()
    record = decode(value)
    before = decode(base64.b64decode(answers["before"]["value"])) if "before" in answers else None
    explanation = asyncio.run(explain_record(config, index, offset, record, value, _boundary(record, before)))
    if as_json:
        print(json.dumps(_document(offset, record, explanation), ensure_ascii=False))
        return 0
    terminal = sys.stdout.isatty()
    columns = min(max(shutil.get_terminal_size().columns, _COLUMNS_MIN), _COLUMNS_MAX) if terminal else _COLUMNS_MAX
    style = style_for(terminal=terminal, environment=os.environ)
    print(*shown(offset, record, explanation, style, columns), sep="\n")
    return 0


def _asked(config: Config, topic: str, offset: int) -> Iterator[dict[str, Any]]:
    return ask(config.data_path / "control.sock", {"request": "record", "topic": topic, "offset": offset})


def _boundary(record: Mapping[str, Any], before: Mapping[str, Any] | None) -> int | None:
    """Where the record before ended, if that lies before this one in the same file."""
    if before is None:
        return None
    position, _, number = before["sourcePosition"].partition("@")
    own, _, own_number = record["sourcePosition"].partition("@")
    return int(position) if number == own_number and int(position) < int(own) else None


# --- as JSON --------------------------------------------------------------------------------------------------------


def _document(offset: int, record: dict[str, Any], explanation: Explanation) -> dict[str, Any]:
    definition = explanation.definition
    return {
        "record": json.loads(json_line(offset, record)),
        "origin": explanation.origin,
        "position": explanation.position,
        "definition": None
        if definition is None
        else {
            "meta_version": definition.meta_version,
            "since": definition.since,
            "statement": definition.statement,
            "table": json.loads(definition.table),
        },
        "events": [_event_document(event, record) for event in explanation.events],
        "missing": explanation.missing,
        "verdict": explanation.verdict,
    }


def _event_document(event: EventView, record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": event.name,
        "place": event.place,
        "note": event.note or None,
        "bytes": event.data.hex(),
        "parts": [_part_document(part, record) for part in event.parts],
    }


def _part_document(part: Part, record: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {"start": part.start, "end": part.end, "name": part.name, "means": part.value or None}
    if part.column is not None:
        cell = _cell(part, record)
        document |= {"image": part.image, "rule": part.rule, "cell": cell and _plain(cell)}
    return document


def _plain(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A cell without bytes, which JSON does not have."""
    return {name: {"hex": found.hex()} if isinstance(found, bytes) else found for name, found in cell.items()}


def _cell(part: Part, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The record's cell that a part became; None for NULL."""
    assert part.column is not None
    images = record["beforeImages" if part.image == "before" else "afterImages"]
    found: Mapping[str, Any] | None = images[part.column]
    return found


# --- for people -----------------------------------------------------------------------------------------------------


def shown(offset: int, record: dict[str, Any], explanation: Explanation, style: Style, columns: int) -> Iterator[str]:
    """The lines that explain a record, for a terminal of `columns`."""
    yield from lines(offset, record, style)
    yield ""
    for name, text in _facts(record, explanation):
        first, *more = wrapped(printable(text), columns - 15)
        yield f"  {style.dim}{name:<12}{style.end} {first}"
        yield from (f"{'':15}{line}" for line in more)
    for event in explanation.events:
        yield ""
        facts = [event.place, f"{len(event.data):,} bytes", *([event.note] if event.note else [])]
        yield f"{style.bold}{event.name}{style.end}  {style.dim}{'  '.join(facts)}{style.end}"
        names = min(max(width(printable(part.name)) for part in event.parts), columns // 5)
        ruled = set[int | None]()
        for part in event.parts:
            known = part.column in ruled
            ruled.add(part.column)
            yield from _part(part._replace(rule="" if known else part.rule), event.data, record, names, style, columns)


def _facts(record: Mapping[str, Any], explanation: Explanation) -> Iterator[tuple[str, str]]:
    yield "made of", explanation.origin
    yield "ends at", f"{explanation.position} (sourcePosition {record['sourcePosition']})"
    if record["safeSourcePosition"] != record["sourcePosition"]:
        yield "begins at", f"where the rows of its statement begin (safeSourcePosition {record['safeSourcePosition']})"
    yield "source time", f"{datetime.fromtimestamp(record['sourceTimestamp'], UTC):%Y-%m-%d %H:%M:%S} UTC"
    if (gtid := record["tags"].get("GTID")) is not None:
        yield "transaction", gtid
    definition = explanation.definition
    if definition is not None:
        yield "definition", f"metaVersion {definition.meta_version}, since {definition.since}"
        if definition.statement is not None:
            yield "made by", " ".join(definition.statement.split())
    if explanation.missing is not None:
        yield "no bytes", explanation.missing
    if explanation.verdict is not None:
        yield "proof", explanation.verdict


def _part(part: Part, data: bytes, record: Mapping[str, Any], names: int, style: Style, columns: int) -> Iterator[str]:
    """A part's bytes beside its name and what it says; what does not fit beside them stands below."""
    a_line = _BYTES_A_LINE if columns >= _WIDE_COLUMNS else _BYTES_A_NARROW_LINE
    byte_columns = a_line * 3 - 1
    hexadecimal = list(_hexadecimal(data[part.start : part.end], a_line)) or ["–"]
    said = list(_said(part, record, style, max(columns - _OFFSET_DIGITS - byte_columns - names - 8, 20)))
    colour = (style.before if part.image == "before" else style.insert) if part.column is not None else ""
    for number in range(max(len(hexadecimal), len(said))):
        place = f"{part.start + number * a_line:0{_OFFSET_DIGITS}x}" if number < len(hexadecimal) else ""
        shown_bytes = hexadecimal[number] if number < len(hexadecimal) else ""
        name = clip(printable(part.name), names) if number == 0 else ""
        text = said[number] if number < len(said) else ""
        line = f"  {style.dim}{place:<{_OFFSET_DIGITS}}{style.end}  {colour}{shown_bytes}{style.end if colour else ''}"
        if name or text:
            gap = " " * (byte_columns - width(shown_bytes))
            line += f"{gap}  {style.name}{name}{style.end}" + (
                " " * (names - width(name)) + f"  {text}" if text else ""
            )
        yield line


def _hexadecimal(data: bytes, a_line: int) -> Iterator[str]:
    kept = data[:_BYTES_A_PART]
    for start in range(0, len(kept), a_line):
        yield kept[start : start + a_line].hex(" ")
    if len(kept) < len(data):
        yield f"… {len(data) - len(kept):,} more bytes"


def _said(part: Part, record: Mapping[str, Any], style: Style, columns: int) -> Iterator[str]:
    if part.column is not None:
        value = clip(printable(value_text(_cell(part, record))), columns)
        yield f"{style.bold}{value}{style.end}"
    if part.value:
        yield from wrapped(printable(part.value), columns)
    if part.rule:
        yield from (f"{style.dim}{line}{style.end}" for line in wrapped(printable(part.rule), columns))
