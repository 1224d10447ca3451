"""Row images to Avro records, by straight-line functions generated for each table version."""

from capture.envelope import RecordHead
from capture.events import RowsEvent, TableMapEvent
from capture.table import TableVersion


class Transcoder:
    """Turns the rows events of one table version into records.

    Made once per (table version, table map); `source_version` is the server's @@version. Raises UnsupportedColumn for
    a column type that is not supported, SchemaMismatch where table version and table map disagree.
    """

    def __init__(self, table: TableVersion, table_map: TableMapEvent, source_version: str) -> None:
        raise NotImplementedError

    def transcode(self, rows: RowsEvent, head: RecordHead, first_id: int) -> list[bytes]:
        """One record per row (UPDATE: per pair of images), in order, ids from `first_id` on.

        Raises MalformedEvent if the images do not fill the event exactly, UnsupportedEvent if they lack columns.
        """
        raise NotImplementedError
