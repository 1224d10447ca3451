"""What a client says it read, judged against the known log.

A client writes a line per record to its standard output, in one of these forms; whatever follows is its own:

    OFFSET …
    TOPIC PARTITION OFFSET …
    {"offset": OFFSET, …}                 a JSON object, in which topic and partition may stand too

Any other line is counted and says nothing. An offset that the log does not have is a wrong record. A record that comes
later than one of a higher offset is reordered, one that comes again is doubled. A client that reports rows alone is not
asked for BEGIN, COMMIT and DDL: those count as missing only where it reported one of them.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.client_check.known_log import KnownLog

_EXAMPLES: Final = 5
_SHOWN_BYTES: Final = 60
_OFFSET_DIGITS: Final = 19
_LINE_BYTES: Final = 1 << 20


@dataclass(slots=True)
class Count:
    """How many, and the first of them."""

    number: int = 0
    examples: list[str] = field(default_factory=list)
    has_more: bool = False

    def add(self, example: str, number: int = 1) -> None:
        self.number += number
        if len(self.examples) < _EXAMPLES:
            self.examples.append(example)
        else:
            self.has_more = True

    def __str__(self) -> str:
        examples = [*self.examples, *(["…"] if self.has_more else [])]
        return f"{self.number:,}" + (f" ({', '.join(examples)})" if examples else "")


class Witness:
    """Takes lines as they arrive."""

    def __init__(self, log: KnownLog, topic: str) -> None:
        self.doubled, self.reordered, self.wrong, self.other = Count(), Count(), Count(), Count()
        self.records = 0
        self.arrived_ns = array("q", bytes(8 * log.end))
        self.first_ns = self.last_ns = 0
        self._topic = topic
        self._end = log.end
        self._kinds = log.kinds()
        self._seen = bytearray(log.end)
        self._rows = log.rows
        self._rows_seen = 0
        self._highest = -1
        self._rest = b""

    def take(self, chunk: bytes, now_ns: int) -> None:
        """What the client wrote, with the moment it came."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._line(line, now_ns)
        if len(self._rest) > _LINE_BYTES:  # not a line of anything that is asked for
            self.other.add(_shown(self._rest))
            self._rest = b""

    def end(self, now_ns: int) -> None:
        """The client writes no more; a last line may lack its end."""
        if self._rest:
            self._line(self._rest, now_ns)
            self._rest = b""

    @property
    def complete(self) -> bool:
        """Whether every record that it is asked for has come."""
        return self.records == self._end or (self.records == self._rows_seen == self._rows)

    def missing(self) -> Count:
        """What did not come, as ranges of offsets."""
        rows_only = self.records == self._rows_seen
        count = Count()
        for first, last, number in self._gaps(rows_only=rows_only):
            count.add(f"offset {first}" if first == last else f"offsets {first} to {last}", number)
        return count

    def _gaps(self, *, rows_only: bool) -> Iterator[tuple[int, int, int]]:
        """First and last offset of what did not come, and how many of those between are asked for."""
        gap: tuple[int, int, int] | None = None
        for offset in range(self._end):
            if rows_only and not self._kinds[offset]:
                continue
            if not self._seen[offset]:
                gap = (offset, offset, 1) if gap is None else (gap[0], offset, gap[2] + 1)
            elif gap is not None:
                yield gap
                gap = None
        if gap is not None:
            yield gap

    def _line(self, line: bytes, now_ns: int) -> None:
        offset = self._offset(line)
        if offset is None:
            if line.strip():
                self.other.add(_shown(line))
            return
        if not 0 <= offset < self._end:
            self.wrong.add(_shown(line))
            return
        self.last_ns = now_ns
        self.first_ns = self.first_ns or now_ns
        if self._seen[offset]:
            self.doubled.add(f"offset {offset}")
            return
        self._seen[offset] = 1
        self.arrived_ns[offset] = now_ns
        self.records += 1
        self._rows_seen += self._kinds[offset]
        if offset < self._highest:
            self.reordered.add(f"offset {offset} after {self._highest}")
        else:
            self._highest = offset

    def _offset(self, line: bytes) -> int | None:
        """The offset a line names; -1 for a record of another topic or partition, None where it names none."""
        parts = line.split(None, 3)
        if not parts:
            return None
        if _is_number(parts[0]):
            return int(parts[0])
        match parts:
            case [topic, partition, offset, *_] if _is_number(partition) and _is_number(offset):
                return int(offset) if (topic, partition) == (self._topic.encode(), b"0") else -1
        return self._offset_of_json(line) if parts[0][:1] == b"{" else None

    def _offset_of_json(self, line: bytes) -> int | None:
        try:
            # A value as kcat -J writes it is in its own bytes.
            document = json.loads(line.decode(errors="replace"), strict=False)
            offset = document["offset"]
        except (ValueError, KeyError, TypeError):
            return None
        if type(offset) is not int:
            return None
        at_home = document.get("topic", self._topic) == self._topic and document.get("partition", 0) == 0
        return offset if at_home else -1


def _is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) <= _OFFSET_DIGITS


def _shown(line: bytes) -> str:
    return repr(line[:_SHOWN_BYTES].decode(errors="replace"))


def lags_ms(arrived_ns: Sequence[int], visible: Sequence[tuple[int, int]], first: int) -> list[float]:
    """From when each record was visible to when its line came, for those from the offset `first` on that came."""
    lags, step = [], 0
    for offset in range(first, len(arrived_ns)):
        while step < len(visible) and visible[step][0] <= offset:
            step += 1
        if step == len(visible):
            break
        if arrived_ns[offset]:
            lags.append((arrived_ns[offset] - visible[step][1]) / 1_000_000)
    return lags
