"""A row of the default `record_bytes_max`, and one beyond it, in unmodified clients: which settings each of them needs.

The README's table of client settings says what stands in `_READERS`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

from tests.interop.client import Client
from tests.interop.client_matrix import CLIENTS
from tests.interop.client_process import ClientError, ClientProcess
from tests.interop.known_log import Channel, KnownLog, server_settings
from tests.interop.large_rows import DATABASE, write_binlog
from tests.server_process import ServerProcess

_AMPLE_BYTES = 200_000_000
_REFUSED_WITHIN_MS = 10_000
# The matrix's JVMs have less than a program needs that holds such a record several times to print it.
_JAVA_OPTIONS = "-Xmx3g"
_LESS_THAN_AROUND_THE_TEXT_BYTES = 1_000
_ROWS: Final[Mapping[str, tuple[str, int]]] = MappingProxyType(
    {
        "90 MiB": ("90MiB", (90 << 20) - _LESS_THAN_AROUND_THE_TEXT_BYTES),
        "101 MiB": ("102MiB", 101 << 20),
    }
)
"""What the record is called, the `record_bytes_max` of its channel, and the bytes of its text."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a client needs for a record: what it says without (a regular expression; "" if nothing is needed), and the
    arguments that make it read.
    """

    says: str = ""
    arguments: Mapping[str, int] = field(default_factory=dict)


_NOTHING = Needs()
_KEEPS_TRYING = "read 7 of 13 records before the deadline"
_JAVA_0_10_0 = Needs(r"RecordTooLargeException: .*max\.partition\.fetch\.bytes", {"partition_bytes": _AMPLE_BYTES})
_KAFKA_NODE = Needs("MessageSizeTooLarge: .*Increase the fetch size", {"partition_bytes": _AMPLE_BYTES})
# It says what to increase in its log only; a request that the connection took down with it may be what is told.
_LIBRDKAFKA = Needs(f"{_KEEPS_TRYING}|Bad message format", {"response_bytes": _AMPLE_BYTES})
_SARAMA = Needs("message of length [0-9]+ too large or too small", {"response_bytes": _AMPLE_BYTES})
_FRANZ_GO = Needs("response exceeds BrokerMaxReadBytes", {"response_bytes": _AMPLE_BYTES})

_READERS: Final[Mapping[str, tuple[Needs, Needs]]] = MappingProxyType(
    {
        "java-0.10.0.1": (_JAVA_0_10_0, _JAVA_0_10_0),
        "java-0.10.1.1": (_NOTHING, _NOTHING),
        "java-1.1.1": (_NOTHING, _NOTHING),
        "java-4.4.0": (_NOTHING, _NOTHING),
        "kcat": (_NOTHING, Needs("All broker connections are down")),
        "c-librdkafka-0.11.6": (_NOTHING, _LIBRDKAFKA),
        "c-librdkafka-2.0.2": (_NOTHING, _LIBRDKAFKA),
        "confluent-kafka-2.16.1-librdkafka-2.16.0": (_NOTHING, _LIBRDKAFKA),
        "kafka-python-2.0.2": (_NOTHING, _NOTHING),
        "aiokafka-0.14.0": (_NOTHING, _NOTHING),
        "sarama-1.61.1-V0_10_0_0": (_NOTHING, _SARAMA),
        "sarama-1.61.1-V1_1_0_0": (_NOTHING, _SARAMA),
        "franz-go-1.22.2": (_NOTHING, _FRANZ_GO),
        "kafka-go-0.4.51": (_NOTHING, _NOTHING),
        "kafkajs-2.2.4": (_NOTHING, _NOTHING),
        "kafka-node-5.0.0": (_KAFKA_NODE, _KAFKA_NODE),
    }
)
"""A client of the matrix, and what it needs for each of `_ROWS`."""


def _cells() -> Iterator[object]:
    """Every client with every row; none stands for its family in a smaller run, these are heavy."""
    clients = {client.name: client for client in CLIENTS}
    for name, both in _READERS.items():
        for row, needs in zip(_ROWS, both, strict=True):
            yield pytest.param(clients[name], row, needs, id=f"{name}-{row}", marks=pytest.mark.interop(name))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, KnownLog]]:
    """One server with a channel for each row."""
    folder = tmp_path_factory.mktemp("large")
    text, counts, channels = server_settings(), [], {}
    for row, (limit, size) in _ROWS.items():
        name = limit.lower()
        binlog = folder / f"{name}-bin.000001"
        counts.append(write_binlog(binlog, large_bytes=size, rows_before=1, rows_beside=2))
        channels[row] = Channel.of(name, [])
        text += channels[row].table(f"file://{binlog}", [DATABASE], "earliest", record_bytes_max=limit)
    with ServerProcess(folder, text).start() as server:

        def caught_up() -> bool:
            shown = server.status()["channels"]
            return [int(channel["high_watermark"]) for channel in shown] == counts

        server.wait_for(caught_up, f"{counts} records in its channels")
        yield {row: KnownLog(server, channel) for row, channel in channels.items()}


@pytest.mark.parametrize(("client", "row", "needs"), list(_cells()))
def test_a_large_record_is_read_with_what_the_readme_says(
    client: Client,
    row: str,
    needs: Needs,
    logs: dict[str, KnownLog],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_JAVA_OPTIONS", _JAVA_OPTIONS)
    log = logs[row]
    asked = {**log.login(log.spare_group_id), "offset": log.records[0].offset, "count": len(log.records)}
    if needs.says:
        with pytest.raises(ClientError, match=needs.says):
            _read(client, tmp_path / "refused", {**asked, "deadline_ms": _REFUSED_WITHIN_MS})
    if needs.arguments or not needs.says:
        read = _read(client, tmp_path / "read", {**asked, **needs.arguments})
        # A record is compared without being shown: a difference of 90 MiB takes long to tell.
        assert read == [(record.offset, record.value) for record in log.records], "another record than on disk"


def _read(client: Client, folder: Path, asked: Mapping[str, object]) -> list[tuple[int, bytes | None]]:
    """In a process of its own, which ends and gives its memory back."""
    process = ClientProcess(client.start_command(), folder)
    try:
        return [(record.offset, record.value) for record in process.run("assign", **asked).records]
    finally:
        process.kill()
        process.close()
