"""A consumer that never trusts the server: it keeps every byte it was ever served and compares again and again.

It polls the raw Fetch API all the time, reconnects when the server dies, and then reads a window of what it already has
once more. What it checks as it goes: an offset always means the same bytes, offsets are contiguous, the high watermark
never goes back. What it keeps for the end: the batches (`tests.torture.served`), and every high watermark a client
could have seen.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from bench.client import EARLIEST, KafkaError, RawClient
from tests.decoded import decode_batches
from tests.torture.served import Served

_REREAD_RECORDS = 20_000
_POLL_WAIT_MS = 100
_RECONNECT_PAUSE_S = 0.01


class NotYet(AssertionError):
    """What was waited for was not served in time."""


class Watcher(threading.Thread):
    """Polls until stopped. ``address`` gives the server's host and port, or None while it is down."""

    def __init__(
        self, address: Callable[[], tuple[str, int] | None], topic: str, username: str, password: str, served: Served
    ) -> None:
        super().__init__(name="watcher", daemon=True)
        self.served = served
        """Of this thread until it has ended."""
        self.end_offset = 0
        """How many records were served."""
        self.high_watermarks: set[int] = set()
        self.connections = 0
        self._highest = 0
        self._sought = b""
        self._found = -1
        self._address = address
        self._topic = topic
        self._login = (username, password)
        self._stopping = threading.Event()
        self._grown = threading.Condition()
        self._failure: BaseException | None = None

    def wait_for_records(self, count: int, timeout_s: float) -> None:
        """Wait until ``count`` records were served; raises what the watcher found wrong meanwhile."""
        with self._grown:
            arrived = self._grown.wait_for(lambda: self.end_offset >= count or self._failure, timeout_s)
        self._raise_failure()
        if not arrived:
            raise NotYet(f"{self.end_offset} of {count} records were served within {timeout_s:.0f} s")

    def seek(self, needle: bytes) -> None:
        """Look out for a record whose value contains `needle`, in what is served from now on."""
        self._found = -1
        self._sought = needle

    def wait_for_sought(self, timeout_s: float) -> int:
        """Wait until the record that is sought was served; its offset."""
        with self._grown:
            self._grown.wait_for(lambda: self._found >= 0 or self._failure, timeout_s)
        self._raise_failure()
        if self._found < 0:
            raise NotYet(f"no record with {self._sought!r} was served within {timeout_s:.0f} s")
        return self._found

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
        with RawClient(host, port) as client:
            client.login(*self._login)
            self.connections += 1
            first = client.list_offsets(self._topic, EARLIEST)[1]
            assert first <= self.end_offset, f"retention left offset {first} to a consumer at {self.end_offset}"
            position = self.served.boundary_before(max(first, self.end_offset - _REREAD_RECORDS))
            while not self._stopping.is_set():
                fetched = client.fetch(self._topic, position, max_bytes=4 << 20, max_wait_ms=_POLL_WAIT_MS)
                self._see_high_watermark(fetched.high_watermark)
                if fetched.records:
                    position = self.served.see(fetched.records)
                    self._look_for_sought(fetched.records)
                assert position <= fetched.high_watermark, "a record beyond the high watermark was served"
                with self._grown:
                    self.end_offset = self.served.end_offset
                    self._grown.notify_all()

    def _look_for_sought(self, data: memoryview) -> None:
        if self._sought and self._found < 0:
            hits = (record.offset for record in decode_batches(data) if self._sought in (record.value or b""))
            self._found = next(hits, -1)

    def _see_high_watermark(self, high_watermark: int) -> None:
        assert high_watermark >= self._highest, f"the high watermark went back from {self._highest} to {high_watermark}"
        self._highest = high_watermark
        self.high_watermarks.add(high_watermark)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
