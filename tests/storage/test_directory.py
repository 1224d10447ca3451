"""One process per data directory, a format that is known, and how the last run ended."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from storage.directory import DataDirectory, boot_id
from storage.errors import DataDirectoryInUse, StorageError, UnsupportedFormat

CHECKOUT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from storage.directory import DataDirectory
DataDirectory.open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_is_private_and_marked(tmp_path: Path) -> None:
    directory = DataDirectory.open(tmp_path / "new" / "data")
    path = tmp_path / "new" / "data"
    assert (directory.crashed, directory.boot_changed) == (False, False)
    assert sorted(entry.name for entry in path.iterdir()) == ["format", "lock", "running", "topics"]
    assert {mode(path), mode(path / "topics")} == {0o700}
    assert {mode(path / name) for name in ("format", "lock", "running")} == {0o600}
    assert (path / "running").read_text().strip() == boot_id() != ""
    assert directory.topic_path("orders") == path / "topics" / "orders-0"
    assert directory.catalog_path.name == "catalog.db"
    assert directory.control_socket_path.name == "control.sock"
    directory.close(orderly=True)
    assert not (path / "running").exists()


@pytest.mark.parametrize(
    ("orderly", "boot", "crashed", "boot_changed"),
    [(True, "b", False, False), (False, "a", True, False), (False, "b", True, True), (False, "", True, True)],
)
def test_the_next_open_knows_how_the_last_run_ended(
    tmp_path: Path, *, orderly: bool, boot: str, crashed: bool, boot_changed: bool
) -> None:
    DataDirectory.open(tmp_path / "data", boot="a").close(orderly=orderly)
    directory = DataDirectory.open(tmp_path / "data", boot=boot)
    assert (directory.crashed, directory.boot_changed) == (crashed, boot_changed)
    directory.close(orderly=True)


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data), str(CHECKOUT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(DataDirectoryInUse, match=rf"{data} is in use by another process; stop that one"):
            DataDirectory.open(data)
        holder.kill()
    directory = DataDirectory.open(data)
    assert directory.crashed
    directory.close(orderly=True)


def test_a_second_open_in_one_process_is_refused(tmp_path: Path) -> None:
    directory = DataDirectory.open(tmp_path)
    with pytest.raises(DataDirectoryInUse):
        DataDirectory.open(tmp_path)
    directory.close(orderly=True)


def test_a_format_that_is_not_known_is_refused_untouched(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path).close(orderly=False)
    (tmp_path / "format").write_text("2\n")
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(UnsupportedFormat, match="has format '2' and this version of Binwire reads format 1; use the"):
        DataDirectory.open(tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_somebody_elses_directory_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    tmp_path.chmod(0o755)
    with pytest.raises(UnsupportedFormat, match=r"holds other files \(thesis\.tex\)"):
        DataDirectory.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert mode(tmp_path) == 0o755


def test_a_directory_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/data cannot be used \(Not a directory\); name a directory"):
        DataDirectory.open(tmp_path / "file" / "data")


def test_ready_appears_whole_and_goes_with_the_run(tmp_path: Path) -> None:
    directory = DataDirectory.open(tmp_path)
    directory.write_ready({"pid": os.getpid(), "listeners": {"public": "127.0.0.1:1"}})
    ready = tmp_path / "ready.json"
    assert json.loads(ready.read_text())["pid"] == os.getpid()
    assert mode(ready) == 0o600
    directory.close(orderly=False)
    assert not ready.exists()
    ready.write_text("{}")
    directory = DataDirectory.open(tmp_path)
    assert not ready.exists(), "what a crashed run left says nothing about this one"
    directory.close(orderly=True)


def test_a_crash_while_the_directory_is_made_leaves_a_usable_one(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "format.tmp").write_text("")
    DataDirectory.open(tmp_path).close(orderly=True)
    assert (tmp_path / "format").read_text() == "1\n"
