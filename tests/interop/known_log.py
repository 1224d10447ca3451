"""A log whose every byte is known: a real `binwire serve` over a binlog file, and its segments read back.

The records are taken from the segment files by kafka-python's decoder, not by ours: what a client must see is what lies
on disk. A channel has at most 20 consumer groups, and every client several of its own: the server tracks the one binlog
in as many channels as the clients of a run need, so that a client also has topics beside its own that it must not see.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.client import RawClient
from broker.accounts import Verifier
from broker.group_rules import GROUPS_PER_CHANNEL_MAX
from tests import certificates
from tests.certificates import Certificates
from tests.decoded import Record, decode_batches, split_batches
from tests.interop.client import Client
from tests.interop.known_binlog import write_known_binlog
from tests.server_process import ServerProcess

USERNAME = "dtstest"
PASSWORD = "Inter0p-secret"
SESSION_TIMEOUT_MS = 10_000
SHORT_SESSION_TIMEOUT_MS = 3_000
SPARE_GROUP_IDS = tuple(f"dtsspare{number}" for number in range(8))
_CLIENT_ID = "interop"
_LISTENERS = {"SASL_PLAINTEXT": "public", "SASL_SSL": "tls", "PLAINTEXT": "open"}
_OPEN_LISTENER = '[[listeners]]\nname = "open"\nbind = "127.0.0.1:0"\nsecurity = "PLAINTEXT"\n'


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of a test's server: its topic, the ids of its groups, and one group more that no client uses."""

    topic: str
    group_ids: tuple[str, ...]
    spare_group_id: str

    @classmethod
    def of(cls, name: str, group_ids: Sequence[str]) -> Channel:
        return cls(f"cn_hangzhou_rm_{name}_dtstest_version2", tuple(group_ids), f"dtsspare{name}")

    def table(self, source: str, objects: Sequence[str], start: str, **options: str) -> str:
        """The channel as a ``[[channels]]`` table. All groups have one password, hashed once: that takes long."""
        groups = "".join(
            f'[[channels.groups]]\nname = "{group_id}"\nid = "{group_id}"\n'
            f'username = "{USERNAME}"\npassword_hash = "{_password_hash()}"\n'
            for group_id in (*self.group_ids, self.spare_group_id)
        )
        further = "".join(f'{name} = "{value}"\n' for name, value in options.items())
        return (
            f'[[channels]]\nid = "{self.topic}"\ntopic = "{self.topic}"\nsource = "{source}"\n'
            f'objects = {list(objects)}\nstart = "{start}"\n{further}{groups}'
        )


class KnownLog:
    """What a client needs to read one channel's log, and what it must find there."""

    def __init__(self, server: ServerProcess, channel: Channel, tls: Certificates | None = None) -> None:
        self.topic = channel.topic
        self.spare_group_id = channel.spare_group_id
        self._server = server
        self._tls = tls

    @functools.cached_property
    def records(self) -> list[Record]:
        return read_segments(self._server.data_directory, self.topic)

    def bootstrap(self, security: str) -> str:
        """The address of the listener with this security; PLAINTEXT asks for no login and shows every topic."""
        return self._server.bootstrap(_LISTENERS[security])

    def login(self, group_id: str, security: str = "SASL_PLAINTEXT") -> dict[str, str]:
        """The arguments by which a client's scenarios log in as a group."""
        arguments = {
            "bootstrap": self.bootstrap(security),
            "security": security,
            "topic": self.topic,
            "group": group_id,
            "account": USERNAME,
            "username": f"{USERNAME}-{group_id}",
            "password": PASSWORD,
            "client_id": _CLIENT_ID,
            "session_timeout_ms": str(SESSION_TIMEOUT_MS),
        }
        if security == "SASL_SSL":
            assert self._tls is not None
            arguments["ca"] = str(self._tls.ca)
            arguments["truststore"] = str(self._tls.truststore)
            arguments["truststore_password"] = self._tls.truststore_password
        return arguments

    def raw_client(self, group_id: str) -> RawClient:
        """A raw client that has logged in as a group; the caller closes it."""
        client = RawClient(*self._server.address())
        client.login(f"{USERNAME}-{group_id}", PASSWORD)
        return client

    def from_time(self, timestamp_ms: int) -> list[Record]:
        """What a client reads that seeks to a time: from the first record at or after it on, whatever follows."""
        first = next(number for number, record in enumerate(self.records) if record.timestamp_ms >= timestamp_ms)
        return self.records[first:]

    @property
    def interesting_times_ms(self) -> list[int]:
        """Whole seconds: before the first record, at it, between, at the last."""
        times = [record.timestamp_ms for record in self.records]
        return [times[0] - 3_600_000, times[0], times[len(times) // 3] + 1000, times[2 * len(times) // 3], max(times)]


class KnownServer:
    """A server whose every channel holds the known log; each client has the channel its groups are in."""

    def __init__(self, logs: dict[Client, KnownLog], spare: KnownLog) -> None:
        self._logs = logs
        self._spare = spare

    def log_of(self, client: Client | None) -> KnownLog:
        """The log of a client, or one that is nobody's."""
        return self._spare if client is None else self._logs[client]


@contextlib.contextmanager
def serve(folder: Path, clients: Sequence[Client]) -> Iterator[KnownServer]:
    """Serve the known binlog, read to its end, with groups for these clients."""
    binlog = folder / "known-bin.000001"
    count = write_known_binlog(binlog)
    tls = certificates.make(folder / "tls")
    channels = _channels(clients)
    spare = Channel.of("spare", SPARE_GROUP_IDS)
    tables = (channel.table(f"file://{binlog}", ["shop"], "earliest") for channel in (*channels.values(), spare))
    text = server_settings() + tls.listener() + _OPEN_LISTENER + "".join(dict.fromkeys(tables))
    with ServerProcess(folder, text).start() as server:
        server.wait_for(lambda: min(_high_watermarks(server)) >= count, f"{count} records on in every channel")
        logs = {channel: KnownLog(server, channel, tls) for channel in (*channels.values(), spare)}
        assert len(logs[spare].records) == count
        yield KnownServer({client: logs[channel] for client, channel in channels.items()}, logs[spare])


def _channels(clients: Sequence[Client]) -> dict[Client, Channel]:
    """Clients shared out to channels, as many to each as its groups allow."""
    shares: list[list[Client]] = [[]]
    for client in clients:
        if sum(len(each.group_ids) for each in [*shares[-1], client]) >= GROUPS_PER_CHANNEL_MAX:
            shares.append([])
        shares[-1].append(client)
    return {
        client: Channel.of(f"known{number}", [group_id for each in share for group_id in each.group_ids])
        for number, share in enumerate(shares)
        for client in share
    }


def _high_watermarks(server: ServerProcess) -> list[int]:
    return [int(channel["high_watermark"]) for channel in server.status()["channels"]]


def server_settings() -> str:
    """What the configuration of every server here begins with: sessions may be short, clients log in."""
    return (
        f'group_min_session_timeout = "{SHORT_SESSION_TIMEOUT_MS}ms"\n'
        '[[listeners]]\nname = "public"\nbind = "127.0.0.1:0"\nsecurity = "SASL_PLAINTEXT"\n'
    )


@functools.cache
def _password_hash() -> str:
    return str(Verifier.create(PASSWORD))


def read_segments(data_directory: Path, topic: str) -> list[Record]:
    """Every record in a topic's segment files, in order of their names."""
    segments = sorted((data_directory / "topics" / f"{topic}-0").glob("*.log"))
    return [
        record
        for segment in segments
        for batch in split_batches(segment.read_bytes())
        for record in decode_batches(batch)
    ]
