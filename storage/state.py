"""The `state` file of a log: how its last run ended, and which offsets may have been served.

    magic 8s "BWSTATE1", orderly u8, boot_id_bytes u8, reserved_offset i64, durable_offset i64, boot_id 64s,
    crc u32 (CRC-32C of what is before it)

94 bytes, big-endian, replaced as a whole and durably: before the first append of a run, whenever the reservation
runs short, before segments are deleted, and at an orderly end.

Invariants: no offset at or above `reserved_offset` was ever visible; after an orderly end it is where the log ended.
Everything below `durable_offset` was flushed, and no segment that reaches beyond it was deleted by retention. A log
whose state is not orderly crashed; if its boot id is not this boot's, what was not flushed may be gone, and offsets
go on at `reserved_offset`. So they do where the state is gone, or names no boot: then a flush had failed, or the log
was being cut.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final, NamedTuple

from storage.checksum import crc32c
from storage.errors import UnsupportedFormat
from storage.files import Files

MAGIC: Final = b"BWSTATE1"
UNKNOWN_OFFSETS: Final = 1 << 40
"""What is skipped when the reservation cannot be read: more than any run serves, little of 64 bits."""

_STATE: Final = struct.Struct(">8sBBqq64sI")
STATE_BYTES: Final = _STATE.size
_CRC_BYTES: Final = 4


class LogState(NamedTuple):
    """The content of the file."""

    orderly: bool
    reserved_offset: int
    durable_offset: int
    boot_id: str


UNREADABLE: Final = LogState(orderly=False, reserved_offset=-1, durable_offset=0, boot_id="")


def state_path(directory: Path) -> Path:
    """The `state` of the log in `directory`."""
    return directory / "state"


def read_state(files: Files, directory: Path) -> LogState | None:
    """The state, None if there is none yet.

    A file that does not verify is a state like any other: not orderly, of an unknown boot, reservation unknown (-1).

    Raises:
        UnsupportedFormat: a later version of Binwire wrote it.
    """
    try:
        with files.opened(state_path(directory), write=False) as descriptor:
            data = files.read(descriptor, _STATE.size, 0)
    except FileNotFoundError:
        return None
    _require_version(directory, data)
    if len(data) != _STATE.size:
        return UNREADABLE
    magic, orderly, boot_id_bytes, reserved_offset, durable_offset, boot_id, crc = _STATE.unpack(data)
    if magic != MAGIC or crc != crc32c(data[:-_CRC_BYTES]):
        return UNREADABLE
    return LogState(bool(orderly), reserved_offset, durable_offset, boot_id[:boot_id_bytes].decode(errors="replace"))


def _require_version(directory: Path, data: bytes) -> None:
    """Tell a later version, whose last byte of the magic is another digit, from one byte that is damaged."""
    name, version, rest = data[: len(MAGIC) - 1], data[len(MAGIC) - 1 : len(MAGIC)], data[len(MAGIC) :]
    if name != MAGIC[:-1] or not version.isdigit() or version == MAGIC[-1:]:
        return
    if rest[-_CRC_BYTES:] != crc32c(MAGIC + rest[:-_CRC_BYTES]).to_bytes(_CRC_BYTES, "big"):
        raise UnsupportedFormat(
            f"{state_path(directory)} is of version {version.decode()} and this version of Binwire reads version "
            f"{MAGIC[-1:].decode()}; use the version that wrote it, or a backup from before it"
        )


def write_state(files: Files, directory: Path, state: LogState) -> None:
    """Replace the state; durable on return."""
    boot_id = state.boot_id.encode()[:64]
    offsets = state.reserved_offset, state.durable_offset
    packed = _STATE.pack(MAGIC, state.orderly, len(boot_id), *offsets, boot_id, 0)[:-_CRC_BYTES]
    data = packed + crc32c(packed).to_bytes(_CRC_BYTES, "big")
    files.replace_durably(state_path(directory), data)


def begin_at(files: Files, directory: Path, first_offset: int) -> None:
    """Make a directory whose log begins at an offset."""
    files.make_directory(directory)
    write_state(files, directory, LogState(True, first_offset, first_offset, ""))
