"""The disks that logs lie on: a warning before one is full, told to the log once when it begins and when it is over.

Left to others: what a log takes (`storage/disk_meter.py`), when that is too much (`storage/disk.py`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from storage.disk import warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from storage.clock import Clock
    from storage.disk import LogDisk

LOOK_INTERVAL_MS: Final = 10_000

_log = logging.getLogger("binwire.disk")


class DiskWatch:
    """Over what `disks` tells: a folder and what its log takes, None before that is known."""

    def __init__(self, disks: Callable[[], Iterable[tuple[Path, LogDisk | None]]], clock: Clock) -> None:
        self._disks = disks
        self._clock = clock
        self._warnings: dict[int, str] = {}
        self._looked_ms: int | None = None

    def look(self) -> None:
        """Look, at most every `LOOK_INTERVAL_MS`: for whoever has just made something grow."""
        now_ms = self._clock.monotonic_ms()
        if self._looked_ms is None or now_ms - self._looked_ms >= LOOK_INTERVAL_MS:
            self._looked_ms = now_ms
            self.warnings()

    def warnings(self) -> Mapping[int, str]:
        """The sentence for each disk that will be full, by its number."""
        logs: dict[int, list[LogDisk]] = {}
        folders: dict[int, Path] = {}
        for folder, disk in self._disks():
            if disk is not None:
                logs.setdefault(disk.device, []).append(disk)
                folders.setdefault(disk.device, folder)
        before, self._warnings = self._warnings, {}
        for device, on_disk in logs.items():
            standing = device in before
            text = warning(on_disk, str(folders[device]), self._clock.now_ms(), is_standing=standing)
            if text is not None:
                self._warnings[device] = text
                if not standing:
                    _log.warning("%s", text)
            elif standing:
                _log.info("the disk of %s has room again for what retention needs", folders[device])
        return dict(self._warnings)
