"""Kafka clients that are programs or packages: kcat unpacked from Debian, kafka-python in a virtual environment of
its own.

Each function returns the command that starts the client, installed privately into the checkout on first use, or
raises ToolError with the reason why it cannot be had. The Java clients come from Maven and have their own module,
``tests/interop/java_clients.py``.

``python -m tests.tools.clients install`` fetches them all ahead of the tests; ``… record`` renews kcat's lock file.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys

from tests.tools import debian, venvs
from tests.tools.debian import PackageSet
from tests.tools.workplace import CLIENTS_DIRECTORY, ToolError, say

KCAT_PACKAGES = PackageSet("kcat", "bookworm", ("kcat",))
KAFKA_PYTHON_VERSIONS = ("2.0.2",)

# The six they carry relies on an importer interface that Python 3.12 dropped.
_BEFORE_PYTHON_312 = ("2.0.0", "2.0.1", "2.0.2")

_VERSION_TIMEOUT_S = 60


def kcat_command() -> tuple[str, ...]:
    """The command of kcat: the installed one, else Debian's, unpacked privately."""
    installed = shutil.which("kcat")
    if installed:
        return (installed,)
    return debian.program(debian.unpack(KCAT_PACKAGES, CLIENTS_DIRECTORY / "kcat"), "usr/bin/kcat")


def kcat_version() -> str:
    """What kcat says of itself and its librdkafka, such as ``1.7.1 librdkafka 2.0.2``."""
    done = subprocess.run(
        [*kcat_command(), "-V"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=False
    )
    found = re.search(r"Version (\S+).*?librdkafka (\S+)", done.stdout, re.DOTALL)
    if not found:
        raise ToolError(f"kcat does not start: {(done.stderr.strip() or 'it prints no version').splitlines()[-1]}")
    return f"{found.group(1)} librdkafka {found.group(2)}"


def kafka_python(version: str) -> str:
    """The interpreter of an environment that holds kafka-python in this version and nothing else."""
    if sys.version_info >= (3, 12) and version in _BEFORE_PYTHON_312:
        raise ToolError(
            f"kafka-python {version} does not run on Python 3.12 and newer, and this is {sys.version.split()[0]}"
        )
    return str(venvs.ensure(f"kafka-python-{version}", [f"kafka-python=={version}"]) / "bin" / "python")


def install() -> bool:
    """Fetch every client, saying why one cannot be had; True when all can."""
    complete = True
    wanted = [
        ("kcat", kcat_version),
        *((f"kafka-python {v}", lambda v=v: kafka_python(v)) for v in KAFKA_PYTHON_VERSIONS),
    ]
    for name, fetch in wanted:
        try:
            say(f"{name}: {fetch()} is ready")
        except (ToolError, OSError, subprocess.SubprocessError) as error:
            complete = False
            say(f"{name}: cannot be had, tests that need it are skipped: {error}")
    return complete


def main() -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.clients", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("install", "record"))
    if parser.parse_args().command == "install":
        return 0 if install() else 1
    say(f"recorded {debian.record(KCAT_PACKAGES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
