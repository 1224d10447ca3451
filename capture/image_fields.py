"""Where a value of a row image ends, by what TABLE_MAP alone says of its column.

For those who cut row images apart without reading them: the types that have a fixed size, and those that begin with
their length. Sizes are those of `Field::pack` and `table_def::calc_field_size` (sql/rpl_utility.cc@8.0), for MariaDB's
own types of its sql/field.cc@10.11. What the values mean is the business of `capture.columns`.
"""

from collections.abc import Callable

from capture.cells import DECIMAL_GROUP_BYTES, DECIMAL_GROUP_DIGITS
from capture.errors import UnsupportedColumn
from capture.table_map import FieldType, string_real_type

_F = FieldType

_FIXED_BYTES: dict[int, int] = {
    _F.TINY: 1,
    _F.SHORT: 2,
    _F.INT24: 3,
    _F.LONG: 4,
    _F.LONGLONG: 8,
    _F.FLOAT: 4,
    _F.DOUBLE: 8,
    _F.YEAR: 1,
    _F.DATE: 3,
    _F.NEWDATE: 3,
    _F.TIME: 3,
    _F.DATETIME: 8,
    _F.TIMESTAMP: 4,
    _F.NULL: 0,
}


def decimal_bytes(precision: int, scale: int) -> int:
    """Bytes of a DECIMAL(precision, scale)."""
    size = 0
    for digits in (precision - scale, scale):
        groups, rest = divmod(digits, DECIMAL_GROUP_DIGITS)
        size += groups * DECIMAL_GROUP_BYTES[-1] + DECIMAL_GROUP_BYTES[rest]
    return size


def _fraction_bytes(fsp: int) -> int:
    return (fsp + 1) // 2


_COMPUTED_BYTES: dict[int, Callable[[int], int]] = {
    _F.NEWDECIMAL: lambda metadata: decimal_bytes(metadata >> 8, metadata & 0xFF),
    _F.TIMESTAMP2: lambda fsp: 4 + _fraction_bytes(fsp),
    _F.DATETIME2: lambda fsp: 5 + _fraction_bytes(fsp),
    _F.TIME2: lambda fsp: 3 + _fraction_bytes(fsp),
    _F.ENUM: lambda metadata: metadata & 0xFF,
    _F.SET: lambda metadata: metadata & 0xFF,
    _F.BIT: lambda metadata: (metadata & 0xFF) + bool(metadata >> 8),
}


def _of_length(longest_bytes: int) -> int:
    return 1 if longest_bytes < 0x100 else 2


_LENGTH_BYTES: dict[int, Callable[[int], int]] = {
    **dict.fromkeys((_F.VARCHAR, _F.VAR_STRING, _F.VARCHAR_COMPRESSED), _of_length),
    _F.STRING: lambda metadata: _of_length(string_real_type(metadata)[1]),
    **dict.fromkeys((_F.BLOB, _F.TINY_BLOB, _F.MEDIUM_BLOB, _F.LONG_BLOB), lambda metadata: metadata),
    **dict.fromkeys((_F.BLOB_COMPRESSED, _F.JSON, _F.GEOMETRY, _F.VECTOR), lambda metadata: metadata),
}

FieldEnd = Callable[[bytes, int], int]
"""Raw event and where a value starts there, to where it ends."""


def field_end(field_type: int, metadata: int) -> FieldEnd:
    """How to step over a value that is not NULL. Raises UnsupportedColumn for a type that row images do not have."""
    size = _FIXED_BYTES.get(field_type)
    if size is None and field_type in _COMPUTED_BYTES:
        size = _COMPUTED_BYTES[field_type](metadata)
    if size is not None:
        fixed = size
        return lambda data, start: start + fixed
    if field_type not in _LENGTH_BYTES:
        raise UnsupportedColumn(f"Values of the binlog type {field_type} have no known length.")
    length_bytes = _LENGTH_BYTES[field_type](metadata)

    def end(data: bytes, start: int) -> int:
        values_start = start + length_bytes
        return values_start + int.from_bytes(data[start:values_start], "little")

    return end
