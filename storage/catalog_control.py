"""The catalog's tables for what people do while a server runs: channels made by operations, releases, alerts.

    documents        one per channel made by an operation: its configuration as JSON, and whether it is started
    source_passwords one per such channel; in nobody's sight but the source's
    releases         topics whose logs are to be deleted: what was released, or begun and not finished
    alert_rules      one per rule, as JSON
    incidents        what rules were broken by, as JSON

Left to others: how a write becomes durable (`storage/catalog.py`), what the JSON means.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import astuple

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTROL_TABLES: Final = (
    """CREATE TABLE documents (
        channel_id TEXT PRIMARY KEY, document TEXT NOT NULL, is_started INTEGER NOT NULL, precheck TEXT,
        prechecked_ms INTEGER
    ) WITHOUT ROWID, STRICT""",
    "CREATE TABLE source_passwords (channel_id TEXT PRIMARY KEY, password TEXT NOT NULL) WITHOUT ROWID, STRICT",
    "CREATE TABLE releases (topic TEXT PRIMARY KEY) WITHOUT ROWID, STRICT",
    "CREATE TABLE alert_rules (id TEXT PRIMARY KEY, rule TEXT NOT NULL) WITHOUT ROWID, STRICT",
    """CREATE TABLE incidents (
        id TEXT PRIMARY KEY, begun_ms INTEGER NOT NULL, incident TEXT NOT NULL
    ) WITHOUT ROWID, STRICT""",
)
"""The statements that make them: the second entry of the catalog's migrations, never changed."""


class DocumentRow(Struct, frozen=True):
    """The configuration of a channel made by an operation, JSON without the source's password; `precheck` has the items
    of the last one, JSON, None before the first has ended.
    """

    channel_id: str
    document: str
    is_started: int
    precheck: str | None
    prechecked_ms: int | None


class AlertRuleRow(Struct, frozen=True):
    """A rule of when somebody is to be told; `rule` is JSON."""

    id: str
    rule: str


class IncidentRow(Struct, frozen=True):
    """A time in which a rule was broken; `incident` is JSON."""

    id: str
    begun_ms: int
    incident: str


def columns(row: type[Struct]) -> str:
    """The columns of a row's table, in the order of its fields."""
    return ", ".join(row.__struct_fields__)


def selecting(row: type[Struct], table: str) -> str:
    """The statement that reads a table's rows."""
    return f"SELECT {columns(row)} FROM {table}"  # noqa: S608 — both are names of this module


def putting(row: type[Struct], table: str, key: str) -> str:
    """A row goes in or takes the place of the one with its key; any other row it collides with is an error, where
    INSERT OR REPLACE would delete that one.
    """
    marks = ", ".join("?" for _ in row.__struct_fields__)
    changes = ", ".join(f"{name} = excluded.{name}" for name in row.__struct_fields__)
    return f"INSERT INTO {table} ({columns(row)}) VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {changes}"  # noqa: S608 — as above


SALVAGED: Final = (
    ("documents", columns(DocumentRow), "channel_id"),
    ("source_passwords", "channel_id, password", "channel_id"),
    ("alert_rules", columns(AlertRuleRow), "id"),
    ("incidents", columns(IncidentRow), "id"),
)
"""Tables of the second version with their columns and keys, as `storage/salvage.py` reads them. Not `releases`: a note
of a damaged catalog may be of a log that lives, and what was to be deleted can still be."""


class ControlTables:
    """Reads and writes of these tables, over what a catalog gives."""

    def _select(self, query: str, *parameters: object) -> list[Any]:
        raise NotImplementedError

    def _change(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        raise NotImplementedError

    def _transaction(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    # Channels made by operations

    def documents(self) -> list[DocumentRow]:
        return [DocumentRow(*row) for row in self._select(f"{selecting(DocumentRow, 'documents')} ORDER BY channel_id")]

    def put_document(self, row: DocumentRow) -> None:
        self._change(putting(DocumentRow, "documents", "channel_id"), [astuple(row)])

    def delete_document(self, channel_id: str) -> None:
        """Delete the document with its password."""
        with self._transaction():
            self._change("DELETE FROM documents WHERE channel_id = ?", [(channel_id,)])
            self._change("DELETE FROM source_passwords WHERE channel_id = ?", [(channel_id,)])

    def source_password(self, channel_id: str) -> str | None:
        rows = self._select("SELECT password FROM source_passwords WHERE channel_id = ?", channel_id)
        return rows[0][0] if rows else None

    def set_source_password(self, channel_id: str, password: str) -> None:
        self._change("INSERT OR REPLACE INTO source_passwords VALUES (?, ?)", [(channel_id, password)])

    def put_source(self, row: DocumentRow, shown: str, password: str | None) -> None:
        """A document whose source is another, which the channel's row shows so, with its password, or without one."""
        with self._transaction():
            self.put_document(row)
            self._change("UPDATE channels SET source = ? WHERE id = ?", [(shown, row.channel_id)])
            self._change("DELETE FROM source_passwords WHERE channel_id = ?", [(row.channel_id,)])
            if password is not None:
                self.set_source_password(row.channel_id, password)

    # Logs to be deleted

    def releases(self) -> list[str]:
        """The topics whose logs are to be deleted."""
        return [topic for (topic,) in self._select("SELECT topic FROM releases ORDER BY topic")]

    def note_release(self, topic: str) -> None:
        """Say that the log of a topic is to be deleted, by the next start at the latest."""
        self._change("INSERT OR REPLACE INTO releases VALUES (?)", [(topic,)])

    def end_release(self, topic: str) -> None:
        """The log of a topic is gone, or is to stay."""
        self._change("DELETE FROM releases WHERE topic = ?", [(topic,)])

    # Alerts

    def alert_rules(self) -> list[AlertRuleRow]:
        return [AlertRuleRow(*row) for row in self._select(f"{selecting(AlertRuleRow, 'alert_rules')} ORDER BY id")]

    def put_alert_rule(self, row: AlertRuleRow) -> None:
        self._change(putting(AlertRuleRow, "alert_rules", "id"), [astuple(row)])

    def delete_alert_rule(self, rule_id: str) -> None:
        self._change("DELETE FROM alert_rules WHERE id = ?", [(rule_id,)])

    def incidents(self) -> list[IncidentRow]:
        """The oldest first."""
        query = f"{selecting(IncidentRow, 'incidents')} ORDER BY begun_ms, id"
        return [IncidentRow(*row) for row in self._select(query)]

    def put_incident(self, row: IncidentRow) -> None:
        self._change(putting(IncidentRow, "incidents", "id"), [astuple(row)])

    def delete_incidents(self, ids: Iterable[str]) -> None:
        self._change("DELETE FROM incidents WHERE id = ?", [(each,) for each in ids])
