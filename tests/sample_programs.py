"""Sample code as a user runs it: filled for an embedded broker's channel, in a folder with the schema beside it.

Where the programs' tools come from is the tests' that run them.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from binwire.testing import Channel, EmbeddedBroker
from broker.control import GroupView
from broker.endpoints import Endpoint
from broker.samples import BY_ID, PASSWORD, Sample, sample
from tests.broker.views import channel_view
from tests.tools.workplace import CHECKOUT

RUN_TIMEOUT_S: Final = 90.0
"""Bound for a program that does not show what it should."""
_SHOWN: Final = ("DDL ", "INSERT ", "UPDATE ", "DELETE ", '{"operation"')
SCHEMA: Final = CHECKOUT / "capture" / "record.avsc"
CHANGES: Final = [
    "DDL CREATE DATABASE `test`",
    "DDL CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20), at DATETIME, data VARBINARY(4), n DECIMAL(5,2))",
    "INSERT test.t id: - -> 1; name: - -> 北京; at: - -> 2026-01-31 08:09:10; data: - -> 0x00ff; n: - -> 1.50",
    (
        "UPDATE test.t id: 1 -> 1; name: 北京 -> NULL; at: 2026-01-31 08:09:10 -> NULL; data: 0x00ff -> 0x; "
        "n: 1.50 -> -2.25"
    ),
    "DELETE test.t id: 1 -> -; name: NULL -> -; at: NULL -> -; data: 0x -> -; n: -2.25 -> -",
]
"""What every sample shows of `served_changes`."""


def served_changes(broker: EmbeddedBroker) -> Channel:
    """A channel with a change of each kind."""
    channel = broker.channel()
    table = channel.table(CHANGES[1].removeprefix("DDL "))
    first = {
        "id": 1,
        "name": "北京",
        "at": datetime.fromisoformat("2026-01-31T08:09:10"),
        "data": b"\x00\xff",
        "n": Decimal("1.50"),
    }
    second = {"id": 1, "name": None, "at": None, "data": b"", "n": Decimal("-2.25")}
    table.insert(first)
    table.update((first, second))
    table.delete(second)
    return channel


def filled_sample(
    language: str,
    *,
    endpoint: str = "127.0.0.1:18001",
    topic: str = "cn_hangzhou_rm_x_dtstest_version2",
    group_id: str = "dtssample01",
    username: str = "dtstest",
    password: str | None = None,
    group: bool = True,
    security: str = "SASL_PLAINTEXT",
) -> Sample:
    """The program with these values."""
    shown = GroupView(group_id, "analytics", username, None, None, None)
    channel = channel_view(topic=topic, groups=(shown,))
    made = sample(language, channel, shown if group else None, Endpoint("public", endpoint, security))
    return made if password is None else Sample(made.language, made.text.replace(PASSWORD, password), made.placeholder)


def write_sample(language: str, channel: Channel, folder: Path) -> None:
    """The program for a served channel, and the schema."""
    made = filled_sample(
        language,
        endpoint=channel.kafka_python()["bootstrap_servers"],
        topic=channel.topic,
        group_id=channel.sid,
        username=channel.username,
        password=channel.password,
    )
    (folder / BY_ID[language].file_name).write_text(made.text, "utf-8")
    shutil.copy(SCHEMA, folder)


def changes_of(
    language: str, channel: Channel, folder: Path, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> list[str]:
    """The first lines that the program shows, as many as there are changes; fewer if it ends or takes too long."""
    write_sample(language, channel, folder)
    return lines_of(command, folder, environment)


def lines_of(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> list[str]:
    """The first changes that a program shows which does not end by itself; what else it says is passed over."""
    errors = folder / "errors.txt"
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=environment
        ) as process,
    ):
        watchdog = threading.Timer(RUN_TIMEOUT_S, process.kill)
        watchdog.start()
        assert process.stdout is not None
        try:
            lines = (line.decode().rstrip("\n") for line in process.stdout)
            found = list(itertools.islice((line for line in lines if line.startswith(_SHOWN)), len(CHANGES)))
        finally:
            watchdog.cancel()
            process.kill()
    if len(found) < len(CHANGES):
        found.append(errors.read_text("utf-8", "replace")[-2000:])
    return found
