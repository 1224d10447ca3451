"""Maven artifacts fetched as files, checked against a recorded checksum and cached.

The repository is whichever one Maven is configured for; ``mvn`` itself must be there. Maven reads an artifact's POM and
that POM's parent before it fetches the file; where a repository may lack the parent, one of ours, with nothing in it,
stands in for it: what is asked for is the file, and nothing that it depends on.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.tools.workplace import ToolError, cache_directory, cached, run_quietly, say

_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
_MAVEN_TIMEOUT_S = 900
_STAND_IN = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>{artifact.group}</groupId>
  <artifactId>{artifact.parent}</artifactId>
  <version>{artifact.version}</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>{artifact.group}</groupId>
      <artifactId>{artifact.name}</artifactId>
      <version>{artifact.version}</version>
      <type>{artifact.extension}</type>
    </dependency>
  </dependencies>
</project>
"""


@dataclass(frozen=True, slots=True)
class MavenArtifact:
    """One version of an artifact and the SHA-256 of its file.

    ``parent``: the artifact of the same group and version that its POM inherits from, where we stand in for that.
    """

    group: str
    name: str
    version: str
    sha256: str
    extension: str = "jar"
    parent: str | None = None

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}.{self.extension}"


def fetch(artifact: MavenArtifact) -> Path:
    """The artifact's file in the cache; ToolError when it is not to be had or is not the recorded one."""
    path = cache_directory() / "maven" / artifact.sha256 / artifact.file_name
    other = f"Maven delivered another {artifact.extension} of {artifact.name} {artifact.version}"
    return cached(path, artifact.sha256, partial(_copy, artifact), other)


def _copy(artifact: MavenArtifact, folder: Path) -> None:
    coordinates = f"{artifact.group}:{artifact.name}:{artifact.version}:{artifact.extension}"
    if not shutil.which("mvn"):
        raise ToolError(f"mvn is not on the PATH: install Maven to fetch {coordinates}")
    say(f"{artifact.name} {artifact.version}: downloading with Maven")
    with tempfile.TemporaryDirectory(prefix="bw-maven-") as project:
        goal = [f"{_PLUGIN}:copy", f"-Dartifact={coordinates}"]
        if artifact.parent is not None:
            Path(project, "pom.xml").write_text(_STAND_IN.format(artifact=artifact), encoding="utf-8")
            goal = [f"{_PLUGIN}:copy-dependencies", "-DexcludeTransitive=true"]
        command = ["mvn", "-q", "-B", *goal, f"-DoutputDirectory={folder}"]
        done = run_quietly(command, cwd=Path(project), timeout_s=_MAVEN_TIMEOUT_S)
    if done.returncode:
        raise ToolError(f"Maven could not fetch {coordinates}: {(done.stdout.strip() or 'no output')[-300:]}")
