"""Kafka 1.1's own command-line tools, unmodified: what an operator types at a broker works at this one."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from pathlib import Path

import pytest

from broker.apis import APIS
from tests.interop import java_clients
from tests.interop.client import had
from tests.interop.known_log import SPARE_GROUP_IDS, KnownLog

pytestmark = pytest.mark.interop("kafka-tools-1.1.1")

_VERSION = "1.1.1"
_TIMEOUT_S = 120
_CONSOLE, _PERFORMANCE, _RESET, _DELETE, _FOREIGN = SPARE_GROUP_IDS[:5]


class KafkaTools:
    """The tools against one log, each run with the login of a group."""

    def __init__(self, log: KnownLog, folder: Path) -> None:
        self.log = log
        self._folder = folder

    def run(self, main_class: str, *arguments: str) -> str:
        """The standard output of a tool that succeeded."""
        done = self._run(main_class, *arguments)
        assert not done.returncode, done.stdout + done.stderr
        return done.stdout

    def groups(self, group_id: str, *arguments: str) -> str:
        """What kafka-consumer-groups prints; it ends with status 0 whatever happens."""
        address = ("--bootstrap-server", self.log.bootstrap("SASL_PLAINTEXT"))
        return self.run(
            "kafka.admin.ConsumerGroupCommand", *address, "--command-config", self.login(group_id), *arguments
        )

    def login(self, group_id: str) -> str:
        """A file of settings, as every tool takes one."""
        login = self.log.login(group_id)
        settings = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'username="{login["username"]}" password="{login["password"]}";',
            "group.id": group_id,
        }
        file = self._folder / f"{group_id}.properties"
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
        return str(file)

    def _run(self, main_class: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = had(f"kafka-tools-{_VERSION}", lambda: java_clients.tool_command(_VERSION, main_class))
        return subprocess.run(
            [*command, *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=_TIMEOUT_S,
            check=False,
        )


@pytest.fixture
def tools(known_log: KnownLog, tmp_path: Path) -> KafkaTools:
    return KafkaTools(known_log, tmp_path)


def _consume(tools: KafkaTools, group_id: str, count: int) -> str:
    """Let kafka-console-consumer read so many records. What it commits is what it polled, not what it printed."""
    return tools.run(
        "kafka.tools.ConsoleConsumer",
        *("--bootstrap-server", tools.log.bootstrap("SASL_PLAINTEXT"), "--topic", tools.log.topic),
        *("--consumer.config", tools.login(group_id), "--from-beginning", "--max-messages", str(count)),
        *("--property", "print.timestamp=true", "--property", "print.value=false"),
        *("--consumer-property", f"max.poll.records={count}"),
    )


def test_api_versions(tools: KafkaTools) -> None:
    """kafka-broker-api-versions shows the ranges of the table."""
    address = ("--bootstrap-server", tools.log.bootstrap("SASL_PLAINTEXT"))
    printed = tools.run("kafka.admin.BrokerApiVersionsCommand", *address, "--command-config", tools.login(_CONSOLE))
    shown = {
        int(key): (int(low), int(high or low))
        for key, low, high in re.findall(r"\w+\((\d+)\): (\d+)(?: to (\d+))? \[usable: \d+\]", printed)
    }
    assert shown == {api.key: (api.min_version, api.max_version) for api in APIS.values()}


def test_console_consumer_reads_and_the_group_is_described(tools: KafkaTools) -> None:
    records = tools.log.records
    printed = _consume(tools, _CONSOLE, 20)
    assert printed == "".join(f"CreateTime:{record.timestamp_ms}\n" for record in records[:20])
    assert _CONSOLE in tools.groups(_CONSOLE, "--list").split()
    row = _described(tools, _CONSOLE)
    end = records[-1].offset + 1
    assert row[:5] == [tools.log.topic, "0", str(records[19].offset + 1), str(end), str(end - records[19].offset - 1)]


def _described(tools: KafkaTools, group_id: str) -> list[str]:
    """The one row that --describe prints of a group: topic, partition, current offset, log end offset, lag …"""
    printed = tools.groups(group_id, "--describe", "--group", group_id)
    rows = [line.split() for line in printed.splitlines() if line.startswith(tools.log.topic)]
    assert len(rows) == 1, printed
    return rows[0]


def test_offsets_are_reset(tools: KafkaTools) -> None:
    """To the beginning, the end and a time; each commit stands, and the next reader goes on there."""
    log = tools.log
    third = log.interesting_times_ms[2]
    ways = {
        ("--to-latest",): log.records[-1].offset + 1,
        ("--to-earliest",): log.records[0].offset,
        ("--to-datetime", _datetime(third)): log.from_time(third)[0].offset,
        ("--shift-by", "5"): log.from_time(third)[0].offset + 5,
    }
    for way, offset in ways.items():
        tools.groups(_RESET, "--reset-offsets", "--group", _RESET, "--topic", log.topic, *way, "--execute")
        assert _described(tools, _RESET)[2] == str(offset), way


def _datetime(timestamp_ms: int) -> str:
    return dt.datetime.fromtimestamp(timestamp_ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000")


def test_group_is_deleted(tools: KafkaTools) -> None:
    """Its commits are forgotten; the login stays, so that the group begins anew."""
    _consume(tools, _DELETE, 3)
    assert "successful" in tools.groups(_DELETE, "--delete", "--group", _DELETE)
    assert _DELETE not in tools.groups(_DELETE, "--list").split()


def test_group_of_somebody_else_is_not_shown(tools: KafkaTools) -> None:
    _consume(tools, _DELETE, 3)
    assert _DELETE not in tools.groups(_FOREIGN, "--list").split()
    assert tools.log.topic not in tools.groups(_FOREIGN, "--describe", "--group", _DELETE)


def test_consumer_performance(tools: KafkaTools) -> None:
    count = len(tools.log.records)
    printed = tools.run(
        "kafka.tools.ConsumerPerformance",
        *("--broker-list", tools.log.bootstrap("SASL_PLAINTEXT"), "--topic", tools.log.topic, "--messages", str(count)),
        *("--group", _PERFORMANCE, "--consumer.config", tools.login(_PERFORMANCE)),
    )
    head, measured = [[cell.strip() for cell in line.split(",")] for line in printed.splitlines()][:2]
    assert measured[head.index("data.consumed.in.nMsg")] == str(count)


@pytest.mark.parametrize(("asked", "record"), [("-1", -1), ("-2", 0)])
def test_offset_shell(tools: KafkaTools, asked: str, record: int) -> None:
    """GetOffsetShell knows no security: it asks a listener without any, with ListOffsets v0."""
    address = ("--broker-list", tools.log.bootstrap("PLAINTEXT"))
    printed = tools.run("kafka.tools.GetOffsetShell", *address, "--topic", tools.log.topic, "--time", asked)
    offset = tools.log.records[record].offset + (asked == "-1")
    assert printed.split() == [f"{tools.log.topic}:0:{offset}"]
