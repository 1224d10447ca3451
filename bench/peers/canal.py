"""A peer of `capture`: go-mysql's canal, which decodes row changes and hands them to a program of ours that counts.

It only decodes: nothing is encoded, written or kept, which is to its advantage. It runs with its defaults, on as many
threads as the machine has CPUs. The module in `canal/` pins it and all it needs by version and checksum; the program is
built once by the Go of the machine, with modules from the proxy that Go is configured for.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from bench import orders
from bench.harness import Outcome, PeerMissingError
from bench.peers import reader, require_checkout
from bench.peers.reader import Origin, Reading

NAME: Final = "go-mysql canal 1.16.0"
_MODULE: Final = Path(__file__).with_name("canal")


def program() -> str:
    """The path of the program. Raises PeerMissingError."""
    require_checkout(NAME)
    from tests.interop import go_clients
    from tests.tools.workplace import ToolError

    try:
        return str(go_clients.program("go-mysql-canal", _MODULE))
    except (ToolError, OSError, subprocess.SubprocessError) as error:
        raise PeerMissingError(f"{NAME} cannot be had: {error}") from None


def read(path: str, server: Origin, folder: Path, *options: str) -> Reading:
    """Have it read a server's orders."""
    where = ["-address", f"{server.host}:{server.port}", "-file", server.file, "-position", str(server.position)]
    account = ["-user", server.user, "-password", server.password]
    what = ["-table", orders.TABLE.replace(".", r"\."), "-rows", str(server.history.rows)]
    return reader.read(NAME, [path, *where, *account, *what, *options], folder)


def run(path: str, server: Origin, folder: Path, source: str = reader.DUMP) -> Outcome:
    """Measure it on a server, or a synthetic one."""
    return reader.outcome(NAME, read(path, server, folder), server.history, source)
