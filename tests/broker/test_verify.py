"""What `binwire verify` and `binwire backup` print: for people at 80 columns and piped, and as JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from broker import cli
from broker.progress import Meter
from broker.render import PLAIN
from broker.verify import lines
from storage.inspection import inspect
from tests.tools.golden_data import LAST_BOOT

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "data-format-1" / "orderly"
BYTE = 200


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "data"))


@pytest.fixture
def damaged(data: Path) -> Path:
    """The third segment of `shop`, with one byte changed."""
    path = sorted((data / "topics" / "shop-0").glob("*.log"))[2]
    content = bytearray(path.read_bytes())
    content[BYTE] ^= 1
    path.write_bytes(content)
    return path


def test_a_whole_directory_is_called_whole(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--data-dir", str(data)]) == cli.DONE
    told = capsys.readouterr()
    first, *_ = told.out.splitlines()
    assert first == "topic mixed  whole"
    assert "catalog  whole\neverything is whole: " in told.out
    assert told.err == "", "no progress where nobody looks"


def test_one_topic_may_be_asked_for(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--data-dir", str(data), "shop"]) == cli.DONE
    assert "mixed" not in capsys.readouterr().out
    assert cli.main(["verify", "--data-dir", str(data), "nope"]) == cli.FAILED
    assert (
        capsys.readouterr().err
        == f"binwire: the data directory {data} has no log of a topic 'nope'; it has mixed, shop\n"
    )


def test_damage_is_told_with_its_place_and_what_to_do(
    data: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", "--data-dir", str(data)]) == cli.FAILED
    told = capsys.readouterr().out
    assert "topic shop  DAMAGED\n" in told
    assert f"  damage    {damaged}, byte " in told
    assert "  means     offsets " in told
    assert "  to do     restore a backup of the data directory, or have consumers seek to offset " in told
    assert "\n1 damaged place: " in told


def test_the_document_says_the_same(data: Path, damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--json", "--data-dir", str(data)]) == cli.FAILED
    document = json.loads(capsys.readouterr().out)
    assert document["whole"] is False
    mixed, shop = document["topics"]
    assert mixed["damages"] == document["catalog"]["damages"] == document["notes"] == []
    [damage] = shop["damages"]
    assert damage["file"] == str(damaged)
    assert damage["byte"] <= BYTE
    assert damage["offset"] < damage["next_offset"]
    assert shop["records"] < mixed["records"] + shop["records"]


def test_sentences_are_broken_for_a_terminal(data: Path, damaged: Path) -> None:
    (data / "topics" / "shop-0" / "00000000000000000000.log.damaged").touch()
    found = inspect(data, boot=LAST_BOOT)
    told = list(lines(found, 1.0, PLAIN, 80))
    assert [line for line in told if len(line) > 80 and str(data) not in line] == []
    assert any("set aside" in line for line in told)


def test_a_damaged_catalog_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = data / "catalog.db"
    content = bytearray(catalog.read_bytes())
    content[4096 * 3 : 4096 * 4] = bytes(4096)
    catalog.write_bytes(content)
    assert cli.main(["verify", "--data-dir", str(data)]) == cli.FAILED
    told = capsys.readouterr().out
    assert "catalog  DAMAGED" in told
    assert str(catalog) in told


def test_a_log_that_no_channel_claims_and_a_group_ahead_are_notes(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data / "topics" / "shop-0", data / "topics" / "old-0")
    for path in (data / "topics" / "shop-0").glob("*"):
        if path.stem.isdigit() and int(path.stem) > 0:
            path.unlink()
    (data / "topics" / "shop-0" / "state").unlink()
    assert cli.main(["verify", "--data-dir", str(data)]) == cli.DONE
    told = capsys.readouterr().out
    assert "the log of topic old belongs to no channel" in told
    assert "has committed offset" in told


def test_a_backup_is_told_with_the_way_back(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["backup", str(tmp_path / "copy"), "--data-dir", str(data)]) == cli.DONE
    told = capsys.readouterr()
    assert told.out.startswith(f"{data} is backed up in {tmp_path / 'copy'}\n  topic mixed: offsets 0 to ")
    assert f'to restore: stop Binwire, set data_dir = "{tmp_path / "copy"}" in the configuration' in told.out
    assert told.err == ""
    assert cli.main(["verify", "--data-dir", str(tmp_path / "copy")]) == cli.DONE


def test_a_backup_of_what_is_damaged_is_made_and_says_so(
    data: Path, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["backup", str(tmp_path / "copy"), "--data-dir", str(data)]) == cli.FAILED
    assert "1 damaged place was copied as found:\n  damage    " in capsys.readouterr().out
    assert (tmp_path / "copy" / "format").exists()


class Screen:
    """A terminal."""

    def __init__(self) -> None:
        self.written = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        pass


def test_progress_is_one_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, now_s = Screen(), [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    with Meter(screen, "verified") as meter:  # type: ignore[arg-type]
        meter.add(1 << 20)
        now_s[0] += 2
        meter.add(3 << 20)
    assert screen.written == "\r\x1b[Kverified 4.0 MiB, 2.0 MiB/s\r\x1b[K"
