"""The accelerator's side of a table version: its columns' operations, compiled into one program for whole row images.

A column without an operation is read by its generated code, which the program calls. There is no program where the
accelerator is not there or does not know a size that a table map tells; the generated code of `capture.image_code` does
all the work then, and it alone says what is wrong with an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from capture.avro_text import to_bytes
from capture.image_code import column_source, compiled
from capture.operation import Operation
from storage.compiled import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capture._rows import Program
    from capture.cells import CellCode

_rows = load("capture._rows")


def program(codes: Sequence[CellCode], nullable: Sequence[bool], name: str) -> Program | None:
    """The program of a table version's columns; `name` is for the sources of columns that are called."""
    if _rows is None:
        return None
    rows = []
    for index, (code, may_be_null) in enumerate(zip(codes, nullable, strict=True)):
        operation = code.operation or _called(code, index, name)
        kind, size, detail, start, end, big_endian, cells = operation
        rows.append((kind, may_be_null, size, detail, big_endian, to_bytes(start), to_bytes(end), cells))
    try:
        made: Program = _rows.Program(tuple(rows))
    except ValueError:
        return None
    return made


def _called(code: CellCode, index: int, name: str) -> Operation:
    source, objects = column_source(code, index)
    return Operation("called", cells=compiled(source, "image", f"<{name} column {index}>", objects))
