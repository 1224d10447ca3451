"""The largest record a channel writes, and the sentence for a row that is larger.

Clients hold a whole record, and librdkafka and sarama take no answer of more than 100,000,000 bytes unless they are
told to. So a larger record stops its channel before anything of its transaction is visible, and somebody decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capture.avro import decode
from capture.errors import RecordTooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capture.table import TableVersion

RECORD_BYTES_MAX = 90 << 20
"""Unless a channel says otherwise: below the 100,000,000 bytes of librdkafka, and of sarama's 100 MiB."""

_VALUE_CHARACTERS_MAX = 64
_REMEDY = (
    "raise record_bytes_max of this channel above that and, where the README's table of client settings says so, what "
    "its consumers accept (max.partition.fetch.bytes of Java 0.10.0, receive.message.max.bytes of librdkafka, "
    "sarama.MaxResponseSize …); the channel then goes on exactly here"
)


def check_rows(records: Sequence[bytes], table: TableVersion, bytes_max: int) -> None:
    """Raises RecordTooLarge for the first record above the limit."""
    for record in records:
        if len(record) > bytes_max:
            raise RecordTooLarge(
                f"the row of {table.database}.{table.table} with {_key_text(record, table)} makes a record of "
                f"{len(record)} bytes, and record_bytes_max is {bytes_max}: {_REMEDY}"
            )


def check_statement(record: bytes, sql: str, bytes_max: int) -> None:
    """Raises RecordTooLarge for the DDL record of a statement that is too long."""
    if len(record) > bytes_max:
        raise RecordTooLarge(
            f"the statement {_shortened(sql)} makes a record of {len(record)} bytes, and record_bytes_max is "
            f"{bytes_max}: {_REMEDY}"
        )


def _key_text(record: bytes, table: TableVersion) -> str:
    """The row's primary key as `id = 7`; of a row that changes, the key it had."""
    key = table.primary_key
    if key is None:
        return "no primary key"
    decoded = decode(record)
    cells = decoded["beforeImages"] or decoded["afterImages"]
    names = [field["name"] for field in decoded["fields"]]
    values = (f"{name} = {_cell_text(cells[names.index(name)])}" for name in key.columns)
    return "primary key " + ", ".join(values)


def _cell_text(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return "NULL"
    value = cell.get("value")
    if isinstance(value, bytes):
        return _shortened(repr(value.decode("utf-8", "backslashreplace")))
    if value is None:  # a date or time: the parts that it has, in order
        value = ", ".join(str(part) for name, part in cell.items() if name != "class" and part is not None)
    return _shortened(str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _VALUE_CHARACTERS_MAX else f"{text[:_VALUE_CHARACTERS_MAX]}…"
