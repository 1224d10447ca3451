"""The peer of `latency`: Debezium Server, from a MySQL server into a topic of a Kafka broker, on the JVM.

It is the program as its authors distribute it, with the connector for MySQL and the sink for Kafka, in two settings:
`DEFAULT` says where things are and nothing else; `TUNED` is set for latency, as far as we know how:

    source.poll.interval.ms = 1          the connector hands on what it has each millisecond; 500 unless told
    sink.kafka.producer.linger.ms = 0    a batch is sent as soon as there is one; 5 unless told
    sink.kafka.producer.acks = 1         the broker's own log is enough; all unless told (there is one broker)
    sink.kafka.producer.enable.idempotence = false    which acks = 1 asks for
    format.value.schemas.enable = false, format.key.schemas.enable = false
                                         no description of the table in each record; true unless told

A record is the JSON of Debezium's own envelope; `decode` reads the orders in it. The distribution is fetched by the
tools of a checkout and needs a newer Java than the rest (`_JAVA_MIN`); where either is missing, `find` says why.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from bench import orders
from bench.database import PASSWORD, USER, Database
from bench.harness import PeerMissingError
from bench.records import record_values

if TYPE_CHECKING:
    from bench.peers.kafka import KafkaBroker

VERSION: Final = "3.6.0.Final"
_SHA256: Final = "901ce7b0b75b4dafaac4aa57dac6dfcad5937f96fb7159e25d22759bbf5192e4"
_FOLDER: Final = "debezium-server"
_UNPACKED: Final = re.compile(rf"{_FOLDER}/(lib/.*|config/lib/.*|.*-runner\.jar)")
_JAVA_MIN: Final = 21
_JAVA_FOLDERS: Final = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))
_JAVA_VERSION: Final = re.compile(r'version "(\d+)')
_SERVER_ID: Final = 57_001
_LOG_BYTES_SHOWN: Final = 4000
_STOP_S: Final = 20.0
_SETTINGS: Final = """
quarkus.http.host=127.0.0.1
quarkus.http.port=0
quarkus.log.console.json=false
debezium.sink.type=kafka
debezium.sink.kafka.producer.bootstrap.servers={kafka}
debezium.sink.kafka.producer.key.serializer=org.apache.kafka.common.serialization.StringSerializer
debezium.sink.kafka.producer.value.serializer=org.apache.kafka.common.serialization.StringSerializer
debezium.source.connector.class=io.debezium.connector.mysql.MySqlConnector
debezium.source.offset.storage.file.filename=offsets.dat
debezium.source.schema.history.internal=io.debezium.storage.file.history.FileSchemaHistory
debezium.source.schema.history.internal.file.filename=history.dat
debezium.source.database.hostname={host}
debezium.source.database.port={port}
debezium.source.database.user={user}
debezium.source.database.password={password}
debezium.source.database.server.id={server_id}
debezium.source.database.include.list={database}
debezium.source.topic.prefix={prefix}
"""
_TUNED: Final = """
debezium.source.poll.interval.ms=1
debezium.sink.kafka.producer.linger.ms=0
debezium.sink.kafka.producer.acks=1
debezium.sink.kafka.producer.enable.idempotence=false
debezium.format.value.schemas.enable=false
debezium.format.key.schemas.enable=false
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """How Debezium Server is set up: what it is called in a result, and what its configuration says beyond where."""

    name: str
    prefix: str
    text: str

    @property
    def topic(self) -> str:
        """Where the orders come."""
        return f"{self.prefix}.{orders.TABLE}"


DEFAULT: Final = Settings(f"Debezium Server {VERSION} → Kafka", "default", "")
TUNED: Final = Settings(f"{DEFAULT.name}, tuned", "tuned", _TUNED)


@functools.cache
def find() -> list[str]:
    """The command of the server, without its configuration. Raises PeerMissingError."""
    java = _java()
    # Looked for before it is imported: where we are installed, `tests` is somebody else's.
    if not (Path(__file__).resolve().parents[2] / "tests" / "tools" / "maven.py").is_file():
        raise PeerMissingError(f"{DEFAULT.name} is fetched by the tools of a checkout, and this is none")
    from tests.tools import maven
    from tests.tools.workplace import CLIENTS_DIRECTORY, ToolError, installed_once, say

    def unpack(fresh: Path) -> None:
        packed = maven.fetch(artifact)
        say(f"{artifact.name} {VERSION}: unpacking")
        with tarfile.open(packed) as archive:
            wanted = (member for member in archive if _UNPACKED.fullmatch(member.name))
            archive.extractall(fresh, wanted, filter="data")

    artifact = maven.MavenArtifact(
        "io.debezium", "debezium-server-dist", VERSION, _SHA256, extension="tar.gz", parent="debezium-server"
    )
    try:
        installed = installed_once(CLIENTS_DIRECTORY / f"debezium-server-{VERSION}", _SHA256, unpack)
    except (ToolError, OSError, subprocess.SubprocessError) as error:
        raise PeerMissingError(f"{DEFAULT.name} cannot be had: {error}") from None
    home = installed / _FOLDER
    # As in its run.sh.
    places = [*map(str, home.glob("debezium-server-*runner.jar")), str(home / "config" / "lib"), f"{home / 'lib'}/*"]
    return [java, "-cp", os.pathsep.join(places), "io.debezium.server.Main"]


def _java() -> str:
    """A Java that is new enough: $JAVA_HOME's, that on the PATH, or one that is installed beside it."""
    named = os.environ.get("JAVA_HOME")
    places = [Path(named, "bin", "java")] if named else []
    places += [Path(path)] if (path := shutil.which("java")) else []
    places += [java for folder in _JAVA_FOLDERS for java in sorted(folder.glob("*/bin/java"))]
    for place in places:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run([place, "-version"], capture_output=True, text=True, check=False, timeout=_STOP_S)
            found = _JAVA_VERSION.search(said.stderr)
            if found and int(found[1]) >= _JAVA_MIN:
                return str(place)
    raise PeerMissingError(f"{DEFAULT.name} needs Java {_JAVA_MIN} or later: install one, or name it in JAVA_HOME")


class DebeziumServer:
    """One process over one folder, from its start, which nobody waits for, to its end; a context manager."""

    def __init__(self, folder: Path, database: Database, broker: KafkaBroker, settings: Settings) -> None:
        (folder / "config").mkdir(parents=True)
        values = {"host": database.host, "port": database.port, "user": USER, "password": PASSWORD}
        values |= {"server_id": _SERVER_ID, "database": orders.DATABASE, "prefix": settings.prefix}
        text = _SETTINGS.format(kafka=f"{broker.host}:{broker.port}", **values)
        (folder / "config" / "application.properties").write_text(text + settings.text, encoding="utf-8")
        self._log = folder / "debezium.log"
        self._folder = folder
        self._command = find()

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(self._command, cwd=self._folder, stdout=log, stderr=subprocess.STDOUT)
        return self

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """From the end of this on it is suspended: while others are measured it would look for records all the time."""
        self.process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def shown(self) -> str:
        """The end of what it has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-_LOG_BYTES_SHOWN:]


def decode(batches: bytes) -> Iterator[dict[str, Any]]:
    """The orders in batches of the topic, as the columns of their rows; the envelope lies in `payload` or bare."""
    for value in record_values(batches):
        envelope = json.loads(value)
        yield envelope.get("payload", envelope)["after"]
