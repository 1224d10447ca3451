"""Source of the functions that turn row images into records: straight-line code, made from the codes of the columns.

`image(data, text, p) -> (cells, p)`: in, the raw event as bytes and as Latin-1 text, and the position after an image's
null bitmap; out, the Avro cells of all columns as Latin-1 text, and the position after the image. Neighbouring columns
of fixed size are unpacked by one `struct` call or two, little and big endian. `rows` loops over the images of an event
and makes the records.

Generated source is readable and known to `linecache`, so that a debugger and a traceback show it. Which functions there
are, and for which images, is `capture.transcoder`'s business; the codes are those of `capture.cells` and its likes.
"""

import linecache
import struct
from collections.abc import Sequence

from capture.avro_text import LOW_BITS, LOW_MASK
from capture.cells import ABSENT_CELL, NULL_CELL, TEXT_SLICE, CellCode, Fixed, literal
from capture.envelope import IMAGE_ARRAY_END, NULL_IMAGE, image_array_start
from capture.rows_event import RowsKind


def compiled(source: str, function: str, filename: str, objects: dict[str, object]) -> object:
    """The function of that name in the source, which stays readable under the file name."""
    lines = source.splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, filename)
    namespace = dict(objects)
    exec(compile(source, filename, "exec"), namespace)  # noqa: S102  the source is ours, names of strangers are not in it
    return namespace[function]


def rows_source(kind: RowsKind, column_count: int, present: int, present_after: int) -> str:
    """Source of `rows`: all images of an event to records, the position reached out.

    `present` and `present_after` are the numbers of columns that images have, of an UPDATE before and after the change.
    """
    start, end = literal(image_array_start(column_count)), literal(IMAGE_ARRAY_END)
    null = literal(NULL_IMAGE)
    image, image_after = _image_call("images", present), _image_call("images_after", present_after)
    array = {name: f"{start}{{{name}}}{end}" for name in ("cells", "before", "after")}
    images = {
        RowsKind.WRITE: ([f"cells, p = {image}"], null + array["cells"]),
        RowsKind.DELETE: ([f"cells, p = {image}"], array["cells"] + null),
        RowsKind.UPDATE: ([f"before, p = {image}", f"after, p = {image_after}"], array["before"] + array["after"]),
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


def _image_call(images: str, present: int) -> str:
    bitmap_bytes = (present + 7) // 8
    return f"{images}[{_bitmap_expression(bitmap_bytes)}](data, text, p + {bitmap_bytes})"


def _bitmap_expression(size: int) -> str:
    """The null bitmap at p, as a number."""
    if size == 1:
        return "data[p]"
    if size == 2:
        return "data[p] | data[p + 1] << 8"
    return f'int.from_bytes(data[p:p + {size}], "little")'


def image_source(
    codes: Sequence[CellCode | None], nullable: Sequence[bool], bitmap: int | None
) -> tuple[str, dict[str, object]]:
    """Source of `image` and the objects it names: for one null bitmap, or for all of them where it is None.

    A column without code is absent from the image, and has no bit in its null bitmap.
    """
    writer = _Writer()
    cells: list[str] = []
    if bitmap is None:
        required = required_bits(codes, nullable)
        bitmap_bytes = (sum(code is not None for code in codes) + 7) // 8
        writer.line(f'nulls = int.from_bytes(data[p - {bitmap_bytes}:p], "little")')
        writer.line(f"if nulls & {required:#x}: raise IndexError")
    bit = 1
    for index, code in enumerate(codes):
        if code is None:
            cells.append(literal(ABSENT_CELL))
            continue
        if bitmap is not None and bitmap & bit:
            cells.append(literal(NULL_CELL))
        elif bitmap is not None or not nullable[index]:
            writer.column(code, index)
            cells.append(code.cell)
        else:
            writer.optional_column(code, index, bit)
            cells.append(f"{{o{index}}}")
        bit <<= 1
    return _image_function(writer, "".join(cells))


def column_source(code: CellCode, index: int) -> tuple[str, dict[str, object]]:
    """Source of `image` for a column that stands alone, without a null bitmap, and the objects it names."""
    writer = _Writer()
    writer.column(code, index)
    return _image_function(writer, code.cell)


def _image_function(writer: "_Writer", cells: str) -> tuple[str, dict[str, object]]:
    writer.flush()
    lines = [f"    {line}" for line in writer.lines]
    return "\n".join(["def image(data, text, p):", *lines, f'    return f"{cells}", p', ""]), writer.objects


def required_bits(codes: Sequence[CellCode | None], nullable: Sequence[bool]) -> int:
    """The bits of a null bitmap that no valid image sets: those of columns that are NOT NULL."""
    present = [may_be_null for code, may_be_null in zip(codes, nullable, strict=True) if code is not None]
    return sum(1 << position for position, may_be_null in enumerate(present) if not may_be_null)


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

    def optional_column(self, code: CellCode, index: int, bit: int) -> None:
        """A column whose bit in `nulls` decides at run time."""
        self.flush()
        inner = _Writer()
        inner.column(code, index)
        inner.flush()
        self.line(f"if nulls & {bit:#x}: o{index} = {_quoted(NULL_CELL)}")
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
