"""The seam to the system: short writes are finished, replacements are whole, modes are private."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from storage.files import Files
from storage.state import LogState, read_state, state_path, write_state
from tests.storage.faults import FailingFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture
def descriptor(tmp_path: Path) -> int:
    return Files().open(tmp_path / "file", create=True)


def test_a_write_that_the_system_cuts_short_is_finished(
    tmp_path: Path, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_write(fd: int, data: bytes, position: int) -> int:
        return whole_write(fd, bytes(data)[:3], position)

    def short_write_many(fd: int, parts: Sequence[bytes], position: int) -> int:
        return whole_write(fd, b"".join(parts)[:5], position)

    whole_write = os.pwrite
    monkeypatch.setattr(os, "pwrite", short_write)
    monkeypatch.setattr(os, "pwritev", short_write_many)
    Files().write(descriptor, b"0123456789", 2)
    Files().write_many(descriptor, [b"ab", b"cdef", b"ghi"], 12)
    assert (tmp_path / "file").read_bytes() == bytes(2) + b"0123456789abcdefghi"


def test_more_parts_than_one_call_takes_are_all_written(tmp_path: Path, descriptor: int) -> None:
    parts = [number.to_bytes(2, "big") for number in range(3000)]
    Files().write_many(descriptor, parts, 1)
    assert (tmp_path / "file").read_bytes() == b"\0" + b"".join(parts)


def test_a_read_beyond_the_end_is_short(tmp_path: Path, descriptor: int) -> None:
    Files().write(descriptor, b"012345", 0)
    assert Files().read(descriptor, 100, 4) == b"45"
    assert Files().read(descriptor, 100, 50) == b""


def test_files_are_private_and_not_made_twice(tmp_path: Path, descriptor: int) -> None:
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert not os.get_inheritable(descriptor)
    with pytest.raises(FileExistsError):
        Files().open(tmp_path / "file", create=True)


@pytest.mark.parametrize("call", ["create", "write", "sync", "rename"])
def test_a_replacement_that_fails_leaves_the_old_content(tmp_path: Path, call: str) -> None:
    files = FailingFiles()
    path = tmp_path / "small"
    files.replace_durably(path, b"old")
    files.failing = {call}
    with pytest.raises(OSError, match="No space"):
        files.replace_durably(path, b"new content")
    assert path.read_bytes() == b"old"
    files.failing = set()
    files.replace_durably(path, b"new content")
    assert path.read_bytes() == b"new content"
    assert [entry.name for entry in tmp_path.iterdir()] == ["small"]


def test_the_state_is_kept(tmp_path: Path) -> None:
    assert read_state(Files(), tmp_path) is None
    for state in (LogState(False, 5000, 4000, "3b1c-id"), LogState(True, 0, 0, "")):
        write_state(Files(), tmp_path, state)
        assert read_state(Files(), tmp_path) == state


def test_a_state_that_does_not_verify_is_one_of_a_crash(tmp_path: Path) -> None:
    write_state(Files(), tmp_path, LogState(True, 5000, 5000, "id"))
    data = state_path(tmp_path).read_bytes()
    unknown = LogState(False, -1, 0, "")
    for position in range(len(data)):
        state_path(tmp_path).write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        assert read_state(Files(), tmp_path) == unknown
        state_path(tmp_path).write_bytes(data[:position])
        assert read_state(Files(), tmp_path) == unknown
