"""The `.filter` beside a segment: which stretches of it cannot have a key, so that a search passes them by.

    groups, one behind the other, each begun at a multiple of 4096:
    head    magic 8s "BWFILTER", version u16 = 1, rows_log2 u8, block_count u8, page_count u32, base_offset i64 (of the
            segment), last_position i64, last_crc u32 (the group's last batch, as its header in the .log has it),
            crc u32 (CRC-32C of the head before it, then the blocks), then the blocks, each:
            position i64, end i64 (in the .log), base_offset i64, next_offset i64, least and greatest timestamp_ms i64
    pages   from the next multiple of 4096 on: 4088 rows, CRC-32C u32 (begun with the page's number in its group),
            4 zeros. A row is a byte and has a bit per block of its group, block 0 the lowest

Big-endian. A block is whole batches, about `BLOCK_KEYS` keys or `BLOCK_BYTES` of log; it is a Bloom filter of `PROBES`
bits per key in 2^rows_log2, and a group shares its rows: a key can be in those blocks whose bits are in all its rows.
With 16 bits per key one block in two thousand is looked at in vain.

Groups follow the log: what lies behind the last one is not covered yet. A group that was not written to its end is
none, and is written over.

Invariant: a key that was entered is found, or the page that denies it does not match its checksum. What a filter says
saves reading and decides nothing else; it can be made again at any time, and is deleted with its segment. What a key is
is its maker's business.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from storage.checksum import crc32c
from storage.errors import CorruptLog
from storage.files import Files
from storage.records import HEADER_BYTES, read_header
from storage.segment import filter_path

BLOCK_KEYS: Final = 1 << 16
BLOCK_BYTES: Final = 8 << 20
GROUP_BLOCKS: Final = 8
ROWS_LOG2_MAX: Final = 20
PROBES: Final = 10
_BITS_PER_KEY: Final = 16
_ROWS_LOG2_MIN: Final = 9

_MAGIC: Final = b"BWFILTER"
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">8sHBBIqqII")
_CRC: Final = struct.Struct(">I")
_BLOCK: Final = struct.Struct(">qqqqqq")
_PAGE_BYTES: Final = 4096
_PAGE_ROWS: Final = 4088
_PAGES_AT: Final = 4096
assert _HEAD.size + GROUP_BLOCKS * _BLOCK.size <= _PAGES_AT


class DamagedFilter(CorruptLog):
    """It is not what was written, or of another segment; it is deleted and made again, and nobody is told."""


class Block(NamedTuple):
    """A stretch of a segment: where it lies, its offsets, and the times of its records."""

    position: int
    end: int
    base_offset: int
    next_offset: int
    least_ms: int
    greatest_ms: int


class _Group(NamedTuple):
    rows_log2: int
    at: int
    blocks: tuple[Block, ...]
    last_position: int
    last_crc: int


Key = int
"""A hash of 64 bits, all of them as good as random."""

Note = Callable[[bytearray, int], tuple[int, int, int]]
"""Enters a batch's keys: rows, and the bit to set in them -> how many keys were new, least and greatest time delta."""


class BatchPlace(NamedTuple):
    """A batch of the segment: where it lies, and of its header what a filter keeps."""

    position: int
    end: int
    base_offset: int
    next_offset: int
    first_ms: int
    crc: int


def enter(rows: bytearray, bit: int, key: Key) -> bool:
    """Set a block's bit in the rows of a key; whether the block did not seem to have it."""
    mask, value = len(rows) - 1, 1 << bit
    step, is_new = key >> 32 | 1, False
    for probe in range(PROBES):
        at = key + probe * step & mask
        if not rows[at] & value:
            rows[at] |= value
            is_new = True
    return is_new


class FilterWriter:
    """Goes on with a segment's filter, batch by batch, in 1 MiB of memory; a group is written when it is full."""

    def __init__(self, files: Files, log_path: Path, base_offset: int, position: int, groups_end: int) -> None:
        self.position = position
        """Where the next batch begins in the log."""
        self._files = files
        self._path = filter_path(log_path)
        self._base_offset = base_offset
        self._at = groups_end
        self._rows = bytearray(1 << ROWS_LOG2_MAX)
        self._blocks: list[Block] = []
        self._keys = self._most_keys = 0
        self._is_open = False
        self._last: BatchPlace | None = None

    def add(self, batch: BatchPlace, note: Note) -> None:
        """Enter the next batch.

        Raises:
            OSError: the system refuses to write the group that is full.
        """
        if not self._is_open:
            if len(self._blocks) == GROUP_BLOCKS:
                self.end_group()
            self._blocks.append(Block(batch.position, batch.end, batch.base_offset, batch.next_offset, 1 << 62, -1))
            self._is_open, self._keys = True, 0
        number = len(self._blocks) - 1
        new, least, greatest = note(self._rows, number)
        block = self._blocks[number]
        self._blocks[number] = block = Block(
            block.position, batch.end, block.base_offset, batch.next_offset,
            min(block.least_ms, batch.first_ms + least), max(block.greatest_ms, batch.first_ms + greatest),
        )  # fmt: skip
        self._keys += new
        self._most_keys = max(self._most_keys, self._keys)
        self._is_open = self._keys < BLOCK_KEYS and block.end - block.position < BLOCK_BYTES
        self.position, self._last = batch.end, batch

    def is_still_so(self, log_path: Path) -> bool:
        """Whether the batch that was entered last is still in the log: a failed flush may have cut it."""
        last = self._last
        if last is None:
            return True
        with self._files.opened(log_path, write=False) as log:
            return is_batch(self._files, log, last.position, last.crc, last.next_offset)

    @property
    def is_full(self) -> bool:
        """Whether the group has no room for another batch."""
        return not self._is_open and len(self._blocks) == GROUP_BLOCKS

    def end_group(self) -> None:
        """Write what was entered, as far as something was. Not flushed: what is lost is made again.

        Raises:
            OSError: the system refuses.
        """
        last = self._last
        if not self._blocks or last is None:
            return
        rows_log2 = ROWS_LOG2_MAX
        while rows_log2 > _ROWS_LOG2_MIN and _BITS_PER_KEY * self._most_keys <= 1 << rows_log2 - 1:
            rows_log2 -= 1
        rows = _folded(self._rows, 1 << rows_log2)
        pages = [_page(rows[at : at + _PAGE_ROWS], number) for number, at in enumerate(range(0, len(rows), _PAGE_ROWS))]
        blocks = b"".join(_BLOCK.pack(*block) for block in self._blocks)
        head = _HEAD.pack(
            _MAGIC, _VERSION, rows_log2, len(self._blocks), len(pages), self._base_offset, last.position, last.crc, 0
        )[: -_CRC.size]  # fmt: skip
        head += _CRC.pack(crc32c(blocks, crc32c(head))) + blocks
        with self._files.opened(self._path, create=not self._at) as descriptor:
            self._files.write_many(descriptor, [head.ljust(_PAGES_AT, b"\0"), *pages], self._at)
        self._at += _PAGES_AT + len(pages) * _PAGE_BYTES
        self._rows = bytearray(len(self._rows))
        self._blocks, self._most_keys, self._is_open = [], 0, False


def is_batch(files: Files, log: int, position: int, crc: int, next_offset: int) -> bool:
    """Whether the batch at a position has this checksum and ends with this offset."""
    try:
        header = read_header(files.read(log, HEADER_BYTES, position))
    except CorruptLog:
        return False
    return header.crc == crc and header.next_offset == next_offset


def _folded(rows: bytearray, size: int) -> bytes:
    """Rows as if there had been fewer from the beginning: a row of fewer is all those that its number ends."""
    kept = bytes(rows)
    while len(kept) > size:
        half = len(kept) // 2
        both = int.from_bytes(kept[:half], "little") | int.from_bytes(kept[half:], "little")
        kept = both.to_bytes(half, "little")
    return kept


def _page(rows: bytes, number: int) -> bytes:
    filled = rows.ljust(_PAGE_ROWS, b"\0")
    return filled + _CRC.pack(crc32c(filled, number)) + bytes(_PAGE_BYTES - _PAGE_ROWS - _CRC.size)


class SegmentFilter:
    """A filter that lies on the disk: its heads in memory, rows read when they are asked for."""

    def __init__(self, files: Files, log_path: Path, base_offset: int) -> None:
        self._files = files
        self._log_path = log_path
        self._path = filter_path(log_path)
        self._base_offset = base_offset
        self._groups: list[_Group] = []
        self.groups_end = 0
        """Where the next group would begin."""

    @property
    def covered_end(self) -> int:
        """What of the `.log` is covered, from its beginning on."""
        return self._groups[-1].blocks[-1].end if self._groups else 0

    @property
    def next_offset(self) -> int:
        """The offset of the batch behind what is covered."""
        return self._groups[-1].blocks[-1].next_offset if self._groups else self._base_offset

    def refresh(self, size_bytes: int, *, is_closed: bool) -> None:
        """Take what was written since, of a segment of this size; one that is not closed may have been cut and written
        to that size again.

        Raises:
            DamagedFilter: it is damaged, of a later version, or of other bytes than lie beside it.
            OSError: the system refuses to read it.
        """
        if is_closed and self.covered_end == size_bytes:
            return
        try:
            with (
                self._files.opened(self._path, write=False) as descriptor,
                self._files.opened(self._log_path, write=False) as log,
            ):
                end = self._files.size(descriptor)
                if self._groups:
                    # A failed flush may have cut the log meanwhile.
                    self._require_last(log, self._groups[-1], size_bytes)
                while self.groups_end + _PAGES_AT < end and self._take_group(descriptor, log, end, size_bytes):
                    pass
        except FileNotFoundError:
            if self._groups:
                raise DamagedFilter(f"{self._path} is gone") from None

    def _take_group(self, descriptor: int, log: int, end: int, size_bytes: int) -> bool:
        """Whether another group is there, whole."""
        data = self._files.read(descriptor, _PAGES_AT, self.groups_end)
        magic, version, rows_log2, count, page_count, base_offset, last_position, last_crc, crc = _HEAD.unpack_from(
            data
        )
        blocks_end = _HEAD.size + count * _BLOCK.size
        checked = crc32c(data[_HEAD.size : blocks_end], crc32c(data[: _HEAD.size - _CRC.size]))
        if magic != _MAGIC or version != _VERSION or checked != crc or base_offset != self._base_offset or not count:
            raise DamagedFilter(f"{self._path}: no group of version {_VERSION} at byte {self.groups_end}")
        blocks = tuple(Block._make(_BLOCK.unpack_from(data, at)) for at in range(_HEAD.size, blocks_end, _BLOCK.size))
        if self.groups_end + _PAGES_AT + page_count * _PAGE_BYTES > end:
            return False
        group = _Group(rows_log2, self.groups_end + _PAGES_AT, blocks, last_position, last_crc)
        if blocks[0].position != self.covered_end:
            raise DamagedFilter(f"{self._path} is not the filter of the segment beside it")
        self._require_last(log, group, size_bytes)
        self._groups.append(group)
        self.groups_end += _PAGES_AT + page_count * _PAGE_BYTES
        return True

    def _require_last(self, log: int, group: _Group, size_bytes: int) -> None:
        """Return if a group's last batch is where the group has it."""
        last = group.blocks[-1]
        if last.end > size_bytes or not is_batch(
            self._files, log, group.last_position, group.last_crc, last.next_offset
        ):
            raise DamagedFilter(f"{self._path} is not the filter of the segment beside it")

    def blocks(self, keys: Sequence[Sequence[Key]]) -> list[Block]:
        """The blocks that may have, of each of these sets of keys, one or more; oldest first.

        Raises:
            DamagedFilter: a page is not what was written.
            OSError: the system refuses to read it.
        """
        if not keys or not self._groups:
            return [block for group in self._groups for block in group.blocks]
        found: list[Block] = []
        with self._files.opened(self._path, write=False) as descriptor:
            for group in self._groups:
                bits = (1 << len(group.blocks)) - 1
                for alternatives in keys:
                    bits = self._any(descriptor, group, alternatives, bits)
                    if not bits:
                        break
                found += [block for number, block in enumerate(group.blocks) if bits >> number & 1]
        return found

    def _any(self, descriptor: int, group: _Group, keys: Sequence[Key], among: int) -> int:
        bits = 0
        for key in keys:
            bits |= self._all_rows(descriptor, group, key, among)
            if bits == among:
                break
        return bits

    def _all_rows(self, descriptor: int, group: _Group, key: Key, bits: int) -> int:
        mask, step = (1 << group.rows_log2) - 1, key >> 32 | 1
        for probe in range(PROBES):
            bits &= self._row(descriptor, group, key + probe * step & mask)
            if not bits:
                break
        return bits

    def _row(self, descriptor: int, group: _Group, number: int) -> int:
        page, at = divmod(number, _PAGE_ROWS)
        data = self._files.read(descriptor, _PAGE_BYTES, group.at + page * _PAGE_BYTES)
        if len(data) < _PAGE_BYTES or crc32c(data[:_PAGE_ROWS], page) != _CRC.unpack_from(data, _PAGE_ROWS)[0]:
            raise DamagedFilter(f"{self._path}: page {page} behind byte {group.at} does not match its checksum")
        return data[at]
