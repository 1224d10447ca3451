"""A server and the process it belongs to: forks, crashes, Ctrl-C, ends without a close."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from binwire.testing import AsyncEmbeddedBroker, EmbeddedBroker, EmbeddedBrokerError, asynchronous
from binwire.testing.process import ServerProcess
from broker.fixture import owner
from broker.fixture.owner import Owner
from tests.processes import wait_until_gone
from tests.tools.workplace import CHECKOUT

START = """
import os, signal, sys
from binwire.testing import EmbeddedBroker
broker = EmbeddedBroker()
print(broker._process.pid, broker._process.folder, flush=True)
"""
FORK = """
keeping, hold = os.pipe()
if os.fork() == 0:
    os.close(hold)
    os.read(0, 1)  # has all pipes, and lives until this test is over
    os._exit(0)
"""


def run(program: str, start: str = START) -> tuple[int, int, Path]:
    """Run a program after `start`; its status, the server's process and its folder."""
    hold, keep = os.pipe()
    try:
        done = subprocess.Popen(
            [sys.executable, "-c", start + program], cwd=CHECKOUT, stdin=hold, stdout=subprocess.PIPE, text=True
        )
        assert done.stdout is not None
        pid, folder = done.stdout.readline().split()
        status = done.wait()
        wait_until_gone(int(pid))
        done.stdout.close()
    finally:
        os.close(hold)
        os.close(keep)
    return status, int(pid), Path(folder)


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        (f"{FORK}\nos.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        (f"{FORK}\nbroker.close()", 0),
        ("", 0),
        ("sys.exit(4)", 4),
        ("os._exit(5)", 5),
        ("raise KeyboardInterrupt", -signal.SIGINT),
    ],
    ids=["killed", "terminated", "killed with a fork", "closed with a fork", "not closed", "exit", "_exit", "Ctrl-C"],
)
def test_nothing_is_left(program, status, capfd):
    found, _, folder = run(program)
    assert found == status
    assert not folder.exists()


def test_a_server_with_http_ends_with_its_parent(tmp_path):
    program = """
import os, signal, subprocess, sys
command = [sys.executable, "-m", "binwire", "fixture"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # on our standard input, which goes on
print(server.stdout.readline(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    hold, keep = os.pipe()
    try:
        done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, stdin=hold, stdout=subprocess.PIPE)
        ready = json.loads(done.stdout)["ready"]
        wait_until_gone(ready["pid"])
    finally:
        os.close(hold)
        os.close(keep)
    assert not Path(ready["folder"]).exists()


def test_an_answer_that_nobody_reads_holds_no_end_up():
    """Its owner is killed while it writes, and a process forked from that has the other end of the pipe."""
    program = f"""
import json
from binwire.testing.process import _start
server = _start(None)
ready = json.loads(os.read(server.stdout.fileno(), 4096))["ready"]
print(server.pid, ready["folder"], flush=True)
os.write(server.stdin.fileno(), b'{{"id": 1, "call": "' + b"x" * 1_000_000 + b'", "with": {{}}}}\\n')
os.read(server.stdout.fileno(), 1)
{FORK}
os.kill(os.getpid(), signal.SIGKILL)
"""
    status, _, folder = run(program, start="import os, signal, sys")
    assert status == -signal.SIGKILL
    assert not folder.exists()


def test_ctrl_c_is_its_owners_affair():
    with EmbeddedBroker() as broker:
        os.kill(broker._process.pid, signal.SIGINT)
        broker.channel().close()


def test_a_terminated_server_leaves_nothing():
    broker = EmbeddedBroker()
    assert broker._process.folder is not None
    os.kill(broker._process.pid, signal.SIGTERM)
    broker._process._process.wait()
    assert not Path(broker._process.folder).exists()
    with pytest.raises(EmbeddedBrokerError, match="the embedded broker ended with status 0: it said nothing"):
        broker.channel()
    broker.close()


def test_a_forked_process_is_refused_and_closes_nothing():
    program = """
channel = broker.channel()
child = os.fork()
if child == 0:
    try:
        channel.heartbeat()
    except Exception as error:
        print(str(error).replace(str(os.getppid()), "P").replace(str(os.getpid()), "C"), flush=True)
    broker.close()
    os._exit(0)
os.waitpid(child, 0)
channel.heartbeat()
print(len(channel.records()), flush=True)
broker.close()
"""
    done = subprocess.run([sys.executable, "-c", START + program], cwd=CHECKOUT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    _, refusal, records = done.stdout.splitlines()
    assert refusal.startswith("the embedded broker belongs to process P, and process C was forked from it; make calls")
    assert records == "1"


async def test_a_start_that_is_cancelled_leaves_no_server(monkeypatch):
    started: list[ServerProcess] = []

    def start() -> ServerProcess:
        started.append(ServerProcess())
        return started[0]

    def close(starting: asyncio.Future[ServerProcess]) -> None:
        close_started(starting)
        closed.set()

    closed, close_started = asyncio.Event(), asynchronous._close_started
    monkeypatch.setattr(asynchronous, "ServerProcess", start)
    monkeypatch.setattr(asynchronous, "_close_started", close)
    starting = asyncio.create_task(AsyncEmbeddedBroker().start())
    await asyncio.sleep(0)  # now it starts
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await closed.wait()
    (server,) = started
    wait_until_gone(server.pid)


async def test_who_waits_may_be_cancelled():
    async with AsyncEmbeddedBroker() as broker:
        channel = await broker.channel("CREATE TABLE t (id INT PRIMARY KEY)")
        waiting = asyncio.create_task(channel.wait_consumed(timeout_s=60))
        await channel.heartbeat()  # the call before is under way then
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await channel.close()  # answers that nobody waits for come with it
        assert await (await broker.channel()).records() == []


@pytest.mark.parametrize("has_descriptors", [True, False])
async def test_the_end_of_an_owner_is_seen(monkeypatch, has_descriptors):
    if not has_descriptors:
        monkeypatch.delattr(os, "pidfd_open")
        monkeypatch.setattr(owner, "ASK_S", 0.01)
    gone = asyncio.Event()
    process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE)
    watching = Owner(process.pid, gone.set)
    Owner(process.pid, lambda: pytest.fail("it was closed")).close()
    assert not gone.is_set()
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()
    await gone.wait()
    watching.close()
    again = asyncio.Event()
    Owner(process.pid, again.set)
    await again.wait()
