"""Scenarios: `.sql` files with the records that a channel must make of them beside the statements.

One file of ``tests/scenarios/capture`` is one scenario. Its database is ``scenario``, empty when it begins; there is a
table ``elsewhere.t (id)`` that is not tracked. A statement ends with `;` at a line's end. What it must give stands in
the comment lines behind it, one record a line::

    UPDATE t SET name = 'b' WHERE id = 1;
    -- => UPDATE t (id=1, name='a') -> (id=1, name='b')

Row changes of one statement are one transaction, and need no BEGIN and COMMIT of their own; ``COMMIT`` between them
says that another transaction begins, ``BEGIN COMMIT`` alone that one is empty. A statement without such lines gives no
record. Names of servers (`mysql56`) or of flavours (`mysql`, `mariadb`) before the arrow hold a line to those; `!`
before a name, to all others. Other lines that mean something:

    -- only: mysql97           the next statement, with its records, is for these servers
    -- error: 1062             the next statement fails with this code
    -- session: b              statements go to the connection of this name from here on (`a` at first)
    -- start                   the channel starts here, not before the first statement
    -- restart                 the channel is stopped and started again
    -- crash                   the server is killed and started again
    -- stops: sentence         behind the last statement: the channel stands still, and this is part of the reason
    -- for: mysql97            the whole scenario is for these servers
    -- objects: a b            what is tracked, if it is not `scenario`
    -- data: ddl               what is sent, if it is not `dml ddl`
    -- channel: key=value …    further settings of the channel
    -- server: --option …      the scenario needs a server of its own with these options
    -- show: cells keys        beside values also classes and sizes (cells), dataTypeNumbers (numbers), keys (keys)

Cells: ``1`` Integer, ``dec 1.50`` Decimal, ``float 0.5`` Float, ``'a'`` Character (``_gbk'a'`` if not utf8mb4, ``x''``
if its bytes are no text of its charset), ``ts 1.000000`` Timestamp, ``dt`` and the parts that are set: DateTime,
``JSON '{}'`` TextObject, ``BLOB x'00'`` BinaryObject, ``WKB x'…'`` BinaryGeometry, ``absent NONE`` EmptyObject, NULL.
Of a value longer than 160 characters stand the first 20, its length and its CRC-32.
Reading and rendering are here; running is in ``test_scenarios.py``.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.tools.server_builds import KINDS
from tests.tools.workplace import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

FOLDER = CHECKOUT / "tests" / "scenarios" / "capture"
DATABASE, ELSEWHERE, LAST = "scenario", "elsewhere", "scenario_end"

_DIRECTIVE = re.compile(
    r"-- (only|error|session|start|restart|crash|stops|for|objects|data|channel|server|show)(?:: (.*))?$"
)
_UNKNOWN = re.compile(r"-- [a-z]+:( |$)")
_EXPECTED = re.compile(r"-- (?:([!a-z0-9 ]+) )?=> (.*)$")
_SHOWN_MAX, _SHOWN_OF_LONG = 160, 20
_ROW_OPERATIONS = ("INSERT", "UPDATE", "DELETE")
_CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "latin1": "cp1252", "ucs2": "utf-16-be"}
_CODECS |= {"utf16": "utf-16-be", "utf32": "utf-32-be", "koi8r": "koi8-r"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing to do: SQL for a session, or with `sql` empty an `action` on the channel or the server."""

    sql: str
    session: str
    error: int | None
    action: str
    expected: tuple[str, ...]


@dataclass(slots=True)
class Scenario:
    """A file as one kind of server sees it."""

    objects: tuple[str, ...] = (DATABASE,)
    data: frozenset[str] = frozenset({"dml", "ddl"})
    settings: dict[str, Any] = field(default_factory=dict)
    server_options: tuple[str, ...] = ()
    shown: frozenset[str] = frozenset()
    stops: str | None = None
    statements: list[Statement] = field(default_factory=list)

    @property
    def expected(self) -> list[str]:
        """All records, in the order of the stream."""
        return [line for statement in self.statements for line in statement.expected]


def servers_of(path: Path) -> list[str]:
    """The kinds of server that a scenario is for."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("-- for: "):
            return [kind for kind in KINDS if _holds_for(line.removeprefix("-- for: "), kind)]
    return list(KINDS)


def read(path: Path, kind: str) -> Scenario:
    """The scenario of a file for one kind of server."""
    return _Reader(kind).read(path.read_text(encoding="utf-8"))


def _holds_for(names: str | None, kind: str) -> bool:
    if not names:
        return True
    own = {kind, KINDS[kind].flavour}
    assert {name.lstrip("!") for name in names.split()} <= {*KINDS, "mysql", "mariadb"}, f"{names!r} names no server"
    wanted = [name for name in names.split() if not name.startswith("!")]
    return (not wanted or not own.isdisjoint(wanted)) and not any(f"!{name}" in names.split() for name in own)


class _Reader:
    """Line by line: directives set what holds for the next statement, arrows add to the last one."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._scenario = Scenario()
        self._session, self._only = "a", ""
        self._error: int | None = None
        self._sql: list[str] = []
        self._last: tuple[str, str, int | None, str] | None = None
        self._expected: list[str] = []

    def read(self, text: str) -> Scenario:
        for line in text.splitlines():
            self._line(line)
        assert not self._sql, f"the last statement has no end: {self._sql}"
        self._keep()
        return self._scenario

    def _line(self, line: str) -> None:
        expected, directive = _EXPECTED.match(line), _DIRECTIVE.match(line)
        if expected:
            assert self._last is not None, f"no statement gives {line!r}"
            if _holds_for(expected[1], self._kind):
                self._expected.append(expected[2])
        elif directive:
            self._directive(directive[1], directive[2] or "")
        elif line and not line.startswith("--"):
            self._sql.append(line)
            if line.endswith(";"):
                self._next("\n".join(self._sql).removesuffix(";"), "")
                self._sql.clear()
        else:
            assert not (self._sql and line), f"a comment inside the statement {self._sql}"
            assert not _UNKNOWN.match(line), f"{line!r} is no line that means something"

    def _directive(self, name: str, value: str) -> None:
        scenario = self._scenario
        match name:
            case "only":
                self._only = value
            case "error":
                self._error = int(value)
            case "session":
                self._session = value
            case "start" | "restart" | "crash":
                self._next("", name)
            case "stops":
                scenario.stops = value
            case "objects":
                scenario.objects = tuple(value.split())
            case "data":
                scenario.data = frozenset(value.split())
            case "channel":
                scenario.settings = dict(setting.split("=", 1) for setting in value.split())
            case "server":
                scenario.server_options = tuple(value.split())
            case "show":
                scenario.shown = frozenset(value.split())

    def _next(self, sql: str, action: str) -> None:
        self._keep()
        if _holds_for(self._only, self._kind):
            self._last = sql, self._session, self._error, action
        else:
            self._last = "", self._session, None, "skip"
        self._error, self._only = None, ""

    def _keep(self) -> None:
        if self._last is not None and self._last[3] != "skip":
            sql, session, error, action = self._last
            records = tuple(_with_borders(self._expected))
            self._scenario.statements.append(Statement(sql, session, error, action, records))
        self._last = None
        self._expected.clear()


def _with_borders(lines: Iterable[str]) -> list[str]:
    """The lines of one statement with the BEGIN and COMMIT around each transaction."""
    found: list[str] = []
    is_open = False
    for line in lines:
        if line.split(" ", 1)[0] in _ROW_OPERATIONS:
            if not is_open:
                found.append("BEGIN")
                is_open = True
            found.append(line)
        elif line == "BEGIN COMMIT":
            found += ["COMMIT"] * is_open + ["BEGIN", "COMMIT"]
            is_open = False
        else:
            found += ["COMMIT"] * is_open + [line] * (line != "COMMIT")
            is_open = False
    return found + ["COMMIT"] * is_open


# ---- records as lines ----


def rendered(record: dict[str, Any], shown: frozenset[str] = frozenset()) -> str:
    """A decoded record (`tests.decoded.decode_value`) as a scenario writes it."""
    operation, name = record["operation"], record["objectName"]
    if operation == "DDL":
        text = record["afterImages"].replace("\n", "\\n")
        return f"DDL {text}" if name == DATABASE else f"DDL in {name}: {text}"
    if operation not in _ROW_OPERATIONS:
        return str(operation)
    before, after = (_image(record["fields"], record[side], shown) for side in ("beforeImages", "afterImages"))
    images = " -> ".join(image for image in (before, after) if image is not None)
    keys = f" keys {record['tags'].get('pk_uk_info', 'none')}" if "keys" in shown else ""
    return f"{operation} {name.removeprefix(DATABASE + '.')} {images}{keys}"


def _image(fields: Sequence[dict[str, Any]], image: Sequence[Any] | None, shown: frozenset[str]) -> str | None:
    if image is None:
        return None
    cells = []
    for one, cell in zip(fields, image, strict=True):
        number = f"#{one['dataTypeNumber']}" if "numbers" in shown else ""
        cells.append(f"{one['name']}{number}={_cell(cell, is_full='cells' in shown)}")
    return f"({', '.join(cells)})"


def _cell(cell: Any, *, is_full: bool) -> str:
    if cell is None:
        return "NULL"
    name, content = cell if isinstance(cell, tuple) else ("EmptyObject", cell)  # an enum may come without its name
    name = name.rpartition(".")[2]
    text = _CELLS[name](content)
    if not is_full:
        return text
    sizes = [str(content[key]) for key in ("precision", "scale") if key in content] if content != "NONE" else []
    return f"{name}{'/' if sizes else ''}{'/'.join(sizes)} {text}"


def _character(content: dict[str, Any]) -> str:
    charset, value = content["charset"], content["value"]
    try:
        text = _quoted(value.decode(_CODECS.get(charset, charset)))
    except (LookupError, UnicodeDecodeError):
        text = _hexadecimal(value)
    return text if charset == "utf8mb4" else f"_{charset}{text}"


def _quoted(text: str) -> str:
    return _shortened("".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text), len(text))


def _hexadecimal(value: bytes) -> str:
    return "x" + _shortened(value.hex(), len(value))


def _shortened(text: str, length: int) -> str:
    if len(text) <= _SHOWN_MAX:
        return f"'{text}'"
    return f"'{text[:_SHOWN_OF_LONG]}…'[{length}, {zlib.crc32(text.encode()):08x}]"


def _date_time(content: dict[str, Any]) -> str:
    """Date and time as far as their parts are set; a negative time has every part negative."""
    parts = [content[name] for name in ("year", "month", "day", "hour", "minute", "second", "millis")]
    forms = (("", 4), ("-", 2), ("-", 2), (" ", 2), (":", 2), (":", 2), (".", 6))
    texts = [
        f"{mark}{'-' * (part < 0)}{abs(part):0{digits}d}"
        for (mark, digits), part in zip(forms, parts, strict=True)
        if part is not None
    ]
    return f"dt {''.join(texts).lstrip()}"


_CELLS = {
    "Integer": lambda content: str(content["value"]),
    "Decimal": lambda content: f"dec {content['value']}",
    "Float": lambda content: f"float {content['value']!r}",
    "Character": _character,
    "TextObject": lambda content: f"{content['type']} {_quoted(content['value'])}",
    "BinaryObject": lambda content: f"{content['type']} {_hexadecimal(content['value'])}",
    "BinaryGeometry": lambda content: f"{content['type']} {_hexadecimal(content['value'])}",
    "Timestamp": lambda content: f"ts {content['timestamp']}.{content['millis']:06d}",
    "DateTime": _date_time,
    "EmptyObject": lambda content: f"absent {content}",
}
