"""The rows a channel made of a recorded binlog against its independent decode, cell by cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capture.dialect import Dialect
from capture.schema import SchemaHistory
from tests.capture.recorded import ABSENT_CELL, dump_text, dumped_events, printed

if TYPE_CHECKING:
    from capture.table import Column
    from tests.capture.world import StoredRecord, World

ROW_OPERATIONS = ("INSERT", "UPDATE", "DELETE")


def compared(world: World, name: str) -> tuple[int, int]:
    """How many rows of the file `name` were captured, and how many it has; those captured are equal to the first."""
    rows = [record for record in world.records() if record.operation in ROW_OPERATIONS]
    expected = [row for event in dumped_events(dump_text(name)) for row in event.rows]
    columns = _ColumnsThen(world, rows)
    for record, (kind, *images) in zip(rows, expected, strict=False):
        assert record.operation == kind
        for image, wanted in zip(("beforeImages", "afterImages"), images, strict=True):
            cells = record.fields[image] or []
            texts = wanted + [ABSENT_CELL] * (len(cells) - len(wanted))
            for cell, text, column in zip(cells, texts, columns.of(record), strict=bool(cells)):
                assert printed(cell, text, column) == text, (str(record.fields["sourcePosition"]), column.name)
    return len(rows), len(expected)


class _ColumnsThen:
    """The columns of a record's table when it was written, from what the catalog keeps."""

    def __init__(self, world: World, rows: list[StoredRecord]) -> None:
        self._history: SchemaHistory | None = None
        if rows:
            version = rows[0].fields["source"]["version"]
            self._history = SchemaHistory(Dialect.of(version), lambda *_: True)
            self._history.restore(world.catalog.schema_versions("c"))

    def of(self, record: StoredRecord) -> tuple[Column, ...]:
        assert self._history is not None
        database, _, table = record.fields["objectName"].partition(".")
        position, _, number = record.fields["safeSourcePosition"].partition("@")
        return self._history.table_at(database, table, (int(number), int(position))).columns
