"""The constant parts of a DTS record and the records that carry no row: BEGIN, COMMIT, DDL, HEARTBEAT.

A record is Avro binary without header (schema: record.avsc), its fields in this order: version 0 | id |
sourceTimestamp | sourcePosition | safeSourcePosition | sourceTxid "0" | source | operation | objectName |
processTimestamps null | tags | fields | beforeImages | afterImages | bornTimestamp = sourceTimestamp, in seconds.

`RowEnvelope` splits the record of a row so that, within one rows event, only id and images vary; the transcoder puts
them in. Which tags a record has, and their order (pk_uk_info first), is decided here and nowhere else. Which records
there are, and their ids and positions, is the channel's business.
"""

from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from capture.avro_text import string, string_map, to_bytes, zigzag
from capture.query_event import QueryStatus
from capture.table import TableVersion


class Operation(IntEnum):
    """Symbols of the record's operation enum, with their index."""

    INSERT = 0
    UPDATE = 1
    DELETE = 2
    DDL = 3
    BEGIN = 4
    COMMIT = 5
    HEARTBEAT = 8


_BEGIN, _COMMIT = Operation.BEGIN, Operation.COMMIT


class RecordHead(NamedTuple):
    """Where a record comes from. Positions are `POS@FILENO`; `thread_id` is None where the source does not tell it.

    `timestamp` is the event header's, in seconds; `read_ms` our clock when the event was read, in milliseconds.
    """

    timestamp: int
    source_position: str
    safe_source_position: str
    thread_id: int | None
    server_id: int
    read_ms: int


class RowFrame(NamedTuple):
    """The Latin-1 text around id and images, for all rows of one rows event: version, `head`, images, `tail`."""

    head: str
    tail: str


_VERSION = zigzag(0)
_SOURCE_TXID = string("0")
_SOURCE_TYPE_MYSQL = zigzag(0)
_NULL = zigzag(0)
_OBJECT_NAME, _TEXT_IMAGE = zigzag(1), zigzag(1)
_ARRAY = zigzag(2)
_END_OF_BLOCKS = zigzag(0)

_THREAD_ID, _READ_MS, _SERVER_ID = string("thread_id"), string("readerThroughoutTime"), string("server_id")
_GTID = string("GTID")
_seconds = lru_cache(maxsize=64)(zigzag)
"""Times of events: those of one second come together."""

NULL_IMAGE = _NULL
"""beforeImages of an INSERT, afterImages of a DELETE."""


def image_array_start(column_count: int) -> str:
    """What comes before the cells of an image."""
    return _ARRAY + zigzag(column_count)


IMAGE_ARRAY_END = _END_OF_BLOCKS
"""What comes after the cells of an image."""


def object_name(*names: str) -> str:
    r"""Names joined by `.`; a `.` within a name becomes the six characters `\u002E`."""
    return ".".join(name.replace(".", "\\u002E") for name in names)


class RowEnvelope:
    """Everything constant in the records of one table version, encoded once. `numbers` are the dataTypeNumbers."""

    def __init__(self, source_version: str, table: TableVersion, numbers: tuple[int, ...]) -> None:
        name = string(object_name(table.database, table.table))
        source = _SOURCE_TXID + _SOURCE_TYPE_MYSQL + string(source_version)
        self._before_tags = {
            operation: f"{source}{zigzag(operation)}{_OBJECT_NAME}{name}{_NULL}"
            for operation in (Operation.INSERT, Operation.UPDATE, Operation.DELETE)
        }
        keys = table.pk_uk_info()
        tags = {} if keys is None else {"pk_uk_info": keys}
        tags["metaVersion"] = str(table.meta_version)
        self._table_tags = "".join(string(name) + string(value) for name, value in tags.items())
        self._tag_counts = tuple(zigzag(len(tags) + common) for common in (2, 3))
        """Without and with a thread_id."""
        cells = "".join(string(column.name) + zigzag(n) for column, n in zip(table.columns, numbers, strict=True))
        self._fields = f"{_ARRAY}{zigzag(len(numbers))}{cells}{_END_OF_BLOCKS}"

    def frame(self, operation: Operation, head: RecordHead) -> RowFrame:
        """The parts shared by all rows of an event: everything between id and images, and what follows them."""
        seconds = _seconds(head.timestamp)
        text = (
            f"{seconds}{string(head.source_position)}{string(head.safe_source_position)}"
            f"{self._before_tags[operation]}{self._tag_counts[head.thread_id is not None]}{self._table_tags}"
            f"{_common(head)}{_SERVER_ID}{string(str(head.server_id))}{_END_OF_BLOCKS}{self._fields}"
        )
        return RowFrame(text, seconds)


def _positions(head: RecordHead) -> str:
    return zigzag(head.timestamp) + string(head.source_position) + string(head.safe_source_position)


def _common(head: RecordHead) -> str:
    """`_common_tags`, encoded."""
    read = f"{_READ_MS}{string(str(head.read_ms))}"
    return read if head.thread_id is None else f"{_THREAD_ID}{string(str(head.thread_id))}{read}"


def _common_tags(head: RecordHead) -> dict[str, str]:
    tags = {} if head.thread_id is None else {"thread_id": str(head.thread_id)}
    return {**tags, "readerThroughoutTime": str(head.read_ms)}


def _query_tags(status: QueryStatus | None) -> dict[str, str]:
    """The session variables a Query event carries, those that are there."""
    if status is None:
        return {}
    values = {
        "Q_SQL_MODE_CODE": status.sql_mode,
        "Q_CHARSET_CODE": status.charset_client,
        "Q_FLAGS2_CODE": status.flags2,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


@lru_cache(maxsize=256)
def _encoded_query_tags(status: QueryStatus | None) -> tuple[int, str]:
    """How many tags there are, and they themselves: few settings are in use at a time."""
    tags = _query_tags(status)
    return len(tags), "".join(string(name) + string(value) for name, value in tags.items())


@lru_cache(maxsize=16)
def _before_tags(source_version: str, operation: Operation) -> str:
    """What stands between positions and tags of a BEGIN or COMMIT."""
    return f"{_SOURCE_TXID}{_SOURCE_TYPE_MYSQL}{string(source_version)}{zigzag(operation)}{_NULL}{_NULL}"


class ControlRecords(Struct, frozen=True):
    """Makes the records without rows. `source_version` is the server's @@version as it is."""

    source_version: str

    def begin(self, record_id: int, head: RecordHead, *, gtid: str | None, status: QueryStatus | None) -> bytes:
        """BEGIN of a transaction. `status` is that of its BEGIN query, None where there is none (MariaDB)."""
        count, tags = _encoded_query_tags(status)
        return self._boundary(record_id, _BEGIN, head, count, tags, gtid)

    def commit(self, record_id: int, head: RecordHead, *, gtid: str | None) -> bytes:
        """COMMIT of a transaction, by XID or by COMMIT query."""
        return self._boundary(record_id, _COMMIT, head, 0, "", gtid)

    def _boundary(
        self, record_id: int, operation: Operation, head: RecordHead, count: int, tags: str, gtid: str | None
    ) -> bytes:
        """A BEGIN or COMMIT, as `_record` makes it, for each small transaction: `count` `tags`, then the usual ones."""
        seconds = _seconds(head.timestamp)
        if gtid is not None:
            count += 1
            tags = f"{tags}{_GTID}{string(gtid)}"
        count += 1 if head.thread_id is None else 2
        return to_bytes(
            f"{_VERSION}{zigzag(record_id)}{seconds}{string(head.source_position)}"
            f"{string(head.safe_source_position)}{_before_tags(self.source_version, operation)}"
            f"{zigzag(count)}{tags}{_common(head)}{_END_OF_BLOCKS}{_NULL}{_NULL}{_NULL}{seconds}"
        )

    def ddl(
        self,
        record_id: int,
        head: RecordHead,
        *,
        database: str,
        sql: str,
        gtid: str | None,
        gtid_set: str | None,
        status: QueryStatus | None,
        commit_timestamp: int | None,
        lower_case_table_names: bool,
    ) -> bytes:
        """A DDL statement as the client typed it. `database` is the target, empty for none; commit time in seconds."""
        tags = {
            **_gtid_tag(gtid),
            **({} if gtid_set is None else {"GTID_SET": gtid_set}),
            **_query_tags(status),
            "commitTimestamp": str(head.timestamp if commit_timestamp is None else commit_timestamp),
            "lowerCaseTableNames": "true" if lower_case_table_names else "false",
            **_common_tags(head),
            "server_id": str(head.server_id),
        }
        name = object_name(database) if database else None
        return self._record(record_id, Operation.DDL, head, tags, name=name, after=_TEXT_IMAGE + string(sql))

    def heartbeat(self, record_id: int, *, timestamp: int, source_position: str, read_ms: int) -> bytes:
        """The source is alive and nothing up to `source_position` is missing."""
        head = RecordHead(timestamp, source_position, source_position, None, 0, read_ms)
        return self._record(record_id, Operation.HEARTBEAT, head, _common_tags(head))

    def _record(
        self,
        record_id: int,
        operation: Operation,
        head: RecordHead,
        tags: dict[str, str],
        *,
        name: str | None = None,
        after: str = _NULL,
    ) -> bytes:
        object_text = _NULL if name is None else _OBJECT_NAME + string(name)
        return to_bytes(
            f"{_VERSION}{zigzag(record_id)}{_positions(head)}{_SOURCE_TXID}{_SOURCE_TYPE_MYSQL}"
            f"{string(self.source_version)}{zigzag(operation)}{object_text}{_NULL}{string_map(tags)}"
            f"{_NULL}{_NULL}{after}{zigzag(head.timestamp)}"
        )


def _gtid_tag(gtid: str | None) -> dict[str, str]:
    return {} if gtid is None else {"GTID": gtid}
