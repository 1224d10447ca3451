"""Mutated rows events through the accelerator, compiled with a compiler's checks of memory and arithmetic.

    python -m tests.torture.accelerator_process FOLDER EVENTS SEED

FOLDER has the modules. Runs in a process of its own, because the checks must be there before Python is; an access
outside of what is there ends it. Prints how many events each way took.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from capture import program
from capture.columns import COLUMN_TYPES
from capture.envelope import RecordHead
from capture.errors import CaptureError
from capture.rows_event import RowsEvent, RowsKind
from capture.table import Column
from capture.table_map import FieldType, TableMapEvent
from capture.transcoder import Transcoder
from storage import encoding
from tests.capture.row_cases import table_of

HEAD = RecordHead(1, "2@1", "1@1", None, 1, 0)
TABLES, EVENTS_PER_TABLE = 4, 250
METADATA = {
    FieldType.NEWDECIMAL: (0x0A02, 0x4100, 0x1E1E, 0x0201),
    FieldType.BIT: (0x0001, 0x0800, 0x0201, 0x0008),
    FieldType.STRING: (0xFE04, 0xFEFF, 0xEE2C),
    FieldType.VARCHAR: (20, 255, 256),
    FieldType.VARCHAR_COMPRESSED: (20, 300),
    FieldType.ENUM: (1, 2),
    FieldType.SET: (1, 2, 3, 4, 8),
    FieldType.DATETIME2: tuple(range(7)),
    FieldType.TIMESTAMP2: tuple(range(7)),
    FieldType.TIME2: tuple(range(7)),
    FieldType.GEOMETRY: (4,),
    FieldType.JSON: (4,),
    FieldType.VECTOR: (4,),
    FieldType.BLOB: (1, 2, 3, 4),
    FieldType.BLOB_COMPRESSED: (1, 2, 3, 4),
}


def loaded(folder: Path, name: str) -> ModuleType:
    """A module of the folder, under its own name."""
    path = folder / (name.replace(".", "/") + importlib.machinery.EXTENSION_SUFFIXES[0])
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(random_: random.Random) -> tuple[Any, TableMapEvent]:
    """A table of columns of any type, and its table map."""
    columns, types, metadata = [], [], []
    for index in range(random_.choice((1, 1, 1, 2, 3, 6, 12))):
        row = random_.choice([row for row in COLUMN_TYPES if row.readers])
        field_type = random_.choice(list(row.readers))
        labels = ("a", "b", "订单") if row.names[0] in {"enum", "set"} else ()
        name, unsigned = random_.choice(row.names), random_.random() < 0.5
        columns.append(Column(f"c{index}", name, labels=labels, unsigned=unsigned, charset="utf8mb4"))
        types.append(int(field_type))
        metadata.append(random_.choice(METADATA.get(field_type, (0,))))
    nullable = tuple(random_.random() < 0.7 for _ in columns)
    return table_of(*columns), TableMapEvent(1, 0, "db", "t", bytes(types), tuple(metadata), nullable)


def image(random_: random.Random, columns: int) -> bytes:
    """Bytes that get far: bits of null bitmaps that are few, small lengths, a first byte of each kind of number."""
    size = random_.choice((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 40, 200, 3000))
    likely = bytes((0, 0, 0, 1, 2, 3, 4, 0x7F, 0x80, 0x81, 0xFF, random_.randrange(256)))
    body = bytes(random_.choices(likely, k=size))
    return bytes(random_.choice((0, 0, 0, 1, 0xFF)) for _ in range((columns + 7) // 8)) + body


def main() -> int:
    folder, events, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    program._rows = loaded(folder, "capture._rows")
    framing: Any = loaded(folder, "storage._framing")
    random_ = random.Random(seed)
    taken = {"program": 0, "generated code": 0, "refused": 0}
    for number in range(events):
        if number % EVENTS_PER_TABLE == 0:
            version, table_map = table(random_)
            made = Transcoder(version, table_map, "8")
        count = table_map.column_count
        present = b"\xff" * ((count + 7) // 8)
        data = image(random_, count)
        start = random_.choice((0, 0, 1))
        rows = RowsEvent(random_.choice(list(RowsKind)), 1, 1, count, present, present, data, start, len(data))
        sides = rows.kind is not RowsKind.WRITE, rows.kind is not RowsKind.DELETE
        assert made._program is not None
        whole = made._program.transcode(data, start, len(data), *sides, 1, "head", "tail")
        taken["generated code" if whole is None else "program"] += 1
        try:
            records = made.transcode(rows, HEAD, number)
        except CaptureError:
            taken["refused"] += 1
            continue
        if records:
            framed = framing.frame(records, [number * 1000] * len(records))
            assert framed == encoding.encode_records(records, [number * 1000] * len(records))
    print(taken)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
