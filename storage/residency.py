"""Which pages of a mapping are in memory, asked of the system without touching one.

Owns the one question, behind a seam (`Residency`) at which tests say "no". The system's `mincore` answers it for a
range in one call: 2.5 µs through ctypes for a page, 16 µs for a MiB whose pages were never mapped. (`preadv` with
RWF_NOWAIT takes 1 and 30 µs; it copies what it asks about, begins to read what is missing, and exists on Linux only.)
A page counts once it holds what is on the medium: one that is being read and one whose reading failed do not. So who
asks first never gets the SIGBUS of a page that cannot be had. Only a file's size has to be asked for beside it: a page
behind the end of one that was cut may count.

Where there is no `mincore` every page counts as resident, and reads block as they do without this module.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import Any, Final, Protocol

_PAGE_MASK: Final = -mmap.PAGESIZE
_LOW_BIT: Final = bytes(value & 1 for value in range(256))
"""Only the lowest bit of what mincore says of a page is defined everywhere."""
_RANGE_BYTES_MAX: Final = 64 * 1024 * 1024
_VECTOR: Final = ctypes.create_string_buffer(_RANGE_BYTES_MAX // mmap.PAGESIZE + 1)
"""Answers; asked on one thread, the event loop's."""
_ALL_RESIDENT: Final = b"\1" * len(_VECTOR)
"""What the usual answer begins with."""


class Residency(Protocol):
    """What can be told of a mapping that lies at `address`."""

    def resident_bytes(self, address: int, start: int, end: int) -> int:
        """How many bytes from `start` on, up to `end`, lie in memory without a gap."""
        ...


class _PyBuffer(ctypes.Structure):
    """CPython's `Py_buffer`: ctypes itself gives no address of memory that it may not write."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def address_of(mapping: mmap.mmap) -> int:
    """Where a mapping lies."""
    buffer = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(mapping), ctypes.byref(buffer), 0)
    address: int = buffer.buf or 0
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    return address


class SystemResidency:
    """Asks `mincore`."""

    def resident_bytes(self, address: int, start: int, end: int) -> int:
        if _mincore is None:
            return end - start
        first = start & _PAGE_MASK
        while first < end:
            size = min(end - first, _RANGE_BYTES_MAX)
            if _mincore(address + first, size, _VECTOR) != 0:
                return end - start
            count = -(-size // mmap.PAGESIZE)
            answers = ctypes.string_at(_VECTOR, count)
            if answers != _ALL_RESIDENT[:count]:
                missing = answers.translate(_LOW_BIT).find(0)
                if missing >= 0:
                    return max(first + missing * mmap.PAGESIZE - start, 0)
            first += count * mmap.PAGESIZE
        return end - start


def _find_mincore() -> Any:
    try:
        # PyDLL keeps the interpreter: the call is shorter than getting it back from another thread.
        found = ctypes.PyDLL(None).mincore
    except (AttributeError, OSError):
        return None
    found.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    found.restype = ctypes.c_int
    return found


_mincore: Final = _find_mincore()
