"""A whole data directory looked at: nothing in it is touched, and what is odd but not lost is a note."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage import catalog_reading
from storage.catalog import Catalog
from storage.errors import StorageError
from storage.inspection import inspect
from tests.tools.golden_data import ENDS, LAST_BOOT

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "data-format-1"


@pytest.fixture(params=ENDS)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / request.param, tmp_path / "data"))


def contents(directory: Path) -> dict[str, bytes]:
    """All files but the one by which SQLite's readers and writers agree, which is not data."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != "catalog.db-shm"]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def notes(data: Path) -> str:
    found = inspect(data, boot=LAST_BOOT)
    assert found.problems == []
    return "\n".join(found.notes)


def test_nothing_is_touched(data: Path) -> None:
    before = contents(data)
    assert notes(data) == ""
    assert contents(data) == before


def test_a_catalog_that_nobody_uses_gets_no_files_beside_it(tmp_path: Path) -> None:
    data = Path(shutil.copytree(GOLDEN / "orderly", tmp_path / "data"))
    names = sorted(path.name for path in data.iterdir())
    inspect(data)
    assert sorted(path.name for path in data.iterdir()) == names


def test_files_that_a_crash_or_a_repair_left_are_notes(data: Path) -> None:
    topic = data / "topics" / "shop-0"
    (topic / "00000000000000009999.source.damaged").write_bytes(b"x")
    (topic / "00000000000000009999.source.tmp").write_bytes(b"x")
    (data / "format.tmp").write_bytes(b"x")
    told = notes(data)
    assert "00000000000000009999.source.damaged was set aside" in told
    assert "00000000000000009999.source.tmp is being written, or was when a run was cut short" in told
    assert "format.tmp is being written" in told


def test_rows_without_what_they_belong_to_are_notes(data: Path) -> None:
    with closing(Catalog.open(data / "catalog.db")):
        pass
    with closing(sqlite3.connect(data / "catalog.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM channels WHERE id = 'shop'")
        connection.execute("DELETE FROM groups WHERE id = 'dtsgolden02'")
    told = notes(data)
    for sentence in (
        "catalog: group dtsgolden01 belongs to no channel",
        "catalog: offsets of no group: dtsgolden02",
        "catalog: schema versions of no channel: shop",
        "the log of topic shop belongs to no channel of the catalog",
    ):
        assert sentence in told


def test_a_channel_without_a_log_and_no_catalog_are_notes(data: Path) -> None:
    shutil.rmtree(data / "topics" / "mixed-0")
    assert "channel mixed has no log yet" in notes(data)
    for path in data.glob("catalog.db*"):
        path.unlink()
    assert "there is no catalog yet" in notes(data)


def test_what_is_no_database_is_damage_and_names_the_way_out(data: Path) -> None:
    for path in data.glob("catalog.db*"):
        path.unlink()
    (data / "catalog.db").write_bytes(b"no database at all, and long enough to be one" * 100)
    [problem] = inspect(data, boot=LAST_BOOT).problems
    assert problem.path == data / "catalog.db"
    assert "binwire salvage --data-dir" in problem.what


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"metadata TEXT", b"metadata TEX\xff"),
        (b"topic TEXT NOT NULL UNIQUE", b"topik TEXT NOT NULL UNIQUE"),
        (b"dtsgolden01", b"dtsgolden0\xff"),
    ],
    ids=["a complaint that is no text", "a column of another name", "a value that is no text"],
)
def test_whatever_is_damaged_in_a_catalog_is_told_and_the_logs_are_verified(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    data = Path(shutil.copytree(GOLDEN / "orderly", tmp_path / "data"))
    catalog = data / "catalog.db"
    content = catalog.read_bytes()
    assert old in content
    catalog.write_bytes(content.replace(old, new))
    found = inspect(data)
    assert found.problems
    assert {problem.path for problem in found.problems} == {catalog}
    assert sorted(found.logs) == ["mixed", "shop"]


def test_a_catalog_that_was_only_begun_is_none_yet(tmp_path: Path) -> None:
    data = Path(shutil.copytree(GOLDEN / "orderly", tmp_path / "data"))
    (data / "catalog.db").write_bytes(b"")
    assert inspect(data).problems == []


def test_a_catalog_that_is_opened_meanwhile_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read as immutable while a server began to write it says nothing."""
    data = Path(shutil.copytree(GOLDEN / "orderly", tmp_path / "data"))
    read = catalog_reading._read
    opened: list[Catalog] = []

    def meanwhile(path: Path) -> catalog_reading.CatalogContent:
        content = read(path)
        if opened:
            return content
        opened.append(Catalog.open(path))
        opened[0].set_setting("a", "b")
        return content._replace(damages=("torn",))

    monkeypatch.setattr(catalog_reading, "_read", meanwhile)
    assert inspect(data).problems == []
    opened[0].close()


def test_what_is_no_data_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, sentence in (
        (tmp_path, r"is not a data directory of Binwire \(it has no file `format`\)"),
        (tmp_path / "nothing", r"cannot be read \(No such file or directory\)"),
        (tmp_path / "file", r"cannot be read \(Not a directory\)"),
    ):
        with pytest.raises(StorageError, match=sentence):
            inspect(path)
