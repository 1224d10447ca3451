"""The recorded binlogs beside the checkout, and the independent decodes of them.

The files are other projects' test material; where they are absent, tests that need them skip. `dumped_events` reads
what mysqlbinlog and mariadb-binlog printed with `-vv`: one `Dumped` per event, with its row changes as texts.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
BINLOGS = SHARED / "data" / "binlogs"
ABSENT = f"{BINLOGS} is absent"

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
            target.append(cell["value"])
        else:
            events[-1].lines.append(line)
    return events


def printed(cell: dict[str, Any] | None, value: str) -> str:
    """A cell as the tools print it; where they have two notations, the one of `value`, the tool's own text."""
    if cell is None:
        return "NULL"
    if cell["class"] in {"Integer", "Decimal"}:
        return str(cell["value"])
    if cell["class"] == "Timestamp":
        return f"{cell['timestamp']}{_fraction(cell, value)}"
    if cell["class"] == "DateTime":
        date = f"{cell['year']:04d}-{cell['month']:02d}-{cell['day']:02d}"
        text = f"{date} {cell['hour']:02d}:{cell['minute']:02d}:{cell['second']:02d}{_fraction(cell, value)}"
        return f"'{text}'" if value.startswith("'") else text
    return _quoted(cell["value"].decode("utf-8", "surrogateescape"), value)


def _fraction(cell: dict[str, Any], value: str) -> str:
    """Fractional seconds to as many digits as the tool printed."""
    digits = len(value.rstrip("'").partition(".")[2])
    return f".{cell['millis']:06d}"[: digits + 1] if digits else ""


_C_ESCAPES = {"\\": "\\\\", "'": "\\'", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def _quoted(text: str, value: str) -> str:
    """A text as mysqlbinlog 9.7 (like a C string) or mariadb-binlog (control characters only) quotes it."""
    mariadbs = "'" + "".join(f"\\x{ord(one):02x}" if one < " " else one for one in text) + "'"
    mysqls = "'" + "".join(_C_ESCAPES.get(one, f"\\x{ord(one):02x}" if one < " " else one) for one in text) + "'"
    return mariadbs if mariadbs == value else mysqls
