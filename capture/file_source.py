"""Binlog files as a source: read to their end, followed as they grow, or replayed at a live pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from storage.clock import Clock


class FileSource:
    """One or several binlog files in the order given."""

    def __init__(self, paths: Sequence[Path], *, follow: bool = False) -> None:
        raise NotImplementedError


class ReplaySource:
    """Binlog files played at a live pace, every time in them shifted so that the first event happens now.

    `speed`: 1.0 is the recorded pace; `gap_ms_max` shortens longer pauses; `repeat` starts again at the end.
    """

    def __init__(
        self, paths: Sequence[Path], clock: Clock, *, speed: float = 1.0, gap_ms_max: int = 1000, repeat: bool = False
    ) -> None:
        raise NotImplementedError
