"""What runs in the search process: one request after the other from standard input, each with one answer.

It yields to everything else on the machine, may hold so much memory and no more, and ends with its parent: when its
input ends, or at once where the system can do that. What it reads is `searching.py`'s; it writes nothing but filters.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Final, assert_never

from broker.search import shown
from broker.search.filters import FilterMaker
from broker.search.protocol import (
    LENGTH_BYTES,
    Answer,
    Failed,
    Log,
    Made,
    MakeFilters,
    Question,
    ReadValue,
    Request,
    Search,
    Show,
    Shown,
    Value,
    framed,
    read_request,
)
from broker.search.searching import ALL_KINDS, Searcher, Test
from storage.errors import CorruptLog
from storage.records import records_of

MEMORY_BYTES_MAX: Final = 3 << 30
"""Of address space: a record of 1 GiB, compressed and not, is more than that, and is told of."""
_NICE: Final = 15
"""Unless it is started with another: where it shares a CPU with the server, the server has 96 % of it."""
_PR_SET_PDEATHSIG: Final = 1
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_LOWEST: Final = 2 << 13 | 7
"""Best effort, the last of it. Idle would wait for a disk that is never idle."""


class Process:
    """Answers requests."""

    def __init__(self, searcher: Searcher | None = None) -> None:
        self._searcher = searcher or Searcher()
        self._filters = FilterMaker(self._searcher)
        self._value: tuple[ReadValue, Value, bytes] | None = None
        """The value that is read in pieces."""

    def answer(self, request: Request) -> Answer:
        """One request done."""
        try:
            return self._answer(request)
        except MemoryError:
            self._value = None
            return Failed("there are records here that are too large for the search process's memory")
        except OSError as error:
            return Failed(f"the log cannot be read ({error.strerror}: {error.filename})")
        except (CorruptLog, ValueError) as error:
            return Failed(f"the record cannot be read: {error}")

    def _answer(self, request: Request) -> Answer:
        match request:
            case Search():
                self._value = None
                return self._searcher.search(
                    request.log, request.question, request.before, request.limit, request.slice_ms / 1000
                )
            case Show():
                return self._show(request)
            case ReadValue():
                return self._read_value(request)
            case MakeFilters():
                return Made(self._filters.run(request.log, request.slice_ms / 1000))
            case _:
                assert_never(request)

    def _show(self, request: Show) -> Shown:
        place = self._find(request.log, request.offset)
        if place is None:
            return Shown(None)
        records, start, end, timestamp_ms = place
        return Shown(shown.detail_of(records, start, end, request.offset, timestamp_ms))

    def _read_value(self, request: ReadValue) -> Value:
        whole = ReadValue(request.log, request.offset, request.column, request.is_after, 0, 0)
        if self._value is None or _record_of(self._value[0]) != _record_of(whole):
            self._value = self._whole_value(whole)
            if self._value is None:
                return Value(None)
        _, about, content = self._value
        piece = content[request.start : request.start + request.size]
        return Value(piece, len(content), about.is_text, about.charset)

    def _whole_value(self, request: ReadValue) -> tuple[ReadValue, Value, bytes] | None:
        place = self._find(request.log, request.offset)
        if place is None:
            return None
        records, start, end, _ = place
        found = shown.content_at(records, start, end, request.column, is_after=request.is_after)
        if found is None:
            return None
        content, is_text, charset = found
        return request, Value(None, len(content), is_text, charset), content

    def _find(self, log: Log, offset: int) -> tuple[bytes, int, int, int] | None:
        """The records of a batch and where the value at an offset lies in them; its time."""
        if not log.start_offset <= offset < log.high_watermark:
            return None
        everything = Test(Question(ALL_KINDS))
        damages: list[str] = []
        for segment in reversed(self._searcher.segments(log, offset + 1)):
            if segment.base_offset > offset:
                continue
            stretch = next(iter(segment.stretches(offset + 1)), None)
            batches = [] if stretch is None else segment.read(stretch, offset + 1, damages)
            for batch in batches:
                header = batch.header
                if not header.base_offset <= offset < header.next_offset:
                    continue
                records = records_of(batch)
                for change in everything.find(records, header.record_count, header.first_timestamp_ms):
                    if header.base_offset + change.offset_delta == offset:
                        return records, change.start, change.end, header.first_timestamp_ms + change.time_delta
            break
        if damages:
            raise CorruptLog(damages[0])
        return None


def _record_of(request: ReadValue) -> tuple[str, int, int, bool]:
    return request.log.directory, request.offset, request.column, request.is_after


# ---- as a process ----


def main() -> int:
    """Answer until the input ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not be taken for an answer
    _yield_to_others(int(sys.argv[1]) if len(sys.argv) > 1 else _NICE)
    process = Process()
    while (data := _read_frame(0)) is not None:
        _write(answers, framed(process.answer(read_request(data))))
    return 0


def _read_frame(descriptor: int) -> bytes | None:
    length = _exactly(descriptor, LENGTH_BYTES)
    return None if length is None else _exactly(descriptor, int.from_bytes(length))


def _exactly(descriptor: int, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(descriptor, size - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _yield_to_others(nice: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the server's, which ends us
    with suppress(OSError):
        os.nice(max(0, nice - os.nice(0)))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    if sys.platform != "linux":
        return
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        number = _IOPRIO_SET.get(os.uname().machine)
        if number is not None:
            libc.syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_LOWEST)


if __name__ == "__main__":
    raise SystemExit(main())
