"""Record batches of magic 2 as messages of magic 1 and 0, for Fetch v0-v3."""

from __future__ import annotations


class DownConverter:
    """Converts each batch once into a cache of at most `cache_bytes_max` bytes."""

    def __init__(self, cache_bytes_max: int = 64 * 1024 * 1024) -> None:
        raise NotImplementedError
