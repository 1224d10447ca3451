"""The configuration read again while the server runs: who is cut, who stays, what is kept, what needs a restart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.apis.metadata import MetadataRequest, MetadataResponse
from broker.apis.offset_commit import (
    OffsetCommitPartition,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitTopic,
)
from broker.app import Application
from broker.config import load
from broker.config_rules import ConfigError
from broker.control import ask
from broker.signals import hung_up, reload_on_hangup
from tests.broker.raw_client import RawClient

pytestmark = pytest.mark.timeout(60)
HEAD = '[[listeners]]\nbind = "127.0.0.1:0"\n'
CHANNEL = '[[channels]]\nid = "shop"\ntopic = "shop"\nsource = "file:///nowhere/log.000001"\nobjects = ["shop"]\n'


def group(name: str, password: str = "Secret-123", username: str = "dtstest", more: str = "") -> str:
    login = f'username = "{username}"\npassword = "{password}"'
    return f'[[channels.groups]]\nname = "{name}"\nid = "dts{name}"\n{login}\n{more}\n'


class Running:
    """A server on a file that the test changes."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "binwire.toml"
        self.write(group("a"), group("b"))
        self.app = Application(load(self.file), read_again=lambda: load(self.file))

    def write(self, *groups: str, head: str = HEAD, channel: str = CHANNEL) -> None:
        self.file.write_text(head + channel + "".join(groups), "utf-8")

    def client(self) -> RawClient:
        return RawClient(self.app.addresses["public"])


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Running]:
    running = Running(tmp_path)
    await running.app.start()
    yield running
    await running.app.close()


@contextlib.asynccontextmanager
async def logged_in(run: Running, *names: str, password: str = "Secret-123") -> AsyncIterator[list[RawClient]]:
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for name in names:
            client = await stack.enter_async_context(run.client())
            await client.log_in(f"dtstest-dts{name}", password)
            clients.append(client)
        yield clients


async def lives(client: RawClient) -> bool:
    return (await client.ask(MetadataRequest(topics=None), 1, MetadataResponse)).controller_id == 1


async def refused(run: Running, username: str, password: str) -> bool:
    async with run.client() as client:
        await client.handshake(1)
        client.send_token(1, username, password)
        return b"Invalid username or password" in await client.read_frame()


async def test_a_file_that_did_not_change_changes_nothing(run: Running) -> None:
    async with logged_in(run, "a") as [client]:
        assert await run.app.reload() == "the groups are as they were"
        assert await lives(client)


async def test_a_new_password_is_in_force_at_once_and_cuts_that_group_only(run: Running) -> None:
    async with logged_in(run, "a", "b") as [concerned, other]:
        run.write(group("a", "Changed-456"), group("b"))
        assert await run.app.reload() == "groups: login changed of dtsa; connections cut: 1"
        assert await concerned.expect_close() == b""
        assert await lives(other)
    assert await refused(run, "dtstest-dtsa", "Secret-123")
    async with logged_in(run, "a", password="Changed-456") as [client]:
        assert await lives(client)


async def test_a_group_that_left_the_file_is_out_at_once_and_its_offsets_stay(run: Running) -> None:
    async with logged_in(run, "a") as [client]:
        partition = OffsetCommitPartition(partition=0, offset=7)
        commit = OffsetCommitRequest(group_id="dtsa", topics=[OffsetCommitTopic(topic="shop", partitions=[partition])])
        answer = await client.ask(commit, 2, OffsetCommitResponse)
        assert answer.responses[0].partition_responses[0].error_code == 0
        run.write(group("b"))
        assert await run.app.reload() == "groups: removed dtsa; connections cut: 1"
        assert await client.expect_close() == b""
    assert await refused(run, "dtstest-dtsa", "Secret-123")
    assert [(row.group_id, row.offset) for row in run.app.catalog.offsets()] == [("dtsa", 7)]
    run.write(group("a"), group("b"))
    assert await run.app.reload() == "groups: added dtsa; connections cut: 0"
    async with logged_in(run, "a") as [client]:
        assert await lives(client)


async def test_a_renamed_user_and_a_new_group(run: Running) -> None:
    async with logged_in(run, "a") as [client]:
        run.write(group("a", username="renamed"), group("b"), group("c"))
        assert await run.app.reload() == "groups: added dtsc; login changed of dtsa; connections cut: 1"
        assert await client.expect_close() == b""
    assert await refused(run, "dtstest-dtsa", "Secret-123")
    async with logged_in(run, "c") as [client]:
        assert await lives(client)


async def test_a_lower_quota_cuts_who_came_last(run: Running) -> None:
    async with logged_in(run, "a", "a", "a") as clients:
        run.write(group("a", more="connections_max = 2"), group("b"))
        assert await run.app.reload() == "groups: quota changed of dtsa; connections cut: 1"
        assert await clients[2].expect_close() == b""
        assert await lives(clients[0])
        assert await lives(clients[1])


async def test_what_needs_a_restart_is_named(run: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run.write(
        group("a"),
        group("b"),
        '[[channels]]\nid = "more"\ntopic = "more"\nsource = "file:///x/y.000001"\nobjects = ["x"]\n',
        head='[[listeners]]\nbind = "127.0.0.2:0"\n[[listeners]]\nname = "vpc"\nbind = "127.0.0.1:0"\n',
        channel=CHANNEL + 'retention = "1h"\n',
    )
    told = await run.app.reload()
    assert told == (
        "the groups are as they were; a restart is needed for listener vpc (new), listener public: bind, "
        "channel more (new), channel shop: retention"
    )
    assert f"the configuration was read again: {told}" in caplog.messages


@pytest.mark.parametrize("text", ["[[channels", "data_dir = 7\n", HEAD + CHANNEL + group("a", "short")])
async def test_a_file_that_cannot_be_used_changes_nothing_and_says_why(run: Running, text: str) -> None:
    async with logged_in(run, "a") as [client]:
        run.file.write_text(text, "utf-8")
        with pytest.raises(ConfigError, match=r"binwire\.toml"):
            await run.app.reload()
        assert await lives(client)
    async with logged_in(run, "b") as [client]:
        assert await lives(client)


async def test_an_id_of_another_channel_changes_nothing(run: Running) -> None:
    await run.app.close()
    other = '[[channels]]\nid = "other"\ntopic = "other"\nsource = "file:///x/y.000001"\nobjects = ["x"]\n'
    run.write(group("a"), other, group("b"))
    with pytest.raises(ConfigError, match="belongs to the group 'b' of channel 'shop'; give it another id"):
        await Application(load(run.file)).start()


async def test_no_password_of_the_file_is_kept(run: Running) -> None:
    await run.app.reload()
    assert [group.password for channel in run.app._config.channels for group in channel.groups] == [None, None]


async def test_sighup_and_the_control_socket_do_it(run: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    control = run.file.parent / "data" / "control.sock"
    run.write(group("b"))
    [answer] = await asyncio.to_thread(lambda: list(ask(control, {"request": "reload"})))
    assert answer == {"reloaded": "groups: removed dtsa; connections cut: 0", "refused": []}
    run.file.write_text("[[", "utf-8")
    reloading = asyncio.create_task(reload_on_hangup(hung_up(), run.app.reload))
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGHUP)
    while "nothing is changed" not in caplog.text:  # noqa: ASYNC110 - a signal comes when it comes
        await asyncio.sleep(0.001)
    run.write(group("a"), group("b"))
    os.kill(os.getpid(), signal.SIGHUP)
    while "groups: added dtsa" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    reloading.cancel()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)


async def test_hangups_before_the_start_and_during_a_reading_stand_for_one_reading() -> None:
    """A signal that comes while the server starts does not end it, and a storm of them queues nothing."""
    hangup = hung_up()
    readings, goes_on = 0, asyncio.Event()

    async def reload() -> str:
        nonlocal readings
        readings += 1
        await goes_on.wait()
        if readings == 2:
            raise RuntimeError("a fault of ours")
        return "read"

    async def hang_up() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        await hangup.wait()

    await hang_up()
    reloading = asyncio.create_task(reload_on_hangup(hangup, reload))
    while not readings:  # noqa: ASYNC110
        await asyncio.sleep(0)
    for _ in range(100):
        await hang_up()
    goes_on.set()
    while readings < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert not hangup.is_set()
    await hang_up()
    while readings < 3:  # noqa: ASYNC110
        await asyncio.sleep(0)
    reloading.cancel()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
