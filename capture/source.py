"""What a channel reads from: the `Source` protocol, its addresses, and who the server behind it is.

Three homes of one protocol: `mysql_source.py` (a server), `file_source.py` (binlog files, and their replay at a live
pace) and `embedded_source.py` (changes by call). All hand over raw binlog events, header included, checksum included,
so that everything behind them is one path.

Addresses are URLs; user, password and paths are percent-decoded:

    mysql:// mariadb:// polardb://   user:password@host:port[,host:port…]/?tls=…&tls_ca=…&tls_cert=…&tls_key=…
    file://                          /path/to/mysql-bin.000001[,mysql-bin.000002…]?follow=true&lower_case_table_names=…

The password is never in a repr, a log line or an error text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from capture.errors import CaptureError, SourceRefused, SourceUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from capture.binlog_files import BinlogFile
    from capture.position import BinlogPosition
    from storage.clock import Clock

MYSQL_PORT = 3306
SERVER_SCHEMES = ("mysql", "mariadb", "polardb")
FILE_SCHEME = "file"
FILE_VARIABLES = ("lower_case_table_names", "collation_server")
"""Global variables of the server that wrote the files, which they do not tell; options of a file source's address."""

HEARTBEAT_PERIOD_MS = 5_000
"""How often a server that has nothing to send says so (`@master_heartbeat_period`); three missed periods mean dead."""

MISSED_HEARTBEATS_MAX = 3


class SourceAddressError(CaptureError):
    """A source address that cannot be used; the message never repeats the password."""


class Flavour(StrEnum):
    """Which dialect the server speaks where they part: GTIDs, transaction start, status statements."""

    MYSQL = "mysql"
    MARIADB = "mariadb"


class Tls(StrEnum):
    """`tls=` of a server address, in the meanings of MySQL's own `--ssl-mode`."""

    DISABLED = "disabled"
    PREFERRED = "preferred"
    REQUIRED = "required"
    VERIFY_CA = "verify_ca"
    VERIFY_IDENTITY = "verify_identity"


class SourceAddress(Struct, frozen=True):
    """A parsed source URL."""

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    user: str = ""
    password: str = ""
    tls: Tls = Tls.PREFERRED
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    paths: tuple[str, ...] = ()
    follow: bool = False
    variables: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<source {self}>"  # without the password

    @classmethod
    def parse(cls, url: str) -> SourceAddress:
        """Read a source URL. Raises SourceAddressError."""
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in (*SERVER_SCHEMES, FILE_SCHEME):
            allowed = ", ".join(f"{name}://" for name in (*SERVER_SCHEMES, FILE_SCHEME))
            raise SourceAddressError(
                f"the source address starts with {scheme.partition(':')[0][:16]!r}; allowed are {allowed}"
            )
        location, _, query = rest.partition("?")
        if scheme != FILE_SCHEME and "@" in query:
            # What is taken for options then may be the rest of a password, which no sentence has.
            raise SourceAddressError(
                "the source address has a ? before its last @; in a user name or password it is written %3F"
            )
        options = _options(query)
        if scheme == FILE_SCHEME:
            return _parse_files(scheme, location, options)
        return _parse_server(scheme, location, options)

    def __str__(self) -> str:
        """The address as it may be shown: without the password."""
        if self.scheme == FILE_SCHEME:
            return f"file://{','.join(self.paths)}"
        return f"{self.scheme}://{self.user}@{','.join(show_host(*host) for host in self.hosts)}"


def _parse_files(scheme: str, location: str, options: dict[str, str]) -> SourceAddress:
    _refuse_unknown(options, {"follow", *FILE_VARIABLES})
    case = options.get("lower_case_table_names", "0")
    if case not in ("0", "1", "2"):
        raise SourceAddressError(f"lower_case_table_names={case!r} in the source address; allowed are 0, 1 and 2")
    paths = tuple(unquote(path) for path in location.split(",") if path)
    if not paths:
        raise SourceAddressError("the source address names no binlog file; write file:///path/to/mysql-bin.000001")
    folder = paths[0].rpartition("/")[0]
    whole = tuple(path if "/" in path or not folder else f"{folder}/{path}" for path in paths)
    return SourceAddress(
        scheme,
        paths=whole,
        follow=_boolean("follow", options.get("follow", "false")),
        variables=tuple((name, options[name]) for name in FILE_VARIABLES if name in options),
    )


def _parse_server(scheme: str, location: str, options: dict[str, str]) -> SourceAddress:
    _refuse_unknown(options, {"tls", "tls_ca", "tls_cert", "tls_key"})
    credentials, at, hosts = location.rpartition("@")
    user, _, password = credentials.partition(":")
    hosts, _, database = hosts.partition("/")
    if not at or not user or not hosts:
        raise SourceAddressError(
            f"the source address needs a user and a host; write {scheme}://user:password@host:3306"
        )
    if database:
        raise SourceAddressError(
            "the source address names a database behind its host; leave it out, what is tracked stands in objects"
        )
    try:
        tls = Tls(options.get("tls", Tls.PREFERRED).replace("-", "_"))
    except ValueError:
        raise SourceAddressError(
            f"tls={options['tls']!r} in the source address; allowed are {', '.join(Tls)}"
        ) from None
    return SourceAddress(
        scheme,
        hosts=_parse_hosts(hosts),
        user=unquote(user),
        password=unquote(password),
        tls=tls,
        tls_ca=options.get("tls_ca"),
        tls_cert=options.get("tls_cert"),
        tls_key=options.get("tls_key"),
    )


def _parse_hosts(text: str) -> tuple[tuple[str, int], ...]:
    hosts = tuple(_parse_host(host) for host in text.split(","))
    for host in hosts:
        if hosts.count(host) > 1:
            raise SourceAddressError(f"the source address names {show_host(*host)} more than once; name each host once")
    return hosts


def _parse_host(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, str(MYSQL_PORT)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536 and host):
        raise SourceAddressError(f"{text!r} in the source address is not host:port")
    return unquote(host.removeprefix("[").removesuffix("]")), int(port)


def show_host(name: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in options:
            raise SourceAddressError(f"the source address has the option {name!r} more than once; write it once")
        options[name] = value
    return options


def _boolean(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise SourceAddressError(f"{name}={text!r} in the source address; allowed are true and false")
    return text == "true"


def _refuse_unknown(options: dict[str, str], known: set[str]) -> None:
    for name in options:
        if name not in known:
            raise SourceAddressError(
                f"the source address has the option {name!r}; allowed are {', '.join(sorted(known))}"
            )


class ServerRefusal(SourceRefused):
    """An error a server answered with; `code` is its number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class StreamEnded(SourceUnavailable):
    """The server ended a stream in good order and goes on: perhaps for another reader, which will do the same to us."""


class ServerInfo(Struct, frozen=True):
    """Who the server is and what it is set to, read once per connection.

    `server_uuid` is None where the server has none (MariaDB, files). `clock_offset_ms` is its clock minus ours.
    `variables` holds its global variables that matter here, by name, as text; empty for sources that are no server.
    Those have a `beginning` instead, the first position there is, and `files` where they are binlog files.
    """

    version: str
    flavour: Flavour
    server_id: int
    server_uuid: str | None
    lower_case_table_names: int
    clock_offset_ms: int = 0
    beginning: BinlogPosition | None = None
    files: Sequence[BinlogFile] = ()
    variables: Mapping[str, str] = {}

    @property
    def has_checksums(self) -> bool:
        """Whether the first events of a dump, before any format description, end with a CRC-32: servers that know
        checksums are asked for it, whatever `binlog_checksum` is, which may be set to another value at any time.
        """
        return "binlog_checksum" in self.variables


class Source(Protocol):
    """A stream of raw binlog events and, where there is a server behind it, answers to queries.

    `paced_heartbeats`: HEARTBEAT records are written once a second as long as the source is heard; otherwise one per
    heartbeat event, for sources whose caller decides. `queryable`: there is a server that answers `query`.
    """

    paced_heartbeats: bool
    queryable: bool
    heartbeat_period_ms: int

    @property
    def address(self) -> str:
        """What to call the source in messages; without its password."""

    async def connect(self) -> ServerInfo:
        """Reach the source and read who it is. Raises SourceUnavailable, SourceRefused."""

    async def query(self, sql: str) -> list[tuple[str | None, ...]]:
        """The rows of a query, every value as text. Raises SourceUnavailable, SourceRefused."""

    async def start(self, position: BinlogPosition) -> None:
        """Begin to stream from a position, ending a stream that was begun before. Raises as `read` does."""

    async def read(self) -> list[bytes]:
        """Whole events that have arrived, at least one, about 2 ms of work at most; empty once the source has ended.

        Raises SourceUnavailable (connection lost, three heartbeats missed) and SourceRefused (purged position …), after
        everything that arrived before has been handed over. Cancelling it loses no event.
        """

    def pending(self) -> bool:
        """Whether a `read` would return at once."""

    def committed(self, position: BinlogPosition) -> None:
        """Everything before this boundary is in the log and will not be asked for again."""

    def sibling(self) -> Source:
        """Another reader of the same source, for looking around while this one streams."""

    def hosts(self) -> list[Source]:
        """One source for each host that the address names, in its order; itself where there is no choice."""

    async def close(self) -> None:
        """End stream and connections; may be called at any time, also twice."""


def open_source(address: SourceAddress, server_id: int, clock: Clock, *, identity: str = "") -> Source:
    """The source for an address.

    `server_id` is the id under which a server knows this reader; `identity` (the channel's id) and it make a
    stable UUID, so that a new connection ends the dump thread that a lost one left behind.
    """
    if address.scheme == FILE_SCHEME:
        from capture.file_source import FileSource

        return FileSource(_as_paths(address.paths), follow=address.follow, variables=dict(address.variables))
    from capture.mysql_source import MysqlSource

    return MysqlSource(address, server_id, clock, identity=identity)


def _as_paths(paths: Sequence[str]) -> tuple[Path, ...]:
    from pathlib import Path

    return tuple(Path(path) for path in paths)
