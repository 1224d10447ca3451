"""An unmodified client that follows a topic from its first record on, for as long as it is let.

Held is what it takes to compare it at the end with what everybody else was served: that offsets follow each other, and
a checksum over all values so far at every `MARK_RECORDS`-th record, so that a difference has a place.
"""

from __future__ import annotations

import threading
import zlib
from typing import TYPE_CHECKING, Final

from tests.interop.client_process import ClientError, ClientProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.decoded import Record
    from tests.interop.client import Client

MARK_RECORDS: Final = 1_000
_ENDLESS_COUNT: Final = (1 << 31) - 1
_DEADLINE_MS: Final = (1 << 31) - 1


class Digest:
    """A checksum over the values of a stream, and its state at every mark."""

    def __init__(self) -> None:
        self.next_offset = 0
        self.marks: list[int] = []
        self.checksum = 0

    def take(self, record: Record) -> None:
        assert record.offset == self.next_offset, f"offset {record.offset} follows {self.next_offset - 1}"
        self.checksum = zlib.crc32(record.value or b"", self.checksum)
        self.next_offset += 1
        if self.next_offset % MARK_RECORDS == 0:
            self.marks.append(self.checksum)


class Follower(threading.Thread):
    """One client process and what it shows. `scenario` is "group" or "assign"."""

    def __init__(self, client: Client, scenario: str, login: Mapping[str, object], folder: Path) -> None:
        super().__init__(name=f"{client.name} by {scenario}", daemon=True)
        self.digest = Digest()
        self.failure: BaseException | None = None
        self._scenario = scenario
        self._arguments = {**login, "count": _ENDLESS_COUNT, "deadline_ms": _DEADLINE_MS, "offset": 0}
        self._process = ClientProcess(client.start_command(), folder / self.name.replace(" ", "-"))
        self._is_ended = False

    def run(self) -> None:
        try:
            for record in self._process.follow(self._scenario, **self._arguments):
                self.digest.take(record)
        except ClientError as error:
            if not self._is_ended:
                self.failure = error
        except BaseException as error:
            self.failure = error

    def end(self) -> None:
        """Kill the client, which follows for ever."""
        self._is_ended = True
        self._process.kill()
        if self.ident is not None:
            self.join()
        self._process.close()
