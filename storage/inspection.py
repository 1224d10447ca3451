"""Verifying a whole data directory: every log, the catalog, and whether they fit together.

Owns what concerns more than one log (`storage.verify`) or the catalog alone (`storage.catalog_reading`). Changes
nothing, holds no lock, and may run beside the server. Notes are what somebody may want to know and nothing is lost by:
files that a crash or a repair left, a log that no channel claims, a group that is ahead of its log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from storage.catalog_reading import CatalogContent, read_catalog
from storage.directory import boot_id, catalog_path, require_data_directory, topic_path, topics_in
from storage.errors import CatalogCorrupt, StorageError
from storage.files import DAMAGED_SUFFIX, TEMPORARY_SUFFIX, Files
from storage.segment_walk import Problem, Progress, Verification
from storage.verify import verify


class Inspection(Struct):
    """What was found in a data directory."""

    logs: dict[str, Verification] = {}
    """By topic."""
    catalog: list[Problem] = []
    notes: list[str] = []

    @property
    def problems(self) -> list[Problem]:
        return [problem for log in self.logs.values() for problem in log.problems] + self.catalog


def inspect(
    path: Path,
    topics: Sequence[str] = (),
    files: Files | None = None,
    progress: Progress = lambda size_bytes: None,
    boot: str | None = None,
) -> Inspection:
    """Verify the logs of `topics`, or all, and the catalog of the data directory at `path`.

    `boot` names the machine's boot; None asks the machine.

    Raises:
        StorageError: it is no data directory that can be read, or has no such topic.
    """
    files = files or Files()
    boot = boot_id() if boot is None else boot
    require_data_directory(path)
    known = topics_in(path)
    for topic in topics:
        if topic not in known:
            listed = f"it has {', '.join(known)}" if known else "it has none"
            raise StorageError(f"the data directory {path} has no log of a topic {topic!r}; {listed}")
    result = Inspection()
    # Before the logs: what is committed here lies below what they reach to then.
    content = _inspect_catalog(catalog_path(path), result)
    for topic in topics or known:
        try:
            result.logs[topic] = verify(topic_path(path, topic), files, progress, boot)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(
                f"the log of topic {topic} cannot be read ({error.strerror}: {error.filename})"
            ) from error
    for topic, log in result.logs.items():
        if log.torn_offset >= 0:
            result.notes.append(
                f"what the log of topic {topic} had from offset {log.torn_offset} on was not flushed when the machine "
                f"lost its power; the next start captures it again"
            )
    result.notes += _strays(path, topics or known)
    if content is not None and not topics:
        result.notes += _mismatches(content, result.logs, known)
    return result


def _inspect_catalog(path: Path, result: Inspection) -> CatalogContent | None:
    if not path.exists():
        result.notes.append("there is no catalog yet; it is made when the server starts for the first time")
        return None
    remedy = "put back a backup of the whole data directory, or save what can be read with `binwire salvage`"
    effect = "groups, committed offsets or definitions of tables may be lost; the server refuses to start"
    try:
        content = read_catalog(path)
    except CatalogCorrupt as error:
        result.catalog.append(Problem(path, 0, -1, str(error), -1, effect, remedy))
        return None
    result.catalog += [Problem(path, 0, -1, what, -1, effect, remedy) for what in content.damages]
    result.notes += [f"catalog: {sentence}" for sentence in content.orphans]
    return content


def _mismatches(content: CatalogContent, logs: dict[str, Verification], known: Sequence[str]) -> Iterator[str]:
    for channel, topic in content.topics.items():
        if topic not in known:
            yield f"channel {channel} has no log yet: there is no directory of topic {topic}"
    for topic in logs:
        if topic not in content.topics.values():
            yield f"the log of topic {topic} belongs to no channel of the catalog"
    for group, topic, offset in content.offsets:
        log = logs.get(topic)
        if log is not None and offset > log.next_offset >= 0:
            yield (
                f"group {group} has committed offset {offset} of topic {topic}, whose log ends at {log.next_offset}; "
                f"records are captured again above it"
            )


def _strays(path: Path, topics: Sequence[str]) -> Iterator[str]:
    for directory in (path, *(topic_path(path, topic) for topic in topics)):
        for file in sorted(directory.glob("*")):
            if file.suffix == DAMAGED_SUFFIX:
                yield f"{file} was set aside by a start that could not read it; nothing uses it"
            elif file.suffix == TEMPORARY_SUFFIX:
                yield f"{file} is being written, or was when a run was cut short; nothing reads it"
