"""Kafka clients that are programs or packages: kcat from Debian, kafka-python in an environment of its own.

Each function returns the command that starts the client, installed privately into the checkout on first use, or
raises ToolError with the reason why it cannot be had. Which clients there are, and how those of other families are had,
is said in ``tests/interop/families/``.

``python -m tests.tools.clients install`` readies every client of ``tests/interop/client_matrix.py`` ahead of the tests
(``--representative``: those of ``make test``); ``… record`` renews kcat's lock file.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys

from tests.tools import debian, venvs
from tests.tools.debian import PackageSet
from tests.tools.workplace import CLIENTS_DIRECTORY, ToolError, say

KCAT_PACKAGES = PackageSet("kcat", "bookworm", ("kcat",))

# The six they carry relies on an importer interface that Python 3.12 dropped.
_BEFORE_PYTHON_312 = ("2.0.0", "2.0.1", "2.0.2")


def kcat_command() -> tuple[str, ...]:
    """The command of kcat: the installed one, else Debian's, unpacked privately."""
    installed = shutil.which("kcat")
    if installed:
        return (installed,)
    return debian.program(debian.unpack(KCAT_PACKAGES, CLIENTS_DIRECTORY / "kcat"), "usr/bin/kcat")


def kafka_python(version: str) -> str:
    """The interpreter of an environment that holds kafka-python in this version and nothing else."""
    if sys.version_info >= (3, 12) and version in _BEFORE_PYTHON_312:
        raise ToolError(
            f"kafka-python {version} does not run on Python 3.12 and newer, and this is {sys.version.split()[0]}"
        )
    return str(venvs.ensure(f"kafka-python-{version}", [f"kafka-python=={version}"]) / "bin" / "python")


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
    say(f"recorded {debian.record(KCAT_PACKAGES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
