"""How values that JSON has no word for are written in calls and answers: the forms of `broker/fixture/values.py`."""

from __future__ import annotations

import base64
import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$bytes": base64.b64decode,
    "$decimal": Decimal,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta_us": lambda count: timedelta(microseconds=count),
}
_MICROSECOND: Final = timedelta(microseconds=1)


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


def _special(value: object) -> dict[str, Any] | list[Any]:
    """One of the special forms; the labels of a SET as a list."""
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
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be a column's value")
