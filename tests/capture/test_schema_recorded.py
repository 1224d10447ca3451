"""The schema history on recorded binlogs of many versions: every statement has a class, every TABLE_MAP fits.

A table whose CREATE is not in the file is not known and not checked; the figures at the end show that enough is.
"""

import pytest

from capture.charsets import decode_sql
from capture.ddl import parse
from capture.dialect import Dialect
from capture.errors import CaptureError, MalformedEvent, SchemaMismatch, UnsupportedEvent
from capture.events import EventDecoder, iter_events
from capture.query_event import QueryEvent
from capture.schema import SchemaHistory, Session, TableVersion
from capture.statements import Unknown
from capture.table_map import TableMapEvent
from tests.capture.recorded import ABSENT, BINLOGS, binlog, binlog_names

# The default charset of databases that were made before the file begins.
COLLATIONS = {
    "5.6.35_rows-v2_zalora-02.bin": "utf8_general_ci",
    "5.7.24-percona_rows-v2-decimal_easypost.bin": "utf8_bin",
}
# MySQL 8.0.13 to 8.0.17 wrote the hidden columns of functional indexes (fixed in 8.0.18): these stop a channel.
HIDDEN_COLUMNS = "8.0.17_relay_rpl_unfiltered_hidden_gcol.bin"
STATEMENTS_AT_LEAST = 500
TABLE_MAPS_AT_LEAST = 300


def events(name):
    """The events that can be read; which ones cannot is the decoder's tests' business."""
    decoder = EventDecoder()
    try:
        for raw in iter_events(binlog(name)):
            try:
                _, event = decoder.decode(raw)
            except CaptureError:
                continue
            yield decoder.format, event
    except (MalformedEvent, UnsupportedEvent):
        return


def follow(name):
    """Apply a file's statements and check its table maps; return how many there were of each."""
    history, statements, checked = None, 0, 0
    for position, (description, event) in enumerate(events(name)):
        if history is None and description is not None:
            dialect = Dialect.of(description.server_version)
            explicit = dialect.version >= ((10, 10, 0) if dialect.is_mariadb else (8, 0, 2))
            history = SchemaHistory(
                dialect,
                lambda *_: True,
                collation_server=COLLATIONS.get(name),
                explicit_defaults_for_timestamp=explicit,
            )
        if history is None:
            continue
        if isinstance(event, QueryEvent):
            status = event.status
            text = decode_sql(event.sql, status.charset_client or 0)
            parsed = parse(text, status.sql_mode or 0, history.dialect)
            assert not [statement for statement in parsed if isinstance(statement, Unknown)], text
            statements += len(parsed)
            history.apply(parsed, Session.of(event), (1, position), text)
        elif isinstance(event, TableMapEvent) and isinstance(history.state(event.database, event.table), TableVersion):
            history.check(event)
            checked += 1
    return statements, checked


@pytest.mark.skipif(not BINLOGS.exists(), reason=ABSENT)
@pytest.mark.parametrize("name", [name for name in binlog_names() if name != HIDDEN_COLUMNS])
def test_a_recorded_file(name):
    follow(name)


@pytest.mark.skipif(not BINLOGS.exists(), reason=ABSENT)
def test_hidden_columns_in_the_binlog_are_noticed():
    with pytest.raises(SchemaMismatch, match="the binlog has 3 columns, the history 2"):
        follow(HIDDEN_COLUMNS)


@pytest.mark.skipif(not BINLOGS.exists(), reason=ABSENT)
def test_the_files_hold_enough():
    counts = [follow(name) for name in binlog_names() if name != HIDDEN_COLUMNS]
    assert sum(statements for statements, _ in counts) >= STATEMENTS_AT_LEAST
    assert sum(checked for _, checked in counts) >= TABLE_MAPS_AT_LEAST
