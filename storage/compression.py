"""The codecs of record batches: bytes in, compressed bytes out, and back with a bound on what comes out.

    number  name    form of the compressed bytes
    0       none    as they are
    1       gzip    one RFC 1952 member, level 1
    2       snappy  xerial framing, which Java writes and alone reads: 82 "SNAPPY" 00, version i32 = 1, compatible
                    version i32 = 1, then chunks: length i32, a raw snappy block of up to 32 KiB (big-endian)
    3       lz4     a frame: magic 04 22 4d 18, FLG 60 (version 1, independent blocks, no checksums, no content size),
                    BD 40 (blocks up to 64 KiB), header checksum 82; blocks: length u32 (top bit: stored as it is),
                    bytes; an end mark of zeros (little-endian)

Numbers: attributes bits 0-2 of Kafka's RecordBatch. LZ4: what KafkaLZ4BlockInputStream of 0.10.0 reads, and nothing
else: it refuses linked blocks, skips no content size, and takes the correct header checksum for message format 1 and
later. Older format 0 wants a wrong one; nothing compressed is ever sent in it (`broker/downconvert.py`).

Invariants: what is taken in is a stranger's. No length it declares is believed before memory is spent on it: a block is
opened into a buffer of the size the format allows, and all that comes out is counted against the caller's bound. One
chunk, 64 KiB at most, is worked on at a time; the libraries let other threads run meanwhile.

snappy and the blocks of LZ4 are cramjam's, the framing around them is here. Libraries are imported at the first use.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

_GZIP_LEVEL: Final = 1
_GZIP_WINDOW: Final = 31
"""zlib's way to say: 32 KiB window, gzip header and trailer."""
_GZIP_READ_BYTES: Final = 1 << 20

_XERIAL_HEADER: Final = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)
_XERIAL_MAGIC_BYTES: Final = 8
_SNAPPY_CHUNK_BYTES: Final = 1 << 15
"""Of SnappyOutputStream in snappy-java."""
_SNAPPY_RATIO_MAX: Final = 22
"""No element of a snappy block makes more than 64 bytes of 3."""

_LZ4_HEADER: Final = bytes.fromhex("04224d18604082")
_LZ4_MAGIC: Final = _LZ4_HEADER[:4]
_LZ4_BLOCK_BYTES: Final = 1 << 16
_LZ4_STORED: Final = 1 << 31
_LZ4_BLOCK_SIZES: Final = {4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22}
"""Bits 4-6 of BD."""
_LZ4_VERSION: Final = 0xC0
_LZ4_INDEPENDENT: Final = 0x20
_LZ4_BLOCK_CHECKSUM: Final = 0x10
_LZ4_CONTENT_SIZE: Final = 0x08
_LZ4_CONTENT_CHECKSUM: Final = 0x04

_U32_LITTLE: Final = struct.Struct("<I")
_U32_BIG: Final = struct.Struct(">I")


class Codec(NamedTuple):
    """One row of the table. `inline_bytes`: what it compresses well within a slice of the loop, on any data."""

    number: int
    name: str
    inline_bytes: int
    compress: Callable[[Buffer], bytes]
    decompress: Callable[[memoryview, int], bytes]
    """Compressed bytes and the most that may come out; ValueError says what is wrong with them."""


def _copied(data: Buffer) -> bytes:
    return bytes(data)


def _bounded(data: memoryview, bytes_max: int) -> bytes:
    if data.nbytes > bytes_max:
        raise _too_much(bytes_max)
    return bytes(data)


def _too_much(bytes_max: int) -> ValueError:
    return ValueError(f"more than the {bytes_max} bytes come out that a batch may hold")


# ---- gzip ----


def _gzip_compress(data: Buffer) -> bytes:
    import zlib

    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return compressor.compress(data) + compressor.flush()


def _gzip_decompress(data: memoryview, bytes_max: int) -> bytes:
    import zlib

    stream = zlib.decompressobj(_GZIP_WINDOW)
    parts: list[bytes] = []
    room = bytes_max
    rest: Buffer = data
    try:
        while not stream.eof:
            part = stream.decompress(rest, min(room + 1, _GZIP_READ_BYTES))
            if not part and not stream.eof:
                raise ValueError("the gzip stream is cut off")
            room -= len(part)
            if room < 0:
                raise _too_much(bytes_max)
            parts.append(part)
            rest = stream.unconsumed_tail
    except zlib.error as error:
        raise ValueError(f"no gzip stream: {error}") from None
    if stream.unused_data:
        raise ValueError(f"{len(stream.unused_data)} bytes follow the gzip stream")
    return b"".join(parts)


# ---- snappy ----


def _snappy_compress(data: Buffer) -> bytes:
    from cramjam import snappy

    parts: list[Buffer] = [_XERIAL_HEADER]
    with memoryview(data) as view:
        for start in range(0, view.nbytes, _SNAPPY_CHUNK_BYTES):
            chunk = snappy.compress_raw(view[start : start + _SNAPPY_CHUNK_BYTES])
            parts += (_U32_BIG.pack(len(chunk)), chunk)
    return b"".join(parts)


def _snappy_decompress(data: memoryview, bytes_max: int) -> bytes:
    import cramjam
    from cramjam import snappy

    if data[:_XERIAL_MAGIC_BYTES] != _XERIAL_HEADER[:_XERIAL_MAGIC_BYTES] or data.nbytes < len(_XERIAL_HEADER):
        raise ValueError("no xerial snappy header")
    parts: list[bytes | bytearray] = []
    room, position = bytes_max, len(_XERIAL_HEADER)
    while position < data.nbytes:
        chunk, position = _block(data, position, _u32(data, position, _U32_BIG))
        declared = _declared_by_snappy(chunk)
        if declared > _SNAPPY_RATIO_MAX * chunk.nbytes:
            raise ValueError(f"a snappy block of {chunk.nbytes} bytes cannot make {declared}")
        room -= declared
        if room < 0:
            raise _too_much(bytes_max)
        opened = bytearray(declared)
        try:
            made = snappy.decompress_raw_into(chunk, opened) if declared else 0
        except cramjam.DecompressionError as error:
            raise ValueError(f"a damaged snappy block: {error}") from None
        if made != declared:
            raise ValueError(f"a snappy block makes {made} bytes where it says {declared}")
        parts.append(opened)
    return b"".join(parts)


def _declared_by_snappy(chunk: memoryview) -> int:
    """The length that a raw snappy block begins with: a varint of 32 bits."""
    value = 0
    for index, byte in enumerate(chunk[:5]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value
    raise ValueError("a snappy block without a length")


# ---- lz4 ----


def _lz4_compress(data: Buffer) -> bytes:
    from cramjam import lz4

    parts: list[Buffer] = [_LZ4_HEADER]
    with memoryview(data) as view:
        for start in range(0, view.nbytes, _LZ4_BLOCK_BYTES):
            block = view[start : start + _LZ4_BLOCK_BYTES]
            compressed = lz4.compress_block(block, store_size=False)
            if len(compressed) < block.nbytes:
                parts += (_U32_LITTLE.pack(len(compressed)), compressed)
            else:
                parts += (_U32_LITTLE.pack(block.nbytes | _LZ4_STORED), block)
        parts.append(bytes(_U32_LITTLE.size))
        return b"".join(parts)


def _lz4_decompress(data: memoryview, bytes_max: int) -> bytes:
    import cramjam
    from cramjam import lz4

    flags, block_bytes_max, position = _lz4_header(data)
    buffer = bytearray(block_bytes_max)
    parts: list[bytes] = []
    room = bytes_max
    while size := _u32(data, position, _U32_LITTLE):
        block, position = _block(data, position, size & ~_LZ4_STORED)
        if block.nbytes > block_bytes_max:
            raise ValueError(f"an LZ4 block of {block.nbytes} bytes, where {block_bytes_max} are allowed")
        if size & _LZ4_STORED:
            part = bytes(block)
        else:
            try:
                part = bytes(memoryview(buffer)[: lz4.decompress_block_into(block, buffer, output_len=len(buffer))])
            except cramjam.DecompressionError as error:
                raise ValueError(f"a damaged LZ4 block: {error}") from None
        room -= len(part)
        if room < 0:
            raise _too_much(bytes_max)
        parts.append(part)
        if flags & _LZ4_BLOCK_CHECKSUM:
            _, position = _block(data, position - _U32_LITTLE.size, _U32_LITTLE.size)
    position += _U32_LITTLE.size + (_U32_LITTLE.size if flags & _LZ4_CONTENT_CHECKSUM else 0)
    if position != data.nbytes:
        raise ValueError(f"an LZ4 frame ends at byte {position} of {data.nbytes}")
    return b"".join(parts)


def _lz4_header(data: memoryview) -> tuple[int, int, int]:
    """Flags, the size of its blocks, and where they begin."""
    if data.nbytes < len(_LZ4_HEADER) or data[:4] != _LZ4_MAGIC:
        raise ValueError("no LZ4 frame")
    flags, sizes = data[4], data[5]
    block_bytes_max = _LZ4_BLOCK_SIZES.get(sizes >> 4)
    allowed = _LZ4_VERSION | _LZ4_INDEPENDENT | _LZ4_BLOCK_CHECKSUM | _LZ4_CONTENT_SIZE | _LZ4_CONTENT_CHECKSUM
    if flags & _LZ4_VERSION != 0x40 or flags & ~allowed or sizes & 0x0F or block_bytes_max is None:
        raise ValueError(f"an LZ4 frame of flags {flags:#04x} and block size {sizes:#04x} is not known")
    if not flags & _LZ4_INDEPENDENT:
        raise ValueError("an LZ4 frame with linked blocks, which Kafka does not allow")
    end = 6 + (8 if flags & _LZ4_CONTENT_SIZE else 0)
    if end >= data.nbytes or data[end] != _xxh32_short(bytes(data[4:end])) >> 8 & 0xFF:
        raise ValueError("an LZ4 frame header that does not match its checksum")
    return flags, block_bytes_max, end + 1


def _xxh32_short(data: bytes) -> int:
    """XXH32 with seed 0 of fewer than 16 bytes: what a frame header is checked by."""
    mask = 0xFFFFFFFF
    prime_1, prime_2, prime_3, prime_4, prime_5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
    value = prime_5 + len(data)
    whole = len(data) & ~3
    for position in range(0, whole, 4):
        value = (value + _U32_LITTLE.unpack_from(data, position)[0] * prime_3) & mask
        value = ((value << 17 | value >> 15) & mask) * prime_4
    for byte in data[whole:]:
        value = (value + byte * prime_5) & mask
        value = ((value << 11 | value >> 21) & mask) * prime_1
    value &= mask
    value = (value ^ value >> 15) * prime_2 & mask
    value = (value ^ value >> 13) * prime_3 & mask
    return value ^ value >> 16


# ---- both ----


def _u32(data: memoryview, position: int, form: struct.Struct) -> int:
    if position + form.size > data.nbytes:
        raise ValueError(f"a block's length is cut off at byte {position} of {data.nbytes}")
    value: int = form.unpack_from(data, position)[0]
    return value


def _block(data: memoryview, position: int, size: int) -> tuple[memoryview, int]:
    """The `size` bytes behind a length at `position`, and where they end."""
    start = position + _U32_LITTLE.size
    if size > data.nbytes - start:
        raise ValueError(f"a block of {size} bytes at byte {start} of {data.nbytes}")
    return data[start : start + size], start + size


CODECS: Final = (
    Codec(0, "none", 1 << 20, _copied, _bounded),
    Codec(1, "gzip", 1 << 16, _gzip_compress, _gzip_decompress),
    Codec(2, "snappy", 1 << 19, _snappy_compress, _snappy_decompress),
    Codec(3, "lz4", 1 << 19, _lz4_compress, _lz4_decompress),
)
"""One row per codec, at its number."""

NONE: Final = CODECS[0]


def codec_named(name: str) -> Codec:
    """The codec of a name. Raises KeyError for one that is not in the table."""
    return {codec.name: codec for codec in CODECS}[name]
