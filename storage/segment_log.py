"""The default home of a log: segment files in one directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from storage.clock import Clock
from storage.config import LogConfig
from storage.files import Files
from storage.log import LogSlice, RecoveredSource, SourcePosition


class SegmentLog:
    """Implements `storage.log.Log` on segment files. All calls on one thread, that of the event loop."""

    topic: str
    log_start_offset: int
    high_watermark: int
    end_offset: int

    @classmethod
    def open(
        cls,
        directory: Path,
        topic: str,
        config: LogConfig,
        clock: Clock,
        *,
        crashed: bool = False,
        boot_changed: bool = False,
        files: Files | None = None,
    ) -> SegmentLog:
        """Open or create; `crashed` and `boot_changed` are those of the DataDirectory. Reads a bounded tail only."""
        raise NotImplementedError

    def start(self) -> None:
        """Flush, reserve offsets and retire segments in a task of the running event loop."""
        raise NotImplementedError

    async def close(self, *, orderly: bool = True) -> None:
        """Drop what is uncommitted; when orderly flush everything, trim files, close."""
        raise NotImplementedError

    @property
    def log_start_timestamp_ms(self) -> int | None:
        raise NotImplementedError

    @property
    def last_timestamp_ms(self) -> int | None:
        raise NotImplementedError

    @property
    def recovered(self) -> RecoveredSource | None:
        raise NotImplementedError

    def read(self, offset: int, max_bytes: int, *, at_least_one: bool = True) -> LogSlice:
        raise NotImplementedError

    def size_between(self, offset: int, max_bytes: int) -> int:
        raise NotImplementedError

    def offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        raise NotImplementedError

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        raise NotImplementedError

    def attach(self, snapshot: Callable[[], bytes]) -> None:
        raise NotImplementedError

    def roll(self) -> None:
        raise NotImplementedError

    def append(self, batch: bytes | Sequence[bytes]) -> None:
        raise NotImplementedError

    def commit(self, positions: Sequence[SourcePosition]) -> None:
        raise NotImplementedError

    def rollback(self) -> None:
        raise NotImplementedError
