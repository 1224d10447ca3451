"""What a consumer was ever served: every batch once, on disk, and its digest to hold it against when it comes again.

A batch is the unit because it is the unit on disk and on the wire: whoever is served an offset is served the batch that
holds it, byte for byte the same one. So a run of any length costs a few words of memory per batch.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from tests.decoded import Record, decode_batches

_HEAD = struct.Struct(">qi11xi")
"""base_offset, batch_length, last_offset_delta of a record batch."""
_LENGTH_PREFIX_BYTES = 12


class Served:
    """One contiguous stream of batches from offset 0 on; `path` takes their bytes."""

    def __init__(self, path: Path) -> None:
        self.end_offset = 0
        self._file = path.open("w+b")
        self._bases: list[int] = []
        self._digests: list[int] = []
        self._places: list[int] = [0]
        """Where each batch begins in the file, and where the next one will."""

    @property
    def size_bytes(self) -> int:
        """How much was served, each batch counted once."""
        return self._places[-1]

    def see(self, data: memoryview) -> int:
        """Take the batches of one answer; returns the offset behind them.

        A batch seen before must be the same, another one must follow the last.
        """
        position, next_offset = 0, self.end_offset
        while position < len(data):
            base_offset, length, last_offset_delta = _HEAD.unpack_from(data, position)
            end = position + _LENGTH_PREFIX_BYTES + length
            assert end <= len(data), f"the batch at offset {base_offset} was served in part"
            next_offset = base_offset + last_offset_delta + 1
            self._see_batch(base_offset, next_offset, data[position:end])
            position = end
        return next_offset

    def records(self, offset: int = 0) -> Iterator[Record]:
        """The records from `offset` on, decoded batch by batch; every checksum is looked at."""
        for number in range(max(0, bisect_right(self._bases, offset) - 1), len(self._bases)):
            for record in decode_batches(self._bytes(number)):
                if record.offset >= offset:
                    yield record

    def boundary_before(self, offset: int) -> int:
        """The offset of the batch that holds `offset`; the end of the stream if none does."""
        number = bisect_right(self._bases, offset) - 1
        return self._bases[number] if offset < self.end_offset else self.end_offset

    def close(self) -> None:
        self._file.close()

    def _see_batch(self, base_offset: int, next_offset: int, batch: memoryview) -> None:
        digest = zlib.crc32(batch)
        if base_offset < self.end_offset:
            number = bisect_right(self._bases, base_offset) - 1
            assert self._bases[number] == base_offset, f"another batch than before begins at offset {base_offset}"
            assert self._digests[number] == digest, f"offset {base_offset} changed its content"
            return
        assert base_offset == self.end_offset, f"offset {base_offset} follows {self.end_offset - 1}"
        self._file.seek(self._places[-1])
        self._file.write(batch)
        self._bases.append(base_offset)
        self._digests.append(digest)
        self._places.append(self._places[-1] + len(batch))
        self.end_offset = next_offset

    def _bytes(self, number: int) -> bytes:
        start, end = self._places[number : number + 2]
        self._file.seek(start)
        return self._file.read(end - start)
