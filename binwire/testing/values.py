"""How values that JSON has no word for are written in calls and answers: the forms of `broker/fixture/values.py`.

TINYINT to BIGINT, BIT, YEAR     int or bool; of a BIT also its bytes
DECIMAL                          Decimal, int, float, or its text
FLOAT, DOUBLE                    float, int, Decimal
CHAR, VARCHAR, TEXT …            str, or bytes in the column's character set
BINARY, VARBINARY, BLOB …        bytes, bytearray, memoryview
ENUM; SET                        a label; a set or list of labels, or their text with commas
DATE                             date, or text, also '0000-00-00' and '2026-00-00'
DATETIME                         datetime without time zone, date, or text
TIMESTAMP                        datetime (without time zone: UTC), Unix seconds, or text in UTC
TIME                             timedelta, time, or text, also '-838:59:59'
JSON                             dict, list, int, float, bool, Decimal, dates and times; a str is JSON text
POINT … GEOMETRYCOLLECTION       WKB, as bytes
VECTOR                           a sequence of floats, or their bytes
UUID, INET4, INET6 (MariaDB)     Python's objects, their text, or their bytes
any that may be NULL             None
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

__tracebackhide__ = True  # pytest shows the line of the test

_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$bytes": base64.b64decode,
    "$decimal": Decimal,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta_us": lambda count: timedelta(microseconds=count),
    "$object": dict,
}
_MICROSECOND: Final = timedelta(microseconds=1)
_AS_THEY_ARE: Final = frozenset({bool, bytes, float, int, str, type(None)})


def plain(value: Any) -> Any:
    """A column's value as `dumps` can write it, apart from whoever changes a dict or list of it afterwards.

    Raises TypeError for one that no column can have.
    """
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, Mapping):
        return _plain_object(value)
    if isinstance(value, (UUID, IPv4Address, IPv6Address)):
        return str(value)
    if isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, (str, bytes, bytearray, memoryview)):
        return [plain(one) for one in value]
    return value if isinstance(value, (int, float, str)) else _special(value)


def _plain_object(value: Mapping[Any, Any]) -> dict[str, Any]:
    """A JSON object; one that would be taken for a special form is written as one."""
    found = {}
    for key, one in value.items():
        if not isinstance(key, str):
            raise TypeError(f"the key {key!r} cannot be a JSON object's, whose keys are texts")
        found[key] = plain(one)
    if len(found) == 1 and next(iter(found)).startswith("$"):
        return {"$object": [[*item] for item in found.items()]}
    return found


def dumps(document: Any) -> bytes:
    """Write one line; raises TypeError for a value that no column can have."""
    return json.dumps(document, default=_special).encode() + b"\n"


def loads(line: bytes) -> Any:
    """Read one line."""
    return json.loads(line, object_hook=_value)


def _value(item: dict[str, Any]) -> Any:
    if len(item) != 1:
        return item
    [(kind, text)] = item.items()
    reader = _READERS.get(kind)
    return item if reader is None else reader(text)


def _special(value: object) -> dict[str, Any]:
    """One of the special forms."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, time):
        return {"$time": value.isoformat()}
    if isinstance(value, timedelta):
        return {"$timedelta_us": value // _MICROSECOND}
    raise TypeError(f"a value of type {type(value).__name__} cannot be a column's value")
