"""A copy of a data directory that a server opens, made beside the server that writes the original, or without one.

Owns the order that makes the copy consistent without anybody's help:

    0  the files of prepared XA transactions are opened, before and behind 1: what is deleted meanwhile is not lost
    1  the end of every log: its last COMMIT, made durable here, so that no failed flush takes it back later
    2  every log up to there: closed segments whole, the last one cut behind that COMMIT; then the prepared transactions
    3  the catalog at one later moment: it has every schema version that the copied records were written by; what lies
       beyond them is dropped when capture resumes, as after a crash (`capture.resume`)
    4  a `state` that says: not orderly, of an unknown boot, with offsets reserved far above the original's

By 4 the log goes on where the original never served: a group whose committed offset, of 3, is ahead of the copied
log finds the gap and then what is captured again, some of it a second time. Offsets that the original served behind the
copied end never mean another record. A topic that has no log at 1 gets one that begins far above.

What happens to the original meanwhile: retention takes the oldest segments (what was copied of older ones goes, too);
segments are begun (they are behind the end); a failed flush takes the end back (that log is copied anew).

Invariant: the copy is made under another name and renamed when everything in it is durable, so that half a copy is
never taken for one. The original is not changed, and no lock is taken.

Damage is copied as it is, and told: where nothing better is to be had, the rest of a log is worth keeping.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from storage.catalog_reading import copy_catalog, read_catalog
from storage.directory import FORMAT_VERSION, audit_paths, catalog_path, require_data_directory, topic_path, topics_in
from storage.errors import CatalogCorrupt, CorruptLog, StorageError
from storage.files import FILE_MODE, Files
from storage.index import OFFSET_SLOT_BYTES, TIME_SLOT_BYTES
from storage.peek import End, base_offsets, find_end
from storage.positions import Kind, PositionFile
from storage.prepared import PreparedCopy
from storage.recovery import last_commit_until
from storage.segment import log_path, segment_paths, source_path
from storage.segment_walk import Problem, Progress, Verification, iter_slots, walk_segment
from storage.state import UNKNOWN_OFFSETS, LogState, read_state, write_state
from storage.words import shown_bytes

PARTIAL_SUFFIX: Final = ".partial"
_TRIES_MAX: Final = 5
_UNCUT: Final = 1 << 62
"""More than a file holds."""


class Backup(Struct):
    """What was copied, and what of it is damaged."""

    logs: dict[str, Verification] = {}
    """By topic."""
    catalog: list[Problem] = []
    size_bytes: int = 0
    """Of all files."""

    @property
    def problems(self) -> list[Problem]:
        return [problem for log in self.logs.values() for problem in log.problems] + self.catalog


class _Moved(Exception):
    """The end of the log was taken back while it was copied."""


def back_up(
    path: Path, target: Path, files: Files | None = None, progress: Progress = lambda size_bytes: None
) -> Backup:
    """Copy the data directory at `path` to `target`, which must not exist or be empty.

    Raises:
        StorageError: it cannot be copied, with the reason; nothing is left at `target` then.
    """
    files = files or Files()
    require_data_directory(path)
    path, target = path.resolve(), target.absolute()
    _require_target(path, target)
    partial = target.with_name(target.name + PARTIAL_SUFFIX)
    logs: dict[str, _LogCopy] = {}
    try:
        for topic in topics_in(path):
            logs[topic] = _LogCopy(files, topic_path(path, topic), topic_path(partial, topic))
        _require_space(target.parent, sum(log.needed_bytes() for log in logs.values()) + _catalog_bytes(path))
        _make_partial(partial)
        try:
            result = _fill(files, path, partial, logs, progress)
            partial.rename(target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        files.sync_directory(target.parent)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise StorageError(
            f"the backup {target} could not be made ({error.strerror}{where}); see to it and start the backup again"
        ) from error
    finally:
        for log in logs.values():
            log.close()
    return result


# ---- before anything is written ----


def _require_target(path: Path, target: Path) -> None:
    real = target.resolve()
    if real == path or path in real.parents or real in path.parents:
        raise StorageError(
            f"the backup {target} would lie in the data directory {path}, or around it; name a directory elsewhere"
        )
    if target.is_symlink() or (target.exists() and not target.is_dir()) or (target.is_dir() and any(target.iterdir())):
        raise StorageError(f"{target} is there and is not an empty directory; name one that does not exist")
    if target.is_dir() and os.path.ismount(target):
        raise StorageError(f"{target} is a mounted file system; name a directory in it, which the backup makes")
    if not target.parent.is_dir():
        raise StorageError(f"there is no directory {target.parent} to make the backup in; make it first")


def _require_space(folder: Path, needed_bytes: int) -> None:
    system = os.statvfs(folder)
    free_bytes = system.f_bavail * system.f_frsize
    if needed_bytes > free_bytes:
        raise StorageError(
            f"the backup needs {shown_bytes(needed_bytes)} and {folder} has {shown_bytes(free_bytes)} free; make room, "
            f"or name a directory on another disk"
        )


def _make_partial(partial: Path) -> None:
    try:
        partial.mkdir(mode=0o700)
    except FileExistsError:
        raise StorageError(
            f"{partial} is there: another backup to the same place is under way, or one was cut short; delete it in "
            f"the second case"
        ) from None


def _catalog_bytes(path: Path) -> int:
    catalog = catalog_path(path)
    return _size_of(catalog) + _size_of(Path(f"{catalog}-wal"))


def _size_of(path: Path) -> int:
    """0 if it is not there, or not any more."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


# ---- the whole directory ----


def _fill(files: Files, path: Path, partial: Path, logs: dict[str, _LogCopy], progress: Progress) -> Backup:
    result = Backup()
    files.make_directory(partial / "topics")
    for topic, log in logs.items():
        result.logs[topic] = log.run(progress)
    if catalog_path(path).exists():
        _fill_catalog(files, path, partial, logs.keys(), result)
    _fill_audit(files, path, partial)
    files.sync_directory(partial / "topics")
    # Last: a directory without it is refused by a server.
    files.replace_durably(partial / "format", f"{FORMAT_VERSION}\n".encode())
    result.size_bytes = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
    return result


def _fill_catalog(files: Files, path: Path, partial: Path, topics: Collection[str], result: Backup) -> None:
    source, catalog = catalog_path(path), catalog_path(partial)
    damages: tuple[str, ...]
    try:
        copy_catalog(source, catalog)
        content = read_catalog(catalog)
    except CatalogCorrupt as damage:
        damages, unlogged = (str(damage),), set[str]()
        _copy_as_it_is(files, source, catalog)
    else:
        damages, unlogged = content.damages, set(content.topics.values()) - set(topics)
    result.catalog = [
        Problem(source, 0, -1, what, -1, "the server refuses to start", "use an older backup, or salvage this one")
        for what in damages
    ]
    with files.opened(catalog) as descriptor:
        files.sync(descriptor)
    for topic in unlogged:
        _reserve(files, topic_path(partial, topic), LogState(False, UNKNOWN_OFFSETS, 0, ""))


def _fill_audit(files: Files, path: Path, partial: Path) -> None:
    """The log of changes, whose files are opened before the first is copied: they may change their names meanwhile."""
    with ExitStack() as opened:
        found: list[tuple[Path, int]] = []
        for file in audit_paths(path):
            with suppress(FileNotFoundError):
                found.append((file, opened.enter_context(files.opened(file, write=False))))
        for file, source in found:
            with files.opened(partial / file.name, create=True) as target:
                files.copy(source, target, files.size(source))
                files.sync(target)


def _copy_as_it_is(files: Files, source: Path, catalog: Path) -> None:
    """Damage and all: a catalog and what is not in it yet, which can be salvaged together."""
    for suffix in ("", "-wal"):
        part, copy = source.with_name(source.name + suffix), catalog.with_name(catalog.name + suffix)
        files.unlink(copy)
        if part.exists():
            shutil.copyfile(part, copy)
            copy.chmod(FILE_MODE)
            with files.opened(copy) as descriptor:
                files.sync(descriptor)


def _reserve(files: Files, directory: Path, state: LogState) -> None:
    files.make_directory(directory)
    write_state(files, directory, state)


# ---- one log ----


class _LogCopy:
    """One log on its way from `source` to `target`."""

    def __init__(self, files: Files, source: Path, target: Path) -> None:
        self._files = files
        self._source = source
        self._target = target
        self._prepared = PreparedCopy(files, source)
        self._survey()

    def needed_bytes(self) -> int:
        """What the copy takes."""
        needed = self._prepared.size_bytes
        if self._end is None:
            return needed
        needed += self._end.commit.log_position
        for base_offset in self._bases:
            for path in segment_paths(log_path(self._source, base_offset)):
                if path.suffix != ".log" or base_offset != self._end.base_offset:
                    needed += _size_of(path)
        return needed

    def run(self, progress: Progress) -> Verification:
        """Copy it; returns what was seen of it on the way."""
        for _ in range(_TRIES_MAX):
            try:
                result = self._copy(progress)
            except _Moved:
                shutil.rmtree(self._target, ignore_errors=True)
                self._survey()
                continue
            self._prepared.run(self._target)
            self._write_state()
            return result
        raise StorageError(
            f"the log in {self._source} was taken back {_TRIES_MAX} times while it was copied, because its disk fails "
            f"to flush; see to the disk, then start the backup again"
        )

    def close(self) -> None:
        self._prepared.close()

    def _survey(self) -> None:
        """Find the end, and make sure that it stays."""
        files, source = self._files, self._source
        bases = base_offsets(files, source)
        end = find_end(files, source, bases)
        if end is not None and not self._is_saved(end):
            end = self._durable_end(bases)
        self._end = end
        self._prepared.look()
        self._bases = [base for base in bases if end is not None and base <= end.base_offset]

    def _is_saved(self, end: End) -> bool:
        """Whether everything up to here is durable by our own flush, and still there."""
        try:
            for path in segment_paths(log_path(self._source, end.base_offset)):
                with self._files.opened(path, write=False) as descriptor:
                    self._files.sync(descriptor)
            self._files.sync_directory(self._source)
        except OSError:
            return False
        return self._is_there(end)

    def _durable_end(self, bases: Sequence[int]) -> End | None:
        """The last COMMIT that the log itself knows to be durable."""
        state = read_state(self._files, self._source)
        newest = find_end(self._files, self._source, bases)
        durable_offset = max(state.durable_offset if state else 0, newest.commit.durable_offset if newest else 0)
        for base_offset in reversed([base for base in bases if base < durable_offset]):
            try:
                file = PositionFile.open(self._files, source_path(log_path(self._source, base_offset)), write=False)
            except (CorruptLog, FileNotFoundError):
                continue
            with closing(file):
                number = last_commit_until(file, durable_offset)
                commit = file.entry(number)
                if commit is not None:
                    return End(base_offset, number, commit, None)
        return None

    def _is_there(self, end: End) -> bool:
        """Whether the log still has this end; one that retention took was durable and seen by everybody."""
        try:
            file = PositionFile.open(self._files, source_path(log_path(self._source, end.base_offset)), write=False)
        except (CorruptLog, FileNotFoundError):
            return self._is_retired(end.base_offset)
        with closing(file):
            return file.entry(end.number) == end.commit

    def _is_retired(self, base_offset: int) -> bool:
        """Whether retention took a segment: what is left lies behind it. What is taken back leaves what lies before."""
        bases = base_offsets(self._files, self._source)
        return bool(bases) and bases[0] > base_offset

    def _copy(self, progress: Progress) -> Verification:
        files, result = self._files, Verification()
        files.make_directory(self._target)
        if self._end is None:
            return result
        for base_offset in self._bases:
            if not self._copy_segment(base_offset, self._end):
                if not self._is_retired(base_offset) or base_offset == self._end.base_offset:
                    raise _Moved
                # What lies before it was retired, too; a hole would be taken for a loss.
                shutil.rmtree(self._target)
                files.make_directory(self._target)
                result = Verification()
                continue
            part = walk_segment(files, self._target, base_offset, self._end, progress, records=False)
            part.problems = [_of_source(problem, self._source) for problem in part.problems]
            result.add(part)
        if not self._is_there(self._end):
            raise _Moved
        return result

    def _copy_segment(self, base_offset: int, end: End) -> bool:
        """Copy the files of a segment as far as they count; False if it is not there any more."""
        path = log_path(self._source, base_offset)
        sizes = self._sizes(path, end if base_offset == end.base_offset else None)
        for file in segment_paths(path):
            try:
                self._copy_file(file, sizes.get(file.suffix, _UNCUT))
            except FileNotFoundError:
                if base_offset not in base_offsets(self._files, self._source):
                    return False
                # An index that is missing is built anew; of a log that is missing, the walk tells.
        return True

    def _copy_file(self, file: Path, size: int) -> None:
        files, target = self._files, self._target / file.name
        with files.opened(file, write=False) as source, files.opened(target, create=True) as copy:
            files.copy(source, copy, min(size, files.size(source)))
            files.sync(copy)

    def _sizes(self, path: Path, end: End | None) -> dict[str, int]:
        """How much of which file counts; all of one that is not named."""
        try:
            file = PositionFile.open(self._files, source_path(path), write=False)
        except (CorruptLog, FileNotFoundError):
            return {}
        with closing(file):
            if end is None:
                close = file.entry(file.count - 1)
                return {".log": close.log_position} if close is not None and close.kind is Kind.CLOSE else {}
            size = end.commit.log_position
            slots = self._slot_count(path, size)
            return {
                ".log": size,
                ".source": file.start_of(end.number + 1),
                ".index": slots * OFFSET_SLOT_BYTES,
                ".timeindex": slots * TIME_SLOT_BYTES,
            }

    def _slot_count(self, path: Path, size: int) -> int:
        try:
            with self._files.opened(path.with_suffix(".index"), write=False) as descriptor:
                offsets = self._files.read(descriptor, self._files.size(descriptor), 0)
        except FileNotFoundError:
            return 0
        return sum(1 for _ in iter_slots(offsets, b"", size))

    def _write_state(self) -> None:
        """Reserve what the original may have served and may serve still."""
        state, end = read_state(self._files, self._source), self._end
        served_offset = end.next_offset if end is not None else 0
        if state is not None:
            served_offset = max(served_offset, state.reserved_offset)
            if state.reserved_offset < 0:
                served_offset += UNKNOWN_OFFSETS  # by which the original goes on as well
        durable_offset = end.commit.end_offset if end is not None else 0
        _reserve(self._files, self._target, LogState(False, served_offset + UNKNOWN_OFFSETS, durable_offset, ""))


def _of_source(problem: Problem, source: Path) -> Problem:
    """The same damage in the original, where it comes from."""
    return replace(problem, path=source / problem.path.name)
