"""`binwire backup`: a copy of the data directory, told in a few lines, with how to use it.

Owns the words; how the copy is made is `storage.backup`'s.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from broker.progress import Meter
from broker.render import counted, printable, style_for, wrapped
from broker.verify import damage_lines
from storage.backup import Backup, back_up
from storage.words import shown_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def run(data_directory: Path, target: Path) -> int:
    """Copy and print; the exit status: 0 everything was whole, 1 something that was copied is damaged."""
    started_s = time.monotonic()
    with Meter(sys.stderr, "copied") as meter:
        found = back_up(data_directory, target, progress=meter.add)
    seconds = time.monotonic() - started_s
    style = style_for(terminal=sys.stdout.isatty(), environment=os.environ)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in lines(found, data_directory.absolute(), target.absolute(), seconds):
        print(*(wrapped(line, columns) if columns else [line]), sep="\n")
    print(*damage_lines(found.problems, style, columns), sep="\n", end="\n" if found.problems else "")
    return 1 if found.problems else 0


def lines(found: Backup, data_directory: Path, target: Path, seconds: float) -> Iterator[str]:
    """What was copied, and what to do with it."""
    yield f"{printable(str(data_directory))} is backed up in {printable(str(target))}"
    for topic, log in found.logs.items():
        span = f"offsets {log.first_offset} to {log.next_offset - 1}" if log.batches else "nothing yet"
        yield f"  topic {printable(topic)}: {span}, {shown_bytes(log.size_bytes)}"
    rate = shown_bytes(found.size_bytes / max(seconds, 1e-3))
    topics = counted(len(found.logs), "topic")
    yield f"  {topics} and the catalog, {shown_bytes(found.size_bytes)} in {seconds:.1f} s, {rate}/s"
    yield (
        f'to restore: stop Binwire, set data_dir = "{printable(str(target))}" in the configuration or put this copy in '
        f"place of the data directory, and start it; keep the configuration and its password files apart"
    )
    if found.problems:
        count = len(found.problems)
        yield f"{counted(count, 'damaged place')} {'were' if count > 1 else 'was'} copied as found:"
