"""PARTIAL_UPDATE_ROWS as the UPDATE_ROWS it stands for (MySQL 8.0.3+ with binlog_row_value_options=PARTIAL_JSON).

The event is an UPDATE_ROWS whose after images begin with: value options (length-encoded; 1 = JSON diffs) | with diffs a
bit for each JSON column of the table, also for those that are not in the image. A JSON column whose bit is set has,
in place of its value, a diff vector as `capture.json_diff` describes it (`print_verbose_one_row` of log_event.cc@9.7).

The invariant: the images that come out are those the source would have written without the option. A diff is applied
to the value of the before image; where that lacks the column (binlog_row_image=MINIMAL or NOBLOB) nobody but the source
knows the value after the change, and the event is refused.
"""

from msgspec import Struct

from capture.errors import MalformedEvent, UnsupportedEvent
from capture.image_fields import FieldEnd, field_end
from capture.json_binary import DamagedJson
from capture.json_diff import apply_diffs, read_diffs
from capture.rows_event import RowsEvent
from capture.table_map import FieldType, TableMapEvent, bits, read_length_encoded

_JSON_DIFFS_OPTION = 1
_LENGTH_BYTES = 4
"""Of a diff vector, and of a JSON value."""


def plain_update(rows: RowsEvent, table_map: TableMapEvent) -> RowsEvent:
    """The event with its diffs applied, in a buffer of its own. Raises MalformedEvent and UnsupportedEvent."""
    try:
        images = _Images(rows, table_map)
        return rows._replace(data=images.rewritten(), rows_start=0, rows_end=images.size_bytes, is_partial=False)
    except IndexError as error:
        raise MalformedEvent(
            f"The row images of a partial update of {table_map.database}.{table_map.table} do not fit its columns."
        ) from error


class _Column(Struct, frozen=True):
    """A column that is in an image: index in the table, how to step over a value."""

    index: int
    end: FieldEnd


class _Images:
    """The row images of one event, read from the front, and what is made of them."""

    def __init__(self, rows: RowsEvent, table_map: TableMapEvent) -> None:
        self._rows = rows
        self._table_map = table_map
        self._before = self._present(rows.columns)
        self._after = self._present(rows.columns_after)
        self._json_columns = [index for index, code in enumerate(table_map.column_types) if code == FieldType.JSON]
        self._position = rows.rows_start
        self.size_bytes = 0

    def _present(self, columns: bytes) -> list[_Column]:
        if self._rows.column_count != self._table_map.column_count:
            raise IndexError
        types, metadata = self._table_map.column_types, self._table_map.column_metadata
        return [
            _Column(index, field_end(types[index], metadata[index]))
            for index, is_present in enumerate(bits(columns, self._rows.column_count))
            if is_present
        ]

    def rewritten(self) -> bytes:
        pieces: list[bytes] = []
        while self._position < self._rows.rows_end:
            start = self._position
            documents = self._before_image()
            pieces.append(self._rows.data[start : self._position])
            pieces += self._after_image(documents)
        data = b"".join(pieces)
        self.size_bytes = len(data)
        return data

    def _nulls(self, columns: list[_Column]) -> tuple[bool, ...]:
        size = (len(columns) + 7) // 8
        start, self._position = self._position, self._position + size
        return bits(self._rows.data[start : self._position], len(columns))

    def _value(self, column: _Column) -> bytes:
        """The next value, with its length."""
        start = self._position
        self._position = self._within(column.end(self._rows.data, start))
        return self._rows.data[start : self._position]

    def _within(self, position: int) -> int:
        if position > self._rows.rows_end:
            raise IndexError
        return position

    def _before_image(self) -> dict[int, bytes | None]:
        """The JSON documents of a before image by column, None for NULL."""
        documents: dict[int, bytes | None] = {}
        for column, is_null in zip(self._before, self._nulls(self._before), strict=True):
            value = None if is_null else self._value(column)
            if column.index in self._json_columns:
                documents[column.index] = None if value is None else value[_LENGTH_BYTES:]
        return documents

    def _after_image(self, documents: dict[int, bytes | None]) -> list[bytes]:
        partial = self._partial_columns()
        start = self._position
        nulls = self._nulls(self._after)
        pieces = [self._rows.data[start : self._position]]
        for column, is_null in zip(self._after, nulls, strict=True):
            if is_null:
                continue
            value = self._value(column)
            if column.index in partial:
                document = self._patched(column.index, documents, value[_LENGTH_BYTES:])
                value = len(document).to_bytes(_LENGTH_BYTES, "little") + document
            pieces.append(value)
        self._within(self._position)
        return pieces

    def _partial_columns(self) -> set[int]:
        data = self._rows.data
        options, self._position = read_length_encoded(data, self._position)
        if options & ~_JSON_DIFFS_OPTION:
            raise UnsupportedEvent(
                f"Rows of {self._name} have the value options {options:#x}, which are not known; "
                f"set binlog_row_value_options='' on the source."
            )
        if not options:
            return set()
        count = len(self._json_columns)
        start, self._position = self._position, self._within(self._position + (count + 7) // 8)
        flags = bits(data[start : self._position], count)
        return {index for index, is_partial in zip(self._json_columns, flags, strict=True) if is_partial}

    def _patched(self, index: int, documents: dict[int, bytes | None], diffs: bytes) -> bytes:
        if index not in documents:
            raise UnsupportedEvent(
                f"Column {index + 1} of {self._name} was changed in part, and the event lacks its value before; "
                f"set binlog_row_image=FULL or binlog_row_value_options='' on the source."
            )
        document = documents[index]
        try:
            if document is None:
                raise DamagedJson("it changes NULL in part")
            return apply_diffs(document, read_diffs(diffs))
        except DamagedJson as error:
            raise MalformedEvent(
                f"The changes of column {index + 1} of {self._name}, a JSON value, cannot be made: {error}."
            ) from error

    @property
    def _name(self) -> str:
        return f"{self._table_map.database}.{self._table_map.table}"
