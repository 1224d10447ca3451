"""Java clients: one source compiled against each version of a library that Maven resolves.

Jars live in the user's ordinary Maven repository; a folder per client under ``.clients/`` holds the resolved class path
and the compiled scenarios, renewed when a source, the POM or the version changes. A Maven mirror may not carry the DTS
SDK 2.1.4 or Strimzi's bridge: then a checkout of its public repository, named by ``BINWIRE_DTS_SDK_SOURCE`` or
``BINWIRE_STRIMZI_BRIDGE_SOURCE``, is compiled, unchanged.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.tools.workplace import CLIENTS_DIRECTORY, NotPublishedError, ToolError, installed_once, run_quietly, say

_JAVA = Path(__file__).parent / "java"
_MAVEN_TIMEOUT_S = 900
_MAVEN = ("mvn", "-q", "-B", "-Dstyle.color=never")
_NOT_FOUND = re.compile("Could not find artifact|was not found in")
_JVM_OPTIONS = ("-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx256m", "-Duser.timezone=UTC")
# The SDK's date parser uses a class that Java 17 does not export any more.
_DTS_JVM_OPTIONS = ("--add-exports", "java.base/sun.util.calendar=ALL-UNNAMED")


def kafka_command(version: str) -> tuple[str, ...]:
    """The command that runs the scenarios with kafka-clients ``version``; ToolError when it cannot be had."""
    return _command(_Library("kafka-clients", {"kafka.version": version}, _JAVA / "pom.xml", "KafkaScenarios"))


def togo_command(version: str) -> tuple[str, ...]:
    """The same with the service's own fork of the client, which its SDK of the line 1.x has inside."""
    properties = {"kafka.group": "com.alibaba.dts.client", "kafka.artifact": "togo-clients", "kafka.version": version}
    return _command(_Library("togo-clients", properties, _JAVA / "pom.xml", "KafkaScenarios"))


def dts_command(version: str) -> tuple[str, ...]:
    """The command that runs the scenarios with the DTS SDK; NotPublishedError when Maven does not have this version."""
    pom = _JAVA / "dts" / "pom.xml"
    properties = {"dts.version": version}
    return _command(
        _Library("dts-sdk", properties, pom, "DtsScenarios", _DTS_JVM_OPTIONS, checkout="BINWIRE_DTS_SDK_SOURCE")
    )


def bridge_command(version: str) -> tuple[str, ...]:
    """The command of Strimzi's HTTP bridge; NotPublishedError when Maven does not have this version."""
    pom, checkout = _JAVA / "bridge" / "pom.xml", "BINWIRE_STRIMZI_BRIDGE_SOURCE"
    library = _Library("strimzi-bridge", {"bridge.version": version}, pom, None, checkout=checkout)
    return ("java", *_JVM_OPTIONS, "-cp", _installed(library), "io.strimzi.kafka.bridge.Application")


def sample_class_path(version: str) -> str:
    """What the sample in Java needs, with kafka-clients ``version``; ToolError when it cannot be had."""
    return program_class_path("sample", version, _JAVA / "samples" / "pom.xml", ())


def dts_source_command(version: str) -> tuple[str, ...]:
    """The command that compiles and runs a source file with the DTS SDK, but for the file."""
    command = dts_command(version)
    return command[: command.index("-cp") + 2]


def messages_command(version: str) -> tuple[str, ...]:
    """The command of Kafka's own reader and writer of messages (`tests/interop/kafka_codec.py`)."""
    return _command(_Library("kafka-messages", {"kafka.version": version}, _JAVA / "pom.xml", "KafkaMessages"))


def tool_command(version: str, main_class: str, *, scala: str = "2.12") -> tuple[str, ...]:
    """The command of one of Kafka's own tools (or of its broker): what its shell scripts run."""
    properties = {"tools.scala": scala, "tools.version": version}
    library = _Library("kafka-tools", properties, _JAVA / "tools" / "pom.xml", None)
    return ("java", *_JVM_OPTIONS, "-cp", _installed(library), main_class)


def program_class_path(family: str, version: str, pom: Path, sources: Sequence[Path]) -> str:
    """The class path of a program of these sources, with the libraries of a POM, which names the version <family>."""
    return _installed(_Library(family, {f"{family}.version": version}, pom, None, programs=tuple(sources)))


@dataclass(frozen=True, slots=True)
class _Library:
    """A library in one version: the POM that resolves it by properties, the version last, and our program, if any.

    ``checkout`` is the environment variable that may name a checkout of its sources, for where Maven does not have it.
    """

    family: str
    properties: Mapping[str, str]
    pom: Path
    main_class: str | None
    jvm_options: tuple[str, ...] = ()
    checkout: str | None = None
    programs: tuple[Path, ...] = ()

    @property
    def version(self) -> str:
        return list(self.properties.values())[-1]

    @property
    def name(self) -> str:
        return f"{self.family} {self.version}"

    @property
    def sources(self) -> list[Path]:
        scenarios = [_JAVA / f"{name}.java" for name in ("ScenarioLoop", self.main_class) if self.main_class]
        return [*scenarios, *self.programs]


def _command(library: _Library) -> tuple[str, ...]:
    assert library.main_class is not None
    return ("java", *_JVM_OPTIONS, *library.jvm_options, "-cp", _installed(library), library.main_class)


def _installed(library: _Library) -> str:
    """The class path of a library and our program, resolved and compiled on first use."""
    for tool in ("java", "javac", "mvn"):
        if not shutil.which(tool):
            raise ToolError(f"{tool} is not on the PATH: install a JDK (17 or later) and Maven to run {library.name}")
    target = CLIENTS_DIRECTORY / f"{library.family}-{library.version}"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in [library.pom, *library.sources])).hexdigest()
    if _incomplete(target):
        shutil.rmtree(target, ignore_errors=True)
    installed_once(target, f"{library.version} {digest}", lambda fresh: _build(fresh, library))
    return f"{target / 'classes'}:{_class_path(target)}"


def _class_path(target: Path) -> str:
    return (target / "classpath").read_text(encoding="utf-8").strip()


def _incomplete(target: Path) -> bool:
    """Whether a jar that the class path names has gone since (the Maven repository was cleaned)."""
    if not (target / "classpath").is_file():
        return False
    return not all(Path(entry).exists() for entry in _class_path(target).split(":"))


def _build(fresh: Path, library: _Library) -> None:
    say(f"{library.name}: resolving with Maven")
    class_path = fresh / "classpath"
    unresolved = _resolve(library.pom, class_path, *(f"-D{key}={value}" for key, value in library.properties.items()))
    if unresolved:
        checkout = os.environ.get(library.checkout) if library.checkout else None
        if not _NOT_FOUND.search(unresolved):
            raise ToolError(f"Maven could not resolve {library.name}: {unresolved}")
        if not checkout:
            raise NotPublishedError(f"the Maven repository in use does not carry {library.name}")
        _build_checkout(Path(checkout), library, class_path)
    if not library.sources:
        return
    say(f"{library.name}: compiling our program")
    failed = _compile(fresh / "classes", class_path, library.sources)
    if failed:
        raise ToolError(f"our program does not compile against {library.name}: {failed}")


def _build_checkout(checkout: Path, library: _Library, class_path: Path) -> None:
    """Compile a library as its checkout stands, outside the checkout, and put it before its dependencies."""
    if f"<version>{library.version}</version>" not in (checkout / "pom.xml").read_text(encoding="utf-8"):
        raise ToolError(f"{library.checkout} names {checkout}, whose pom.xml is not of {library.name}")
    say(f"{library.name}: not in the Maven repository, compiling the checkout {library.checkout} names")
    classes = CLIENTS_DIRECTORY / f"{library.family}-{library.version}.checkout"
    shutil.rmtree(classes, ignore_errors=True)
    sources = list((checkout / "src" / "main" / "java").rglob("*.java"))
    failed = _resolve(checkout / "pom.xml", class_path) or _compile(classes, class_path, sources)
    if failed:
        raise ToolError(f"the checkout of {library.name} does not compile: {failed}")
    shutil.copytree(checkout / "src" / "main" / "resources", classes, dirs_exist_ok=True)
    class_path.write_text(f"{classes}:{class_path.read_text(encoding='utf-8')}", encoding="utf-8")


def _resolve(pom: Path, class_path: Path, *properties: str) -> str:
    return _run([*_MAVEN, "-f", str(pom), *properties, "dependency:build-classpath", f"-Dmdep.outputFile={class_path}"])


def _compile(classes: Path, class_path: Path, sources: list[Path]) -> str:
    options = ["-nowarn", "-Xlint:-options", "-encoding", "UTF-8", *_DTS_JVM_OPTIONS, "-d", str(classes)]
    return _run(["javac", *options, "-cp", class_path.read_text(encoding="utf-8"), *map(str, sources)])


def _run(command: list[str]) -> str:
    """The first line of trouble a command reported, or nothing when it succeeded."""
    done = run_quietly(command, timeout_s=_MAVEN_TIMEOUT_S)
    if not done.returncode:
        return ""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
    return lines[0] if lines else f"status {done.returncode}"
