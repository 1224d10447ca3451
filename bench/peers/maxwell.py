"""A peer of `capture`: Maxwell on the JVM, with a producer of ours that makes each row change JSON and counts it.

1.22.6, the newest that Maven Central has, is of 2019: it asks a server for what MySQL 8.4 has no more (SHOW MASTER
STATUS), so it reads MySQL 5.6, in whose binlog the same statements are. It keeps positions and schemas in a database
there, by an account that we make for it; everything else is its defaults. The class of Java's old script engine, which
it looks for with each value, is an empty one of ours.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

from bench import orders
from bench.harness import Outcome
from bench.peers import java_program, reader
from bench.peers.reader import Reading
from bench.shop_server import ShopServer

VERSION: Final = "1.22.6"
NAME: Final = f"Maxwell {VERSION} (MySQL 5.6)"
_FOLDER: Final = Path(__file__).with_name("maxwell")
_USER: Final = "maxwell"
_SERVER_ID: Final = 57_012
_databases = itertools.count(1)


def class_path() -> str:
    """Its jars and our producer. Raises PeerMissingError."""
    return java_program.class_path("maxwell", VERSION, _FOLDER / "pom.xml", _FOLDER)


def read(jars: str, server: ShopServer, folder: Path, *options: str) -> Reading:
    """Have it read a server's orders, as a Maxwell that has never run."""
    database = f"maxwell_{next(_databases)}"
    for rights in (f"ALL ON {database}.*", "SELECT, REPLICATION CLIENT, REPLICATION SLAVE ON *.*"):
        server.live.execute(f"GRANT {rights} TO {_USER}@'%' IDENTIFIED BY '{_USER}'")
    home = folder / database
    home.mkdir()
    where = [f"--host={server.host}", f"--port={server.port}", f"--user={_USER}", f"--password={_USER}"]
    own = [f"--schema_database={database}", f"--client_id={database}", f"--replica_server_id={_SERVER_ID}"]
    what = [f"--filter=exclude: *.*, include: {orders.TABLE}", f"--init_position={server.file}:{server.position}:0"]
    program = ["java", f"-Drows={server.history.rows}", *options, "-cp", jars, "MaxwellReader"]
    command = [*program, *where, *own, *what, "--custom_producer.factory=MaxwellReader"]
    return reader.read(NAME, command, home)


def run(jars: str, server: ShopServer, folder: Path) -> Outcome:
    """Measure it."""
    return reader.outcome(NAME, read(jars, server, folder), server.history)
