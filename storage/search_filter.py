"""The `.filter` of a closed segment: which stretches of it cannot have a key, so that a search passes them by.

    header  magic 8s "BWFILTER", version u16 = 1, header_bytes u32 (header and tables), size_bytes i64, end_offset i64,
            max_timestamp_ms i64, append_ms i64 (as the segment is found: a filter of another one is none),
            group_count u32, crc u32 (CRC-32C of the header before it, then the tables), then the tables
    table   of a group: rows_log2 u8, row_bytes u8 (1, 2, 4 or 8), block_count u16, first_page u32; then its blocks:
            position i64, end i64 (in the .log), base_offset i64, next_offset i64, least and greatest timestamp_ms i64
    pages   from header_bytes, rounded up to a page, on: 4088 bytes of rows, CRC-32C u32 (begun with the page's number),
            4 zeros. A row has a bit per block of its group, block 0 the lowest of its first byte

All but rows are big-endian. A block is whole batches, about `BLOCK_KEYS` keys or `BLOCK_BYTES` of log; it is a Bloom
filter of `PROBES` bits per key in 2^rows_log2, of which group shares rows: a key can be in those blocks whose bits are
set in all its rows. So a question reads at most ten rows for 64 blocks, and 16 bits per key have one block in two
thousand looked at in vain.

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
from storage.closed_segment import Found
from storage.errors import CorruptLog
from storage.files import TEMPORARY_SUFFIX, Files
from storage.segment import filter_path

BLOCK_KEYS: Final = 1 << 16
BLOCK_BYTES: Final = 8 << 20
GROUP_BLOCKS: Final = 64
ROWS_LOG2_MAX: Final = 20
PROBES: Final = 10
_BITS_PER_KEY: Final = 16
_ROWS_LOG2_MIN: Final = 6
_ROW_BYTES: Final = 8

_MAGIC: Final = b"BWFILTER"
_VERSION: Final = 1
_HEADER: Final = struct.Struct(">8sHIqqqqII")
_CRC: Final = struct.Struct(">I")
_GROUP: Final = struct.Struct(">BBHI")
_BLOCK: Final = struct.Struct(">qqqqqq")
_PAGE_BYTES: Final = 4096
_PAGE_ROWS_BYTES: Final = 4088
_HEADER_BYTES_MAX: Final = 64 << 20


class DamagedFilter(CorruptLog):
    """It is not what was written; it is deleted and made again, and nobody is told."""


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
    row_bytes: int
    first_page: int
    blocks: tuple[Block, ...]


Key = int
"""A hash of 64 bits, all of them as good as random."""

Note = Callable[[bytearray, int], tuple[int, int, int]]
"""Enters a batch's keys: rows of 64 bits, and the bit to set in them -> how many keys were new, least and greatest time
delta of the batch.
"""


def enter(rows: bytearray, bit: int, key: Key) -> bool:
    """Set a block's bit in the rows of a key; whether the block did not seem to have it."""
    mask, byte, value = len(rows) // _ROW_BYTES - 1, bit >> 3, 1 << (bit & 7)
    step, is_new = key >> 32 | 1, False
    for probe in range(PROBES):
        at = (key + probe * step & mask) * _ROW_BYTES + byte
        if not rows[at] & value:
            rows[at] |= value
            is_new = True
    return is_new


class FilterWriter:
    """Makes a filter, of a segment's batches in their order, in 8 MiB of memory and what comes out."""

    def __init__(self) -> None:
        self._rows = bytearray(_ROW_BYTES << ROWS_LOG2_MAX)
        self._groups: list[_Group] = []
        self._pages: list[bytes] = []
        self._blocks: list[Block] = []
        self._keys = self._most_keys = 0
        self._is_open = False

    def add(self, position: int, end: int, base_offset: int, next_offset: int, first_ms: int, note: Note) -> None:
        """Enter the next batch."""
        if not self._is_open:
            if len(self._blocks) == GROUP_BLOCKS:
                self._end_group()
            self._blocks.append(Block(position, end, base_offset, next_offset, 1 << 62, -1))
            self._is_open, self._keys = True, 0
        number = len(self._blocks) - 1
        new, least, greatest = note(self._rows, number)
        block = self._blocks[number]
        self._blocks[number] = block = Block(
            block.position, end, block.base_offset, next_offset,
            min(block.least_ms, first_ms + least), max(block.greatest_ms, first_ms + greatest),
        )  # fmt: skip
        self._keys += new
        self._most_keys = max(self._most_keys, self._keys)
        self._is_open = self._keys < BLOCK_KEYS and block.end - block.position < BLOCK_BYTES

    def write(self, files: Files, log_path: Path, found: Found) -> None:
        """Put the filter beside its segment; not flushed: what is lost is made again."""
        if self._blocks:
            self._end_group()
        tables = b"".join(
            _GROUP.pack(group.rows_log2, group.row_bytes, len(group.blocks), group.first_page)
            + b"".join(_BLOCK.pack(*block) for block in group.blocks)
            for group in self._groups
        )
        head = _HEADER.pack(
            _MAGIC, _VERSION, _HEADER.size + len(tables), *found[:4], len(self._groups), 0
        )[: -_CRC.size]  # fmt: skip
        header = head + _CRC.pack(crc32c(tables, crc32c(head))) + tables
        path = filter_path(log_path)
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        files.unlink(temporary)
        with files.opened(temporary, create=True) as descriptor:
            files.write(descriptor, header, 0)
            files.write_many(descriptor, self._pages, _first_page_at(len(header)))
        files.rename(temporary, path)

    def _end_group(self) -> None:
        rows_log2 = ROWS_LOG2_MAX
        while rows_log2 > _ROWS_LOG2_MIN and _BITS_PER_KEY * self._most_keys <= 1 << rows_log2 - 1:
            rows_log2 -= 1
        row_bytes = next(width for width in (1, 2, 4, 8) if width * 8 >= len(self._blocks))
        rows = _narrowed(_folded(self._rows, _ROW_BYTES << rows_log2), row_bytes)
        first_page = len(self._pages)
        for start in range(0, len(rows), _PAGE_ROWS_BYTES):
            self._pages.append(_page(rows[start : start + _PAGE_ROWS_BYTES], len(self._pages)))
        self._groups.append(_Group(rows_log2, row_bytes, first_page, tuple(self._blocks)))
        self._rows = bytearray(len(self._rows))
        self._blocks, self._most_keys, self._is_open = [], 0, False


def _folded(rows: bytearray, size: int) -> bytes:
    """Rows as if there had been fewer from the beginning: a row of fewer is all those that its number ends."""
    kept = bytes(rows)
    while len(kept) > size:
        half = len(kept) // 2
        both = int.from_bytes(kept[:half], "little") | int.from_bytes(kept[half:], "little")
        kept = both.to_bytes(half, "little")
    return kept


def _narrowed(rows: bytes, row_bytes: int) -> bytes:
    if row_bytes == _ROW_BYTES:
        return rows
    narrow = bytearray(len(rows) // _ROW_BYTES * row_bytes)
    for index in range(row_bytes):
        narrow[index::row_bytes] = rows[index::_ROW_BYTES]
    return bytes(narrow)


def _page(rows: bytes, number: int) -> bytes:
    filled = rows.ljust(_PAGE_ROWS_BYTES, b"\0")
    return filled + _CRC.pack(crc32c(filled, number)) + bytes(_PAGE_BYTES - _PAGE_ROWS_BYTES - _CRC.size)


def _first_page_at(header_bytes: int) -> int:
    return -(-header_bytes // _PAGE_BYTES) * _PAGE_BYTES


class SegmentFilter:
    """A filter that lies on the disk: its tables in memory, rows read when they are asked for."""

    def __init__(self, files: Files, path: Path, groups: tuple[_Group, ...], pages_at: int) -> None:
        self._files = files
        self._path = path
        self._groups = groups
        self._pages_at = pages_at

    @classmethod
    def open(cls, files: Files, log_path: Path, found: Found) -> SegmentFilter | None:
        """The filter of the segment that is found so; None where there is none.

        Raises:
            DamagedFilter: it is damaged, of a later version, or of other bytes than lie beside it.
        """
        path = filter_path(log_path)
        try:
            with files.opened(path, write=False) as descriptor:
                head = files.read(descriptor, _HEADER.size, 0)
                if len(head) < _HEADER.size:
                    raise DamagedFilter(f"{path} ends inside its header")
                magic, version, header_bytes, *identity, group_count, crc = _HEADER.unpack(head)
                if magic != _MAGIC or version != _VERSION or not _HEADER.size <= header_bytes <= _HEADER_BYTES_MAX:
                    raise DamagedFilter(f"{path} is no filter of version {_VERSION}")
                tables = files.read(descriptor, header_bytes - _HEADER.size, _HEADER.size)
        except FileNotFoundError:
            return None
        if crc32c(tables, crc32c(head[: -_CRC.size])) != crc or tuple(identity) != found[:4]:
            raise DamagedFilter(f"{path} is not the filter of the segment beside it")
        return cls(files, path, tuple(_read_groups(tables, group_count)), _first_page_at(header_bytes))

    def blocks(self, keys: Sequence[Sequence[Key]]) -> list[Block]:
        """The blocks that may have, of each of these sets of keys, one or more; oldest first.

        Raises:
            DamagedFilter: a page is not what was written.
            OSError: the system refuses to read it.
        """
        if not keys:
            return [block for group in self._groups for block in group.blocks]
        found: list[Block] = []
        with self._files.opened(self._path, write=False) as descriptor:
            for group in self._groups:
                bits = (1 << len(group.blocks)) - 1
                for alternatives in keys:
                    bits &= self._any(descriptor, group, alternatives, bits)
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
        page, at = divmod(number * group.row_bytes, _PAGE_ROWS_BYTES)
        page += group.first_page
        data = self._files.read(descriptor, _PAGE_BYTES, self._pages_at + page * _PAGE_BYTES)
        if (
            len(data) < _PAGE_BYTES
            or crc32c(data[:_PAGE_ROWS_BYTES], page) != _CRC.unpack_from(data, _PAGE_ROWS_BYTES)[0]
        ):
            raise DamagedFilter(f"{self._path}: page {page} does not match its checksum")
        return int.from_bytes(data[at : at + group.row_bytes], "little")


def _read_groups(tables: bytes, count: int) -> list[_Group]:
    groups, position = [], 0
    for _ in range(count):
        rows_log2, row_bytes, block_count, first_page = _GROUP.unpack_from(tables, position)
        position += _GROUP.size
        blocks = tuple(
            Block._make(_BLOCK.unpack_from(tables, position + number * _BLOCK.size)) for number in range(block_count)
        )
        position += block_count * _BLOCK.size
        groups.append(_Group(rows_log2, row_bytes, first_page, blocks))
    return groups
