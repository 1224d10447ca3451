"""The binlog's event types, one row each: what it is called, whether it may change rows, and what capture does with it.

Codes and names are those of MySQL's `enum Log_event_type` (libs/mysql/binlog/event/binlog_event.h) and, from 160 on,
MariaDB's (sql/log_event.h). The invariant: an event that may change rows is either decoded or refused, never skipped.
How an event's bytes are read is the business of `capture.events`.
"""

from enum import Enum, IntEnum
from typing import NamedTuple

LOG_EVENT_IGNORABLE_FLAG = 0x80
"""Header flag: a reader that does not know this event may skip it."""


class EventType(IntEnum):
    """Event type codes by the servers' own names."""

    UNKNOWN = 0
    START_V3 = 1
    QUERY = 2
    STOP = 3
    ROTATE = 4
    INTVAR = 5
    LOAD = 6
    SLAVE = 7
    CREATE_FILE = 8
    APPEND_BLOCK = 9
    EXEC_LOAD = 10
    DELETE_FILE = 11
    NEW_LOAD = 12
    RAND = 13
    USER_VAR = 14
    FORMAT_DESCRIPTION = 15
    XID = 16
    BEGIN_LOAD_QUERY = 17
    EXECUTE_LOAD_QUERY = 18
    TABLE_MAP = 19
    PRE_GA_WRITE_ROWS = 20
    PRE_GA_UPDATE_ROWS = 21
    PRE_GA_DELETE_ROWS = 22
    WRITE_ROWS_V1 = 23
    UPDATE_ROWS_V1 = 24
    DELETE_ROWS_V1 = 25
    INCIDENT = 26
    HEARTBEAT = 27
    IGNORABLE = 28
    ROWS_QUERY = 29
    WRITE_ROWS = 30
    UPDATE_ROWS = 31
    DELETE_ROWS = 32
    GTID = 33
    ANONYMOUS_GTID = 34
    PREVIOUS_GTIDS = 35
    TRANSACTION_CONTEXT = 36
    VIEW_CHANGE = 37
    XA_PREPARE = 38
    PARTIAL_UPDATE_ROWS = 39
    TRANSACTION_PAYLOAD = 40
    HEARTBEAT_V2 = 41
    GTID_TAGGED = 42
    AURORA_PADDING = 100
    MARIADB_ANNOTATE_ROWS = 160
    MARIADB_BINLOG_CHECKPOINT = 161
    MARIADB_GTID = 162
    MARIADB_GTID_LIST = 163
    MARIADB_START_ENCRYPTION = 164
    MARIADB_QUERY_COMPRESSED = 165
    MARIADB_WRITE_ROWS_COMPRESSED_V1 = 166
    MARIADB_UPDATE_ROWS_COMPRESSED_V1 = 167
    MARIADB_DELETE_ROWS_COMPRESSED_V1 = 168
    MARIADB_WRITE_ROWS_COMPRESSED = 169
    MARIADB_UPDATE_ROWS_COMPRESSED = 170
    MARIADB_DELETE_ROWS_COMPRESSED = 171
    MARIADB_PARTIAL_ROWS = 172


class Handling(Enum):
    """What capture does with an event type."""

    DECODED = "decoded"
    SKIPPED = "skipped"
    REFUSED = "refused"


class EventTypeRow(NamedTuple):
    """One event type. `reason` says why it may be skipped, or, in words for the user, why it stops the channel."""

    type: EventType
    may_change_rows: bool
    handling: Handling
    reason: str = ""


_LOAD_DATA = "LOAD DATA was logged as a statement, not as rows; set binlog_format=ROW on the source"
_PRE_GA = "row events of a MySQL 5.1 beta have another layout; capture from MySQL 5.1.20 or later"
_CONTEXT = "context of the statement that follows; that statement stops the channel if it changes rows"
_LOADED = "content of the file of a LOAD DATA statement that follows; that stops the channel if it changes rows"
_GROUP = "group replication's own bookkeeping, no row data"

_D, _S, _R = Handling.DECODED, Handling.SKIPPED, Handling.REFUSED
_E = EventType

EVENT_TYPES: dict[int, EventTypeRow] = {
    row.type: row
    for row in (
        EventTypeRow(_E.UNKNOWN, True, _R, "the source wrote an event of the type reserved for damaged events"),
        EventTypeRow(
            _E.START_V3, False, _R, "the binlog is in the format of MySQL 4.1 or older; 5.1 or later is needed"
        ),
        EventTypeRow(_E.QUERY, True, _D),
        EventTypeRow(_E.STOP, False, _S, "the server stopped; the next file follows"),
        EventTypeRow(_E.ROTATE, False, _D),
        EventTypeRow(_E.INTVAR, False, _S, _CONTEXT),
        EventTypeRow(_E.LOAD, True, _R, _LOAD_DATA),
        EventTypeRow(_E.SLAVE, False, _R, "events of this type were never written by a released server"),
        EventTypeRow(_E.CREATE_FILE, True, _R, _LOAD_DATA),
        EventTypeRow(_E.APPEND_BLOCK, False, _S, _LOADED),
        EventTypeRow(_E.EXEC_LOAD, True, _R, _LOAD_DATA),
        EventTypeRow(_E.DELETE_FILE, False, _S, _LOADED),
        EventTypeRow(_E.NEW_LOAD, True, _R, _LOAD_DATA),
        EventTypeRow(_E.RAND, False, _S, _CONTEXT),
        EventTypeRow(_E.USER_VAR, False, _S, _CONTEXT),
        EventTypeRow(_E.FORMAT_DESCRIPTION, False, _D),
        EventTypeRow(_E.XID, False, _D),
        EventTypeRow(_E.BEGIN_LOAD_QUERY, False, _S, _LOADED),
        EventTypeRow(_E.EXECUTE_LOAD_QUERY, True, _D),
        EventTypeRow(_E.TABLE_MAP, False, _D),
        EventTypeRow(_E.PRE_GA_WRITE_ROWS, True, _R, _PRE_GA),
        EventTypeRow(_E.PRE_GA_UPDATE_ROWS, True, _R, _PRE_GA),
        EventTypeRow(_E.PRE_GA_DELETE_ROWS, True, _R, _PRE_GA),
        EventTypeRow(_E.WRITE_ROWS_V1, True, _D),
        EventTypeRow(_E.UPDATE_ROWS_V1, True, _D),
        EventTypeRow(_E.DELETE_ROWS_V1, True, _D),
        EventTypeRow(
            _E.INCIDENT, True, _R, "the source recorded that changes were lost before they reached its binlog"
        ),
        EventTypeRow(_E.HEARTBEAT, False, _D),
        EventTypeRow(_E.IGNORABLE, False, _S, "ignorable by definition"),
        EventTypeRow(_E.ROWS_QUERY, False, _S, "the text of a statement whose rows follow"),
        EventTypeRow(_E.WRITE_ROWS, True, _D),
        EventTypeRow(_E.UPDATE_ROWS, True, _D),
        EventTypeRow(_E.DELETE_ROWS, True, _D),
        EventTypeRow(_E.GTID, False, _D),
        EventTypeRow(_E.ANONYMOUS_GTID, False, _D),
        EventTypeRow(_E.PREVIOUS_GTIDS, False, _D),
        EventTypeRow(_E.TRANSACTION_CONTEXT, False, _S, _GROUP),
        EventTypeRow(_E.VIEW_CHANGE, False, _S, _GROUP),
        EventTypeRow(_E.XA_PREPARE, False, _D),
        EventTypeRow(_E.PARTIAL_UPDATE_ROWS, True, _D),
        EventTypeRow(_E.TRANSACTION_PAYLOAD, True, _D),
        EventTypeRow(_E.HEARTBEAT_V2, False, _D),
        EventTypeRow(_E.GTID_TAGGED, False, _D),
        EventTypeRow(_E.AURORA_PADDING, False, _S, "padding written by Amazon Aurora"),
        EventTypeRow(_E.MARIADB_ANNOTATE_ROWS, False, _S, "the text of a statement whose rows follow"),
        EventTypeRow(_E.MARIADB_BINLOG_CHECKPOINT, False, _S, "the server's own crash recovery"),
        EventTypeRow(_E.MARIADB_GTID, False, _D),
        EventTypeRow(_E.MARIADB_GTID_LIST, False, _D),
        EventTypeRow(
            _E.MARIADB_START_ENCRYPTION,
            True,
            _R,
            "the binlog file is encrypted by MariaDB; read it from the running server instead",
        ),
        EventTypeRow(_E.MARIADB_QUERY_COMPRESSED, True, _D),
        EventTypeRow(_E.MARIADB_WRITE_ROWS_COMPRESSED_V1, True, _D),
        EventTypeRow(_E.MARIADB_UPDATE_ROWS_COMPRESSED_V1, True, _D),
        EventTypeRow(_E.MARIADB_DELETE_ROWS_COMPRESSED_V1, True, _D),
        EventTypeRow(_E.MARIADB_WRITE_ROWS_COMPRESSED, True, _D),
        EventTypeRow(_E.MARIADB_UPDATE_ROWS_COMPRESSED, True, _D),
        EventTypeRow(_E.MARIADB_DELETE_ROWS_COMPRESSED, True, _D),
        EventTypeRow(
            _E.MARIADB_PARTIAL_ROWS,
            True,
            _R,
            "a rows event was written in fragments (MariaDB 12.3 on, for rows larger than a replica's "
            "slave_max_allowed_packet), which are not supported yet",
        ),
    )
}
