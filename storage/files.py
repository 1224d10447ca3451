"""Every system call the store makes on files, behind one small class.

Owns the seam at which tests count bytes and calls, fail a write, a flush or a rename, and record a run to replay any
prefix of it. Knows nothing of formats. `Files` is stateless and may be used from any thread.

Linux-only calls and their fallback: where `posix_fadvise` is missing (macOS) nothing is read ahead; `fdatasync` is
missing there too, and `fcntl` with F_FULLFSYNC is the call that reaches the medium; without `fallocate` no space is set
aside, and a full disk is met by the write. (`os.posix_fallocate` will not do: where the file system cannot, the C
library writes into every block itself.) Without `copy_file_range` copies are read and
written. Pages that are not in memory: `storage.residency`. Boot ids: `storage.directory`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
TEMPORARY_SUFFIX: Final = ".tmp"
"""Ends the name of a file that is being written, and takes its own name when it is whole."""
DAMAGED_SUFFIX: Final = ".damaged"
"""Ends the name of a file that could not be read and was put out of the way."""
_COPY_BYTES: Final = 8 << 20
_NO_COPY: Final = frozenset({errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})
"""The kernel, or this pair of file systems, has no way to copy by itself."""
_VECTOR_COUNT_MAX: Final = 1024
"""IOV_MAX of Linux and macOS."""
_BLOCK_BYTES: Final = 512
"""What `st_blocks` counts, whatever the file system's blocks are."""
_FALLOC_FL_KEEP_SIZE: Final = 1
_CANNOT_ALLOCATE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EINVAL})


class Files:
    """The real thing. Errors are the system's `OSError`, unchanged."""

    is_volatile = False
    """Whether nothing waits for the medium, and nobody asks how full it is."""

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        """A descriptor that child processes do not inherit; with `create` the file must not exist yet."""
        flags = os.O_RDWR if write else os.O_RDONLY
        return os.open(path, flags | (os.O_CREAT | os.O_EXCL if create else 0) | os.O_CLOEXEC, FILE_MODE)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    @contextmanager
    def opened(self, path: Path, *, create: bool = False, write: bool = True) -> Iterator[int]:
        """A descriptor as `open` gives it, closed at the end of the block."""
        descriptor = self.open(path, create=create, write=write)
        try:
            yield descriptor
        finally:
            self.close(descriptor)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def modified_ms(self, descriptor: int) -> int:
        """When the file was last written to, Unix epoch milliseconds."""
        return os.fstat(descriptor).st_mtime_ns // 1_000_000

    def read(self, descriptor: int, size: int, position: int) -> bytes:
        """Up to `size` bytes at `position`; fewer only at the end of the file."""
        data = os.pread(descriptor, size, position)
        while len(data) < size:
            more = os.pread(descriptor, size - len(data), position + len(data))
            if not more:
                break
            data += more
        return data

    def advise(self, descriptor: int, start: int, size: int) -> None:
        """Let the system begin to read a range into its cache; whether it does is its affair."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_WILLNEED)

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        """All of `data` at `position`."""
        written = os.pwrite(descriptor, data, position)
        while written < len(data):
            written += os.pwrite(descriptor, memoryview(data)[written:], position + written)

    def write_many(self, descriptor: int, parts: Sequence[bytes], position: int) -> None:
        """All of `parts`, one behind the other, from `position` on."""
        for start in range(0, len(parts), _VECTOR_COUNT_MAX):
            group = parts[start : start + _VECTOR_COUNT_MAX]
            size = sum(map(len, group))
            written = os.pwritev(descriptor, group, position)
            if written < size:
                self.write(descriptor, b"".join(group)[written:], position + written)
            position += size

    def copy(self, source: int, target: int, size: int) -> int:
        """The first `size` bytes of a file to the start of another; returns how many there were.

        By `copy_file_range`, which may share the blocks, where the system has it (not macOS) and both file systems
        allow it; else by reading and writing.
        """
        copied = 0
        try:
            while copied < size and hasattr(os, "copy_file_range"):
                done = os.copy_file_range(source, target, min(size - copied, _COPY_BYTES), copied, copied)
                if not done:
                    break
                copied += done
        except OSError as error:
            if error.errno not in _NO_COPY:
                raise
        while copied < size:
            data = self.read(source, min(size - copied, _COPY_BYTES), copied)
            if not data:
                break
            self.write(target, data, copied)
            copied += len(data)
        return copied

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file, or extend it with a hole that reads as zeros."""
        os.ftruncate(descriptor, size)

    def allocate(self, descriptor: int, start: int, size: int) -> None:
        """Have the file system set a range aside, so that writing into it meets no full disk; the file's size stays.

        Where the system cannot (no such call, or a file system without it), nothing is set aside.
        """
        if _fallocate is None or _fallocate(descriptor, _FALLOC_FL_KEEP_SIZE, start, size) == 0:
            return
        number = ctypes.get_errno()
        if number not in _CANNOT_ALLOCATE:
            raise OSError(number, os.strerror(number))

    def sync(self, descriptor: int) -> None:
        """Return when the file's bytes and size are on the medium."""
        if hasattr(os, "fdatasync"):
            os.fdatasync(descriptor)
        else:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined, unused-ignore]

    def map(self, descriptor: int, size: int) -> mmap.mmap:
        """The first `size` bytes of the file, read-only; they must exist and there must be some."""
        return mmap.mmap(descriptor, size, prot=mmap.PROT_READ)

    def list(self, directory: Path) -> list[str]:
        return os.listdir(directory)  # noqa: PTH208 — names are wanted, not a Path each

    def space(self, directory: Path) -> tuple[int, int]:
        """The number of the file system that a directory lies on, and the bytes that may still be written there."""
        found = os.statvfs(directory)
        return directory.stat().st_dev, found.f_bavail * found.f_frsize

    def occupied_bytes(self, path: Path) -> int:
        """What a file takes of its disk, holes left out and what was set aside for it counted."""
        return path.stat().st_blocks * _BLOCK_BYTES

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Delete the name, if it is there."""
        path.unlink(missing_ok=True)

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)

    def sync_directory(self, path: Path) -> None:
        """Return when the directory's entries (creations, renames, deletions) are on the medium."""
        with self.opened(path, write=False) as descriptor:
            self.sync_names(descriptor)

    def sync_names(self, descriptor: int) -> None:
        """`sync_directory` of one that is open."""
        os.fsync(descriptor)

    def replace_durably(self, path: Path, data: bytes) -> None:
        """Make `data` the file's content: after a crash the file holds the old bytes or the new, never a mixture."""
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        self.unlink(temporary)
        with self.opened(temporary, create=True) as descriptor:
            self.write(descriptor, data, 0)
            self.sync(descriptor)
        self.rename(temporary, path)
        self.sync_directory(path.parent)


class VolatileFiles(Files):
    """For data that nobody keeps beyond the process, as a test fixture's: nothing is asked of the medium. A machine
    that loses its power loses it; everything else is as with `Files`.
    """

    is_volatile = True

    def allocate(self, descriptor: int, start: int, size: int) -> None:
        """Set nothing aside."""

    def sync(self, descriptor: int) -> None:
        """Leave it to the system."""

    def sync_directory(self, path: Path) -> None:
        """Leave it to the system."""

    def sync_names(self, descriptor: int) -> None:
        """Leave it to the system."""

    def replace_durably(self, path: Path, data: bytes) -> None:
        """In place: nobody reads it after a crash."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        try:
            self.write(descriptor, data, 0)
        finally:
            self.close(descriptor)


def _find_fallocate() -> Any:
    try:
        found = ctypes.CDLL(None, use_errno=True).fallocate64
    except (AttributeError, OSError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong)
    found.restype = ctypes.c_int
    return found


_fallocate: Final = _find_fallocate()
