"""A peer of `capture`: Debezium's embedded engine with its MySQL connector, on the JVM, without Kafka.

Measured is the way of a row change from the binlog to a consumer in the same process, which is handed key and value as
JSON and counts them. Its settings are the defaults, but for these:

    snapshot.mode = recovery        the table is known from the server, as after a restart; nothing is copied
    offset.storage                  a file, which says that it goes on in front of the first order
    schema.history.internal         a file, as Debezium's documentation has it for the engine
    database.ssl.mode = disabled    as all others here read, without TLS

Its jars come from Maven, pinned by version, its program (`debezium/DebeziumReader.java`) is compiled by the machine's
JDK. 3.6.1 is the first release after 3.5 that Maven Central has all jars of.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from bench import orders
from bench.harness import Outcome
from bench.peers import java_program, reader
from bench.peers.reader import Reading
from bench.shop_server import ShopServer

VERSION: Final = "3.6.1.Final"
NAME: Final = f"Debezium {VERSION} engine"
_FOLDER: Final = Path(__file__).with_name("debezium")
_SERVER_ID: Final = 57_011
_PROPERTIES: Final = """
name=bench
topic.prefix=bench
connector.class=io.debezium.connector.mysql.MySqlConnector
database.hostname={host}
database.port={port}
database.user={user}
database.password={password}
database.server.id={server_id}
database.ssl.mode=disabled
table.include.list={table}
snapshot.mode=recovery
offset.storage=org.apache.kafka.connect.storage.FileOffsetBackingStore
offset.storage.file.filename={folder}/offsets.dat
schema.history.internal=io.debezium.storage.file.history.FileSchemaHistory
schema.history.internal.file.filename={folder}/history.dat
"""


def class_path() -> str:
    """Its jars and our program. Raises PeerMissingError."""
    return java_program.class_path("debezium-engine", VERSION, _FOLDER / "pom.xml", _FOLDER)


def read(jars: str, server: ShopServer, folder: Path, *options: str) -> Reading:
    """Have it read a server's orders."""
    home = folder / "debezium"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    live = server.live  # its administrator: the account needs no public key, and its password no escaping
    account = {"user": live.root_user, "password": live.root_password, "server_id": _SERVER_ID, "table": orders.TABLE}
    properties = home / "engine.properties"
    properties.write_text(
        _PROPERTIES.format(host=server.host, port=server.port, folder=home, **account), encoding="utf-8"
    )
    begin = [str(properties), server.file, str(server.position), server.gtids_before, str(server.history.rows)]
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return reader.read(NAME, ["java", quiet, "-cp", jars, "DebeziumReader", *begin, *options], home)


def run(jars: str, server: ShopServer, folder: Path) -> Outcome:
    """Measure it."""
    return reader.outcome(NAME, read(jars, server, folder), server.history)
