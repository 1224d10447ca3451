"""What an INSERT puts into the columns it leaves out: literal defaults, the time, the next number, NULL.

`RowDefaults` is of one table version. A default is kept as SQL text (`capture/table.py`); of that, literals are read
here as the server reads them for a column of their type, CURRENT_TIMESTAMP is the statement's time in UTC, and an ENUM
that is NOT NULL has its first label, as in MySQL. Expressions and GENERATED columns are not computed: their value has
to be given. Left to others: which values fit (`capture/values.py` and its neighbours), where numbers are counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from capture.errors import ValueRefused
from capture.temporal_values import cut_fraction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from capture.table import Column, TableVersion
    from capture.values import Value

_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_NOW = re.compile(r"CURRENT_TIMESTAMP(?:\(\d\))?")
_NOW_TYPES = frozenset({"timestamp", "datetime"})
_TIMES = frozenset({"timestamp", "datetime", "time"})
_HEX = re.compile(r"(?:0[xX]([0-9A-Fa-f]+)|[xX]'((?:[0-9A-Fa-f]{2})*)')")
_BITS = re.compile(r"(?:0b([01]+)|[bB]'([01]*)')")
_MONTHLY = re.compile(r"\d{4}-\d\d-\d\d")


class RowDefaults:
    """Completes rows of one table."""

    def __init__(self, table: TableVersion, *, cuts_fractions: bool = False) -> None:
        """`cuts_fractions`: digits of a second that a column does not have are dropped, as by MariaDB, not rounded."""
        self._name = f"{table.database}.{table.table}"
        self._columns = table.columns
        self._names = [column.name for column in table.columns]
        self._known = frozenset(self._names)
        self._literals: dict[str, Value] = {}
        self._cut = [index for index, column in enumerate(table.columns) if column.data_type in _TIMES]
        if not cuts_fractions:
            self._cut.clear()
        self.auto_increment = next((column.name for column in table.columns if column.auto_increment), None)

    def inserted(self, row: Mapping[str, Value] | Sequence[Value], time_s: int, number: int) -> Sequence[Value]:
        """A row that comes, in table order; `number` is the next AUTO_INCREMENT. Raises ValueRefused."""
        values = self._completed(row, lambda column: self._default(column, time_s))
        if self.auto_increment is not None:
            place = self._names.index(self.auto_increment)
            if values[place] is None:
                values[place] = number
        return self._finished(values)

    def before(self, row: Mapping[str, Value] | Sequence[Value]) -> Sequence[Value]:
        """A row as it was: what an INSERT at an unknown time cannot tell has to be given. Raises ValueRefused."""
        return self._finished(self._completed(row, lambda column: self._default(column, None)))

    def after(self, row: Mapping[str, Value] | Sequence[Value], before: Sequence[Value]) -> Sequence[Value]:
        """A row as it is; columns left out stay what they were. Raises ValueRefused."""
        if not isinstance(row, Mapping):
            return self._finished([*row])
        self._refuse_unknown(row)
        return self._finished([row.get(name, was) for name, was in zip(self._names, before, strict=True)])

    def number_of(self, values: Sequence[Value]) -> int:
        """The AUTO_INCREMENT value of a row in table order; 0 for one that is no number."""
        value = values[self._names.index(self.auto_increment or "")]
        return int(value) if isinstance(value, int) else 0

    def _finished(self, values: list[Value]) -> list[Value]:
        for index in self._cut:
            values[index] = cut_fraction(values[index], self._columns[index].fsp)
        return values

    def _completed(self, row: Mapping[str, Value] | Sequence[Value], default: Callable[[Column], Value]) -> list[Value]:
        if not isinstance(row, Mapping):
            if len(row) != len(self._names):
                raise ValueRefused(f"{self._name} has {len(self._names)} columns, a row has {len(row)} values.")
            return [*row]
        if len(row) == len(self._names) and row.keys() == self._known:
            return [row[name] for name in self._names]
        self._refuse_unknown(row)
        return [row[column.name] if column.name in row else default(column) for column in self._columns]

    def _refuse_unknown(self, row: Mapping[str, Value]) -> None:
        unknown = row.keys() - self._known
        if unknown:
            raise ValueRefused(f"{self._name} has no column {', '.join(sorted(unknown))}.")

    def _default(self, column: Column, time_s: int | None) -> Value:
        name = f"{self._name}.{column.name}"
        if column.generated is not None or column.hidden:
            raise ValueRefused(f"{name} is GENERATED, which is not computed here; give its value.")
        if column.default is not None and _NOW.fullmatch(column.default) and column.data_type in _NOW_TYPES:
            if time_s is None:
                raise ValueRefused(f"{name} has the time of its INSERT by default, which is not known; give its value.")
            return datetime.fromtimestamp(time_s, UTC).replace(tzinfo=None)
        if column.auto_increment and time_s is None:
            raise ValueRefused(f"{name} counts by AUTO_INCREMENT, and which row this was is not known; give its value.")
        if column.name not in self._literals:
            self._literals[column.name] = _literal(column, name)
        return self._literals[column.name]


def _literal(column: Column, name: str) -> Value:
    """The value of a default that is always the same; None where there is none. Raises ValueRefused."""
    default = column.default
    if default is None:
        is_labelled = column.data_type == "enum" and not column.nullable and column.labels
        return column.labels[0] if is_labelled else None
    if default.startswith("(") and default.endswith(")"):
        default = default[1:-1].strip()
    for pattern, base in ((_HEX, 16), (_BITS, 2)):
        found = pattern.fullmatch(default)
        if found is not None:
            return _of_digits(column, found[1] if found[1] is not None else found[2], base)
    try:
        if re.fullmatch(r"-?\d+(?:\.\d+)?", default):
            return _of_text(column, default)
        text = _unquoted(default)
        if text is not None:
            return _of_text(column, text)
    except (ArithmeticError, InvalidOperation, ValueError):
        pass
    raise ValueRefused(f"{name} has the default {column.default}, which is not computed here; give its value.")


def _unquoted(default: str) -> str | None:
    """The text of a literal as `capture.sql.quote_string` writes it, None for anything else."""
    if re.fullmatch(r"'(?:[^'\\]|''|\\\\)*'", default, re.DOTALL) is None:
        return None
    return default[1:-1].replace("''", "'").replace("\\\\", "\\")


def _of_digits(column: Column, digits: str, base: int) -> Value:
    """A hexadecimal or bit literal: bytes, or the number they are where the column holds numbers."""
    number = int(digits or "0", base)
    if column.data_type in _BYTES | _TEXTS:
        bits = len(digits) * (4 if base == 16 else 1)
        return number.to_bytes((bits + 7) // 8, "big")
    return number


def _of_text(column: Column, text: str) -> Value:
    """What the server makes of a text for a column of this type. Raises ValueError for what is not certain."""
    kind = column.data_type
    if kind in _INTEGERS or kind == "bit":
        return int(Decimal(text).quantize(Decimal(1), ROUND_HALF_UP))
    if kind == "decimal":
        return Decimal(text)
    if kind in {"float", "double"}:
        return float(text)
    if kind == "year":
        return _year(text)
    if kind in _BYTES:
        return text.encode()
    if kind == "enum":
        return _label(column, text)
    if kind == "set":
        return [_label(column, one) for one in text.split(",")] if text else []
    if kind in {"datetime", "timestamp"} and _MONTHLY.fullmatch(text):
        return f"{text} 00:00:00"
    return text


def _year(text: str) -> int:
    """Four digits; of one or two, a text and a number mean different years, and the text is all that is kept."""
    year = int(text)
    if len(text) == 4 or (year == 0 and len(text) > 2):
        return year
    if not 1 <= year <= 99:
        raise ValueError
    return year + (2000 if year < 70 else 1900)


def _label(column: Column, text: str) -> str:
    """The label that a text means: the same, or the only one that differs from it in case."""
    if text in column.labels or (not text and column.data_type == "enum"):
        return text
    alike: list[Any] = [label for label in column.labels if label.casefold() == text.casefold()]
    if len(alike) != 1:
        raise ValueError
    return str(alike[0])
