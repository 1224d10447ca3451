"""The errors of capture: one tree, each message one clear sentence for people.

    CaptureError
    ├── MalformedEvent        the bytes are not what the binlog format allows
    ├── UnsupportedEvent      a valid event that may change rows and that this version cannot carry over exactly
    ├── UnsupportedColumn     a column type that this version cannot carry over exactly
    ├── UnsupportedStatement  a statement in the binlog whose effect cannot be followed
    ├── RecordTooLarge        a row makes a record larger than the channel may write
    ├── SchemaMismatch        the schema history and the binlog disagree about a table
    ├── ValueRefused          a value given to the event encoder does not fit its column
    ├── ReadAgain             the open transaction is to be read once more, by what is known of it now
    ├── SourceUnavailable     the source cannot be reached now; trying again may help
    └── SourceRefused         the source answered no; somebody has to do something first

A message says what happened, with which value, and what to do. It never holds a password. Where the position in the
binlog matters, the channel adds it: the decoders below it do not know the file.
"""

NEW_CHANNEL = "start a new channel: give it another id and topic in the configuration file"
"""What to do where a channel's log cannot be continued."""


class CaptureError(Exception):
    """Base of everything that stops or interrupts a channel."""


class MalformedEvent(CaptureError):
    """Bytes that break the binlog format, or fail their checksum."""


class UnsupportedEvent(CaptureError):
    """An event that may carry row changes and cannot be carried over exactly."""


class UnsupportedColumn(CaptureError):
    """A column of a type that cannot be carried over exactly; the message names table and column."""


class UnsupportedStatement(CaptureError):
    """A statement in a Query event whose effect on rows or schema cannot be followed."""


class RecordTooLarge(CaptureError):
    """A record above `record_bytes_max`; the message names table, primary key and size."""


class SchemaMismatch(CaptureError):
    """A TABLE_MAP that does not fit the schema history's idea of the table."""


class ValueRefused(CaptureError):
    """A value that does not fit its column; the message names table and column."""


class ReadAgain(CaptureError):
    """The open transaction is to be read from its beginning again; no error, and nothing is lost by it."""


class SourceUnavailable(CaptureError):
    """The source cannot be reached or went away: retried with back-off."""


class SourceRefused(CaptureError):
    """The source refuses what capture needs: stays stopped until somebody acts."""
