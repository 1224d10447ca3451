"""Row images to Avro records, by straight-line functions generated for each table version.

For every table version there are generated functions `image(data, text, p) -> (cells, p)`: in, the raw event as bytes
and as Latin-1 text, and the position after an image's null bitmap; out, the Avro cells of all columns as Latin-1 text,
and the position after the image. Neighbouring columns of fixed size are unpacked by one `struct` call or two, little
and big endian. One function knows all null bitmaps and asks each nullable column's bit; a null bitmap that comes again
and again gets a function of its own that asks nothing (`_Images`). A second generated function, `rows`, loops over the
images of an event.

The invariant: a rows event becomes either all its records or an error; the images fill the event exactly. Generated
source is readable and known to `linecache`, so that a debugger and a traceback show it. Cells are made by the code of
`capture.cells`, records framed by `capture.envelope`.
"""

import linecache
import struct
from collections.abc import Callable, Sequence
from typing import cast

from capture.avro_text import LOW_BITS, LOW_MASK, high_varints, low_zigzags, small_zigzags
from capture.cells import NULL_CELL, TEXT_SLICE, CellCode, Fixed, literal
from capture.columns import column_codes, column_type
from capture.envelope import IMAGE_ARRAY_END, NULL_IMAGE, Operation, RecordHead, RowEnvelope, image_array_start
from capture.errors import MalformedEvent, UnsupportedEvent
from capture.events import RowsEvent, RowsKind, TableMapEvent
from capture.table import TableVersion

_Image = Callable[[bytes, str, int], tuple[str, int]]
_Rows = Callable[[bytes, str, int, int, int, str, str, Callable[[bytes], None]], int]

IMAGES_BEFORE_SPECIALIZED = 64
"""Images with the same null bitmap before it gets a function of its own."""
SPECIALIZED_MAX = 32
"""Null bitmaps of one table version with a function of their own; beyond, the general function serves."""
BITMAPS_COUNTED_MAX = 4096
"""Null bitmaps of one table version that are counted; beyond, no new one gets a function of its own."""

_OPERATIONS = {
    RowsKind.WRITE: Operation.INSERT,
    RowsKind.UPDATE: Operation.UPDATE,
    RowsKind.DELETE: Operation.DELETE,
}


class Transcoder:
    """Turns the rows events of one table version into records.

    Made once per (table version, table map); `source_version` is the server's @@version. Raises UnsupportedColumn for
    a column type that is not supported, SchemaMismatch where table version and table map disagree.
    """

    def __init__(self, table: TableVersion, table_map: TableMapEvent, source_version: str) -> None:
        self.table = table
        self.table_map = table_map
        numbers = tuple(column_type(table, index).number for index in range(len(table.columns)))
        self._envelope = RowEnvelope(source_version, table, numbers)
        self._column_count = len(numbers)
        self._name = f"{table.database}.{table.table} {table.meta_version}"
        self._images = _Images(self._name, column_codes(table, table_map), table_map.nullable)
        self._rows: dict[RowsKind, _Rows] = {}

    def _compile_rows(self, kind: RowsKind) -> _Rows:
        source = rows_source(kind, self._column_count)
        objects: dict[str, object] = {
            "images": self._images,
            "low_zigzags": low_zigzags(),
            "small_zigzags": small_zigzags(),
            "high_varints": high_varints,
        }
        return cast("_Rows", _compile(source, "rows", f"<{self._name} {kind.value}>", objects))

    def transcode(self, rows: RowsEvent, head: RecordHead, first_id: int) -> list[bytes]:
        """One record per row (UPDATE: per pair of images), in order, ids from `first_id` on.

        Raises MalformedEvent if the images do not fill the event exactly, UnsupportedEvent if they lack columns.
        """
        self._check_columns(rows)
        frame = self._envelope.frame(_OPERATIONS[rows.kind], head)
        records: list[bytes] = []
        data, end = rows.data, rows.rows_end
        run = self._rows.get(rows.kind)
        if run is None:
            run = self._rows[rows.kind] = self._compile_rows(rows.kind)
        try:
            reached = run(data, data.decode("latin-1"), rows.rows_start, end, first_id, *frame, records.append)
        except (IndexError, struct.error) as error:
            raise self._malformed(rows) from error
        if reached != end:
            raise self._malformed(rows)
        return records

    def _malformed(self, rows: RowsEvent) -> MalformedEvent:
        return MalformedEvent(
            f"The row images of {self.table.database}.{self.table.table} do not fit its columns "
            f"({rows.rows_end - rows.rows_start} bytes, {self._column_count} columns)."
        )

    def _check_columns(self, rows: RowsEvent) -> None:
        count = self._column_count
        if rows.column_count != count:
            raise MalformedEvent(
                f"A rows event of {self.table.database}.{self.table.table} has {rows.column_count} columns, "
                f"its table map has {count}."
            )
        every = (1 << count) - 1
        for bitmap in {rows.columns, rows.columns_after}:
            if int.from_bytes(bitmap, "little") & every != every:
                raise UnsupportedEvent(
                    f"A row image of {self.table.database}.{self.table.table} lacks columns; "
                    f"set binlog_row_image=FULL on the source."
                )


class _Images(dict[int, _Image]):
    """The image functions of a table version by null bitmap; bitmaps are counted and made a function when due."""

    def __init__(self, name: str, codes: Sequence[CellCode], nullable: Sequence[bool]) -> None:
        super().__init__()
        self._name = name
        self._codes = codes
        self._nullable = nullable
        self._not_null = sum(1 << index for index, may_be_null in enumerate(nullable) if not may_be_null)
        self._seen: dict[int, int] = {}
        source, objects = image_source(codes, nullable, None)
        self._general = cast("_Image", _compile(source, "image", f"<{name} image>", objects))

    def __missing__(self, bitmap: int) -> _Image:
        seen = self._seen.get(bitmap, 0) + 1
        if seen < IMAGES_BEFORE_SPECIALIZED:
            if seen > 1 or len(self._seen) < BITMAPS_COUNTED_MAX:
                self._seen[bitmap] = seen
        elif len(self) < SPECIALIZED_MAX and not bitmap & self._not_null:
            source, objects = image_source(self._codes, self._nullable, bitmap)
            image = cast("_Image", _compile(source, "image", f"<{self._name} image {bitmap:#x}>", objects))
            self[bitmap] = image
            return image
        return self._general


def _compile(source: str, function: str, filename: str, objects: dict[str, object]) -> object:
    """The function of that name in the source, which stays readable under the file name."""
    lines = source.splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, filename)
    namespace = dict(objects)
    exec(compile(source, filename, "exec"), namespace)  # noqa: S102  the source is ours, names of strangers are not in it
    return namespace[function]


def rows_source(kind: RowsKind, column_count: int) -> str:
    """Source of `rows`: all images of an event to records, the position reached out."""
    start, end = literal(image_array_start(column_count)), literal(IMAGE_ARRAY_END)
    null = literal(NULL_IMAGE)
    bitmap_bytes = (column_count + 7) // 8
    image = f"images[{_bitmap_expression(bitmap_bytes)}](data, text, p + {bitmap_bytes})"
    array = {name: f"{start}{{{name}}}{end}" for name in ("cells", "before", "after")}
    images = {
        RowsKind.WRITE: ([f"cells, p = {image}"], null + array["cells"]),
        RowsKind.DELETE: ([f"cells, p = {image}"], array["cells"] + null),
        RowsKind.UPDATE: ([f"before, p = {image}", f"after, p = {image}"], array["before"] + array["after"]),
    }
    lines, pieces = images[kind]
    return "\n".join(
        [
            "def rows(data, text, p, end, record_id, head, tail, append):",
            "    while p < end:",
            *(f"        {line}" for line in lines),
            f"        if record_id > {LOW_MASK}:",
            f"            i = low_zigzags[record_id & {LOW_MASK}]; j = high_varints[record_id >> {LOW_BITS}]",
            "        else:",
            '            i = small_zigzags[record_id]; j = ""',
            f'        append(f"\\x00{{i}}{{j}}{{head}}{pieces}{{tail}}".encode("latin-1"))',
            "        record_id += 1",
            "    return p",
            "",
        ]
    )


def _bitmap_expression(size: int) -> str:
    """The null bitmap at p, as a number."""
    if size == 1:
        return "data[p]"
    if size == 2:
        return "data[p] | data[p + 1] << 8"
    return f'int.from_bytes(data[p:p + {size}], "little")'


def image_source(
    codes: Sequence[CellCode], nullable: Sequence[bool], bitmap: int | None
) -> tuple[str, dict[str, object]]:
    """Source of `image` and the objects it names: for one null bitmap, or for all of them where it is None."""
    writer = _Writer()
    count = len(codes)
    cells: list[str] = []
    if bitmap is None:
        bitmap_bytes = (count + 7) // 8
        required = sum(1 << index for index in range(count) if not nullable[index])
        writer.line(f'nulls = int.from_bytes(data[p - {bitmap_bytes}:p], "little")')
        writer.line(f"if nulls & {required:#x}: raise IndexError")
    for index, code in enumerate(codes):
        if bitmap is not None and bitmap >> index & 1:
            cells.append(literal(NULL_CELL))
        elif bitmap is not None or not nullable[index]:
            writer.column(code, index)
            cells.append(code.cell)
        else:
            writer.optional_column(code, index)
            cells.append(f"{{o{index}}}")
    writer.flush()
    source = "\n".join(
        [
            "def image(data, text, p):",
            *(f"    {line}" for line in writer.lines),
            f'    return f"{"".join(cells)}", p',
            "",
        ]
    )
    return source, writer.objects


class _Writer:
    """Lines that unpack columns. Fixed fields are held back until something of variable size forces them out."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.objects: dict[str, object] = {}
        self._fields: list[tuple[int, Fixed]] = []
        self._pending: list[str] = []
        self._size = 0

    def line(self, line: str) -> None:
        self.lines.append(line)

    def column(self, code: CellCode, index: int) -> None:
        self.objects.update(code.objects)
        for one in code.fixed:
            self._hold(one)
        self._pending += code.lines
        if code.length_bytes:
            self._variable(code.length_bytes, index)

    def optional_column(self, code: CellCode, index: int) -> None:
        """A column whose bit in `nulls` decides at run time."""
        self.flush()
        inner = _Writer()
        inner.column(code, index)
        inner.flush()
        self.line(f"if nulls & {1 << index:#x}: o{index} = {_quoted(NULL_CELL)}")
        self.line("else:")
        self.lines += (f"    {line}" for line in inner.lines)
        self.line(f'    o{index} = f"{code.cell}"')
        self.objects.update(inner.objects)

    def flush(self) -> None:
        """Unpack what is held back and move on behind it."""
        self._unpack()
        if self._size:
            self.line(f"p += {self._size}")
        self._size = 0

    def _hold(self, one: Fixed) -> None:
        self._fields.append((self._size, one))
        self._size += one.size

    def _variable(self, length_bytes: int, index: int) -> None:
        """A length and as many bytes: n<index> and c<index>."""
        name, value = f"n{index}", f"n{index}"
        parts = {1: "B", 2: "H", 3: "HB", 4: "I"}[length_bytes]
        if parts == "HB":
            self._hold(Fixed("<", "H", 2, f"{name}_0"))
            self._hold(Fixed("<", "B", 1, f"{name}_1"))
            self._pending.append(f"{value} = {name}_0 | {name}_1 << 16")
        else:
            self._hold(Fixed("<", parts, length_bytes, name))
        self._unpack()
        self.line(f"a = p + {self._size}; p = a + n{index}; c{index} = text[a:p]")
        self._size = 0

    def _unpack(self) -> None:
        for order in "<>":
            run = [(at, one) for at, one in self._fields if one.order == order]
            if run:
                self._unpack_run(order, run)
        slices = [(at, one) for at, one in self._fields if one.order == TEXT_SLICE]
        self.lines += (f"{one.name} = text[{_plus(at)}:{_plus(at + one.size)}]" for at, one in slices)
        self.lines += self._pending
        self._fields, self._pending = [], []

    def _unpack_run(self, order: str, run: list[tuple[int, Fixed]]) -> None:
        """Fields of one byte order: bytes one by one if they are few, else by one struct with pads between."""
        if len(run) <= 2 and all(one.code == "B" for _, one in run):
            self.line("; ".join(f"{one.name} = data[{_plus(at)}]" for at, one in run))
            return
        layout, reached = order, 0
        for at, one in run:
            layout += f"{at - reached}x{one.code}" if at > reached else one.code
            reached = at + one.size
        unpack = "unpack_" + layout.replace("<", "little_").replace(">", "big_")
        self.objects[unpack] = struct.Struct(layout).unpack_from
        names = ", ".join(one.name for _, one in run)
        self.line(f"{names}{',' * (len(run) == 1)} = {unpack}(data, p)")


def _plus(offset: int) -> str:
    return f"p + {offset}" if offset else "p"


def _quoted(text: str) -> str:
    return f'"{literal(text)}"'
