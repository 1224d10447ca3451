"""The log that a client is judged by: which record stands at which offset, known before it is written.

Two records of DDL (CREATE DATABASE, CREATE TABLE), then transactions: BEGIN, rows, COMMIT. Offsets begin with 0 and
have no gaps; the last transaction may have fewer rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

RECORDS_OF_CREATION: Final = 2
_CONTROL_RECORDS: Final = 2  # BEGIN and COMMIT


@dataclass(frozen=True, slots=True)
class KnownLog:
    """So many rows in transactions of this size."""

    rows: int
    rows_per_transaction: int

    @property
    def end(self) -> int:
        """The offset after the last record, and so the number of records."""
        return RECORDS_OF_CREATION + self.rows + _CONTROL_RECORDS * -(-self.rows // self.rows_per_transaction)

    def transactions(self) -> Iterator[range]:
        """The numbers of the rows of each."""
        for first in range(0, self.rows, self.rows_per_transaction):
            yield range(first, min(first + self.rows_per_transaction, self.rows))

    def kinds(self) -> bytearray:
        """1 for a row and 0 for anything else, by offset."""
        kinds = bytearray(RECORDS_OF_CREATION)
        for rows in self.transactions():
            kinds += b"\0" + b"\1" * len(rows) + b"\0"
        return kinds
