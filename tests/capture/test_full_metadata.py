"""Table versions made of their TABLE_MAP: what cannot be told is refused in words, and so is what no server writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from capture.charsets import charsets
from capture.dialect import Dialect
from capture.events import EventDecoder, TableMapEvent, iter_events
from capture.full_metadata import MetadataGap, version_of
from capture.table_check import mismatch
from capture.table_map import FieldType, KeyPart, OptionalMetadata
from capture.transcoder import Transcoder
from tests.capture.test_live_objects import new_table

if TYPE_CHECKING:
    from tests.live_server import LiveServer

MYSQL = Dialect.of("8.0.36")
_F = FieldType


def told(field_type: FieldType, metadata: int, *, key: tuple[KeyPart, ...] | None = None) -> TableMapEvent:
    """A table map of one column, `c`, nullable."""
    optional = OptionalMetadata(names=("c",), primary_key=key)
    return TableMapEvent(7, 0, "shop", "t", bytes([field_type]), (metadata,), (True,), optional)


@pytest.mark.parametrize(
    ("field_type", "metadata"),
    [
        *((field_type, fsp) for field_type in (_F.TIME2, _F.DATETIME2, _F.TIMESTAMP2) for fsp in (7, 255)),
        *((_F.NEWDECIMAL, precision << 8 | scale) for precision, scale in ((0, 0), (2, 3), (66, 0), (255, 255))),
        *((_F.BIT, odd << 8 | whole) for odd, whole in ((0, 0), (8, 0), (1, 8), (0, 9), (0, 255))),
    ],
)
def test_sizes_that_no_column_has_are_refused(field_type: FieldType, metadata: int) -> None:
    with pytest.raises(MetadataGap, match=rf"^column c is {field_type.name} with type metadata {metadata}, which none"):
        version_of(told(field_type, metadata), MYSQL)


@pytest.mark.parametrize(
    ("field_type", "metadata"),
    [
        *((_F.TIME2, fsp) for fsp in range(7)),
        *((_F.NEWDECIMAL, precision << 8 | scale) for precision, scale in ((1, 0), (1, 1), (65, 30), (65, 38))),
        *((_F.BIT, odd << 8 | whole) for odd, whole in ((1, 0), (7, 0), (0, 1), (7, 7), (0, 8))),
    ],
)
def test_every_size_that_columns_have_is_taken(field_type: FieldType, metadata: int) -> None:
    table_map = told(field_type, metadata)
    version = version_of(table_map, MYSQL)
    assert mismatch(version, table_map, charsets(MYSQL)) is None
    assert Transcoder(version, table_map, "8.0.36").table.partial


def test_a_primary_key_of_columns_that_are_not_there_is_refused() -> None:
    with pytest.raises(MetadataGap, match="its table map has a primary key of more than its 1 columns"):
        version_of(told(_F.LONG, 0, key=(KeyPart(1),)), MYSQL)


@pytest.mark.parametrize(
    ("charset", "label", "text"),
    [
        ("latin1", b"caf\xe9", "café"),
        ("dec8", b"plain", "plain"),
        ("dec8", b"\xd7", None),
        ("sjis", b"\x81\x60", None),
        ("utf8mb4", b"\xff", None),
    ],
)
def test_labels_are_taken_where_there_is_one_way_to_read_them(charset: str, label: bytes, text: str | None) -> None:
    """x'D7' is Œ in DEC's charset and × in Latin 1, of which Python has only the second."""
    collation = charsets(MYSQL).default_collation(charset).id
    optional = OptionalMetadata(names=("c",), labels=((label,),), collations=(collation,))
    table_map = replace(told(_F.ENUM, 1), optional=optional)
    if text is not None:
        assert version_of(table_map, MYSQL).columns[0].labels == (text,)
        return
    with pytest.raises(MetadataGap, match=f"the labels of column c cannot be read as {charset} for certain"):
        version_of(table_map, MYSQL)


def test_names_that_are_no_text_are_refused() -> None:
    named = replace(told(_F.LONG, 0), optional=OptionalMetadata(names=(b"\xe1b".decode("utf-8", "surrogateescape"),)))
    with pytest.raises(MetadataGap, match="its table map has column names that are not UTF-8"):
        version_of(named, MYSQL)


@pytest.mark.parametrize("declared", ["DATETIME(6)", "DATETIME", "TIME(6)", "TIMESTAMP(6) NULL"])
def test_mariadbs_formats_before_56_are_refused(mariadb1011: LiveServer, declared: str) -> None:
    """DATETIME(6) has eight bytes there, as DATETIME has, and would become another moment without any error."""
    with mariadb1011.global_variable("mysql56_temporal_format", "OFF"):
        table_map = announced(mariadb1011, declared, "'2024-02-29 13:14:15'")
    with pytest.raises(MetadataGap, match=r"column c has the \w+ format before MySQL 5.6"):
        version_of(table_map, Dialect.of("10.11.6-MariaDB"))


def test_mariadbs_vectors_are_not_taken_for_varbinary(mariadb118: LiveServer) -> None:
    table_map = announced(mariadb118, "VECTOR(3)", "VEC_FromText('[1,2,3]')")
    with pytest.raises(MetadataGap, match=r"column c may be VARBINARY\(12\), VECTOR, which no table map tells apart"):
        version_of(table_map, Dialect.of("11.8.2-MariaDB"))
    assert version_of(table_map, Dialect.of("11.4.2-MariaDB")).columns[1].data_type == "varbinary"


def announced(server: LiveServer, declared: str, value: str) -> TableMapEvent:
    """The table map of a table with a column `c`, as the server writes it with all it can tell."""
    database, file = new_table(server, f"c {declared}")
    with server.global_variable("binlog_row_metadata", "FULL"):
        server.execute(f"INSERT INTO t VALUES (1, {value})", database=database)
    decoder = EventDecoder()
    events = [decoder.decode(raw)[1] for raw in iter_events(server.binlog_path(file).read_bytes())]
    (found,) = [event for event in events if isinstance(event, TableMapEvent)]
    assert found.optional.names == ("id", "c")
    return found
