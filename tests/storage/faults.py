"""Files that count, fail on order, or remember what was done to them, so that any moment of a run can be replayed."""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from storage.files import Files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from random import Random

PAGE_BYTES = 512
"""Pages of the replayed loss of power: smaller than real ones, so that a small run has many."""


class CountingFiles(Files):
    """Counts calls by name and the bytes that were read, and knows what is open."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.read_bytes = 0
        self.open_paths: dict[int, Path] = {}
        self.ever_opened: set[Path] = set()

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        self.calls["open"] += 1
        descriptor = super().open(path, create=create, write=write)
        self.open_paths[descriptor] = path
        self.ever_opened.add(path)
        return descriptor

    def close(self, descriptor: int) -> None:
        path = self.open_paths.pop(descriptor)  # first: another thread may be given the number
        try:
            super().close(descriptor)
        except BaseException:
            self.open_paths[descriptor] = path
            raise

    def read(self, descriptor: int, size: int, position: int) -> bytes:
        data = super().read(descriptor, size, position)
        self.calls["read"] += 1
        self.read_bytes += len(data)
        return data

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        self.calls["write"] += 1
        super().write(descriptor, data, position)

    def write_many(self, descriptor: int, parts: Sequence[bytes], position: int) -> None:
        self.calls["write"] += 1
        super().write_many(descriptor, parts, position)

    def sync(self, descriptor: int) -> None:
        self.calls["sync"] += 1
        super().sync(descriptor)

    def map(self, descriptor: int, size: int):
        self.calls["map"] += 1
        return super().map(descriptor, size)


class FailingFiles(CountingFiles):
    """Fails the calls named in `failing`, with `number`; a write fails after half of its bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: set[str] = set()
        self.number = errno.ENOSPC

    def _fail(self, call: str) -> None:
        if call in self.failing:
            raise OSError(self.number, os.strerror(self.number))

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        self._fail("create" if create else "open")
        return super().open(path, create=create, write=write)

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        if "write" in self.failing:
            os.pwrite(descriptor, data[: len(data) // 2], position)
        self._fail("write")
        super().write(descriptor, data, position)

    def write_many(self, descriptor: int, parts: Sequence[bytes], position: int) -> None:
        if "write" in self.failing:
            os.pwrite(descriptor, parts[0], position)
        self._fail("write")
        super().write_many(descriptor, parts, position)

    def truncate(self, descriptor: int, size: int) -> None:
        self._fail("truncate")
        super().truncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        self._fail("sync")
        super().sync(descriptor)

    def unlink(self, path: Path) -> None:
        self._fail("unlink")
        super().unlink(path)

    def rename(self, source: Path, target: Path) -> None:
        self._fail("rename")
        super().rename(source, target)


@dataclass
class Step:
    """One change of the file system: what was called, on which file, with what."""

    call: str
    name: str
    data: bytes = b""
    position: int = 0
    other: str = ""


@dataclass
class DiskFile:
    """A file after some steps: what a reader sees, and what is on the medium."""

    seen: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


class RecordingFiles(Files):
    """Remembers every change, to be replayed up to any of them."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._names: dict[int, str] = {}

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        descriptor = super().open(path, create=create, write=write)
        self._names[descriptor] = path.name
        if create:
            self.steps.append(Step("create", path.name))
        return descriptor

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        super().write(descriptor, data, position)
        self.steps.append(Step("write", self._names[descriptor], bytes(data), position))

    def write_many(self, descriptor: int, parts: Sequence[bytes], position: int) -> None:
        super().write_many(descriptor, parts, position)
        self.steps.append(Step("write", self._names[descriptor], b"".join(parts), position))

    def truncate(self, descriptor: int, size: int) -> None:
        super().truncate(descriptor, size)
        self.steps.append(Step("truncate", self._names[descriptor], position=size))

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self.steps.append(Step("sync", self._names[descriptor]))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.steps.append(Step("unlink", path.name))

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        for descriptor, name in self._names.items():
            if name == source.name:
                self._names[descriptor] = target.name
        self.steps.append(Step("rename", source.name, other=target.name))

    def sync_names(self, descriptor: int) -> None:
        super().sync_names(descriptor)
        self.steps.append(Step("sync_directory", ""))


class ReplayedDisk:
    """A directory after a prefix of the recorded steps."""

    def __init__(self) -> None:
        self.files: dict[str, DiskFile] = {}
        self.durable_names: dict[str, DiskFile] = {}

    def apply(self, step: Step, share: float = 1.0) -> None:
        """Do a step again; with a `share` below one a write stops after that part of its bytes."""
        if step.call == "create":
            self.files[step.name] = DiskFile()
        elif step.call == "unlink":
            self.files.pop(step.name, None)
        elif step.call == "rename":
            self.files[step.other] = self.files.pop(step.name)
        elif step.call == "sync_directory":
            self.durable_names = dict(self.files)
        elif step.name in self.files:
            self._apply_to_file(self.files[step.name], step, share)

    def _apply_to_file(self, file: DiskFile, step: Step, share: float) -> None:
        seen = file.seen
        if step.call == "write":
            data = step.data[: int(len(step.data) * share)]
            seen.extend(bytes(max(0, step.position + len(data) - len(seen))))
            seen[step.position : step.position + len(data)] = data
        elif step.call == "truncate":
            del seen[step.position :]
            seen.extend(bytes(step.position - len(seen)))
        elif step.call == "sync":
            file.durable = bytes(seen)

    def write_to(self, directory: Path) -> None:
        """Lay out what a new process of the same boot finds."""
        for name, file in self.files.items():
            (directory / name).write_bytes(file.seen)

    def write_after_power_loss(self, directory: Path, random: Random) -> None:
        """Lay out what may be left when the power went: of what was not flushed, any pages and any names."""
        for name in sorted({*self.files, *self.durable_names}):
            now, before = self.files.get(name), self.durable_names.get(name)
            file = now if now is before or (now is not None and random.random() < 0.5) else before
            if file is not None:
                (directory / name).write_bytes(_pages_left(file, random))


def _pages_left(file: DiskFile, random: Random) -> bytes:
    durable, seen = file.durable, bytes(file.seen)
    if durable == seen:
        return seen
    size = len(seen) if random.random() < 0.7 else len(durable)
    kept = random.choice((0.0, 0.3, 0.7, 1.0))
    pages = bytearray()
    for start in range(0, size, PAGE_BYTES):
        source = seen if random.random() < kept else durable
        page = source[start : min(start + PAGE_BYTES, size)]
        pages += page + bytes(min(PAGE_BYTES, size - start) - len(page))
    return bytes(pages)
