"""Maven artifacts fetched as files, checked against a recorded checksum and cached.

The repository is whichever one Maven is configured for; ``mvn`` itself must be there.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.tools.workplace import ToolError, cache_directory, cached, run_quietly, say

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_MAVEN_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class MavenArtifact:
    """One version of an artifact and the SHA-256 of its jar."""

    group: str
    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}.jar"


def fetch(artifact: MavenArtifact) -> Path:
    """The artifact's jar in the cache; ToolError when it is not to be had or is not the recorded one."""
    path = cache_directory() / "maven" / artifact.sha256 / artifact.file_name
    other = f"Maven delivered another jar of {artifact.name} {artifact.version}"
    return cached(path, artifact.sha256, partial(_copy, artifact), other)


def _copy(artifact: MavenArtifact, folder: Path) -> None:
    coordinates = f"{artifact.group}:{artifact.name}:{artifact.version}"
    if not shutil.which("mvn"):
        raise ToolError(f"mvn is not on the PATH: install Maven to fetch {coordinates}")
    say(f"{artifact.name} {artifact.version}: downloading with Maven")
    command = ["mvn", "-q", "-B", _COPY, f"-Dartifact={coordinates}", f"-DoutputDirectory={folder}"]
    done = run_quietly(command, cwd=folder, timeout_s=_MAVEN_TIMEOUT_S)
    if done.returncode:
        raise ToolError(f"Maven could not fetch {coordinates}: {(done.stdout.strip() or 'no output')[-300:]}")
