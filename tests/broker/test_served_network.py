"""`binwire serve` as its users meet it on the network: certificates that change, wrong ports, wrong passwords, and what
the log says of each.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from broker.apis.fetch import FetchPartition, FetchRequest, FetchTopic
from broker.apis.join_group import GroupProtocol, JoinGroupRequest
from broker.apis.metadata import MetadataRequest, MetadataResponse
from broker.apis.sasl_authenticate import SaslAuthenticateResponse
from broker.listener import Address
from tests import certificates
from tests.broker.raw_client import RawClient
from tests.certificates import Authority, Certificates
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT

pytestmark = pytest.mark.timeout(120)
LOGIN, PASSWORD, CHANGED, WRONG = "dtstest-dtsanalytics01", "Secret-123", "Changed-456", "Wr0ng-789"
LISTENERS = '[[listeners]]\nname = "plain"\nbind = "127.0.0.1:0"\n'
CHANNEL = """
[[channels]]
id = "shop"
topic = "shop"
source = "file:///nowhere/binlog.000001"
objects = ["shop"]

[[channels.groups]]
name = "analytics"
id = "dtsanalytics01"
username = "dtstest"
password_file = "analytics.password"
"""


class Served:
    """A server process with a TLS listener and a plain one, its files, and what it logged."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority()
        self.files: Certificates = certificates.make_with(self.authority, folder)
        self.set_password(PASSWORD)
        self.process = ServerProcess(folder, self.files.listener() + LISTENERS + CHANNEL)

    def set_password(self, password: str) -> None:
        (self.files.cert.parent / "analytics.password").write_text(f"{password}\n", "utf-8")

    def client(self, listener: str = "tls", *, speaks_tls: bool = True) -> RawClient:
        tls = self.files.client_context() if speaks_tls else None
        return RawClient(Address(*self.process.address(listener)), tls=tls)

    def told(self) -> list[str]:
        """The messages of its log; every line is one JSON object."""
        return [json.loads(line)["event"] for line in (self.process.folder / "server.log").read_text().splitlines()]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.005)

    async def shown_certificate(self) -> bytes:
        async with self.client() as client:
            shown = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            assert isinstance(shown, bytes)
            return shown


def reload_by_command(data_directory: Path) -> str:
    arguments = [sys.executable, "-m", "binwire", "reload", "--data-dir", str(data_directory)]
    return subprocess.run(arguments, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    with served.process.start():
        yield served
        assert served.process.stop() == 0
    log = (tmp_path / "server.log").read_text("utf-8")
    assert "Traceback" not in log
    for password in (PASSWORD, CHANGED, WRONG):
        assert password not in log


async def test_a_renewed_certificate_is_shown_without_restart_and_a_broken_one_is_not(served: Served) -> None:
    async with served.client() as old:
        await old.log_in(LOGIN, PASSWORD)
        renewed = served.authority.issue(served.files.cert, served.files.key).public_bytes(Encoding.DER)
        while await served.shown_certificate() != renewed:  # noqa: ASYNC110 - the server looks once a second
            await asyncio.sleep(0.01)
        await old.ask(MetadataRequest(topics=None), 1, MetadataResponse)
        served.files.cert.write_text("half a file", "utf-8")
        os.kill(served.process.pid, signal.SIGHUP)
        reason = f"the file {served.files.cert} holds no certificate in PEM form"
        sentence = f"the certificate in force stays, the new one cannot be used: {reason}"
        await served.until(lambda: sentence in served.told())
        assert await served.shown_certificate() == renewed
        await old.ask(MetadataRequest(topics=None), 1, MetadataResponse)
    told = await asyncio.to_thread(reload_by_command, served.process.data_directory)
    assert told == f"the groups are as they were; {sentence}\n"
    assert served.told().count(sentence) == 1
    assert "is closed" not in "".join(served.told()), "an end with a good-bye is nothing to tell of"


@pytest.mark.parametrize("by_command", [False, True], ids=["hangup", "command"])
async def test_a_new_password_cuts_what_is_open_waiting_or_not(served: Served, by_command: bool) -> None:
    async with served.client() as idle, served.client() as fetching, served.client() as joining:
        for client in (idle, fetching, joining):
            await client.log_in(LOGIN, PASSWORD)
        partition = FetchPartition(partition=0, fetch_offset=0, max_bytes=1 << 20)
        topics = [FetchTopic(topic="shop", partitions=[partition])]
        fetching.send(FetchRequest(max_wait_time=300_000, min_bytes=1, max_bytes=1 << 20, topics=topics), 4)
        protocols = [GroupProtocol(protocol_name="range", protocol_metadata=b"")]
        for _ in range(2):
            # The second finds the first's answer under way or the group waiting; either way it is cut.
            joining.send(
                JoinGroupRequest(
                    group_id="dtsanalytics01",
                    session_timeout=10_000,
                    rebalance_timeout=60_000,
                    member_id="",
                    protocol_type="consumer",
                    group_protocols=protocols,
                ),
                2,
            )
        served.set_password(CHANGED)
        if by_command:
            told = await asyncio.to_thread(reload_by_command, served.process.data_directory)
            assert told == "groups: login changed of dtsanalytics01; connections cut: 3\n"
        else:
            os.kill(served.process.pid, signal.SIGHUP)
        for client in (idle, fetching, joining):
            await client.expect_close()
    async with served.client() as refused:
        await refused.handshake(1)
        refused.send_token(1, LOGIN, PASSWORD)
        assert (await refused.receive(SaslAuthenticateResponse, 0)).error_code == 58
    async with served.client() as client:
        await client.log_in(LOGIN, CHANGED)


async def test_the_wrong_port_and_the_wrong_password_are_told_once_each(served: Served) -> None:
    for _ in range(5):
        async with served.client("tls", speaks_tls=False) as plain:
            plain.send(MetadataRequest(topics=None), 1)
            await plain.expect_close()
        with pytest.raises((ssl.SSLError, OSError)):
            await served.client("plain").__aenter__()
        async with served.client() as wrong:
            await wrong.handshake(1)
            wrong.send_token(1, LOGIN, WRONG)
            await wrong.expect_close()
    told = served.told()
    for sentence in (
        "on listener tls is closed: it does not speak TLS; set its security protocol to SASL_SSL",
        "on listener plain is closed: it speaks TLS; set its security protocol to SASL_PLAINTEXT, or use a SASL_SSL",
        f"on listener tls: Authentication failed: Invalid username or password, username:{LOGIN}",
    ):
        assert sum(sentence in message for message in told) == 1


async def test_only_who_is_in_the_ranges_of_the_file_is_let_in(tmp_path: Path) -> None:
    ranged = '[[listeners]]\nname = "ranged"\nbind = "0.0.0.0:0"\nallow_from = ["127.0.0.2", "2001:db8::/32"]\n'
    with ServerProcess(tmp_path, ranged + CHANNEL.replace("password_file", "password")).start() as server:
        address = Address("127.0.0.1", server.address("ranged")[1])
        async with RawClient(address) as refused:
            assert await refused.expect_close() == b""
        async with RawClient(address, local_host="127.0.0.2") as welcome:
            await welcome.log_in(LOGIN, "analytics.password")
        assert server.stop() == 0
    assert "is closed: allow_from does not have its address" in (tmp_path / "server.log").read_text("utf-8")
