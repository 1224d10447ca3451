"""Row images to Avro records, by straight-line functions generated for each table version.

One function knows all null bitmaps and asks each nullable column's bit; a null bitmap that comes again and again gets a
function of its own that asks nothing (`_Images`). Images that lack columns (`binlog_row_image` MINIMAL or NOBLOB) are
refused unless the channel takes them; then each set of columns has functions of its own, and what is absent is
EmptyObject NONE, never invented.

Where the accelerator is there, it makes the records of whole images (`capture.program`), the same bytes in a tenth of
the time; what it refuses, and images that lack columns, are left to the functions, which alone judge an event.

The invariant: a rows event becomes either all its records or an error; the images fill the event exactly. The source of
the functions is made by `capture.image_code`, records are framed by `capture.envelope`.
"""

import linecache
import struct
from collections.abc import Callable, Sequence
from typing import cast

from capture.avro_text import high_varints, low_zigzags, small_zigzags
from capture.cells import CellCode
from capture.columns import column_codes, column_type
from capture.envelope import Operation, RecordHead, RowEnvelope, RowFrame
from capture.errors import MalformedEvent, UnsupportedEvent
from capture.image_code import compiled, image_source, required_bits, rows_source
from capture.program import program
from capture.rows_event import RowsEvent, RowsKind
from capture.table import TableVersion
from capture.table_map import TableMapEvent

_Image = Callable[[bytes, str, int], tuple[str, int]]
_Rows = Callable[[bytes, str, int, int, int, str, str, Callable[[bytes], None]], int]

IMAGES_BEFORE_SPECIALIZED = 64
"""Images with the same null bitmap before it gets a function of its own."""
SPECIALIZED_MAX = 32
"""Null bitmaps of one table version with a function of their own; beyond, the general function serves."""
BITMAPS_COUNTED_MAX = 4096
"""Null bitmaps of one table version that are counted; beyond, no new one gets a function of its own."""
COLUMN_SETS_MAX = 128
"""Sets of columns with functions of their own, for images of one table version that lack columns; then all go.

An UPDATE under MINIMAL has as many as there are combinations of columns that statements change.
"""

_OPERATIONS = {
    RowsKind.WRITE: Operation.INSERT,
    RowsKind.UPDATE: Operation.UPDATE,
    RowsKind.DELETE: Operation.DELETE,
}


class Transcoder:
    """Turns the rows events of one table version into records.

    Made once per (table version, table map); `source_version` is the server's @@version, `partial_images` says that row
    images may lack columns. Raises UnsupportedColumn for a column type that is not supported, SchemaMismatch where
    table version and table map disagree.
    """

    def __init__(
        self, table: TableVersion, table_map: TableMapEvent, source_version: str, *, partial_images: bool = False
    ) -> None:
        self.table = table
        self.table_map = table_map
        self._partial_images = partial_images
        numbers = tuple(column_type(table, index).number for index in range(len(table.columns)))
        self._envelope = RowEnvelope(source_version, table, numbers)
        self._column_count = len(numbers)
        self._every_column = (1 << len(numbers)) - 1
        self._name = f"{table.database}.{table.table} {table.meta_version}"
        self._codes = column_codes(table, table_map)
        self._program = program(self._codes, table_map.nullable, self._name)
        self._images: dict[int, _Images] = {}
        if self._program is None:
            self._images_of(self._every_column)
        self._whole = (b"", b"")
        """Bitmaps of the columns present that were last seen to have all of them."""
        self._rows: dict[tuple[RowsKind, int, bytes, bytes], _Rows] = {}

    def transcode(self, rows: RowsEvent, head: RecordHead, first_id: int) -> list[bytes]:
        """One record per row (UPDATE: per pair of images), in order, ids from `first_id` on.

        Raises MalformedEvent if the images do not fill the event exactly, UnsupportedEvent if they lack columns.
        """
        if rows.is_partial:
            from capture.partial_rows import plain_update  # 5 ms of a start, for what few servers write

            rows = plain_update(rows, self.table_map)
        frame = self._envelope.frame(_OPERATIONS[rows.kind], head)
        if self._program is not None and self._is_whole(rows):
            records = self._program.transcode(
                rows.data,
                rows.rows_start,
                rows.rows_end,
                rows.kind is not RowsKind.WRITE,
                rows.kind is not RowsKind.DELETE,
                first_id,
                *frame,
            )
            if records is not None:
                return records
        return self._transcode(rows, frame, first_id)

    def _is_whole(self, rows: RowsEvent) -> bool:
        """Whether the images have all columns that the table has."""
        present = rows.columns, rows.columns_after
        if present != self._whole:
            every = self._every_column
            if rows.column_count != self._column_count or any(
                int.from_bytes(bitmap, "little") & every != every for bitmap in present
            ):
                return False
            self._whole = present
        return rows.column_count == self._column_count

    def _transcode(self, rows: RowsEvent, frame: RowFrame, first_id: int) -> list[bytes]:
        """The records by generated code, for what the accelerator cannot do and for what is wrong with an event."""
        records: list[bytes] = []
        data, end = rows.data, rows.rows_end
        key = rows.kind, rows.column_count, rows.columns, rows.columns_after
        run = self._rows.get(key)
        if run is None:
            run = self._rows[key] = self._compile_rows(rows)
        try:
            reached = run(data, data.decode("latin-1"), rows.rows_start, end, first_id, *frame, records.append)
        except (IndexError, struct.error) as error:
            raise self._malformed(rows) from error
        if reached != end:
            raise self._malformed(rows)
        return records

    def _compile_rows(self, rows: RowsEvent) -> _Rows:
        """The function for events with these columns. Raises UnsupportedEvent if they are not all there."""
        before, after = self._columns_of(rows, rows.columns), self._columns_of(rows, rows.columns_after)
        if not before and not after:
            raise UnsupportedEvent(
                f"The row images of {self.table.database}.{self.table.table} have no column at all, so that nothing "
                "says how many rows there are; set binlog_row_image = FULL on the source and start a new channel."
            )
        if len(self._rows) >= COLUMN_SETS_MAX:
            self._forget_partial()
        source = rows_source(rows.kind, self._column_count, before.bit_count(), after.bit_count())
        objects: dict[str, object] = {
            "images": self._images_of(before),
            "images_after": self._images_of(after),
            "low_zigzags": low_zigzags(),
            "small_zigzags": small_zigzags(),
            "high_varints": high_varints,
        }
        return cast("_Rows", compiled(source, "rows", f"<{self._name} {rows.kind.value}>", objects))

    def _columns_of(self, rows: RowsEvent, bitmap: bytes) -> int:
        """The columns present in an image, as bits."""
        count = self._column_count
        if rows.column_count != count:
            raise MalformedEvent(
                f"A rows event of {self.table.database}.{self.table.table} has {rows.column_count} columns, "
                f"its table map has {count}."
            )
        present = int.from_bytes(bitmap, "little") & self._every_column
        if present != self._every_column and not self._partial_images:
            raise UnsupportedEvent(
                f"A row image of {self.table.database}.{self.table.table} lacks {self._listed(present)}, as its "
                "session had a binlog_row_image other than FULL; set it to FULL on the source, and give the channel "
                'row_image = "any" to go on with records that lack these columns.'
            )
        return present

    def _listed(self, present: int) -> str:
        """The columns that are absent, a few of them by name."""
        absent = [one.name for index, one in enumerate(self.table.columns) if not present >> index & 1]
        shown = ", ".join(absent[:_ABSENT_SHOWN_MAX])
        more = len(absent) - _ABSENT_SHOWN_MAX
        return f"the column{'s' * (len(absent) > 1)} {shown}" + (f" and {more} more" if more > 0 else "")

    def _images_of(self, present: int) -> "_Images":
        images = self._images.get(present)
        if images is None:
            codes = [code if present >> index & 1 else None for index, code in enumerate(self._codes)]
            name = f"{self._name} columns {present:#x}"
            if present == self._every_column:
                name = self._name
            images = self._images[present] = _Images(name, codes, self.table_map.nullable)
        return images

    def _forget_partial(self) -> None:
        """Drop all functions but those of whole images; they are made again when needed."""
        self._rows.clear()
        whole = self._images.pop(self._every_column, None)
        for images in self._images.values():
            images.forget()
        self._images = {} if whole is None else {self._every_column: whole}

    def _malformed(self, rows: RowsEvent) -> MalformedEvent:
        return MalformedEvent(
            f"The row images of {self.table.database}.{self.table.table} do not fit its columns "
            f"({rows.rows_end - rows.rows_start} bytes, {self._column_count} columns)."
        )


_ABSENT_SHOWN_MAX = 3


class _Images(dict[int, _Image]):
    """The image functions of one set of columns by null bitmap; bitmaps are counted and made a function when due.

    `codes` has None for the columns that the images lack.
    """

    def __init__(self, name: str, codes: Sequence[CellCode | None], nullable: Sequence[bool]) -> None:
        super().__init__()
        self._name = name
        self._codes = codes
        self._nullable = nullable
        self._not_null = required_bits(codes, nullable)
        self._seen: dict[int, int] = {}
        self._files: list[str] = []
        self._general = self._compile(None, f"<{name} image>")

    def __missing__(self, bitmap: int) -> _Image:
        seen = self._seen.get(bitmap, 0) + 1
        if seen < IMAGES_BEFORE_SPECIALIZED:
            if seen > 1 or len(self._seen) < BITMAPS_COUNTED_MAX:
                self._seen[bitmap] = seen
        elif len(self) < SPECIALIZED_MAX and not bitmap & self._not_null:
            image = self[bitmap] = self._compile(bitmap, f"<{self._name} image {bitmap:#x}>")
            return image
        return self._general

    def _compile(self, bitmap: int | None, filename: str) -> _Image:
        source, objects = image_source(self._codes, self._nullable, bitmap)
        self._files.append(filename)
        return cast("_Image", compiled(source, "image", filename, objects))

    def forget(self) -> None:
        """Take the sources back from `linecache`."""
        for filename in self._files:
            linecache.cache.pop(filename, None)
