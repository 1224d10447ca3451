"""A disk in memory: files that log every change, and what a crash may leave of them.

`MemoryFiles` is the store's seam to the system without the system: fast enough that a test opens ten thousand logs.
`Medium` follows its steps and knows, beside what is seen, what is on the medium: the bytes and the size of a file as
of its last flush, and the names as of the directory's last one. What lies between is unflushed, in *atoms* that a loss
of power takes or leaves one by one:

    a page of a file       `PAGE_BYTES` that were written since the flush
    a size of a file       that was changed since
    a name                 that was created, renamed or deleted since

Every choice of atoms makes a disk. Beside that a page may have any of its earlier contents since the flush, and may be
written in part. Names that were only deleted go in the order in which they were deleted, as in every file system with a
journal.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from storage.files import Files

PAGE_BYTES = 512
"""A sector: smaller than a page of the system, so that a small run has many."""
CAPACITY_BYTES = 1 << 14
"""No file of a test is larger: its bytes never move, as those of a mapping."""
_PAGES_MAX = 8
"""Of one file; a file with more of them changed counts as more than any bound."""
MODIFIED_MS = 1_700_000_000_000


class Step(NamedTuple):
    """One change: what was called, on which file (by number), with what."""

    call: str
    file: int
    name: str = ""
    data: bytes = b""
    position: int = 0


class MemoryFile:
    """The bytes of a file as its readers see them."""

    __slots__ = ("buffer", "number", "size")

    def __init__(self, number: int, content: bytes = b"") -> None:
        self.number = number
        self.buffer = bytearray(CAPACITY_BYTES)
        self.buffer[: len(content)] = content
        self.size = len(content)

    @property
    def content(self) -> bytes:
        return bytes(self.buffer[: self.size])


class MemoryFiles(Files):
    """Files by their last name, of one directory. `failing` names calls that are refused."""

    def __init__(self, contents: dict[str, bytes] | None = None) -> None:
        self._numbers = itertools.count()
        self._descriptors = itertools.count(1000)
        self._open: dict[int, MemoryFile] = {}
        self.files = {name: MemoryFile(next(self._numbers), content) for name, content in (contents or {}).items()}
        self.steps: list[Step] = []
        self.failing: set[str] = set()
        self.read_bytes = 0

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        if create:
            if path.name in self.files:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            file = self.files[path.name] = MemoryFile(next(self._numbers))
            self.steps.append(Step("create", file.number, path.name))
        elif path.name in self.files:
            file = self.files[path.name]
        elif path.is_dir():
            file = MemoryFile(-1)
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        descriptor = next(self._descriptors)
        self._open[descriptor] = file
        return descriptor

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def size(self, descriptor: int) -> int:
        return self._open[descriptor].size

    def modified_ms(self, descriptor: int) -> int:
        return MODIFIED_MS

    def read(self, descriptor: int, size: int, position: int) -> bytes:
        file = self._open[descriptor]
        data = bytes(file.buffer[position : max(position, min(position + size, file.size))])
        self.read_bytes += len(data)
        return data

    def advise(self, descriptor: int, start: int, size: int) -> None:
        pass

    def allocate(self, descriptor: int, start: int, size: int) -> None:
        pass

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        self._refuse("write")
        file, end = self._open[descriptor], position + len(data)
        assert end <= CAPACITY_BYTES
        file.buffer[position:end] = data
        file.size = max(file.size, end)
        self.steps.append(Step("write", file.number, data=bytes(data), position=position))

    def write_many(self, descriptor: int, parts: Sequence[bytes], position: int) -> None:
        self.write(descriptor, b"".join(parts), position)

    def truncate(self, descriptor: int, size: int) -> None:
        file = self._open[descriptor]
        assert size <= CAPACITY_BYTES
        if size < file.size:
            file.buffer[size : file.size] = bytes(file.size - size)
        file.size = size
        self.steps.append(Step("truncate", file.number, position=size))

    def sync(self, descriptor: int) -> None:
        self._refuse("sync")
        self.steps.append(Step("sync", self._open[descriptor].number))

    def map(self, descriptor: int, size: int) -> memoryview:  # type: ignore[override]
        return memoryview(self._open[descriptor].buffer).toreadonly()[:size]

    def list(self, directory: Path) -> list[str]:
        return list(self.files)

    def rename(self, source: Path, target: Path) -> None:
        if source.name not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
        file = self.files[target.name] = self.files.pop(source.name)
        self.steps.append(Step("rename", file.number, source.name, target.name.encode()))

    def unlink(self, path: Path) -> None:
        file = self.files.pop(path.name, None)
        if file is not None:
            self.steps.append(Step("unlink", file.number, path.name))

    def make_directory(self, path: Path) -> None:
        pass

    def sync_names(self, descriptor: int) -> None:
        self.steps.append(Step("sync_names", -1))

    def _refuse(self, call: str) -> None:
        if call in self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@dataclass(slots=True)
class StoredFile:
    """A file as it is seen, as it was flushed, and what its pages were in between."""

    seen: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    changed: dict[int, list[bytes]] = field(default_factory=dict)
    """Page to what it held since the flush, the latest last."""

    def write(self, data: bytes, position: int) -> None:
        seen, end = self.seen, position + len(data)
        if end > len(seen):
            seen.extend(bytes(end - len(seen)))
        seen[position:end] = data
        self._note(position, end)

    def truncate(self, size: int) -> None:
        before = len(self.seen)
        del self.seen[size:]
        if size > before:
            self.seen.extend(bytes(size - before))
        elif size % PAGE_BYTES:
            self._note(size, size + 1)
        for page in [page for page in self.changed if page * PAGE_BYTES >= size]:
            del self.changed[page]

    def flush(self) -> None:
        self.durable = bytes(self.seen)
        self.changed.clear()

    def contents(self) -> list[bytes]:
        """What may be on the medium: any of the changed pages, with the old size or the new."""
        found: dict[bytes, None] = {}
        pages = sorted(self.changed)[:_PAGES_MAX]
        for size in dict.fromkeys((len(self.durable), len(self.seen))):
            for count in range(len(pages) + 1):
                for kept in itertools.combinations(pages, count):
                    found[self._content(size, {page: self.changed[page][-1] for page in kept})] = None
        found[bytes(self.seen)] = None
        return list(found)

    def any_content(self, random: Random) -> bytes:
        """Some pages changed, to what they were at any time since the flush, and some of them in part."""
        share = random.choice((0.2, 0.5, 0.9, 1.0))
        kept = {page: random.choice(held) for page, held in self.changed.items() if random.random() < share}
        for page in kept:
            if random.random() < 0.2:
                kept[page] = kept[page][: random.randrange(len(kept[page]) + 1)]
        return self._content(random.choice((len(self.durable), len(self.seen), len(self.seen))), kept)

    def _content(self, size: int, kept: dict[int, bytes]) -> bytes:
        content = bytearray(self.durable[:size])
        content.extend(bytes(size - len(content)))
        for page, data in kept.items():
            start = page * PAGE_BYTES
            end = min(start + len(data), size)
            if start < end:
                content[start:end] = data[: end - start]
        return bytes(content)

    def clone(self) -> StoredFile:
        return StoredFile(bytearray(self.seen), self.durable, {page: list(held) for page, held in self.changed.items()})

    def _note(self, start: int, end: int) -> None:
        for page in range(start // PAGE_BYTES, -(-end // PAGE_BYTES)):
            self.changed.setdefault(page, []).append(bytes(self.seen[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]))


class Medium:
    """What is seen and what is durable, after some steps."""

    def __init__(self, contents: dict[str, bytes] | None = None) -> None:
        """Everything in `contents` is durable; files have the numbers that `MemoryFiles` gives them."""
        self.files: dict[int, StoredFile] = {}
        self.names: dict[str, int] = {}
        for number, (name, content) in enumerate((contents or {}).items()):
            self.files[number] = StoredFile(bytearray(content), content)
            self.names[name] = number
        self.durable_names = dict(self.names)
        self._deleted: list[str] = []

    def clone_in_place(self) -> Medium:
        """The same, to be taken further than this one; files keep their numbers."""
        copy = Medium()
        copy.files = {number: file.clone() for number, file in self.files.items()}
        copy.names, copy.durable_names = dict(self.names), dict(self.durable_names)
        copy._deleted = list(self._deleted)
        return copy

    def clone(self) -> Medium:
        """The same as if nothing had happened but what did: files keep what is unflushed, and are numbered anew."""
        copy = Medium()
        renumbered = {number: new for new, number in enumerate(self.names.values())}
        for number in self.durable_names.values():
            renumbered.setdefault(number, -2 - len(renumbered))  # no name leads to it: no step can mean it
        copy.files = {new: self.files[number].clone() for number, new in renumbered.items()}
        copy.names = {name: renumbered[number] for name, number in self.names.items()}
        copy.durable_names = {name: renumbered[number] for name, number in self.durable_names.items()}
        copy._deleted = list(self._deleted)
        return copy

    def apply(self, step: Step, share: float = 1.0) -> None:
        """Do a step; with a `share` below one a write stops after that part of its bytes."""
        match step.call:
            case "create":
                self.files[step.file] = StoredFile()
                self.names[step.name] = step.file
            case "write":
                self.files[step.file].write(step.data[: int(len(step.data) * share)], step.position)
            case "truncate":
                self.files[step.file].truncate(step.position)
            case "sync":
                self.files[step.file].flush()
            case "rename":
                del self.names[step.name]
                self.names[step.data.decode()] = step.file
            case "unlink":
                del self.names[step.name]
                self._deleted.append(step.name)
            case "sync_names":
                self.durable_names = dict(self.names)
                self._deleted.clear()

    def seen(self) -> dict[str, bytes]:
        """What the next process of the same boot finds."""
        return {name: bytes(self.files[number].seen) for name, number in self.names.items()}

    def flushed(self) -> dict[str, bytes]:
        """What is on the medium at the least."""
        return {name: self.files[number].durable for name, number in self.durable_names.items()}

    def states(self, bound: int, random: Random, samples: int) -> tuple[list[dict[str, bytes]], bool]:
        """What a loss of power may leave, and whether that is all of it.

        All of it if the unflushed atoms make no more than 2 to the power of `bound` different disks. Else, as many as
        `samples` says, disks that lack one or two of the files' changes, or have them alone, and random ones, with
        earlier and torn pages.
        """
        names = sorted({*self.names, *self.durable_names})
        options = [self._options(name) for name in names]
        if math.prod(map(len, options)) <= 1 << bound:
            picked = [dict(zip(names, choice, strict=True)) for choice in itertools.product(*options)]
            return [_there(state) for state in picked if self._is_in_order(state)], True
        picked = []
        for base in (0, -1):
            whole = {name: option[base] for name, option in zip(names, options, strict=True)}
            picked.append(whole)
            others = [
                (name, content)
                for name, option in zip(names, options, strict=True)
                for content in option
                if content != whole[name]
            ]
            others = random.sample(others, min(len(others), 3 * samples))
            picked += [{**whole, name: content} for name, content in others]
            picked += [{**whole, **dict(random.sample(others, 2))} for _ in range(samples if len(others) > 1 else 0)]
        for _ in range(samples):
            picked.append({name: self._any(name, option, random) for name, option in zip(names, options, strict=True)})
        return [_there(state) for state in picked if self._is_in_order(state)], False

    def _options(self, name: str) -> list[bytes | None]:
        """What may lie under a name: nothing of what is unflushed first, all of it last. None: no such file."""
        found: dict[bytes | None, None] = {}
        for number in dict.fromkeys((self.durable_names.get(name), self.names.get(name))):
            contents = [None] if number is None else self.files[number].contents()
            found |= dict.fromkeys(contents)
        last = self.names.get(name)
        end = None if last is None else bytes(self.files[last].seen)
        found.pop(end, None)
        return [*found, end]

    def _any(self, name: str, options: list[bytes | None], random: Random) -> bytes | None:
        """One of the options, or one with earlier and torn pages."""
        number = self.names.get(name)
        if number is None or random.random() < 0.4:
            return random.choice(options)
        return self.files[number].any_content(random)

    def _is_in_order(self, state: dict[str, bytes | None]) -> bool:
        """Whether what was only deleted went in the order in which it was."""
        deleted = [
            name for name in dict.fromkeys(self._deleted) if name in self.durable_names and name not in self.names
        ]
        there = [state[name] is not None for name in deleted]
        return there == sorted(there)


def _there(state: dict[str, bytes | None]) -> dict[str, bytes]:
    return {name: content for name, content in state.items() if content is not None}
