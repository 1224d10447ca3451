"""`binwire salvage`: make a new catalog where the old one is damaged or lost, and say what it has and what it has not.

The server must not run. What is read, given up and read anew from the sources is `storage/salvage.py`'s.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from broker.render import counted
from storage.directory import DataDirectory, require_data_directory, topics_in
from storage.peek import last_source
from storage.salvage import Salvage, salvage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DONE = 0


def run(path: Path) -> int:
    """Salvage the catalog of the data directory at `path`. Raises StorageError."""
    with _locked(path) as directory:
        topics = [topic for topic in topics_in(path) if last_source(directory.topic_path(topic)) is not None]
        found = salvage(directory.catalog_path, topics)
    print(*told(found), sep="\n")
    return DONE


def told(found: Salvage) -> Iterator[str]:
    """What was done, line by line."""
    yield (
        f"the new catalog has {counted(len(found.channels), 'channel')}, {counted(found.groups, 'consumer group')} and "
        f"{counted(found.offsets, 'committed offset')}"
        + ("" if found.is_complete else "; not all of the old one could be read")
    )
    if found.kept_as is not None:
        yield f"the old catalog is kept as {found.kept_as}"
    for topic in found.logs_offered:
        yield f"topic {topic}: goes on with the channel of the configuration that names it, under the record ids it has"
    yield "every channel reads its tables' definitions anew where its log ends, when it starts"
    if not found.is_complete:
        yield (
            "a group whose committed offset is lost begins where its clients say (auto.offset.reset, or a time); one "
            "whose id is lost gets a new one, unless the configuration names it"
        )


@contextmanager
def _locked(path: Path) -> Iterator[DataDirectory]:
    """The data directory, which goes back as it was found: how its last run ended is for the next start."""
    require_data_directory(path)
    directory = DataDirectory.open(path)
    try:
        yield directory
    finally:
        directory.close(orderly=not directory.crashed)
