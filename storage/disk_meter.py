"""What a log takes of its disk, measured: every few seconds, on a thread, because a disk that hangs holds `stat` too.

Owns the growth of one log, with what its files say of the last hour at the first look, so that a rate is right after a
restart. One listing and a `stat` per file each time; at the first time the heads of at most `HISTORY_SEGMENTS_MAX`
`.source` files too.

Left to others: what follows from it (`storage.disk`). Quotas and reserves of other users are not seen: a disk may be
full earlier than it is said here.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Final

from storage.config import LogConfig
from storage.disk import RATE_WINDOW_MS, AppendRate, LogDisk, needed_bytes
from storage.errors import StorageError
from storage.files import Files
from storage.positions import PositionFile
from storage.segment import log_path, source_path

MEASURE_INTERVAL_MS: Final = 10_000
FIRST_LOOKS: Final = 6
FIRST_INTERVAL_MS: Final = 1000
"""A log that has just begun grows while people look at it."""
HISTORY_SEGMENTS_MAX: Final = 64
_OVERHEAD_BYTES_MIN: Final = 8 << 20
"""Of a smaller log the files beside the batches are mostly pages begun: they say nothing of a large one."""


class DiskMeter:
    """One log's; `latest` may be looked at from any thread."""

    def __init__(self, files: Files, directory: Path, config: LogConfig) -> None:
        self.latest: LogDisk | None = None
        self._files = files
        self._directory = directory
        self._config = config
        self._rate: AppendRate | None = None

    def measure(self, now_ms: int, appended_bytes: int) -> None:
        """Look; `appended_bytes` is what this run has appended.

        Raises:
            OSError: the system does not let it look; what was seen before stands.
        """
        device, free_bytes = self._files.space(self._directory)
        used_bytes, logs = 0, dict[int, int]()
        for name in self._files.list(self._directory):
            path = self._directory / name
            try:
                occupied_bytes = self._files.occupied_bytes(path)
            except FileNotFoundError:
                continue  # retired meanwhile
            used_bytes += occupied_bytes
            if path.suffix == ".log" and path.stem.isascii() and path.stem.isdecimal():
                logs[int(path.stem)] = occupied_bytes
        if self._rate is None:
            self._rate = AppendRate(self._history(logs, now_ms, appended_bytes))
        self._rate.note(now_ms, appended_bytes)
        log_bytes = sum(logs.values())
        overhead = used_bytes / log_bytes if log_bytes >= _OVERHEAD_BYTES_MIN else 1.0
        rate = self._rate.per_second()
        needed = needed_bytes(self._config, rate)
        self.latest = LogDisk(
            device, free_bytes, used_bytes, None if needed is None else round(needed * overhead), rate * overhead
        )

    def _history(self, logs: dict[int, int], now_ms: int, appended_bytes: int) -> list[tuple[int, int]]:
        """When the newest segments began, and how much had been appended then, counted as `appended_bytes` is."""
        samples: list[tuple[int, int]] = []
        total_bytes = appended_bytes
        for base_offset in sorted(logs, reverse=True)[:HISTORY_SEGMENTS_MAX]:
            path = source_path(log_path(self._directory, base_offset))
            try:
                with closing(PositionFile.open(self._files, path, write=False)) as file:
                    created_ms = file.header.created_ms
            except (OSError, StorageError):
                break
            total_bytes -= logs[base_offset]
            if created_ms >= now_ms or (samples and created_ms >= samples[-1][0]):
                break  # the clock was set back
            samples.append((created_ms, total_bytes))
            if created_ms <= now_ms - RATE_WINDOW_MS:
                break
        return samples[::-1]
