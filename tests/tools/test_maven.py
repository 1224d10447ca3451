"""How an artifact is asked of Maven, where a repository may lack the POM that its own inherits from."""

from __future__ import annotations

import hashlib
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.tools import maven
from tests.tools.maven import MavenArtifact

_SHA256 = hashlib.sha256(b"packed").hexdigest()
_NAMESPACE = {"": "http://maven.apache.org/POM/4.0.0"}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], list[Path]]]:
    """The commands that were run and the files of their folder; each puts the asked file where it is to be."""
    runs: list[tuple[list[str], list[Path]]] = []

    def run(command: list[str], *, cwd: Path, **_: Any) -> subprocess.CompletedProcess[str]:
        kept = tmp_path / f"project-{len(runs)}"
        kept.mkdir()
        runs.append((command, [kept / path.name for path in cwd.iterdir()]))
        for path in cwd.iterdir():
            (kept / path.name).write_bytes(path.read_bytes())
        (folder,) = (option.partition("=")[2] for option in command if option.startswith("-DoutputDirectory="))
        Path(folder, "server-1.2.tar.gz").write_bytes(b"packed")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(maven, "run_quietly", run)
    monkeypatch.setattr("shutil.which", lambda _: "mvn")
    monkeypatch.setenv("BINWIRE_CACHE", str(tmp_path / "cache"))
    return runs


def test_a_file_is_asked_for_by_its_coordinates_once(asked: list[tuple[list[str], list[Path]]]) -> None:
    artifact = MavenArtifact("org.example", "server", "1.2", _SHA256, extension="tar.gz")
    assert maven.fetch(artifact).read_bytes() == b"packed"
    assert maven.fetch(artifact).read_bytes() == b"packed"
    ((command, files),) = asked
    assert "-Dartifact=org.example:server:1.2:tar.gz" in command
    assert files == []


def test_a_pom_of_ours_stands_in_for_the_parent(asked: list[tuple[list[str], list[Path]]]) -> None:
    artifact = MavenArtifact("org.example", "server", "1.2", _SHA256, extension="tar.gz", parent="family")
    maven.fetch(artifact)
    ((_, (pom,)),) = asked
    project = ET.parse(pom).getroot()
    assert [project.findtext(name, namespaces=_NAMESPACE) for name in ("groupId", "artifactId", "version")] == [
        "org.example",
        "family",
        "1.2",
    ]
    (dependency,) = project.findall("dependencies/dependency", _NAMESPACE)
    assert [element.text for element in dependency] == ["org.example", "server", "1.2", "tar.gz"]
