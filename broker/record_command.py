"""`binwire record TOPIC -o FILE`: a stretch of a running server's topic as a file that fixtures and the demo play.

Records come over the control socket, as they are in the topic, from a time or from the oldest that is kept, up to a
time, a number of records or what there is now. What is recorded are whole transactions: the first begins behind the
time, the last is ended. Values of columns are masked before anything is written (`masking.py`). SIGINT and SIGTERM end
a recording early, and it is kept.

Left to others: the file (`recording.py`), the server's side (`control.py`).
"""

from __future__ import annotations

import base64
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from broker.capturing import record_decoder, record_encoder
from broker.control import ControlError, ask
from broker.masking import Mask, Masks
from broker.recording import Facts, RecordingError, RecordingWriter, Tracker
from broker.render import counted
from broker.tail import time_ms
from storage.words import shown_bytes, shown_moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_BEGINNINGS = frozenset(("BEGIN", "DDL", "HEARTBEAT"))


class Stretch(NamedTuple):
    """Which records are wanted; times in Unix epoch ms. Without an end it is what there is now."""

    from_ms: int
    to_ms: int | None
    records: int | None

    @classmethod
    def parse(cls, from_time: str | None, to_time: str | None, records: int | None) -> Stretch:
        """As it is typed. Raises ControlError."""
        from_ms = 0 if from_time is None else time_ms(from_time)
        to_ms = None if to_time is None else time_ms(to_time)
        if to_ms is not None and to_ms <= from_ms:
            raise ControlError(f"--to {to_time} is not later than --from {from_time or 0}")
        return cls(from_ms, to_ms, records)

    @property
    def waits(self) -> bool:
        """Whether it may go on behind what there is now."""
        return self.records is not None or (self.to_ms is not None and self.to_ms > time.time() * 1000)


def run(
    data_directory: Path,
    topic: str,
    path: Path,
    *,
    stretch: Stretch,
    masks: Sequence[str],
    written_by: str,
) -> int:
    """Record until the stretch is complete or a signal ends it; the exit status, 1 if the server ended before."""
    wanted = Masks(map(Mask.parse, masks))
    facts = Facts(topic=topic, masks=wanted.asked, written_by=written_by)
    request = {"request": "tail", "topic": topic, "from_ms": stretch.from_ms, "follow": stretch.waits}
    answers = _Answers(ask(data_directory / "control.sock", request))
    recorder = _Recorder(stretch, wanted)
    with _signals_to(answers), RecordingWriter(path, facts) as writer:
        is_complete = recorder.record(answers, writer) or answers.is_interrupted
        if not writer.facts.records:
            raise RecordingError(f"no whole transaction of {topic} was there to record; nothing was written")
        wanted.require_met(sorted(recorder.tables))
        written = writer.finish()
    print(*_summary(path, written, writer.size_bytes, recorder), sep="\n")
    if not is_complete:
        print("binwire: the server ended before the stretch did; what came so far is recorded", file=sys.stderr)
    return 0 if is_complete else 1


class _Answers:
    """The server's answers, until there are no more or a signal comes, which only interrupts what waits for them."""

    def __init__(self, answers: Iterator[dict[str, Any]]) -> None:
        self._answers = answers
        self._waits = False
        self.is_interrupted = False

    def interrupt(self, number: int, frame: object) -> None:
        """Called for a signal."""
        self.is_interrupted = True
        if self._waits:
            raise InterruptedError

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        while not self.is_interrupted:
            try:
                self._waits = True
                answer = next(self._answers, None)
                self._waits = False
            except InterruptedError:
                return
            if answer is None:
                return
            yield answer


@contextmanager
def _signals_to(answers: _Answers) -> Iterator[None]:
    before = {number: signal.signal(number, answers.interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Recorder:
    """Takes what is wanted of the server's answers, and remembers what it was about."""

    def __init__(self, stretch: Stretch, masks: Masks) -> None:
        self._stretch = stretch
        self._masks = masks
        self._tracker = Tracker()
        self._count = 0
        self._encode = record_encoder()
        self.statements = 0
        self.tables: set[str] = set()

    def record(self, answers: _Answers, writer: RecordingWriter) -> bool:
        """Write the records that are wanted; whether all came."""
        decode = record_decoder()
        for answer in answers:
            if "end" in answer:
                return True
            if "caught_up" in answer and self._stretch.waits:
                count = counted(self._count, "record")
                print(f"{count} so far; waiting for more, Ctrl-C ends and keeps them", file=sys.stderr, flush=True)
            if "record" in answer:
                if self._is_over(answer["record"]["timestamp_ms"]):
                    return True
                value = base64.b64decode(answer["record"]["value"])
                self._take(value, decode(value), writer)
                if self._is_over(None):
                    return True
        return False

    def _is_over(self, next_ms: int | None) -> bool:
        """Whether the stretch ends before a record of that time."""
        stretch = self._stretch
        if self._tracker.is_open:
            return False
        has_all = stretch.records is not None and self._count >= stretch.records
        return has_all or (stretch.to_ms is not None and next_ms is not None and next_ms >= stretch.to_ms)

    def _take(self, value: bytes, record: dict[str, Any], writer: RecordingWriter) -> None:
        operation = record["operation"]
        if not self._count and operation not in _BEGINNINGS:
            return
        self._count += 1
        self.statements += operation == "DDL"
        if isinstance(record["fields"], list):
            self.tables.add(record["objectName"])
        if self._masks and self._masks.apply(record):
            value = self._encode(record)
        time_s, version = record["sourceTimestamp"], record["source"]["version"]
        writer.add(value, time_s, version, ends=self._tracker.ends(operation))


def _summary(path: Path, facts: Facts, size_bytes: int, recorder: _Recorder) -> Iterator[str]:
    first, last = (shown_moment(1000 * (each or 0)) for each in (facts.first_timestamp_s, facts.last_timestamp_s))
    count = counted(facts.records or 0, "record")
    yield f"{path}: {count} of {facts.topic}, {shown_bytes(size_bytes)}, {first} to {last}"
    if facts.masks:
        yield f"masked: {', '.join(facts.masks)}"
        if recorder.statements:
            kept = counted(recorder.statements, "statement is", "statements are")
            yield f"{kept} in it as typed, with whatever values stand in them (DDL)"
