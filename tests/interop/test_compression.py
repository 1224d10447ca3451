"""A channel's option `compression`, read by unmodified clients: a known log of each codec, byte for byte.

Clients from Kafka 0.11 on get the batches as they are stored and decompress them; older ones, and the raw Fetch v0-v3
below, get messages that are not compressed (`broker/downconvert.py`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from storage.compression import CODECS
from storage.records import iter_batches
from tests.decoded import Record, decode_batches, split_batches
from tests.interop.client import Client
from tests.interop.client_matrix import CLIENTS, cells
from tests.interop.conftest import ClientProcesses
from tests.interop.known_binlog import write_known_binlog
from tests.interop.known_log import Channel, KnownLog, server_settings
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT

_NAMES = tuple(codec.name for codec in CODECS if codec.number)
_AMPLE_BYTES = 8 << 20
_OLD_AND_NEW = ("java-0.10.0.1", "java-0.10.2.2", "java-1.1.1", "java-4.4.0", "kcat", "c-librdkafka-0.11.6")
# kafka-node takes the offsets in a wrapper to be contiguous; sarama asks for Fetch 2 or 7 as its user's setting says.
_ODD = ("kafka-node-5.0.0", "sarama-1.61.1-V0_10_0_0", "sarama-1.61.1-V1_1_0_0", "franz-go-1.22.2")

# kafka-python has its codecs from further packages; the environments of the matrix are without, ours has them.
_KAFKA_PYTHON = Client(
    "kafka-python-with-codecs",
    "python",
    lambda: (sys.executable, "-m", "tests.interop.python.kafka_python_scenarios"),
    representative=True,
)
_CHOSEN = [*(client for client in CLIENTS if client.name in _OLD_AND_NEW + _ODD), _KAFKA_PYTHON]
assert len(_CHOSEN) == len(_OLD_AND_NEW + _ODD) + 1, "a client of this test has another name now"


class CompressedLogs:
    """One server with a channel for each codec over the same binlog."""

    def __init__(self, server: ServerProcess, channels: dict[str, Channel]) -> None:
        self._server = server
        self._logs = {name: KnownLog(server, channel) for name, channel in channels.items()}

    def of(self, codec: str) -> KnownLog:
        return self._logs[codec]

    def tail(self, codec: str) -> list[dict[str, Any]]:
        """What `binwire tail` shows of a log, without what is a channel's own: its ids, and when it read a change."""
        configuration = str(self._server.folder / "binwire.toml")
        command = [sys.executable, "-m", "binwire", "tail", self.of(codec).topic, "-c", configuration]
        command += ["--json", "--records", "5000"]
        shown = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
        records = [json.loads(line) for line in shown.splitlines()]
        for record in records:
            del record["id"], record["tags"]["readerThroughoutTime"]
        return records

    def segments(self, codec: str) -> bytes:
        """The batches of a log as they lie on disk."""
        folder = self._server.data_directory / "topics" / f"{self.of(codec).topic}-0"
        return b"".join(b"".join(split_batches(path.read_bytes())) for path in sorted(folder.glob("*.log")))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompressedLogs]:
    folder = tmp_path_factory.mktemp("compressed")
    binlog = folder / "known-bin.000001"
    count = write_known_binlog(binlog)
    channels = {codec.name: Channel.of(codec.name, []) for codec in CODECS}
    tables = (
        channel.table(f"file://{binlog}", ["shop"], "earliest", compression=name) for name, channel in channels.items()
    )
    with ServerProcess(folder, server_settings() + "".join(tables)).start() as server:

        def caught_up() -> bool:
            return all(int(channel["high_watermark"]) >= count for channel in server.status()["channels"])

        server.wait_for(caught_up, f"{count} records in every channel")
        yield CompressedLogs(server, channels)


@pytest.mark.parametrize("codec", _NAMES)
def test_the_log_on_disk_is_compressed(logs: CompressedLogs, codec: str) -> None:
    stored, plain = logs.segments(codec), logs.segments("none")
    assert len(stored) < len(plain) / 2
    number = _NAMES.index(codec) + 1
    assert {batch.header.compression for batch in iter_batches(stored) if batch.header.size_bytes > 1000} == {number}
    assert {batch.header.compression for batch in iter_batches(plain)} == {0}
    assert len(logs.of(codec).records) == len(logs.of("none").records)


@pytest.mark.parametrize("codec", _NAMES)
@pytest.mark.parametrize("client", cells(_CHOSEN), indirect=True)
def test_clients_read_it_byte_for_byte(
    client: Client, codec: str, logs: CompressedLogs, client_processes: ClientProcesses
) -> None:
    """kafka-node in group mode, with Fetch 2; by assignment it asks with Fetch 0 and so gets no timestamps."""
    log = logs.of(codec)
    records = log.records
    outcome = client_processes.of(client).run(
        "group" if client.name.startswith("kafka-node") else "assign",
        **log.login(log.spare_group_id),
        offset=records[0].offset,
        count=len(records),
        partition_bytes=_AMPLE_BYTES,
    )
    assert outcome.records == records


@pytest.mark.parametrize("codec", _NAMES)
@pytest.mark.parametrize("client", cells(c for c in _CHOSEN if c.name.startswith("kafka-node")), indirect=True)
def test_kafka_node_begins_inside_a_compressed_batch(
    client: Client, codec: str, logs: CompressedLogs, client_processes: ClientProcesses
) -> None:
    """By assignment: it would number a wrapper's records from its end, and drop none before the offset it wants."""
    log = logs.of(codec)
    wanted = [replace(record, timestamp_ms=-1) for record in log.records[1700:1720]]
    outcome = client_processes.of(client).run(
        "assign",
        **log.login(log.spare_group_id),
        offset=wanted[0].offset,
        count=len(wanted),
        partition_bytes=_AMPLE_BYTES,
    )
    assert outcome.records == wanted


@pytest.mark.parametrize("version", range(4))
@pytest.mark.parametrize("codec", [codec.name for codec in CODECS])
def test_old_fetch_versions_get_it_uncompressed(codec: str, version: int, logs: CompressedLogs) -> None:
    log = logs.of(codec)
    read: list[Record] = []
    offset = log.records[0].offset
    with log.raw_client(log.spare_group_id) as raw:
        while offset <= log.records[-1].offset:
            fetched = raw.fetch_messages(log.topic, offset, version, max_bytes=_AMPLE_BYTES)
            assert fetched.records[16:18] == bytes([version // 2, 0]), "magic, and attributes of no codec"
            records = [record for record in decode_batches(fetched.records) if record.offset >= offset]
            read += records
            offset = records[-1].offset + 1
    wanted = log.records
    if version < 2:  # magic 0 has no timestamps
        wanted = [replace(record, timestamp_ms=None) for record in wanted]  # type: ignore[arg-type]
    assert read == wanted


@pytest.mark.parametrize("codec", _NAMES)
def test_binwire_tail_shows_it(codec: str, logs: CompressedLogs) -> None:
    shown = logs.tail(codec)
    assert len(shown) > 3000
    assert shown == logs.tail("none")
