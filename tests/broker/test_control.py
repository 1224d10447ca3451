"""The control socket: who may ask, what is answered, and what a following client costs."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from broker.control import REQUEST_BYTES_MAX, ChannelView, ControlError, ControlServer, DiskView, GroupView, ask
from tests.fakes_log import MemoryLog

GROUP = GroupView("dtsanalytics01", "分析", "dtstest", offset=3, metadata="1700000000", behind=2)
VIEW = ChannelView(
    id="shop",
    name="商店",
    topic="shop",
    source="mysql://repl@127.0.0.1:3306",
    state="Normal",
    reason=None,
    retried_until_ms=None,
    start_offset=0,
    high_watermark=5,
    start_timestamp_ms=1_700_000_000_000,
    end_timestamp_ms=1_700_000_004_000,
    position="mysql-bin.000001:529",
    records_per_s=1.0,
    lag_ms=0,
    durable_offset=4,
    disk=DiskView(1 << 20, 2 << 20, 3 << 20, 100.0, "the disk will be full"),
    damages=("0.log, byte 7, offset 3: no record batch begins there",),
    refused_objects=None,
    groups=(GROUP,),
)


class OneChannel:
    """A ChannelControl over one log in memory."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log

    def views(self):
        return [VIEW]

    def view(self, channel_id):
        return VIEW

    def source_address(self, channel_id):
        raise NotImplementedError

    def find_log(self, topic):
        return self.log if topic == self.log.topic else None

    async def precheck(self, channel_id):
        raise NotImplementedError

    start_channel = stop_channel = precheck


async def reload() -> str:
    return "the groups are as they were"


@pytest.fixture
def log():
    log = MemoryLog("shop")
    log.append([b"zero", b"one", b"two"], [1000, 1001, 1002])
    log.append([b"three", b"four"], [1003, 1004])
    return log


@pytest.fixture
async def path(log, tmp_path):
    path = tmp_path / "control.sock"
    server = ControlServer(path, OneChannel(log), lambda: {"public": "127.0.0.1:18001"}, reload)
    await server.start()
    yield path
    await server.close()
    assert not path.exists()


async def answers(path: Path, request) -> list[dict[str, Any]]:
    return await asyncio.to_thread(lambda: list(ask(path, request)))


def values(found: list[dict[str, Any]]) -> list[tuple[int, bytes]]:
    records = [answer["record"] for answer in found if "record" in answer]
    return [(record["offset"], base64.b64decode(record["value"])) for record in records]


async def test_only_the_owner_may_connect(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_status_has_every_channel_and_listener(path):
    [answer] = await answers(path, {"request": "status"})
    [channel] = answer["status"]["channels"]
    assert answer["status"]["listeners"] == {"public": "127.0.0.1:18001"}
    assert channel["name"] == "商店"
    assert channel["groups"] == [
        {
            "id": "dtsanalytics01",
            "name": "分析",
            "username": "dtstest",
            "offset": 3,
            "metadata": "1700000000",
            "behind": 2,
            "consume_timestamp_ms": None,
            "remaining": -1,
            "delay_s": -1,
            "members": [],
            "connections": 0,
            "defined_by": "file",
        }
    ]


async def test_tail_starts_so_many_records_before_the_end(path):
    found = await answers(path, {"request": "tail", "topic": "shop", "back": 3})
    assert values(found) == [(2, b"two"), (3, b"three"), (4, b"four")]
    assert found[-2:] == [{"caught_up": 5}, {"end": 5}]


async def test_tail_starts_at_the_beginning_if_there_is_less(path):
    assert len(values(await answers(path, {"request": "tail", "topic": "shop", "back": 1000}))) == 5


async def test_tail_starts_at_a_time(path):
    found = await answers(path, {"request": "tail", "topic": "shop", "from_ms": 1003})
    assert values(found) == [(3, b"three"), (4, b"four")]


async def test_tail_of_a_time_that_is_still_to_come_is_empty(path):
    found = await answers(path, {"request": "tail", "topic": "shop", "from_ms": 9999})
    assert found == [{"caught_up": 5}, {"end": 5}]


async def test_following_shows_what_arrives_and_ends_with_the_client(path, log):
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b'{"request": "tail", "topic": "shop", "back": 0, "follow": true}\n')
    assert json.loads(await reader.readline()) == {"caught_up": 5}
    assert len(log.subscribers) == 1
    log.append([b"five"], [1005])
    assert values([json.loads(await reader.readline())]) == [(5, b"five")]
    log.append([b"seven"], [1007], gap=1)
    assert values([json.loads(await reader.readline())]) == [(7, b"seven")]
    writer.write_eof()
    assert await reader.read() == b""
    assert log.subscribers == []
    assert log.leased == 0
    writer.close()


async def test_one_record_and_the_one_before_it(path, log):
    def record(offset):
        return {"request": "record", "topic": "shop", "offset": offset}

    assert values(await answers(path, record(0))) == [(0, b"zero")]
    before, found = await answers(path, record(3))
    assert (before["before"]["offset"], values([found])) == (2, [(3, b"three")])
    log.append([b"seven"], [1007], gap=2)
    assert values(await answers(path, record(7))) == [(7, b"seven")]
    with pytest.raises(ControlError, match="the offset 6 of shop is in a gap: no record has it"):
        await answers(path, record(6))
    assert log.leased == 0


@pytest.mark.parametrize(
    ("request_line", "sentence"),
    [
        (
            b'{"request": "record", "topic": "shoes", "offset": 1}\n',
            "there is no topic 'shoes'; `binwire status` lists",
        ),
        (b'{"request": "record", "topic": "shop", "offset": 5}\n', "there is no offset 5 in shop, which has 0 to 4"),
        (b'{"request": "record", "topic": "shop", "offset": -1}\n', "there is no offset -1 in shop, which has 0 to 4"),
        (b'{"request": "record", "topic": "shop"}\n', "there is no offset None in shop, which has 0 to 4"),
        (b'{"request": "stop"}\n', "there is no request 'stop'; there are status, tail, record, operation and reload"),
        (b"[]\n", "a request is a JSON object"),
        (b"{\n", "the request is not one line of JSON of at most 1048576 bytes: Expecting property name"),
        (b"\xff\n", "the request is not one line of JSON of at most 1048576 bytes: 'utf-8' codec"),
        (b"", "the request is not one line of JSON of at most 1048576 bytes: Expecting value"),
        (
            b"1" * (REQUEST_BYTES_MAX + 1) + b"\n",
            "the request is not one line of JSON of at most 1048576 bytes: Separator is",
        ),
        (b'{"request": "tail", "topic": "x"}\n', "there is no topic 'x'; `binwire status` lists the topics"),
        (b'{"request": "tail", "topic": "shop", "back": -1}\n', "back is -1; it is a number of records before the end"),
    ],
)
async def test_a_request_that_cannot_be_done_has_its_sentence(path, request_line, sentence):
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(request_line)
    writer.write_eof()
    answer = json.loads(await reader.read())
    assert answer["error"].startswith(sentence)
    writer.close()


async def test_an_error_becomes_an_exception_of_the_command(path):
    with pytest.raises(ControlError, match="there is no topic 'x'"):
        await answers(path, {"request": "tail", "topic": "x"})


def test_without_a_server_the_sentence_says_so(tmp_path):
    with pytest.raises(ControlError, match=r"no server is running on the data directory .*; start `binwire serve`"):
        list(ask(tmp_path / "control.sock", {"request": "status"}))


def test_a_socket_that_a_crash_left_behind_is_no_server(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with pytest.raises(ControlError, match="no server is running"):
        list(ask(path, {"request": "status"}))


@pytest.mark.parametrize("answered", [b"", b'{"status": {', None])
def test_a_server_that_ends_before_it_answers_is_told_in_a_sentence(tmp_path, answered):
    path = tmp_path / "control.sock"

    def answer_and_end():
        connection, _ = listening.accept()
        with connection:
            if answered is not None:
                connection.recv(1000)
                connection.sendall(answered)
            # Else what was asked is not read, which resets the connection.

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        server = threading.Thread(target=answer_and_end)
        server.start()
        with pytest.raises(ControlError, match="ended before it answered; ask again"):
            list(ask(path, {"request": "status"}))
        server.join()


async def test_a_socket_that_a_crash_left_behind_is_replaced(log, tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    server = ControlServer(path, OneChannel(log), dict, reload)
    await server.start()
    assert len(await answers(path, {"request": "status"})) == 1
    await server.close()


async def test_a_data_directory_with_a_very_long_name_works(log, tmp_path):
    folder = tmp_path / ("d" * 200)
    folder.mkdir()
    server = ControlServer(folder / "control.sock", OneChannel(log), dict, reload)
    await server.start()
    assert len(await answers(folder / "control.sock", {"request": "status"})) == 1
    await server.close()


async def test_closing_ends_the_conversations_that_are_open(log, tmp_path):
    path = tmp_path / "control.sock"
    server = ControlServer(path, OneChannel(log), dict, reload)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b'{"request": "tail", "topic": "shop", "back": 0, "follow": true}\n')
    await reader.readline()
    await server.close()
    assert await reader.read() == b""
    assert log.subscribers == []
    writer.close()
