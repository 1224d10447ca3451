"""Row images taken apart: the bytes of every column, by the same generated code that makes its cells.

Each column's code is compiled into an image of its own (`capture/image_code.py`), which tells where the column ends; so
nothing here knows how long a value is, or what it means. The rule of a column is that of its row in
`capture/columns.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from capture.columns import column_codes, column_type
from capture.dissect import Part
from capture.image_code import compiled, image_source
from capture.rows_event import RowsKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capture.rows_event import RowsEvent
    from capture.table import Column, TableVersion
    from capture.table_map import TableMapEvent


class RowParts:
    """The parts of one table version's row images."""

    def __init__(self, table: TableVersion, table_map: TableMapEvent) -> None:
        self._table = table
        codes = column_codes(table, table_map)
        self._images: list[Callable[[bytes, str, int], tuple[str, int]]] = []
        for index, code in enumerate(codes):
            source, objects = image_source([None] * index + [code], table_map.nullable[: index + 1], 0)
            name = f"<column {index} of {table.database}.{table.table} {table.meta_version}>"
            self._images.append(cast("Callable[..., tuple[str, int]]", compiled(source, "image", name, objects)))

    def row(self, rows: RowsEvent, number: int) -> list[Part]:
        """The parts of one row, counted from 0, of an UPDATE both of its images; those before it are one part."""
        data, text = rows.data, rows.data.decode("latin-1")
        at = rows.rows_start
        for _ in range(number):
            for _, bitmap in _images(rows):
                at = list(self._image(data, text, at, "", bitmap))[-1].end
        parts = []
        if number:
            parts.append(Part(rows.rows_start, at, "rows before", f"{number:,}"))
        for image, bitmap in _images(rows):
            parts += self._image(data, text, at, image, bitmap)
            at = parts[-1].end
        if at < rows.rows_end:
            parts.append(Part(at, rows.rows_end, "rows behind", ""))
        return parts

    def _image(self, data: bytes, text: str, at: int, image: str, bitmap: bytes) -> Iterator[Part]:
        """The null bitmap, which has a bit for each column that is present, and the columns that are not NULL."""
        count = len(self._images)
        present = [index for index in range(count) if int.from_bytes(bitmap, "little") >> index & 1]
        start, at = at, at + (len(present) + 7) // 8
        nulls = int.from_bytes(data[start:at], "little")
        empty = [self._table.columns[index].name for bit, index in enumerate(present) if nulls >> bit & 1]
        yield Part(start, at, f"NULLs {image}".rstrip(), ", ".join(empty) or "none", image=image)
        for bit, index in enumerate(present):
            column, row = self._table.columns[index], column_type(self._table, index)
            value = f"{declared(column)} → {row.avro_class}, dataTypeNumber {row.number}"
            if nulls >> bit & 1:
                yield Part(
                    at, at, column.name, value, "its bit in the bitmap is set: null, without bytes", image, index
                )
                continue
            _, end = self._images[index](data, text, at)
            yield Part(at, end, column.name, value, row.rule, image, index)
            at = end


def _images(rows: RowsEvent) -> tuple[tuple[str, bytes], ...]:
    if rows.kind is RowsKind.UPDATE:
        return ("before", rows.columns), ("after", rows.columns_after)
    return (("before" if rows.kind is RowsKind.DELETE else "after", rows.columns),)


def declared(column: Column) -> str:
    """A column's type as its definition says it."""
    size = ""
    if column.precision is not None:
        size = f"({column.precision}{'' if column.scale is None else f',{column.scale}'})"
    elif column.length is not None:
        size = f"({column.length})"
    elif column.fsp:
        size = f"({column.fsp})"
    unsigned = " UNSIGNED" if column.unsigned else ""
    charset = f" {column.charset}" if column.charset else ""
    return f"{column.data_type.upper()}{size}{unsigned}{charset}"
