"""Records back to values, by fastavro and the published schema: for people, tools and tests, never on the way of a row.

The schema (record.avsc beside this module) is parsed on first use, as importing fastavro costs start-up time. A record
is a dict of the schema's fields; a cell is None for NULL or a dict with its class name under `class`, as in
`{"class": "Integer", "precision": 8, "value": "7"}`.
"""

import io
from functools import cache
from pathlib import Path
from typing import Any

from capture.errors import MalformedEvent

SCHEMA_FILE = Path(__file__).with_name("record.avsc")
_NAMESPACE = "com.alibaba.dts.formats.avro."
_EMPTY_OBJECT = "EmptyObject"
_IMAGES = ("beforeImages", "afterImages")


@cache
def schema() -> Any:
    """The parsed schema, in fastavro's form."""
    import json

    import fastavro

    return fastavro.parse_schema(json.loads(SCHEMA_FILE.read_text("utf-8")))


def decode(record: bytes) -> dict[str, Any]:
    """A whole record. Raises MalformedEvent if the bytes are cut short, of another schema, or followed by others."""
    stream = io.BytesIO(record)
    fields = decode_next(stream)
    rest = len(record) - stream.tell()
    if rest:
        raise MalformedEvent(f"A DTS record of {stream.tell()} bytes is followed by {rest} others.")
    return fields


def decode_next(stream: io.BytesIO) -> dict[str, Any]:
    """The record where a stream of records stands, which stands behind it then. Raises MalformedEvent."""
    import fastavro

    start = stream.tell()
    try:
        fields: Any = fastavro.schemaless_reader(stream, schema(), None, return_record_name=True)
    except (EOFError, IndexError, ValueError, MemoryError, OverflowError) as error:
        count = len(stream.getbuffer()) - start
        raise MalformedEvent(f"{count} bytes are not a DTS record of the known schema.") from error
    return {**fields, **{name: _map(_cell, fields[name]) for name in _IMAGES}}


def encode(record: dict[str, Any]) -> bytes:
    """The bytes of a record in the form `decode` gives. Map order is kept."""
    import fastavro

    stream = io.BytesIO()
    images = {name: _map(_tagged, record[name]) for name in _IMAGES}
    fastavro.schemaless_writer(stream, schema(), {**record, **images})
    return stream.getvalue()


def _map(function: Any, images: Any) -> Any:
    return [None if cell is None else function(cell) for cell in images] if isinstance(images, list) else images


def _cell(value: tuple[str, Any] | str) -> dict[str, Any]:
    """A (name, fields) pair of fastavro as a dict.

    EmptyObject, an enum, comes as its symbol: alone where the schema defines it (beforeImages), in a pair where the
    schema refers to it by name (afterImages).
    """
    name, fields = (_EMPTY_OBJECT, value) if isinstance(value, str) else value
    named = {"symbol": fields} if isinstance(fields, str) else fields
    return {"class": name.removeprefix(_NAMESPACE), **named}


def _tagged(cell: dict[str, Any]) -> Any:
    name = cell["class"]
    if name == _EMPTY_OBJECT:
        return cell["symbol"]
    return _NAMESPACE + name, {field: value for field, value in cell.items() if field != "class"}
