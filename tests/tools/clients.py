"""Readies the clients of the tests ahead of them, and renews what is recorded of Debian's packages among them.

``python -m tests.tools.clients install`` readies every client of ``tests/interop/client_matrix.py``
(``--representative``: those of ``make test``); ``… record`` renews the lock files. How a client is had, installed
privately into the checkout on first use, is said in ``tests/interop/families/``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.tools import debian
from tests.tools.librdkafka import KCAT_PACKAGES, LIBRDKAFKA_PACKAGES
from tests.tools.ruby import RUBY_PACKAGES
from tests.tools.shells import SHELL_PACKAGES
from tests.tools.workplace import ToolError, say


def install(representative_only: bool) -> bool:
    """Fetch the clients of the matrix, saying why one cannot be had; True when all can."""
    from tests.interop.client_matrix import CLIENTS

    complete = True
    for client in CLIENTS:
        if representative_only and not client.representative:
            continue
        try:
            client.command()
            say(f"{client.name} is ready")
        except (ToolError, OSError, subprocess.SubprocessError) as error:
            complete = False
            say(f"{client.name} cannot be had, tests that need it are skipped: {error}")
    return complete


def main() -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.clients", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("install", "record"))
    parser.add_argument("--representative", action="store_true", help="only the client that stands for its family")
    arguments = parser.parse_args()
    if arguments.command == "install":
        return 0 if install(arguments.representative) else 1
    for packages in (KCAT_PACKAGES, LIBRDKAFKA_PACKAGES, RUBY_PACKAGES, SHELL_PACKAGES):
        say(f"recorded {debian.record(packages)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
