"""A consumer that never trusts the server: it remembers every byte it was ever served and compares again and again.

It polls the raw Fetch API all the time, reconnects when the server dies, and then reads a window of what it already has
once more. What it checks as it goes: an offset always means the same bytes, offsets are contiguous, the high watermark
never goes back. What it keeps for the end: the records, and every high watermark a client could have seen.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from bench.client import KafkaError, RawClient
from tests.decoded import Record, decode_batches

_REREAD_RECORDS = 20_000
_POLL_WAIT_MS = 100
_RECONNECT_PAUSE_S = 0.01


class Watcher(threading.Thread):
    """Polls until stopped. ``address`` gives the server's host and port, or None while it is down."""

    def __init__(self, address: Callable[[], tuple[str, int] | None], topic: str, username: str, password: str) -> None:
        super().__init__(name="watcher", daemon=True)
        self.records: list[Record] = []
        self.high_watermarks: set[int] = set()
        self.connections = 0
        self._address = address
        self._topic = topic
        self._login = (username, password)
        self._stopping = threading.Event()
        self._grown = threading.Condition()
        self._failure: BaseException | None = None

    def wait_for_records(self, count: int, timeout_s: float) -> None:
        """Wait until ``count`` records were served; raises what the watcher found wrong meanwhile."""
        with self._grown:
            arrived = self._grown.wait_for(lambda: len(self.records) >= count or self._failure, timeout_s)
        self._raise_failure()
        assert arrived, f"{len(self.records)} of {count} records were served within {timeout_s:.0f} s"

    def wait_for_value(self, needle: bytes, timeout_s: float) -> int:
        """Wait until a record whose value contains ``needle`` was served; its offset."""
        seen = 0

        def found() -> bool:
            nonlocal seen
            while seen < len(self.records) and needle not in (self.records[seen].value or b""):
                seen += 1
            return seen < len(self.records)

        with self._grown:
            arrived = self._grown.wait_for(lambda: found() or self._failure, timeout_s)
        self._raise_failure()
        assert arrived, f"no record with {needle!r} was served within {timeout_s:.0f} s"
        return seen

    def stop(self) -> None:
        """End, and raise what the watcher found wrong."""
        self.end()
        self._raise_failure()

    def end(self) -> None:
        """End, whatever was found."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                address = self._address()
                if address is None:
                    self._stopping.wait(_RECONNECT_PAUSE_S)
                    continue
                with contextlib.suppress(KafkaError, OSError):
                    self._poll(*address)
        except BaseException as failure:
            self._failure = failure
            with self._grown:
                self._grown.notify_all()

    def _poll(self, host: str, port: int) -> None:
        position = max(0, len(self.records) - _REREAD_RECORDS)
        with RawClient(host, port) as client:
            client.login(*self._login)
            self.connections += 1
            while not self._stopping.is_set():
                fetched = client.fetch(self._topic, position, max_bytes=4 << 20, max_wait_ms=_POLL_WAIT_MS)
                self._see_high_watermark(fetched.high_watermark)
                for record in decode_batches(fetched.records):
                    if record.offset >= position:
                        self._see(record)
                        position = record.offset + 1
                assert position <= fetched.high_watermark, "a record beyond the high watermark was served"
                with self._grown:
                    self._grown.notify_all()

    def _see_high_watermark(self, high_watermark: int) -> None:
        highest = max(self.high_watermarks, default=0)
        assert high_watermark >= highest, f"the high watermark went back from {highest} to {high_watermark}"
        self.high_watermarks.add(high_watermark)

    def _see(self, record: Record) -> None:
        if record.offset < len(self.records):
            assert record == self.records[record.offset], f"offset {record.offset} changed its content"
        else:
            assert record.offset == len(self.records), f"offset {record.offset} follows {len(self.records) - 1}"
            self.records.append(record)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
