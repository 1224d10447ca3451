"""A table map against a definition: the sizes of labels and bits on both sides of each step."""

from __future__ import annotations

import pytest

from capture.charsets import charsets
from capture.dialect import Dialect
from capture.table import Column, Key, TableVersion
from capture.table_check import mismatch
from capture.table_map import FieldType as F
from capture.table_map import KeyPart, OptionalMetadata, TableMapEvent
from tests.capture.row_cases import table_of

CHARSETS = charsets(Dialect.of("8.0.36"))


def found(one: Column, field_type: F, metadata: int) -> str | None:
    table_map = TableMapEvent(7, 0, "db", "t", bytes([field_type]), (metadata,), (True,))
    return mismatch(table_of(one), table_map, CHARSETS)


def labelled(data_type: str, count: int) -> Column:
    return Column("c", data_type, labels=tuple(map(str, range(count))))


@pytest.mark.parametrize(
    ("data_type", "count", "size_bytes"),
    [
        *(("enum", count, size) for count, size in ((1, 1), (255, 1), (256, 2), (65_535, 2))),
        *(
            ("set", count, size)
            for count, size in ((1, 1), (8, 1), (9, 2), (24, 3), (25, 4), (32, 4), (33, 8), (64, 8))
        ),
    ],
)
def test_the_bytes_of_labels_follow_from_how_many_there_are(data_type: str, count: int, size_bytes: int) -> None:
    field_type = F.ENUM if data_type == "enum" else F.SET
    assert found(labelled(data_type, count), field_type, size_bytes) is None
    for other in {1, 2, 3, 4, 5, 8} - {size_bytes}:
        assert f"with type metadata {other} in the binlog" in (
            found(labelled(data_type, count), field_type, other) or ""
        )


@pytest.mark.parametrize(
    ("bits", "odd", "whole"), [(1, 1, 0), (8, 0, 1), (9, 1, 1), (64, 0, 8), pytest.param(9, 0, 2, id="whole bytes")]
)
def test_the_bytes_of_a_bit_follow_from_its_length(bits: int, odd: int, whole: int) -> None:
    """Engines without bit fields have whole bytes."""
    assert found(Column("c", "bit", length=bits), F.BIT, odd << 8 | whole) is None
    for other in (bits + 8, bits + 16):
        assert "is BIT with type metadata" in (found(Column("c", "bit", length=other), F.BIT, odd << 8 | whole) or "")


@pytest.mark.parametrize("bits", [8, 9, 64])
def test_more_odd_bits_than_a_byte_has_are_none(bits: int) -> None:
    """They would be read as one byte."""
    assert "is BIT with type metadata" in (found(Column("c", "bit", length=bits), F.BIT, bits << 8) or "")


def test_the_server_takes_a_unique_key_without_nullable_columns_for_a_primary_one() -> None:
    columns = Column("a", "int", nullable=False), Column("b", "int"), Column("c", "int", nullable=False)
    keys = Key("b", ("b",), unique=True), Key("c", ("c",), unique=True), Key("a", ("a",))
    table = TableVersion.of("db", "t", columns, keys, "utf8mb4", "utf8mb4_0900_ai_ci")
    for index, complaint in enumerate(("('a',)", "('b',)", None)):
        optional = OptionalMetadata(primary_key=(KeyPart(index),))
        table_map = TableMapEvent(7, 0, "db", "t", bytes([F.LONG] * 3), (0, 0, 0), (False, True, False), optional)
        shown = mismatch(table, table_map, CHARSETS)
        said = f"the primary key is {complaint} in the binlog and (('c',),) in the history"
        assert shown == (None if complaint is None else said)


def test_a_compressed_column_is_no_plain_one() -> None:
    """MariaDB's COMPRESSED columns have binlog types of their own."""
    plain = Column("c", "blob")
    compressed = Column("c", "blob", compressed=True)
    assert found(plain, F.BLOB, 2) is found(compressed, F.BLOB_COMPRESSED, 2) is None
    assert found(plain, F.BLOB_COMPRESSED, 2) == "column 1 (c) is BLOB_COMPRESSED in the binlog and blob in the history"
    assert found(compressed, F.BLOB, 2) == "column 1 (c) is BLOB in the binlog and blob in the history"
