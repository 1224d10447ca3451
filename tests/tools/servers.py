"""Throwaway MySQL and MariaDB servers for tests: started in about a second, with a row binlog, gone without a trace.

A data directory is initialised once for each build (``.servers/<kind>-base``) and copied for every instance into a
short path under the temporary directory, because a Unix socket's path is limited to 107 bytes. Every server listens
on a free port of 127.0.0.1, dies with the process that started it (also when that is killed), and has two accounts:
``root`` with an empty password and everything granted, and :data:`REPL_USER` with what capture needs and no more.

``python -m tests.tools.servers install [kind…]`` fetches and initialises (those of the core suite, unless told); ``…
run kind [-- options]`` runs one until Ctrl-C; ``… record [kind…]`` resolves the Debian sets anew and rewrites their
lock files.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.tools import debian, server_builds
from tests.tools.server_builds import CORE_KINDS, KINDS, ServerBuild
from tests.tools.workplace import SERVERS_DIRECTORY, ToolError, installed_once, run_quietly, say

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT_USER = "root"
ROOT_PASSWORD = ""
REPL_USER = "repl"
REPL_PASSWORD = "repl-p@ss/word 1"  # what a URL must escape, so that tests escape it

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 60.0
_START_TRIES = 3
_POLL_S = 0.02
_READY = b"ready for connections"
_LOG_TAIL_LINES = 15

_COMMON_OPTIONS = (
    "--bind-address=127.0.0.1",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=OFF",
    "--innodb-use-native-aio=OFF",
    "--max-connections=200",
    "--secure-file-priv=",
    "--loose-mysqlx=OFF",
)
_BINLOG_OPTIONS = ("--server-id=1", "--log-bin=binlog", "--binlog-format=ROW", "--sync-binlog=0")
_KIND_OPTIONS = {
    "mysql97": ("--innodb-redo-log-capacity=16M", "--gtid-mode=ON", "--enforce-gtid-consistency=ON"),
    "mysql56": ("--innodb-log-file-size=8M",),
    "mariadb1011": ("--innodb-log-file-size=16M",),
    "mysql55": ("--innodb-file-per-table",),
    "mariadb105": ("--innodb-log-file-size=16M",),
    "mariadb118": ("--innodb-log-file-size=16M",),
}

# The scripts that make the system tables, in order; each server brings those of them it needs.
_SYSTEM_SCRIPTS = (
    "mysql_system_tables.sql",
    "mariadb_system_tables.sql",
    "mysql_performance_tables.sql",
    "mariadb_performance_tables.sql",
    "mysql_system_tables_data.sql",
    "mariadb_system_tables_data.sql",
    "fill_help_tables.sql",
    "maria_add_gis_sp_bootstrap.sql",
    "mysql_sys_schema.sql",
    "mariadb_sys_schema.sql",
)


class Instance:
    """One running server; a context manager that ends it and removes its data directory."""

    def __init__(self, build: ServerBuild, options: Sequence[str] = ()) -> None:
        self.build = build
        self.host = "127.0.0.1"
        self.port = 0
        self.options = tuple(options)
        self.directory = Path(tempfile.mkdtemp(prefix="bw-"))
        self.data_directory = self.directory / "data"
        self.socket = self.directory / "s"
        self.log_file = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def launch(cls, kind_name: str, options: Sequence[str] = ()) -> Self:
        """Start a new server of a kind on a copy of its base data directory; ToolError when it cannot be had."""
        build = server_builds.build(kind_name)
        base = base_directory(build)
        instance = cls(build, options)
        try:
            _run(["cp", "-a", "--reflink=auto", str(base / "data"), str(instance.data_directory)])
            instance.start()
        except BaseException:
            instance.close()
            raise
        return instance

    def start(self, options: Sequence[str] | None = None) -> None:
        """Start the server (again), on the same port if it ran before; ``options`` replace those it had."""
        if options is not None:
            self.options = tuple(options)
        for tries_left in reversed(range(_START_TRIES)):
            port = self.port or _free_port()
            try:
                self._process = _spawn(self.build, self._arguments(port), self.log_file)
                _wait_until_ready(self._process, self.log_file)
            except ToolError:
                if self.port or not tries_left:
                    raise
            else:
                self.port = port
                return

    def _arguments(self, port: int) -> list[str]:
        places = (
            f"--datadir={self.data_directory}",
            f"--socket={self.socket}",
            f"--port={port}",
            f"--pid-file={self.directory / 'pid'}",
            f"--tmpdir={self.directory}",
        )
        return [*places, *_COMMON_OPTIONS, *_BINLOG_OPTIONS, *_KIND_OPTIONS[self.build.kind], *self.options]

    def stop(self) -> None:
        """Shut the server down in order and wait until it is gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self, options: Sequence[str] | None = None) -> None:
        """Stop and start on the same port and data directory."""
        self.stop()
        self.start(options)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_TIMEOUT_S)

    def close(self) -> None:
        """Kill the server and remove everything it wrote."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def base_directory(build: ServerBuild) -> Path:
    """The folder holding this build's initialised data directory ``data``, made on first use."""
    made_from = [build.version, str(os.geteuid()), *build.server, *_COMMON_OPTIONS, *_KIND_OPTIONS[build.kind]]
    stamp = "\n".join([*made_from, *_account_statements(build)])
    return installed_once(SERVERS_DIRECTORY / f"{build.kind}-base", stamp, lambda fresh: _make_base(build, fresh))


def _make_base(build: ServerBuild, fresh: Path) -> None:
    say(f"{build.kind}: initialising the data directory of {build.version}")
    data = fresh / "data"
    with tempfile.TemporaryDirectory(prefix="bw-") as short:
        places = [
            f"--datadir={data}",
            f"--tmpdir={short}",
            f"--socket={short}/s",
            f"--pid-file={short}/pid",
            *_COMMON_OPTIONS,
            *_KIND_OPTIONS[build.kind],
        ]
        log_file = Path(short, "log")
        if build.data is not None:
            shutil.copytree(build.data, data)
        elif _initialising(build, places, data, log_file).wait(_START_TIMEOUT_S):
            raise ToolError(f"{build.kind} could not initialise a data directory: {_tail(log_file)}")
        _create_accounts(build, places, Path(short))
    (data / "auto.cnf").unlink(missing_ok=True)  # it holds the server uuid, which every copy must choose anew


def _initialising(build: ServerBuild, places: list[str], data: Path, log_file: Path) -> subprocess.Popen[bytes]:
    """The server at work on a new data directory."""
    if build.scripts is None:
        return _spawn(build, [*places, "--initialize-insecure"], log_file)
    (data / "mysql").mkdir(parents=True)
    sql = log_file.with_name("system.sql")
    sql.write_bytes(_system_tables(build.scripts))
    with sql.open("rb") as script:
        return _spawn(build, [*places, "--bootstrap"], log_file, script)


def _system_tables(scripts: Path) -> bytes:
    present = [scripts / name for name in _SYSTEM_SCRIPTS if (scripts / name).is_file()]
    head = b"use mysql;\nSET @auth_root_socket=NULL;\nSET @skip_auth_anonymous=1;\n"
    return head + b"\n".join(path.read_bytes() for path in present)


def _account_statements(build: ServerBuild) -> list[str]:
    users = "mysql.global_priv" if build.flavour == "mariadb" else "mysql.user"
    # SHOW BINARY LOGS asks for SUPER before 5.5.25 (sql/sql_parse.cc, SQLCOM_SHOW_BINLOGS).
    more = ", SUPER" if build.kind == "mysql55" else ""
    return [
        f"DELETE FROM {users} WHERE User=''",
        "DELETE FROM mysql.db WHERE User=''",  # 5.6 opens databases named test_… to everybody
        "FLUSH PRIVILEGES",
        f"CREATE USER '{REPL_USER}'@'%' IDENTIFIED BY '{REPL_PASSWORD}'",
        f"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT{more} ON *.* TO '{REPL_USER}'@'%'",
    ]


def _create_accounts(build: ServerBuild, places: list[str], short: Path) -> None:
    """Start the server once, closed to the network, with the accounts' statements as its init file."""
    init_file = short / "accounts.sql"
    init_file.write_text("".join(f"{statement};\n" for statement in _account_statements(build)), encoding="utf-8")
    log_file = short / "accounts.log"
    options = ["--skip-networking", "--skip-log-bin", f"--init-file={init_file}", "--character-set-server=utf8mb4"]
    process = _spawn(build, [*places, *options], log_file)
    try:
        _wait_until_ready(process, log_file)
        process.terminate()
        process.wait(_STOP_TIMEOUT_S)
    finally:
        process.kill()
        process.wait(_STOP_TIMEOUT_S)


def _spawn(
    build: ServerBuild, arguments: Sequence[str], log_file: Path, script: object = None
) -> subprocess.Popen[bytes]:
    """Start the server's program with its output in ``log_file``; it is killed when the starting thread ends."""
    user = ["--user=root"] if os.geteuid() == 0 else []
    tied = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    command = [*tied, *build.server, "--no-defaults", *build.options, *user, *arguments]
    with log_file.open("wb") as log:
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            command,
            env={**os.environ, **build.environment},
            stdin=script or subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C ends the tests, which then end their servers
        )


def _wait_until_ready(process: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while _READY not in log_file.read_bytes():
        if process.poll() is not None:
            raise ToolError(f"the server ended with status {process.returncode} while starting: {_tail(log_file)}")
        if time.monotonic() > deadline:
            process.kill()
            raise ToolError(f"the server was not ready after {_START_TIMEOUT_S:.0f} s: {_tail(log_file)}")
        time.sleep(_POLL_S)


def _tail(log_file: Path) -> str:
    return "\n".join(log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(command: list[str]) -> None:
    done = run_quietly(command)
    if done.returncode:
        raise ToolError(f"`{command[0]}` failed with status {done.returncode}: {done.stderr.strip()}")


def install(kinds: Sequence[str]) -> bool:
    """Fetch and initialise servers, saying why one cannot be had; True when all can."""
    complete = True
    for name in kinds:
        if os.environ.get(KINDS[name].address_variable):
            say(f"{name}: using the server named in {KINDS[name].address_variable}")
            continue
        try:
            build = server_builds.build(name)
            base_directory(build)
            say(f"{name}: {build.version} is ready")
        except (ToolError, OSError, subprocess.SubprocessError) as error:
            complete = False
            say(f"{name}: cannot be had, tests that need it are skipped: {error}")
    return complete


def _run_until_interrupted(kind: str, options: list[str]) -> None:
    with Instance.launch(kind, options) as instance:
        say(f"{kind} {instance.build.version} on port {instance.port}, user root, no password; Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


def main() -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.servers", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("install", "record"):
        commands.add_parser(name).add_argument("kinds", nargs="*", choices=[*KINDS, []], default=[])
    run = commands.add_parser("run")
    run.add_argument("kind", choices=list(KINDS))
    run.add_argument("options", nargs="*")
    arguments = parser.parse_args()
    if arguments.command == "install":
        return 0 if install(arguments.kinds or CORE_KINDS) else 1
    if arguments.command == "run":
        _run_until_interrupted(arguments.kind, arguments.options)
        return 0
    for wanted in server_builds.SERVER_PACKAGES:
        if wanted.name in (arguments.kinds or list(KINDS)):
            say(f"recorded {debian.record(wanted)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
