"""Java clients: one source compiled against each version of a library that Maven resolves.

Jars live in the user's ordinary Maven repository; a folder per client under ``.clients/`` holds the resolved class path and the
compiled scenarios, renewed when a source, the POM or the version changes. The DTS SDK 2.1.4 may be missing from a Maven mirror: then a
checkout of its public repository named by ``BINWIRE_DTS_SDK_SOURCE`` is compiled instead, unchanged.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.tools.workplace import CLIENTS_DIRECTORY, ToolError, installed_once, say

_JAVA = Path(__file__).parent / "java"
_MAVEN_TIMEOUT_S = 900
_MAVEN = ("mvn", "-q", "-B", "-Dstyle.color=never")
_NOT_FOUND = re.compile("Could not find artifact|was not found in")
# The SDK's date parser uses a class that Java 17 does not export any more.
_DTS_JVM_OPTIONS = ("--add-exports", "java.base/sun.util.calendar=ALL-UNNAMED")


class NotPublished(ToolError):
    """The Maven repository in use does not carry this artefact."""


def kafka_command(version: str) -> tuple[str, ...]:
    """The command that runs the scenarios with kafka-clients ``version``; ToolError when it cannot be had."""
    return _command(_JAVA / "pom.xml", "kafka-clients", version, "kafka.version", "KafkaScenarios", ())


def dts_command(version: str) -> tuple[str, ...]:
    """The command that runs the scenarios with the DTS SDK ``version``; NotPublished when Maven does not have it."""
    return _command(_JAVA / "dts" / "pom.xml", "dts-sdk", version, "dts.version", "DtsScenarios", _DTS_JVM_OPTIONS)


def _command(
    pom: Path, family: str, version: str, variable: str, main: str, options: tuple[str, ...]
) -> tuple[str, ...]:
    for tool in ("java", "javac", "mvn"):
        if not shutil.which(tool):
            raise ToolError(
                f"{tool} is not on the PATH: install a JDK (17 or later) and Maven to run {family} {version}"
            )
    sources = [_JAVA / "ScenarioLoop.java", _JAVA / f"{main}.java"]
    target = CLIENTS_DIRECTORY / f"{family}-{version}"
    stamp = hashlib.sha256(b"".join(path.read_bytes() for path in [pom, *sources])).hexdigest()
    if _incomplete(target):
        shutil.rmtree(target, ignore_errors=True)
    installed_once(
        target,
        f"{version} {stamp}",
        lambda fresh: _build(fresh, pom, f"-D{variable}={version}", sources, f"{family} {version}"),
    )
    class_path = f"{target / 'classes'}:{_class_path(target)}"
    return (
        "java",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        "-Xmx256m",
        "-Duser.timezone=UTC",
        *options,
        "-cp",
        class_path,
        main,
    )


def _class_path(target: Path) -> str:
    return (target / "classpath").read_text(encoding="utf-8").strip()


def _incomplete(target: Path) -> bool:
    """Whether a jar that the class path names has gone since (the Maven repository was cleaned)."""
    return (target / "classpath").is_file() and not all(
        Path(entry).exists() for entry in _class_path(target).split(":")
    )


def _build(fresh: Path, pom: Path, version: str, sources: list[Path], name: str) -> None:
    say(f"{name}: resolving with Maven")
    class_path = fresh / "classpath"
    resolved = _run([*_MAVEN, "-f", str(pom), version, "dependency:build-classpath", f"-Dmdep.outputFile={class_path}"])
    if resolved:
        checkout = os.environ.get("BINWIRE_DTS_SDK_SOURCE") if name.startswith("dts-sdk") else None
        if not _NOT_FOUND.search(resolved):
            raise ToolError(f"Maven could not resolve {name}: {resolved}")
        if not checkout:
            raise NotPublished(f"the Maven repository in use does not carry {name}")
        _build_sdk(fresh, Path(checkout), name, class_path)
    say(f"{name}: compiling the scenarios")
    failed = _run(
        [
            "javac",
            "-Xlint:-options",
            "-d",
            str(fresh / "classes"),
            "-cp",
            class_path.read_text(encoding="utf-8"),
            *map(str, sources),
        ]
    )
    if failed:
        raise ToolError(f"the scenarios do not compile against {name}: {failed}")


def _build_sdk(fresh: Path, checkout: Path, name: str, class_path: Path) -> None:
    """Compile the SDK as its checkout stands, outside the checkout."""
    wanted = f"<version>{name.split()[-1]}</version>"
    if wanted not in (checkout / "pom.xml").read_text(encoding="utf-8"):
        raise ToolError(f"BINWIRE_DTS_SDK_SOURCE names {checkout}, whose pom.xml is not of {name}")
    say(f"{name}: not in the Maven repository, compiling the checkout BINWIRE_DTS_SDK_SOURCE names")
    sdk = CLIENTS_DIRECTORY / (name.replace(" ", "-") + ".sdk")
    shutil.rmtree(sdk, ignore_errors=True)
    failed = _run(
        [*_MAVEN, "-f", str(checkout / "pom.xml"), "dependency:build-classpath", f"-Dmdep.outputFile={class_path}"]
    )
    if not failed:
        files = [str(path) for path in (checkout / "src" / "main" / "java").rglob("*.java")]
        options = ["-nowarn", "-encoding", "UTF-8", *_DTS_JVM_OPTIONS]
        failed = _run(["javac", *options, "-d", str(sdk), "-cp", class_path.read_text(encoding="utf-8"), *files])
    if failed:
        raise ToolError(f"the checkout of {name} does not compile: {failed}")
    shutil.copytree(checkout / "src" / "main" / "resources", sdk, dirs_exist_ok=True)
    class_path.write_text(f"{sdk}:{class_path.read_text(encoding='utf-8')}", encoding="utf-8")


def _run(command: list[str]) -> str:
    """The first line of trouble a command reported, or nothing when it succeeded."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_MAVEN_TIMEOUT_S, check=False
    )
    if not done.returncode:
        return ""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
    return lines[0] if lines else f"status {done.returncode}"
