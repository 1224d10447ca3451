"""The recorded binlogs beside the checkout, and the independent decodes of them.

The files are other projects' test material; where they are absent, tests that need them skip. `dumped_events` reads
what mysqlbinlog and mariadb-binlog printed with `-vv`: one `Dumped` per event, with its row changes as texts.
"""

from __future__ import annotations

import gzip
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from capture.table import Column

SHARED = Path(__file__).resolve().parents[3] / "shared"
BINLOGS = SHARED / "data" / "binlogs"
ABSENT = f"{BINLOGS} is absent"
ABSENT_CELL = "(absent)"

_HEAD = re.compile(
    r"^#(?P<stamp>\d{6} [ \d]\d:\d\d:\d\d) server id (?P<server>\d+)  end_log_pos (?P<end>\d+)"
    r"(?: CRC32 0x(?P<crc>[0-9a-f]{8}))?[ \t]+(?P<text>.*)$"
)
_ROW = re.compile(r"^### (?P<kind>INSERT INTO|UPDATE|DELETE FROM) ")
_CELL = re.compile(r"^###   @(?P<number>\d+)=(?P<value>.*?)(?: /\* (?P<type>.*) \*/)?$")


@dataclass
class Dumped:
    """An event as printed: position, headline, the lines after it, and (kind, WHERE cells, SET cells) of its rows."""

    server_id: int
    end: int
    crc: str | None
    text: str
    lines: list[str] = field(default_factory=list)
    rows: list[tuple[str, list[str], list[str]]] = field(default_factory=list)


def binlog(name: str) -> bytes:
    """A recorded file; skips the test where there is none."""
    path = BINLOGS / name
    if not path.exists():
        pytest.skip(ABSENT)
    return path.read_bytes()


def binlog_names() -> list[str]:
    return sorted(path.name for path in BINLOGS.glob("*.bin"))


def dump_text(name: str) -> str:
    (path,) = (BINLOGS / "expected").glob(f"{name}.*")
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.decode("utf-8", "surrogateescape")


def dumped_events(text: str) -> list[Dumped]:
    """The events of a dump, in order; artificial ones and those it could not print are not among them."""
    events: list[Dumped] = []
    target: list[str] = []
    for line in text.split("\n"):
        head = _HEAD.match(line)
        if head:
            events.append(Dumped(int(head["server"]), int(head["end"]), head["crc"], head["text"].strip()))
        elif not events:
            continue
        elif row := _ROW.match(line):
            events[-1].rows.append((row["kind"].split()[0], [], []))
        elif line == "### WHERE":
            target = events[-1].rows[-1][1]
        elif line == "### SET":
            target = events[-1].rows[-1][2]
        elif cell := _CELL.match(line):
            target += [ABSENT_CELL] * (int(cell["number"]) - 1 - len(target))
            target.append(cell["value"])
        else:
            events[-1].lines.append(line)
    return events


def printed(cell: dict[str, Any] | None, value: str, column: Column | None = None) -> str:
    """A cell as the tools print it; where they have two notations, the one of `value`, the tool's own text.

    `column` tells what the record does not: whether a number is unsigned, and the labels whose numbers are printed.
    """
    if cell is None:
        return "NULL"
    kind = cell["class"]
    if kind == "EmptyObject":
        return ABSENT_CELL if cell["symbol"] == "NONE" else str(cell)
    if kind in {"Integer", "Decimal"}:
        return _number(str(cell["value"]), value, column)
    if kind == "Float":
        return _float(cell["value"], value, column)
    if kind == "Timestamp":
        return f"{cell['timestamp']}{_fraction(cell, value)}"
    if kind == "DateTime":
        return _date_and_time(cell, value)
    if kind == "TextObject":
        return _label(cell, value, column)
    content = cell["value"]
    if kind == "BinaryObject" and value.startswith("["):
        floats = struct.unpack(f"<{len(content) // 4}f", content)
        return "[" + ",".join(f"{one:.5e}" for one in floats) + "]"
    if column is not None and column.data_type == "binary":
        content = content.rstrip(b"\0")  # the binlog has no padding, and the tools restore none
    return _quoted(content.decode("utf-8", "surrogateescape"), value)


_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}


def _number(text: str, value: str, column: Column | None) -> str:
    """A number; the tools print those with the highest bit set twice, as `-1 (255)`; bits they print as `b'01'`."""
    if value.startswith("b'"):
        return f"b'{int(text):0{len(value) - 3}b}'"
    if " (" in value and column is not None:
        negative = int(text) - (1 << _BITS[column.data_type]) if column.unsigned else int(text)
        return f"{negative} ({negative + (1 << _BITS[column.data_type])})"
    return text


def _float(number: float, value: str, column: Column | None) -> str:
    """FLOAT as `%g`, DOUBLE with 20 digits (which no shorter text of it has)."""
    if column is not None and column.data_type == "float":
        return f"{number:g}".ljust(len(value))
    return value if float(value) == number else repr(number)


def _date_and_time(cell: dict[str, Any], value: str) -> str:
    quote = "'" if value.startswith("'") else ""
    if cell["month"] is None:
        if cell["hour"] is None:
            return str(cell["year"])
        sign = "-" if any((cell[name] or 0) < 0 for name in ("hour", "minute", "second", "millis")) else ""
        text = f"{sign}{abs(cell['hour']):02d}:{abs(cell['minute']):02d}:{abs(cell['second']):02d}"
        return f"{quote}{text}{_fraction(cell, value)}{quote}"
    if cell["hour"] is None:
        return f"{quote}{cell['year']:04d}:{cell['month']:02d}:{cell['day']:02d}{quote}"
    date = f"{cell['year']:04d}-{cell['month']:02d}-{cell['day']:02d}"
    return f"{quote}{date} {cell['hour']:02d}:{cell['minute']:02d}:{cell['second']:02d}{_fraction(cell, value)}{quote}"


def _label(cell: dict[str, Any], value: str, column: Column | None) -> str:
    """An ENUM as its number, a SET as its bits, JSON as its text."""
    if cell["type"].upper() == "JSON" or column is None:
        return _quoted(cell["value"], value)
    if cell["type"].upper() == "ENUM":
        return str(column.labels.index(cell["value"]) + 1 if cell["value"] else 0)
    members = sum(1 << column.labels.index(label) for label in cell["value"].split(",") if label)
    return f"b'{members:0{len(value) - 3}b}'"


def _fraction(cell: dict[str, Any], value: str) -> str:
    """Fractional seconds to as many digits as the tool printed."""
    digits = len(value.rstrip("'").partition(".")[2])
    return f".{abs(cell['millis'] or 0):06d}"[: digits + 1] if digits else ""


_C_ESCAPES = {"\\": "\\\\", "'": "\\'", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def _quoted(text: str, value: str) -> str:
    """A text as mysqlbinlog 9.7 (like a C string) or mariadb-binlog (control characters only) quotes it."""
    mariadbs = "'" + "".join(f"\\x{ord(one):02x}" if one < " " else one for one in text) + "'"
    mysqls = "'" + "".join(_C_ESCAPES.get(one, f"\\x{ord(one):02x}" if one < " " else one) for one in text) + "'"
    return mariadbs if mariadbs == value else mysqls
