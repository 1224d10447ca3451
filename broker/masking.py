"""Masks: values of named columns that a recording must not have, put out of every record before it is written.

    shop.users.phone          the same as =hash
    shop.users.phone=hash     another value of the same type: `permuting.py`
    shop.users.note=null      NULL
    shop.users.note=text      the text `masked`, or `=text:` and another one, for columns of text and JSON

NULL stays NULL. A table's masks hold for its helper tables in a schema change of gh-ost or pt-osc, too. What could let
a value through ends the recording with one sentence: a column that the table does not have, a mask that met no table, a
table that was renamed or got another's rows, a type that a mask is not for. Statements are recorded as they were typed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from broker.permuting import Permuter
from broker.recording import RecordingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HASH, NULL, TEXT = "hash", "null", "text"
MASKED: Final = "masked"

_PART: Final = r"(?:`[^`]+`|[^.`=]+)"
_MASK: Final = re.compile(rf"({_PART})\.({_PART})\.({_PART})(?:=({HASH}|{NULL}|{TEXT})(?::(.*))?)?", re.DOTALL)
# As `capture/ghost.py` knows them; gh-ost's old table may have a time before its ending.
_HELPER: Final = re.compile(r"(_+)(.+?)(_\d+)?_(?:gho|del|new|old)", re.DOTALL)
_MOVES: Final = re.compile("rename|exchange", re.IGNORECASE)
"""In statements after which rows may be another table's: a partition can be exchanged for a table."""
_HASHED: Final = frozenset(
    ("Integer", "Decimal", "Float", "Character", "DateTime", "Timestamp", "BinaryObject", "TextObject")
)
_BIT: Final = 16


class Mask(Struct, frozen=True):
    """One mask, as it was asked for and what that means."""

    asked: str
    database: str
    table: str
    column: str
    kind: str
    text: str

    @classmethod
    def parse(cls, asked: str) -> Mask:
        """Raises RecordingError."""
        found = _MASK.fullmatch(asked)
        if found is None or (found[5] is not None and found[4] != TEXT):
            raise RecordingError(
                f"{asked!r} is no mask; write database.table.column, with =hash, =null, =text or =text:WORDS behind it "
                "if you like, and names with dots within backticks"
            )
        database, table, column = (part.strip("`") for part in found.group(1, 2, 3))
        return cls(asked, database, table, column, found[4] or HASH, MASKED if found[5] is None else found[5])


class Masks:
    """The masks of one recording. Their key is made here and kept nowhere."""

    def __init__(self, masks: Iterable[Mask]) -> None:
        self._masks: dict[tuple[str, str], dict[str, Mask]] = {}
        for mask in masks:
            columns = self._masks.setdefault((mask.database, mask.table), {})
            if mask.column in columns:
                raise RecordingError(f"{mask.database}.{mask.table}.{mask.column} has two masks; leave one of them out")
            columns[mask.column] = mask
        self._met: set[tuple[str, str]] = set()
        self._tables: dict[str, tuple[str, str] | None] = {}
        """By objectName: the table in `_masks` whose masks hold."""
        self._permuter = Permuter()

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(mask.asked for columns in self._masks.values() for mask in columns.values())

    def __bool__(self) -> bool:
        return bool(self._masks)

    def apply(self, record: dict[str, Any]) -> bool:
        """Mask a decoded record in its place; whether there was anything to mask. Raises RecordingError."""
        if not isinstance(record["fields"], list):
            self._refuse_rename(record)
            return False
        name = self._masked_table(record["objectName"])
        if name is None:
            return False
        columns = [field["name"] for field in record["fields"]]
        for mask in self._masks[name].values():
            if mask.column not in columns:
                raise RecordingError(
                    f"{record['objectName']} has no column {mask.column!r} at {record['sourcePosition']}, so the mask "
                    f"{mask.asked!r} would hide nothing there; its columns are {', '.join(columns)}"
                )
            index = columns.index(mask.column)
            self._mask_column(mask, record, index)
        self._met.add(name)
        return True

    def require_met(self, tables: Sequence[str]) -> None:
        """Raises RecordingError for a mask whose table is none of those that were recorded."""
        for name in self._masks.keys() - self._met:
            asked = ", ".join(mask.asked for mask in self._masks[name].values())
            there = ", ".join(tables[:20]) or "none"
            raise RecordingError(
                f"no row of {'.'.join(name)} was there, for which {asked} was given; the tables with changes are "
                f"{there}: correct the mask or leave it out"
            )

    def _masked_table(self, object_name: str) -> tuple[str, str] | None:
        if object_name not in self._tables:
            database, _, table = object_name.partition(".")
            database, table = (part.replace("\\u002E", ".") for part in (database, table))
            known = [(database, name) for name in _names(table) if (database, name) in self._masks]
            self._tables[object_name] = known[0] if known else None
        return self._tables[object_name]

    def _refuse_rename(self, record: dict[str, Any]) -> None:
        statement = record["afterImages"]
        if not isinstance(statement, str) or _MOVES.search(statement) is None:
            return
        for (database, table), columns in self._masks.items():
            named = re.search(rf"(?<![\w$]){re.escape(table)}(?![\w$])", statement, re.IGNORECASE)
            if named and not _is_swap(statement, table):
                asked = ", ".join(mask.asked for mask in columns.values())
                raise RecordingError(
                    f"{statement[:120]!r} at {record['sourcePosition']} may have rows of {database}.{table} under "
                    f"another name, where {asked} would hide nothing; record what is before and behind it apart"
                )

    def _mask_column(self, mask: Mask, record: dict[str, Any], index: int) -> None:
        for image in (record["beforeImages"], record["afterImages"]):
            if isinstance(image, list) and image[index] is not None and image[index]["class"] != "EmptyObject":
                image[index] = self._masked(mask, record, index, image[index])

    def _masked(self, mask: Mask, record: dict[str, Any], index: int, cell: dict[str, Any]) -> dict[str, Any] | None:
        if mask.kind == NULL:
            if mask.column in _primary_key(record):
                raise RecordingError(f"{mask.asked}: a primary key cannot be NULL; mask it by {HASH}")
            return None
        kind = cell["class"] if cell["class"] != "TextObject" else cell["type"].upper()
        if mask.kind == TEXT and kind in ("Character", "JSON"):
            text = json.dumps(mask.text) if kind == "JSON" else mask.text
            return {**cell, "value": self._permuter.encoded(text, cell) if kind == "Character" else text}
        is_bit = record["fields"][index]["dataTypeNumber"] == _BIT
        if mask.kind == HASH and cell["class"] in _HASHED and kind not in ("ENUM", "SET") and not is_bit:
            return self._permuter.masked(cell)
        shown = "BIT" if is_bit else kind
        raise RecordingError(f"{mask.asked}: no other value can be put in for one of {shown}; mask it by {NULL}")


def _names(table: str) -> list[str]:
    """A table's name, and those that the table may have which it helps to change."""
    found = _HELPER.fullmatch(table)
    if found is None:
        return [table]
    underscores, name, time = found.groups(default="")
    return [table, *("_" * count + each for count in range(len(underscores)) for each in (name + time, name))]


def _is_swap(statement: str, table: str) -> bool:
    """Whether a RENAME only swaps a table with helper tables, whose masks are the same."""
    names = re.findall(r"`((?:[^`]|``)+)`|([\w$]+)", statement)
    words = {quoted or plain for quoted, plain in names}
    renamed = {word for word in words if word != table and table in word}
    helpers = {word for word in renamed if table in _names(word)}
    return len(helpers) > 1 and renamed == helpers


def _primary_key(record: dict[str, Any]) -> list[str]:
    keys: dict[str, list[str]] = json.loads(record["tags"].get("pk_uk_info", "{}"))
    return keys.get("PRIMARY", [])
