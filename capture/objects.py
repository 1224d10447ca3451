"""Which objects are in force, and how others come into force: at the log's end, with the proof of what is added.

The catalog's channel row has the objects as a list; once they were changed, with the position from which they hold:

    ["shop"]    {"objects": ["shop", "crm.customer"], "since": "binlog.000003:4711"}

What is asked for takes effect where the log ends. Before that the log is made durable, so that it never ends earlier
again; then the definitions of what is added, which must be proven to hold there as those of a new channel must, and
the objects become durable in one transaction. A kill before it finds the old ones in force and the change to be made, a
kill after it the new ones. What cannot be proven is refused with its reason, and the old objects go on.

Definitions of what was removed stay in the catalog, for the records that were made by them. Where it is added again,
tables that are gone meanwhile are entered as dropped.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec.structs import replace

from capture.errors import SourceRefused
from capture.past import history_at, require_readable
from capture.schema import is_unresolved
from capture.selection import Selection, parse_object
from capture.snapshot import definitions_at
from capture.task import DML
from storage.catalog import SchemaVersionRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.channel import ChannelSpec
    from capture.position import BinlogPosition
    from capture.schema import SchemaHistory
    from capture.source import ServerInfo, Source
    from storage.catalog import Catalog, ChannelRow, SchemaEntryRow
    from storage.log import Log


def objects_in_force(row: ChannelRow) -> tuple[str, ...]:
    """The objects that the log's end was written by; none where nobody kept them."""
    body = json.loads(row.objects)
    return tuple(body["objects"] if isinstance(body, dict) else body)


def objects_text(objects: tuple[str, ...], since: BinlogPosition | None = None) -> str:
    """The objects as the catalog keeps them."""
    body = list(objects) if since is None else {"objects": list(objects), "since": str(since)}
    return json.dumps(body, ensure_ascii=False)


class Added(Selection):
    """What a selection has that another had not, but for tables whose definition was followed all the same."""

    def __init__(
        self, objects: tuple[str, ...], before: Selection, followed: frozenset[tuple[str, str]], folding: int
    ) -> None:
        super().__init__(objects, folding)
        self._before = before
        self._followed = followed

    def __call__(self, database: str, table: str) -> bool:
        return super().__call__(database, table) and (not table or self.keeps(database, table))

    def keeps(self, database: str, table: str) -> bool:
        if not self._before(database, ""):
            return super().keeps(database, table)
        is_new = super().__call__(database, table) and not self._before(database, table)
        return is_new and self.name(database, table) not in self._followed


async def take_objects(
    source: Source,
    info: ServerInfo,
    spec: ChannelSpec,
    row: ChannelRow,
    position: BinlogPosition,
    log: Log,
    catalog: Catalog,
    new_history: Callable[[Selection], SchemaHistory],
) -> ChannelRow:
    """Put the objects of `spec` in force at `position`, where the log ends; the row with them, durable.

    Raises SourceRefused where what they add cannot be proven: nothing has changed then.
    """
    folding = info.lower_case_table_names
    new, before = Selection(spec.objects, folding), Selection(objects_in_force(row), folding)
    entries = [entry for entry in await catalog.run(catalog.schema_entries, row.id) if entry.table and entry.exists]
    followed = await catalog.run(_followed, catalog, entries, new)
    added = Added(spec.objects, before, followed, folding)
    versions: list[SchemaVersionRow] = []
    asked = [(text, *parse_object(text)) for text in spec.objects]
    if more := tuple(text for text, database, table in asked if not before(database, table or "")):
        versions = await _proven(source, info, replace(spec, objects=more), added, position, new_history)
        there = {new.name(version.database, version.table) for version in versions}
        versions += [
            SchemaVersionRow(row.id, *position.order, entry.database, entry.table, None, None)
            for entry in entries
            if new(entry.database, "") and not before(entry.database, "")
            if new.name(entry.database, entry.table) not in there
        ]
    changed = replace(row, objects=objects_text(spec.objects, position))
    await log.flushed()
    await catalog.run(catalog.change_objects, changed, versions)
    return changed


def _followed(catalog: Catalog, entries: list[SchemaEntryRow], new: Selection) -> frozenset[tuple[str, str]]:
    """The tables whose definition the history has, as far as the selection has them."""
    wanted = {entry.sequence: new.name(entry.database, entry.table) for entry in entries if new(entry.database, "")}
    texts = catalog.schema_definitions(wanted)
    return frozenset(name for sequence, name in wanted.items() if not is_unresolved(texts[sequence]))


async def _proven(
    source: Source,
    info: ServerInfo,
    spec: ChannelSpec,
    added: Added,
    position: BinlogPosition,
    new_history: Callable[[Selection], SchemaHistory],
) -> list[SchemaVersionRow]:
    """The definitions of what is added, at the position."""
    if not source.queryable:
        raise SourceRefused("binlog files do not tell the definitions of what is added")
    from capture.precheck import require_objects  # 5 ms of a start, which one without such a change does without

    await require_objects(source, info, spec)
    definitions = await definitions_at(source, info, added, position)
    if DML in spec.data_types and (definitions.unknown or definitions.replaced):
        history = await history_at(position, definitions, None, new_history(added))
        await require_readable(source, info, added, position, definitions, history)
    history = await history_at(position, definitions, None, new_history(added))
    return history.take_rows(spec.id)
