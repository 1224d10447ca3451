"""How a server of a version writes its binlog: what the embedded source needs to pass for one.

One row per form: the fixed parts of event types, the rows events' version, what table maps carry, how a transaction is
named, and the session variables of a server as it is out of the box. Taken from the files of 5.6.24, 5.7.22, 8.0.40,
9.7.4 and MariaDB 10.11.18. Left to others: the events themselves (`capture/encode.py`), names and defaults of a
dialect (`capture/dialect.py`, `capture/charsets.py`).
"""

from __future__ import annotations

import re

from msgspec import Struct
from msgspec.structs import replace

from capture.charsets import charsets
from capture.dialect import Dialect
from capture.encode import DEFAULT_STATUS, POST_HEADER_BYTES, EventEncoder, GtidParts, RowMetadata
from capture.errors import SourceRefused
from capture.query_event import QueryStatus

VERSION_BYTES_MAX = 49
"""ST_SERVER_VER_LEN of MySQL's binlog_event.h, less its NUL."""

_VERSION = re.compile(r"\d{1,2}\.\d{1,3}\.\d{1,3}(?![0-9.])[ -~]*")
_EXPLICIT_DEFAULTS_FLAG = 1 << 24
"""OPTION_EXPLICIT_DEF_TIMESTAMP in MariaDB's flags2, since 10.10 (sql/sql_priv.h)."""


class BinlogForm(Struct, frozen=True):
    """Of servers of `since` and later. `gtid_parts` None: MariaDB's GTID, which stands in for BEGIN."""

    since: tuple[int, int, int]
    post_header_bytes: bytes
    sql_mode: int
    gtid_parts: GtidParts | None
    rows_version: int = 2
    row_metadata: RowMetadata = RowMetadata.NONE
    status: QueryStatus = DEFAULT_STATUS

    def encoder(self, server_version: str) -> EventEncoder:
        """What writes the events of such a server."""
        return EventEncoder(
            server_version=server_version,
            rows_version=self.rows_version,
            row_metadata=self.row_metadata,
            post_header_bytes=self.post_header_bytes,
            gtid_parts=self.gtid_parts or GtidParts.NUMBER,
        )


_MYSQL = (
    BinlogForm(
        (5, 6, 6),
        bytes.fromhex("380d0008001200040404041200005c00041a08000000080808020000000a0a0a191900"),
        1073741824,
        GtidParts.NUMBER,
    ),
    BinlogForm(
        (5, 7, 0),
        bytes.fromhex("380d0008001200040404041200005f00041a08000000080808020000000a0a0a2a2a00123400"),
        1436549152,
        GtidParts.LOGICAL_CLOCK,
    ),
    BinlogForm((8, 0, 1), POST_HEADER_BYTES, 1168113696, GtidParts.COMMIT_TIME, row_metadata=RowMetadata.MINIMAL),
    BinlogForm(
        (9, 0, 0),
        bytes.fromhex("000d0008000000000400040000006300041a08000000000000020000000a0a0a2a2a001234000a280000"),
        1168113696,
        GtidParts.COMMIT_TIME,
        row_metadata=RowMetadata.MINIMAL,
    ),
)
_MARIADB = (
    BinlogForm(
        (10, 1, 2),
        bytes.fromhex("380d000800120004040404120000e400041a08000000080808020000000a0a0a0000000000000a0a0a")
        + bytes(119)
        + bytes.fromhex("0413 0400 0d08 0808 0a0a 0a"),
        1411383296,
        None,
        rows_version=1,
    ),
)
_FORMS = {"mysql": _MYSQL, "mariadb": _MARIADB}


def binlog_form(server_version: str) -> BinlogForm:
    """The form of a server that says this of itself (`@@version`). Raises SourceRefused."""
    if _VERSION.fullmatch(server_version) is None or len(server_version) > VERSION_BYTES_MAX:
        raise SourceRefused(
            f"{server_version[:60]!r} is no server's version; write it as the server does, such as 8.0.36, 5.7.44-log "
            f"or 10.11.6-MariaDB"
        )
    dialect = Dialect.of(server_version)
    forms = _FORMS[dialect.flavour]
    form = next((form for form in reversed(forms) if dialect.version >= form.since), None)
    if form is None:
        oldest = ".".join(map(str, forms[0].since))
        raise SourceRefused(
            f"changes cannot be made as by a server of version {server_version}; take {oldest} or later"
        )
    return replace(form, status=_status(dialect, form))


def _status(dialect: Dialect, form: BinlogForm) -> QueryStatus:
    """A session with a utf8mb4 client on a server that nobody configured."""
    explicit = dialect.is_mariadb and dialect.explicit_defaults_for_timestamp
    return DEFAULT_STATUS._replace(
        flags2=_EXPLICIT_DEFAULTS_FLAG if explicit else 0,
        sql_mode=form.sql_mode,
        collation_server=charsets(dialect).server_default().id,
    )
