"""Code of ENUM and SET columns: TextObject cells with the labels as text, a SET's joined by commas.

As `capture.cells` for the other types. The binlog holds numbers, the schema history their labels; a label is UTF-8 in
the record whatever the column's character set is. Number 0 of an ENUM is the empty text of a refused value. A number
without a label raises IndexError in the generated code, and the event is malformed.
"""

from capture.avro_text import TextCache, string, to_bytes
from capture.cells import CODE_BYTES, TEXT_OBJECT, CellCode, ColumnShape, Fixed
from capture.operation import Operation

_ENUM_CODES = {1: "B", 2: "H"}
_SET_CODES = {1: "B", 2: "H", 3: "HB", 4: "I", 8: "Q"}


def text_object(object_type: str, text: str) -> str:
    """A TextObject cell."""
    return TEXT_OBJECT + string(object_type) + string(text)


def enum(shape: ColumnShape) -> CellCode:
    """ENUM: the number of the label from 1 on, one or two bytes (the metadata says), little endian."""
    i, size = shape.index, shape.metadata
    cells = [text_object("ENUM", label) for label in ("", *shape.column.labels)]
    fixed = Fixed("<", _ENUM_CODES[size], size, f"v{i}_0")
    operation = Operation("label", size, cells=tuple(map(to_bytes, cells)))
    return CellCode(f"{{labels{i}[v{i}_0]}}", (fixed,), objects={f"labels{i}": cells}, operation=operation)


def set_(shape: ColumnShape) -> CellCode:
    """SET: one bit for each label, the first one's lowest; 1, 2, 3, 4 or 8 bytes (the metadata says), little endian."""
    i, labels = shape.index, shape.column.labels

    def make(bits: int) -> str:
        if bits >> len(labels):
            raise IndexError
        return text_object("SET", ",".join(label for index, label in enumerate(labels) if bits >> index & 1))

    codes = _SET_CODES[shape.metadata]
    fixed = tuple(Fixed("<", code, CODE_BYTES[code], f"v{i}_{k}") for k, code in enumerate(codes))
    value = f"v{i}_0" if len(codes) == 1 else f"v{i}_0 | v{i}_1 << 16"
    cells = TextCache(make)
    operation = Operation("mapped", shape.metadata, cells=cells)
    return CellCode(f"{{sets{i}[{value}]}}", fixed, objects={f"sets{i}": cells}, operation=operation)
