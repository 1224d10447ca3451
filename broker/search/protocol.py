"""What server and search process say to each other: frames of a length (u32, big-endian) and that much MessagePack.

The process answers each request with one answer, in order. A search is asked for in slices of time, so that a process
with one thread takes turns among those who search, and so that nobody waits for one that nobody wants any more: the
next slice is not asked for.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from broker.operations.records import Condition, RecordDetail, RecordRow

FRAME_BYTES_MAX: Final = 64 << 20
LENGTH_BYTES: Final = 4


class Log(Struct, frozen=True):
    """A log, as far as it may be read at this moment."""

    directory: str
    start_offset: int
    high_watermark: int


class Question(Struct, frozen=True):
    """What is looked for. `kinds` is a bit per operation number; names are as a record has them, escaped."""

    kinds: int
    database: str | None = None
    table: str | None = None
    conditions: tuple[Condition, ...] = ()
    from_ms: int | None = None
    to_ms: int | None = None


class Search(Struct, frozen=True, tag=True):
    """Look for records below the offset `before`, the newest first, for so long, and up to so many."""

    log: Log
    question: Question
    before: int
    limit: int
    slice_ms: int


class Found(Struct, frozen=True, tag=True):
    """`before` is where the next slice goes on; None when everything was looked through."""

    records: tuple[RecordRow, ...]
    before: int | None
    searched_bytes: int
    total_bytes: int
    damages: tuple[str, ...]


class Show(Struct, frozen=True, tag=True):
    """All of one record."""

    log: Log
    offset: int


class Shown(Struct, frozen=True, tag=True):
    """None: there is no such record."""

    record: RecordDetail | None


class ReadValue(Struct, frozen=True, tag=True):
    """A piece of a value as it lies in the record; `column` -1 is the statement of a DDL."""

    log: Log
    offset: int
    column: int
    is_after: bool
    start: int
    size: int


class Value(Struct, frozen=True, tag=True):
    """None: there is no such value. `is_text` says that the bytes are text of `charset`."""

    data: bytes | None
    bytes_total: int = 0
    is_text: bool = False
    charset: str | None = None


class MakeFilters(Struct, frozen=True, tag=True):
    """Make the filter of one closed segment that has none, if there is one, for so long at a time."""

    log: Log
    slice_ms: int


class Made(Struct, frozen=True, tag=True):
    """`is_done`: all closed segments have theirs."""

    is_done: bool


class Failed(Struct, frozen=True, tag=True):
    """It could not be done: a sentence."""

    sentence: str


Request = Search | Show | ReadValue | MakeFilters
Answer = Found | Shown | Value | Made | Failed

_encoder: Final = msgspec.msgpack.Encoder()
_requests: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(Request)
_answers: Final[msgspec.msgpack.Decoder[Answer]] = msgspec.msgpack.Decoder(Answer)


def framed(message: Any) -> bytes:
    """A message as it is sent."""
    data = _encoder.encode(message)
    return len(data).to_bytes(LENGTH_BYTES) + data


def read_request(data: bytes) -> Request:
    """What a frame holds."""
    return _requests.decode(data)


def read_answer(data: bytes) -> Answer:
    """What a frame holds. Raises msgspec.MsgspecError."""
    return _answers.decode(data)
