"""Record batches and DTS records as a benchmark's client sees them, read after the clock has stopped."""

from __future__ import annotations

import functools
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from storage.records import HEADER_BYTES, LENGTH_PREFIX_BYTES, iter_batches, iter_records, read_header

_ROW_OPERATIONS: Final = ("INSERT", "UPDATE", "DELETE")
_EPOCH_AT: Final = LENGTH_PREFIX_BYTES


def offset_after(batches: memoryview | bytes) -> int:
    """The offset that follows the last record of whole batches; 0 when there is none."""
    position = offset = 0
    while position < len(batches):
        header = read_header(batches, position)
        offset = header.next_offset
        position += header.size_bytes
    return offset


def whole_batches(batches: memoryview) -> memoryview:
    """What a broker sent, without the batch at its end that did not fit: Kafka cuts where the limit is."""
    position = 0
    while len(batches) - position >= HEADER_BYTES:
        size_bytes = read_header(batches, position).size_bytes
        if position + size_bytes > len(batches):
            break
        position += size_bytes
    return batches[:position]


def split_batches(batches: bytes, before: int | None = None) -> list[bytes]:
    """Whole batches, one by one, up to the one that ends at the offset `before`."""
    found, position, offset = [], 0, 0
    while position < len(batches) and offset != before:
        header = read_header(batches, position)
        found.append(batches[position : position + header.size_bytes])
        position += header.size_bytes
        offset = header.next_offset
    return found


def without_leader_epochs(batches: bytes) -> bytes:
    """Whole batches as every broker has them: the epoch of its leader is the broker's own, and outside the checksum."""
    return b"".join(batch[:_EPOCH_AT] + bytes(4) + batch[_EPOCH_AT + 4 :] for batch in split_batches(batches))


def record_values(batches: bytes) -> Iterator[bytes]:
    """The values of all records in whole batches."""
    for batch in iter_batches(batches):
        for record in iter_records(batch):
            assert record.value is not None
            yield record.value


@functools.cache
def schema() -> Any:
    """The schema of the record values, parsed by fastavro."""
    import fastavro

    import capture

    text = Path(capture.__file__).with_name("record.avsc").read_text(encoding="utf-8")
    return fastavro.parse_schema(json.loads(text))


def rows(values: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The row changes among record values, decoded by fastavro."""
    import fastavro

    for value in values:
        decoded = fastavro.schemaless_reader(io.BytesIO(value), schema(), None)
        assert isinstance(decoded, dict)
        if decoded["operation"] in _ROW_OPERATIONS:
            yield decoded


def content_hash(values: Iterable[bytes]) -> str:
    """A hash of what the row changes say: operation, table, fields, cells; not ids, positions, times and tags."""
    digest = hashlib.sha256()
    for row in rows(values):
        content = [row[name] for name in ("operation", "objectName", "fields", "beforeImages", "afterImages")]
        digest.update(repr(content).encode())
    return digest.hexdigest()


def text_cell(row: dict[str, Any], column: str) -> str:
    """A text column of a decoded row's after image."""
    position = [entry["name"] for entry in row["fields"]].index(column)
    text: bytes = row["afterImages"][position]["value"]
    return text.decode()
