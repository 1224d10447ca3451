"""`binwire tail TOPIC`: the records of a topic as a person or a program reads them, from a running server.

Records come undecoded over the control socket (`control.py`), are decoded here and shown by `render.py`. A topic holds
a HEARTBEAT a second, so the last N changes lie somewhere among many more records: tail asks for a stretch before the
end and keeps the last N that are wanted; `--from` starts at a time instead and shows the first N from there.
"""

from __future__ import annotations

import base64
import os
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from broker.control import ControlError, ask
from storage.words import moment_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SEARCHED_RECORDS: Final = 20_000  # how far back the last N changes are looked for: hours of an idle source
QUIET_OPERATIONS: Final = frozenset(("HEARTBEAT",))


def run(
    data_directory: Path,
    topic: str,
    *,
    records: int,
    from_time: str | None,
    follow: bool,
    everything: bool,
    as_json: bool,
) -> int:
    """Show records until there are enough of them, or for ever with `follow`; the exit status."""
    from broker.capturing import record_decoder
    from broker.render import json_line, lines, style_for

    request: dict[str, Any] = {"request": "tail", "topic": topic, "follow": follow, "back": SEARCHED_RECORDS}
    if from_time is not None:
        request["from_ms"] = time_ms(from_time)
    answers = ask(data_directory / "control.sock", request)
    decode, style = record_decoder(), style_for(terminal=sys.stdout.isatty(), environment=os.environ)
    wanted = _wanted(answers, decode, everything=everything)
    selected = first(wanted, records, follow=follow) if from_time is not None else last(wanted, records)
    for offset, record in selected:
        if as_json:
            print(json_line(offset, record), flush=follow)
        else:
            print(*lines(offset, record, style), sep="\n", flush=follow)
    return 0


Decoded = tuple[int, dict[str, Any]]


def _wanted(answers: Iterable[Mapping[str, Any]], decode: Any, *, everything: bool) -> Iterator[Decoded | None]:
    """Offset and record of every record to show; None once, where what was there ends and what arrives begins."""
    for answer in answers:
        if "caught_up" in answer:
            yield None
        elif "record" in answer:
            record = decode(base64.b64decode(answer["record"]["value"]))
            if everything or record["operation"] not in QUIET_OPERATIONS:
                yield answer["record"]["offset"], record


def last(wanted: Iterable[Decoded | None], count: int) -> Iterator[Decoded]:
    """The last `count` of what was there, then everything that arrives."""
    arriving = iter(wanted)
    kept: deque[Decoded] = deque(maxlen=count)
    for item in arriving:
        if item is None:
            break
        kept.append(item)
    yield from kept
    yield from (item for item in arriving if item is not None)


def first(wanted: Iterable[Decoded | None], count: int, *, follow: bool) -> Iterator[Decoded]:
    """The first `count`, or everything with `follow`."""
    shown = 0
    for item in wanted:
        if item is not None:
            yield item
            shown += 1
            if shown == count and not follow:
                return


def time_ms(text: str) -> int:
    """Unix epoch milliseconds of seconds or of a date with its offset; `ControlError` if it is neither."""
    found = moment_ms(text)
    if found is None:
        raise ControlError(f"{text!r} is not a time; write seconds since 1970 or 2026-01-31T08:00:00Z")
    return found
