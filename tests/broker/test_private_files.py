"""Everything that a server ever keeps in its data directory is its user's alone, whatever the umask lets through."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import cli
from tests.broker.served_group import CONFIGURATION, CommitClient, connected
from tests.server_process import ServerProcess


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    before = os.umask(0)
    try:
        with ServerProcess(tmp_path, CONFIGURATION) as started:
            yield started
    finally:
        os.umask(before)


def modes(directory: Path) -> dict[str, int]:
    paths = {directory, *directory.rglob("*")}
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in paths if not path.is_dir()}


def open_to_others(directory: Path) -> list[Path]:
    """By files as they are, and by directories."""
    return [path for path in (directory, *directory.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]


async def test_nothing_in_a_data_directory_is_open_to_others(server: ServerProcess, tmp_path: Path) -> None:
    data = server.data_directory
    async with connected(server, CommitClient) as client:
        assert await client.commit(17, "") == 0
    serving = modes(data)
    assert {"control.sock", "ready.json", "running", "lock", "catalog.db", "catalog.db-wal"} <= serving.keys()
    assert open_to_others(data) == []
    assert cli.main(["backup", str(tmp_path / "copy"), "--data-dir", str(data)]) == cli.DONE
    assert open_to_others(tmp_path / "copy") == []
    server.kill()
    assert open_to_others(data) == []
    server.start()
    assert server.stop() == 0
    assert open_to_others(data) == []
    assert "ready.json" not in modes(data)
