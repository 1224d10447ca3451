"""Decoded records as people read them: before and after side by side, what changed marked; or one JSON object a line.

Input is a record as `capture/avro.py` decodes it, a cell being None or a dict with its class. A change is marked twice,
by colour and by a sign, so that neither a monochrome terminal nor a colour-blind reader misses it. Text is laid out by
display width: East Asian wide characters take two columns, combining marks none. What a stranger put into a row is
shown, never obeyed: control characters and bidirectional overrides are escaped before they reach a terminal.

Left to others: where records come from (`tail.py`, `demo.py`) and how their bytes are decoded.
"""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct

from broker.charsets import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FACT_NAME_COLUMNS: Final = 9
_SENTENCE_COLUMNS_MIN: Final = 40  # a narrower terminal breaks the lines itself
VALUE_COLUMNS_MAX: Final = 48  # terminal columns a value may take in the side-by-side view
CHANGED_MARK: Final = "≠"
NULL: Final = "NULL"
ABSENT: Final = "(absent)"  # the row image has no such column; never the text of a value that is one


class Shown(NamedTuple):
    """One column of a changed row: `None` for an image the record does not carry."""

    name: str
    before: str | None
    after: str | None

    @property
    def changed(self) -> bool:
        known = self.before not in (None, ABSENT) and self.after not in (None, ABSENT)
        return known and self.before != self.after


class Style(Struct, frozen=True):
    """The terminal's colours; the plain style has none."""

    dim: str = ""
    bold: str = ""
    before: str = ""
    after: str = ""
    name: str = ""
    insert: str = ""
    update: str = ""
    delete: str = ""
    ddl: str = ""
    end: str = ""


PLAIN: Final = Style()
COLOURED: Final = Style(
    dim="\x1b[2m",
    bold="\x1b[1m",
    before="\x1b[31m",
    after="\x1b[1;32m",
    name="\x1b[36m",
    insert="\x1b[1;32m",
    update="\x1b[1;33m",
    delete="\x1b[1;31m",
    ddl="\x1b[1;35m",
    end="\x1b[0m",
)


def style_for(*, terminal: bool, environment: Mapping[str, str]) -> Style:
    """Colours on a terminal, unless `NO_COLOR` is set to anything or the terminal is dumb."""
    wanted = terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    return COLOURED if wanted else PLAIN


# --- width and safety -----------------------------------------------------------------------------------------------


def width(text: str) -> int:
    """Columns a terminal uses for this text."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def pad(text: str, columns: int) -> str:
    """`text` filled with spaces to this display width."""
    return text + " " * max(0, columns - width(text))


def clip(text: str, columns: int = VALUE_COLUMNS_MAX) -> str:
    """`text` cut to this display width, with an ellipsis in place of what is missing."""
    if width(text) <= columns:
        return text
    used, kept = 1, []
    for character in text:
        used += _character_width(character)
        if used > columns:
            break
        kept.append(character)
    return "".join(kept) + "…"


def wrapped(text: str, columns: int) -> Iterator[str]:
    """`text` in lines of at most this display width, broken at spaces; a word that is wider has a line of its own."""
    line = ""
    for word in text.split(" "):
        if line and width(line) + 1 + width(word) > columns:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def printable(text: str) -> str:
    """`text` with everything a terminal would act upon written as an escape: controls, line ends, text direction."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_safe(character) else _escaped(character) for character in text)


def _is_safe(character: str) -> bool:
    if character in "\u200c\u200d":  # joiners inside words and emoji
        return True
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


# --- values ---------------------------------------------------------------------------------------------------------


def value_text(cell: Mapping[str, Any] | None) -> str:
    """One image cell as text: NULL, text, number, time, or bytes in one of MySQL's notations for them."""
    plain = plain_value(cell)
    if cell is None or plain is None:
        return NULL
    if cell["class"] == "EmptyObject":
        return ABSENT
    if not isinstance(plain, bytes):
        return str(plain)
    return (_binary_text(plain) if cell["class"] == "BinaryObject" else None) or "0x" + plain.hex()


def _binary_text(content: bytes) -> str | None:
    """Bytes of a column without character set that a terminal can show as text, in quotes."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return f"_binary '{text}'" if text == printable(text) and "'" not in text else None


def plain_value(cell: Mapping[str, Any] | None) -> str | int | float | bytes | None:
    """One image cell as a plain Python value. Bytes stay bytes, also text that is not valid in its character set."""
    return None if cell is None else _PLAIN_VALUES[cell["class"]](cell)


def _decoded(content: bytes, charset: str) -> str | bytes:
    try:
        return decode(content, charset)
    except (KeyError, UnicodeDecodeError):
        return content


def _timestamp_text(seconds: int, microseconds: int) -> str:
    if seconds == 0 and microseconds == 0:
        return "0000-00-00 00:00:00 UTC"
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}{_fraction(microseconds)} UTC"


def _datetime_text(value: Mapping[str, int | None]) -> str:
    """DATE, TIME, DATETIME or YEAR, told apart by which parts are there; every part of a negative TIME is negative."""
    year, month, day, hour, minute, second, fraction = (value[part] for part in _DATETIME_PARTS)
    texts = []
    if year is not None:
        texts.append(f"{year:04d}" if month is None else f"{year:04d}-{month:02d}-{day or 0:02d}")
    if hour is not None:
        parts = [hour, minute or 0, second or 0, fraction or 0]
        sign = "-" if min(parts) < 0 else ""
        hour, minute, second, fraction = map(abs, parts)
        texts.append(f"{sign}{hour:02d}:{minute:02d}:{second:02d}{_fraction(fraction)}")
    return " ".join(texts)


_DATETIME_PARTS: Final = ("year", "month", "day", "hour", "minute", "second", "millis")


def _fraction(microseconds: int) -> str:
    return f".{microseconds:06d}" if microseconds else ""


# The classes of the image union, in its order.
_PLAIN_VALUES: Final[Mapping[str, Callable[[Mapping[str, Any]], str | int | float | bytes]]] = {
    "Integer": lambda cell: int(cell["value"]),
    "Character": lambda cell: _decoded(cell["value"], cell["charset"]),
    "Decimal": lambda cell: str(cell["value"]),
    "Float": lambda cell: float(cell["value"]),
    "Timestamp": lambda cell: _timestamp_text(cell["timestamp"], cell["millis"]),
    "DateTime": _datetime_text,
    "TimestampWithTimeZone": lambda cell: f"{_datetime_text(cell['value'])} {cell['timezone']}",
    "BinaryGeometry": lambda cell: bytes(cell["value"]),
    "TextGeometry": lambda cell: str(cell["value"]),
    "BinaryObject": lambda cell: bytes(cell["value"]),
    "TextObject": lambda cell: str(cell["value"]),
    "EmptyObject": lambda cell: str(cell["symbol"]),
}


# --- rows ---------------------------------------------------------------------------------------------------------


def columns_of(record: Mapping[str, Any]) -> list[Shown]:
    """The columns of a row change in table order, with the images the record carries; empty for other records."""
    fields = record["fields"]
    if not isinstance(fields, list):
        return []
    before = record["beforeImages"] if isinstance(record["beforeImages"], list) else [_ABSENT] * len(fields)
    after = record["afterImages"] if isinstance(record["afterImages"], list) else [_ABSENT] * len(fields)
    return [Shown(field["name"], _cell(old), _cell(new)) for field, old, new in zip(fields, before, after, strict=True)]


_ABSENT: Final = object()


def _cell(value: Any) -> str | None:
    return None if value is _ABSENT else value_text(value)


def ddl_text(record: Mapping[str, Any]) -> str:
    """The statement of a DDL record."""
    statement = record["afterImages"]
    return statement if isinstance(statement, str) else ""


# --- for people -----------------------------------------------------------------------------------------------------


def lines(offset: int, record: Mapping[str, Any], style: Style) -> Iterator[str]:
    """The lines that show one record: a heading, and for a row change one line for each column."""
    operation = record["operation"]
    colour = getattr(style, operation.lower(), style.dim) if operation in _COLOURED_OPERATIONS else style.dim
    moment = f"{datetime.fromtimestamp(record['sourceTimestamp'], UTC):%H:%M:%S}"
    target = printable((record["objectName"] or "").replace("\\u002E", "."))
    place = f"{style.dim}{record['sourcePosition']}  offset {offset}{style.end}"
    yield f"{style.dim}{moment}{style.end}  {colour}{operation:<9}{style.end}  {style.bold}{target}{style.end}  {place}"
    if operation == "DDL":
        yield f"          {printable(ddl_text(record))}"
    shown = columns_of(record)
    if shown:
        yield from _side_by_side(shown, style)


_COLOURED_OPERATIONS: Final = frozenset(("INSERT", "UPDATE", "DELETE", "DDL"))


def _side_by_side(shown: Sequence[Shown], style: Style) -> Iterator[str]:
    cells = [
        (printable(column.name), _shown_cell(column.before), _shown_cell(column.after), column.changed)
        for column in shown
    ]
    name_columns = max(len("column"), *(width(cell[0]) for cell in cells))
    before_columns = max(len("before"), *(width(cell[1]) for cell in cells))
    heading = f"{pad('column', name_columns)}  {pad('before', before_columns)}    after"
    yield f"          {style.dim}{heading}{style.end}"
    for name, before, after, changed in cells:
        mark = CHANGED_MARK if changed else " "
        old = pad(before, before_columns)
        old, new = (f"{style.before}{old}{style.end}", f"{style.after}{after}{style.end}") if changed else (old, after)
        yield f"          {style.name}{pad(name, name_columns)}{style.end}  {old}  {mark} {new}".rstrip()


def _shown_cell(text: str | None) -> str:
    return "" if text is None else clip(printable(text))


# --- for programs ---------------------------------------------------------------------------------------------------


def json_line(offset: int, record: Mapping[str, Any]) -> str:
    """One record as a line of JSON: images by column name, bytes as `{"hex": …}`, absent as `{"empty": …}`."""
    document: dict[str, Any] = {
        "offset": offset,
        "id": record["id"],
        "operation": record["operation"],
        "objectName": record["objectName"],
        "sourceTimestamp": record["sourceTimestamp"],
        "sourcePosition": record["sourcePosition"],
        "safeSourcePosition": record["safeSourcePosition"],
        "source": record["source"],
        "tags": record["tags"],
    }
    if record["operation"] == "DDL":
        document["ddl"] = ddl_text(record)
    if isinstance(record["fields"], list):
        names = [field["name"] for field in record["fields"]]
        for key, images in (("before", record["beforeImages"]), ("after", record["afterImages"])):
            if isinstance(images, list):
                document[key] = {name: _json_value(value) for name, value in zip(names, images, strict=True)}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _json_value(value: Any) -> Any:
    plain = plain_value(value)
    if value is not None and value["class"] == "EmptyObject":
        return {"empty": plain}
    return {"hex": plain.hex()} if isinstance(plain, bytes) else plain


# --- tables ---------------------------------------------------------------------------------------------------------


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], style: Style = PLAIN) -> Iterator[str]:
    """A table with aligned columns; the last column is not padded."""
    texts = [[printable(cell) for cell in row] for row in rows]
    widths = [max(width(cell) for cell in column) for column in zip(heading, *texts, strict=True)]
    for number, row in enumerate([list(heading), *texts]):
        line = "  ".join(pad(cell, columns) for cell, columns in zip(row, widths, strict=True)).rstrip()
        yield f"{style.dim}{line}{style.end}" if number == 0 else line


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number of things."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def fact(name: str, text: str, style: Style, columns: int | None = None) -> Iterator[str]:
    """A line with a fact and its name, and more lines where it is a sentence for a terminal of `columns`."""
    taken = len("  ") + FACT_NAME_COLUMNS + len(" ")
    first, *more = [text] if columns is None else wrapped(text, max(_SENTENCE_COLUMNS_MIN, columns - taken))
    yield f"  {style.dim}{name:<{FACT_NAME_COLUMNS}}{style.end} {first}"
    yield from (f"{'':<{taken}}{line}" for line in more)
