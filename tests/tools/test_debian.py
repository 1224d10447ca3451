"""Where Debian packages come from, and that only recorded ones are used unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tools import debian, fresh
from tests.tools.chromium import CHROMIUM_PACKAGES
from tests.tools.debian import Archive, PackageSet
from tests.tools.librdkafka import KCAT_PACKAGES, LIBRDKAFKA_PACKAGES
from tests.tools.server_builds import SERVER_PACKAGES
from tests.tools.workplace import ToolError, installed_once

if TYPE_CHECKING:
    from pathlib import Path

DEB822 = """\
# comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
"""


def test_sources_are_read_in_both_of_apts_forms(tmp_path: Path) -> None:
    (tmp_path / "a.sources").write_text(DEB822, encoding="utf-8")
    (tmp_path / "b.list").write_text(
        "# deb http://old.example/debian sid main\ndeb [signed-by=/k] http://mirror.example/debian sid main\n",
        encoding="utf-8",
    )
    assert debian._entries(tmp_path / "a.sources") == [
        ("http://mirror.example/debian", ["bookworm", "bookworm-updates"]),
        ("http://mirror.example/debian-security", ["bookworm-security"]),
    ]
    assert debian._entries(tmp_path / "b.list") == [("http://mirror.example/debian", ["sid"])]


def test_the_environment_names_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINWIRE_DEBIAN_MIRROR", "http://mirror.example/debian/")
    assert debian.mirror() == "http://mirror.example/debian"


def test_an_archive_knows_its_package_from_its_escaped_path() -> None:
    archive = Archive("0" * 64, 1, "pool/main/g/gcc-16/libstdc%2b%2b6_16.2.0-4_amd64.deb")
    assert (archive.package, archive.version) == ("libstdc++6", "16.2.0-4")
    assert archive.file_name == "libstdc++6_16.2.0-4_amd64.deb"


_RECORDED = (*SERVER_PACKAGES, KCAT_PACKAGES, LIBRDKAFKA_PACKAGES, CHROMIUM_PACKAGES, fresh.DEBOOTSTRAP)


@pytest.mark.parametrize("wanted", _RECORDED)
def test_what_is_wanted_is_recorded(wanted: PackageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "architecture", lambda: "amd64")
    archives = debian.recorded(wanted)
    assert archives is not None
    assert {*wanted.packages, *wanted.alone} <= {archive.package for archive in archives}
    assert all(len(archive.sha256) == 64 and archive.path.startswith("pool/") for archive in archives)


def test_a_folder_is_filled_once_for_its_stamp_and_anew_for_another(tmp_path: Path) -> None:
    fills: list[str] = []

    def fill(fresh_folder: Path) -> None:
        fills.append(fresh_folder.name)
        (fresh_folder / "content").write_text(str(len(fills)), encoding="utf-8")

    target = tmp_path / "tool"
    for stamp in ("1.0", "1.0", "1.1"):
        installed_once(target, stamp, fill)
    assert (target / "content").read_text(encoding="utf-8") == "2"


def test_a_folder_whose_filling_failed_is_not_there(tmp_path: Path) -> None:
    def fill(fresh_folder: Path) -> None:
        (fresh_folder / "half").touch()
        raise ToolError("the mirror is gone")

    with pytest.raises(ToolError, match="the mirror is gone"):
        installed_once(tmp_path / "tool", "1.0", fill)
    assert [path.name for path in tmp_path.iterdir()] == ["tool.lock"]


def test_the_readme_names_its_prerequisites() -> None:
    assert {"git", "make", "python3", "python3-venv"} <= set(fresh.prerequisites())
