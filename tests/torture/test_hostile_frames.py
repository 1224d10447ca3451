"""Mutated frames by the hundred thousand on a real server: no crash, no leak, no growth, other clients unharmed.

`BINWIRE_FRAMES` (a million) and `BINWIRE_SEED` say how many and which; `make torture FRAMES=N` sets the first. What is
held against the server: it never ends, no traceback and no error in its log, every response in the order of its
request (`storm.py`); after the storm no file descriptor and no member of the stormed group's connections is left, its
private memory is what it was after the first tenth, and a well-behaved consumer has read the same bytes all the time
(`bystander.py`). A failure names seed and burst, and `Corpus(seed, TOPIC, STORMED).burst(number)` is that burst again.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.decoded import split_batches
from tests.interop.known_binlog import write_known_binlog
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT
from tests.torture.bystander import Bystander
from tests.torture.storm import raw_login

FRAMES_FEW = 6_000
FRAMES_MANY = 1_000_000
TOPIC = "cn_hangzhou_rm_hostile_dtstest_version2"
USERNAME, PASSWORD = "dtstest", "H0stile-secret"
STORMED, QUIET = "dtsstormed", "dtsquiet"
WARM_UP_SHARE = 10
WARM_UP_FRAMES_MIN = 4_000
"""By then every reader and writer is generated."""
WRONG_LOGINS = 4
"""At once, before the warm-up: each thread that verifies passwords keeps the 16 MiB of its first scrypt."""
GROWTH_BYTES_MAX = 8 << 20
"""Private memory that may come on top after the warm-up: what the allocator cannot give back in whole pages."""
SLOWEST_S_MAX = 5.0
"""Bound for a machine under load; the figure is printed."""


def test_few_mutated_frames(tmp_path: Path) -> None:
    torture(tmp_path, FRAMES_FEW, seed=1)


def test_make_hands_the_number_of_frames_on() -> None:
    command = ["make", "--dry-run", "torture", "FRAMES=7"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert "BINWIRE_FRAMES=7 .venv/bin/python -m pytest -m torture" in done.stdout


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_many_mutated_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = int(os.environ.get("BINWIRE_FRAMES") or FRAMES_MANY)
    seed = int(os.environ.get("BINWIRE_SEED") or random.SystemRandom().randrange(1 << 32))
    with capsys.disabled():
        print(f"\nBINWIRE_FRAMES={frames} BINWIRE_SEED={seed}", flush=True)
        print(torture(tmp_path, frames, seed), flush=True)


def torture(folder: Path, frames: int, seed: int) -> str:
    """Run a storm; the figures in words."""
    with server(folder) as running:
        quiet = bystander(running)
        quiet.start()
        running.wait_for(lambda: quiet.rounds > 0 or not quiet.is_alive(), "serving the bystander")
        idle = len(sockets(running))
        fail_to_log_in(running)
        warm = storm(running, seed, max(frames // WARM_UP_SHARE, WARM_UP_FRAMES_MIN), first=0)
        before, descriptors_before = private_bytes(running, quiet, idle), descriptors(running)
        done = storm(running, seed, max(frames - warm["delivered"], 1), first=warm["connections"])
        after, descriptors_after = private_bytes(running, quiet, idle), descriptors(running)
        quiet.stop()
        assert running.stop() == 0, running.log_tail()
    problems = log_problems(folder / "server.log")
    assert not problems, f"seed {seed}: the server's log has {problems}"
    growth = after - before
    assert growth <= GROWTH_BYTES_MAX, f"seed {seed}: private memory grew by {growth} bytes"
    assert descriptors_after == descriptors_before, f"seed {seed}: file descriptors are left open"
    assert quiet.rounds > 0
    assert quiet.slowest_s < SLOWEST_S_MAX
    total = Counter(warm) + Counter(done)
    return (
        f"{total['delivered']} frames on {total['connections']} connections in {total['seconds']:.0f} s: "
        f"{total['delivered'] / total['seconds']:,.0f} a second; "
        f"{total['answered']} answered, {total['closed']} closed, {total['waiting']} left waiting; private memory "
        f"{before >> 10} KiB after a tenth, {after >> 10} KiB at the end; {descriptors_after} file descriptors, as "
        f"before; "
        f"a consumer read the whole log {quiet.rounds} times, its slowest answer took {1000 * quiet.slowest_s:.0f} ms"
    )


def server(folder: Path) -> ServerProcess:
    """A server over a binlog file, read to its end, with a group for the storm and one for the bystander."""
    binlog = folder / "hostile-bin.000001"
    count = write_known_binlog(binlog)
    groups = "".join(
        f'[[channels.groups]]\nname = "{each}"\nid = "{each}"\nusername = "{USERNAME}"\npassword = "{PASSWORD}"\n'
        for each in (STORMED, QUIET)
    )
    running = ServerProcess(
        folder,
        '[[listeners]]\nname = "public"\nbind = "127.0.0.1:0"\nsecurity = "SASL_PLAINTEXT"\n'
        f'[[channels]]\nid = "hostile"\ntopic = "{TOPIC}"\nsource = "file://{binlog}"\nobjects = ["shop"]\n'
        f'start = "earliest"\n{groups}',
    ).start()
    running.wait_for(lambda: int(running.status()["channels"][0]["high_watermark"]) >= count, "at the binlog's end")
    return running


def bystander(running: ServerProcess) -> Bystander:
    segments = sorted((running.data_directory / "topics" / f"{TOPIC}-0").glob("*.log"))
    expected = b"".join(batch for each in segments for batch in split_batches(each.read_bytes()))
    return Bystander(running.address(), TOPIC, QUIET, f"{USERNAME}-{QUIET}", PASSWORD, expected)


def fail_to_log_in(running: ServerProcess) -> None:
    """Give wrong passwords on several connections at once, and wait until all are closed."""
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(socket.create_connection(running.address())) for _ in range(WRONG_LOGINS)]
        for number, stranger in enumerate(strangers):
            stranger.settimeout(60)
            stranger.sendall(raw_login(f"{USERNAME}-{STORMED}", f"wrong-{number}"))
        for stranger in strangers:
            with contextlib.suppress(ConnectionResetError):
                while stranger.recv(4096):
                    pass


def storm(running: ServerProcess, seed: int, frames: int, first: int) -> dict[str, Any]:
    """Run `storm.py` in a process of its own; its outcome."""
    host, port = running.address()
    arguments = {
        "seed": seed,
        "topic": TOPIC,
        "group": STORMED,
        "username": f"{USERNAME}-{STORMED}",
        "password": PASSWORD,
        "host": host,
        "port": port,
        "frames": frames,
        "first": first,
    }
    command = [sys.executable, "-m", "tests.torture.storm", json.dumps(arguments)]
    process = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, f"seed {seed}: {process.stderr}{running.log_tail()}"
    outcome: dict[str, Any] = json.loads(process.stdout)
    failures = outcome.pop("failures")
    assert not failures, f"seed {seed}: {failures}{running.log_tail()}"
    return outcome


def private_bytes(running: ServerProcess, quiet: Bystander, idle: int) -> int:
    """The memory that is the server's own, measured when it has no more than its `idle` sockets left."""
    running.wait_for(lambda: len(sockets(running)) <= idle, f"down to {idle} sockets")
    rounds = quiet.rounds
    running.wait_for(lambda: quiet.rounds > rounds + 1 or not quiet.is_alive(), "served to the bystander")
    rollup = Path(f"/proc/{running.pid}/smaps_rollup").read_text(encoding="ascii")
    private = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_Dirty:"))
    return private << 10


def sockets(running: ServerProcess) -> list[Path]:
    """The server's open sockets; one that is closed while we look counts as open."""
    found = []
    for each in Path(f"/proc/{running.pid}/fd").iterdir():
        try:
            target = each.readlink()
        except FileNotFoundError:
            target = Path("socket:")
        if target.name.startswith("socket:"):
            found.append(each)
    return found


def descriptors(running: ServerProcess) -> int:
    """How many file descriptors the server has open."""
    return len(list(Path(f"/proc/{running.pid}/fd").iterdir()))


def log_problems(log: Path) -> list[str]:
    """The lines that no client may cause."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if "Traceback" in line or '"level": "error"' in line or "exception" in line][:3]
