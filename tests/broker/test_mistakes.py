"""What people get wrong at the source or the data directory: one sentence each, where they look, and nothing lost."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from broker.app import Application
from broker.config import from_document
from tests.live_server import LiveServer
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT

ServerFactory = Callable[..., LiveServer]
STATES_AT_REST = ("Normal", "Error")
POOR = "poor"
POOR_PASSWORD = "Poor-123"


class Outcome(NamedTuple):
    """State and reason of a channel that was started, whether it tries again by itself, and what its log holds."""

    state: str
    reason: str | None
    retried: bool
    high_watermark: int


def channel(source: str, **values: Any) -> dict[str, Any]:
    return {"id": "shop", "topic": "shop", "source": source, "objects": ["shop"]} | values


async def outcome(folder: Path, source: str, **values: Any) -> Outcome:
    """Start a channel on this source and wait until it is at rest."""
    document = {"listeners": [{"bind": "127.0.0.1:0"}], "channels": [channel(source, **values)]}
    app = Application(from_document(document, folder, {}))
    await app.start()
    try:
        [served] = app.channels
        settled = asyncio.Event()
        end = served.channel.subscribe(settled.set)
        while served.channel.status().state not in STATES_AT_REST:
            settled.clear()
            await settled.wait()
        end()
        [view] = app.channels.views()
        assert view.reason is None or "\n" not in view.reason
        return Outcome(view.state, view.reason, view.retried_until_ms is not None, view.high_watermark)
    finally:
        await app.close()


async def refusal(folder: Path, source: str, **values: Any) -> str:
    """The reason of a channel that this source keeps from capturing until somebody acts."""
    found = await outcome(folder, source, **values)
    assert (found.state, found.retried) == ("Error", False)
    assert found.reason is not None
    return found.reason


def check(folder: Path, source: str, **values: Any) -> tuple[int, str, str]:
    """`binwire check` on this source: exit status, output, errors."""
    file = folder / "binwire.toml"
    lines = (f"{key} = {json.dumps(value)}" for key, value in channel(source, **values).items())
    file.write_text('[[listeners]]\nbind = "127.0.0.1:0"\n[[channels]]\n' + "\n".join(lines), "utf-8")
    command = [sys.executable, "-m", "binwire", "check", "-c", str(file)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def remedies(out: str) -> dict[str, str]:
    """What `binwire check` says is to be done, by the items that failed; of more than one line the first."""
    found, failed = dict[str, str](), None
    for line in out.splitlines():
        if (item := re.match(r"  (ok|warning|FAILED) +(\S+(?: \S+)*)", line)) is not None:
            failed = item[2] if item[1] == "FAILED" else None
        elif failed is not None and "to do: " in line:
            found[failed] = line.partition("to do: ")[2]
    return found


def serve(folder: Path, configuration: str) -> tuple[int, str]:
    """`binwire serve` that ends by itself: exit status and what it said."""
    file = folder / "binwire.toml"
    file.write_text(configuration, "utf-8")
    command = [sys.executable, "-m", "binwire", "serve", "-c", str(file)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def shop(mysql97: LiveServer) -> Iterator[LiveServer]:
    """MySQL 9.7 with a database `shop`."""
    mysql97.execute_all(
        "DROP DATABASE IF EXISTS shop", "CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"
    )
    yield mysql97
    mysql97.execute("DROP DATABASE shop")


# --- reaching it ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1:1", "connection refused; check host, port and that the server runs"),
        ("localhost:1", "connection refused; check host, port and that the server runs"),
        ("no-such-host.invalid:3306", "its name is not found ("),
    ],
)
async def test_a_source_out_of_reach_is_tried_again(tmp_path: Path, host: str, reason: str) -> None:
    sentence = f"the source mysql://repl@{host} cannot be reached: {reason}"
    found = await outcome(tmp_path, f"mysql://repl:Secret-9@{host}")
    assert (found.state, found.retried) == ("Error", True)
    assert found.reason is not None
    assert found.reason.startswith(sentence)
    assert "Secret-9" not in found.reason
    code, out, err = check(tmp_path, f"mysql://repl:Secret-9@{host}")
    assert (code, err) == (1, "")
    assert f"  FAILED   reachable  {sentence}" in out
    assert "Secret-9" not in out


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x05\0\0\0\x09old\0",
        b"\x05\0\0\0\x0anew\0",
    ],
)
async def test_something_else_listens_there(tmp_path: Path, greeting: bytes) -> None:
    port, found = await greeted(tmp_path, greeting)
    assert (found.state, found.retried) == ("Error", True)
    assert found.reason == f"what answers at 127.0.0.1:{port} is not a MySQL server; check host and port"


async def test_something_there_hangs_up_at_once(tmp_path: Path) -> None:
    port, found = await greeted(tmp_path, b"")
    assert (found.state, found.retried) == ("Error", True)
    assert found.reason == (
        f"what answers at 127.0.0.1:{port} closes the connection without the greeting of a MySQL server; "
        "check host and port, and that the server has started"
    )


async def greeted(folder: Path, greeting: bytes) -> tuple[int, Outcome]:
    """What becomes of a channel whose source says this and closes the connection; with its port."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        return port, await outcome(folder, f"mysql://repl:Secret-9@127.0.0.1:{port}")


@pytest.mark.parametrize("option", ["tls_ca", "tls_cert", "tls_key"])
@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read: no such file or directory"), ("hello", "")], ids=["missing", "other"]
)
async def test_a_tls_file_that_cannot_be_used(tmp_path: Path, option: str, content: str | None, words: str) -> None:
    certificate, file = tmp_path / "good.pem", tmp_path / "it.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=shop"]
    command += ["-keyout", str(tmp_path / "key.pem"), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    if content is not None:
        file.write_text(content)
    files = {"tls_cert": str(certificate), "tls_key": str(tmp_path / "key.pem")} | {option: str(file)}
    options = "&".join(f"{name}={value}" for name, value in files.items())
    reason = await refusal(tmp_path, f"mysql://repl:Secret-9@127.0.0.1:1?{options}")
    assert f"{option}={file} {words}".rstrip() in reason.replace(" of the source mysql://repl@127.0.0.1:1", "")
    assert "in the source address" in reason


async def test_all_is_well(shop: LiveServer, tmp_path: Path) -> None:
    found = await outcome(tmp_path, shop.url())
    assert (found.state, found.reason) == ("Normal", None)
    code, out, err = check(tmp_path, shop.url())
    assert (code, err) == (0, "")
    assert "FAILED" not in out


@pytest.mark.parametrize("user", ["repl", "nobody"])
async def test_a_wrong_password(shop: LiveServer, tmp_path: Path, user: str) -> None:
    reason = await refusal(tmp_path, shop.url(user, "Wrong-9"))
    assert f"Access denied for user '{user}'" in reason
    assert "Wrong-9" not in reason
    code, out, err = check(tmp_path, shop.url(user, "Wrong-9"))
    assert (code, err) == (1, "")
    assert f"Access denied for user '{user}'" in out
    assert "Wrong-9" not in out


def test_a_password_is_in_no_log_and_no_process_list(shop: LiveServer, tmp_path: Path) -> None:
    url = shop.url()
    secret, encoded = shop.repl_password, url.partition("://")[2].partition(":")[2].rpartition("@")[0]
    group = '[[channels.groups]]\nname = "a"\nusername = "u"\npassword = "Analytics-9"\n'
    text = f'id = "shop"\ntopic = "shop"\nsource = "{url}"\nobjects = ["shop"]\n'
    listener = '[[listeners]]\nbind = "127.0.0.1:0"\n'
    with ServerProcess(tmp_path, f"{listener}[[channels]]\n{text}{group}") as server:
        server.wait_for(lambda: server.status()["channels"][0]["state"] == "Normal", "capturing")
        seen = Path(f"/proc/{server.pid}/cmdline").read_bytes() + json.dumps(server.status()).encode()
        assert server.stop() == 0
    seen += server.log_tail().encode()
    seen += b"".join(path.read_bytes() for path in server.data_directory.rglob("*") if path.is_file())
    assert b"channel is Normal" in seen
    for password in (secret, encoded, "Analytics-9"):
        assert password.encode() not in seen


# --- what it is set to ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "lacking", "remedy"),
    [
        (("SELECT ON shop.*",), "REPLICATION SLAVE", "GRANT REPLICATION SLAVE ON *.* TO 'poor'@'%';"),
        (
            ("REPLICATION SLAVE ON *.*", "SELECT ON shop.*"),
            "REPLICATION CLIENT",
            "GRANT REPLICATION CLIENT ON *.* TO 'poor'@'%';",
        ),
        (("REPLICATION SLAVE, REPLICATION CLIENT ON *.*",), "SELECT", "GRANT SELECT ON `shop`.* TO 'poor'@'%';"),
    ],
)
async def test_a_missing_privilege(
    shop: LiveServer, tmp_path: Path, granted: tuple[str, ...], lacking: str, remedy: str
) -> None:
    shop.execute(f"CREATE USER {POOR}@'%' IDENTIFIED BY '{POOR_PASSWORD}'")
    shop.execute_all(*(f"GRANT {what} TO {POOR}@'%'" for what in granted))
    source = shop.url(POOR, POOR_PASSWORD)
    try:
        reason = await refusal(tmp_path, source)
        code, out, _ = check(tmp_path, source)
        shop.execute(remedy)
        mended = check(tmp_path, source)[1]
    finally:
        shop.execute(f"DROP USER {POOR}@'%'")
    assert f"{lacking} privilege: not granted" in reason
    assert (remedy in reason) != ("`binwire check` says what to do about each" in reason)
    assert code == 1
    assert remedies(out)[f"{lacking} privilege"] == remedy
    assert "FAILED" not in "".join(line for line in mended.splitlines() if f" {lacking} privilege " in line)


async def test_the_readmes_grants_are_enough(shop: LiveServer, tmp_path: Path) -> None:
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    grants = re.findall(r"^GRANT (.*) TO 'binwire'@'%';$", readme, re.MULTILINE)
    shop.execute(f"CREATE USER {POOR}@'%' IDENTIFIED BY '{POOR_PASSWORD}'")
    try:
        shop.execute_all(*(f"GRANT {what} TO {POOR}@'%'" for what in grants))
        shop.execute_all("USE shop", "CREATE TABLE granted (id INT PRIMARY KEY)", "CREATE VIEW seen AS TABLE granted")
        source = shop.url(POOR, POOR_PASSWORD)
        assert check(tmp_path, source)[0] == 0
        assert (await outcome(tmp_path, source)).state == "Normal"
    finally:
        shop.execute_all(f"DROP USER {POOR}@'%'", "DROP VIEW IF EXISTS shop.seen", "DROP TABLE IF EXISTS shop.granted")
    assert len(grants) == 2


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [("binlog_format", "STATEMENT", "ROW"), ("binlog_format", "MIXED", "ROW"), ("binlog_row_image", "MINIMAL", "FULL")],
)
async def test_a_binlog_without_whole_rows(
    shop: LiveServer, tmp_path: Path, variable: str, value: str, wanted: str
) -> None:
    remedy = f"SET GLOBAL {variable} = {wanted};"
    with shop.global_variable(variable, value):
        reason = await refusal(tmp_path, shop.url())
        code, out, _ = check(tmp_path, shop.url())
    assert f" failed: {variable}: {value}, not {wanted}; {remedy} -- and {variable} = {wanted} under [mysqld]" in reason
    assert code == 1
    assert remedies(out)[variable].startswith(remedy)
    shop.execute(remedies(out)[variable])


async def test_all_that_is_wrong_is_named(shop: LiveServer, tmp_path: Path) -> None:
    with shop.global_variable("binlog_format", "MIXED"), shop.global_variable("binlog_row_image", "MINIMAL"):
        reason = await refusal(tmp_path, shop.url(), objects=["nowhere"])
    assert reason.endswith(
        " failed: binlog_format: MIXED, not ROW; binlog_row_image: MINIMAL, not FULL; "
        "objects: not found, or not visible to this account: nowhere; `binwire check` says what to do about each"
    )


def test_a_server_id_that_is_not_chosen_yet(shop: LiveServer, tmp_path: Path) -> None:
    assert ", this channel chosen at start; 0 other replicas\n" in check(tmp_path, shop.url())[1]
    assert ", this channel 4713; 0 other replicas\n" in check(tmp_path, shop.url(), server_id=4713)[1]


async def test_a_binlog_file_that_is_not_there(tmp_path: Path) -> None:
    sentence = f"the binlog file {tmp_path}/mysql-bin.000001 cannot be read: No such file or directory"
    assert await refusal(tmp_path, f"file://{tmp_path}/mysql-bin.000001", start="earliest") == sentence
    code, out, _ = check(tmp_path, f"file://{tmp_path}/mysql-bin.000001", start="earliest")
    assert code == 1
    assert f"FAILED   reachable  {sentence}" in out
    assert "to do: -- name binlog files that this user may read in the channel's source\n" in out


@pytest.mark.parametrize("name", ["shpo", "shop.nowhere"])
async def test_an_object_that_is_not_there(shop: LiveServer, tmp_path: Path, name: str) -> None:
    assert f"not found, or not visible to this account: {name}" in await refusal(tmp_path, shop.url(), objects=[name])
    code, out, _ = check(tmp_path, shop.url(), objects=["shop", name])
    assert code == 1
    assert "FAILED   objects " in out
    assert name in out


@pytest.mark.parametrize(
    ("start", "why"),
    [
        ("binlog.000777:4", "there is no such file"),
        ("binlog.000001:99999999", "the file ends at binlog.000001:"),
        ("mysql-bin.000001:4", "there is no such file"),
    ],
)
async def test_a_start_that_is_not_there(shop: LiveServer, tmp_path: Path, start: str, why: str) -> None:
    reason = await refusal(tmp_path, shop.url(), start=start)
    assert f"the start position {start} does not exist on {shop.url().partition('://')[0]}://repl@" in reason
    assert f": {why}" in reason
    assert "the binlog goes from binlog.000001:4 to binlog." in reason
    assert "another server" not in reason
    code, out, _ = check(tmp_path, shop.url(), start=start)
    assert code == 1
    assert "FAILED   start position" in out
    assert start in out


@pytest.mark.parametrize(
    ("start", "sentence"),
    [
        ("2999-01-01T00:00:00Z", "the start time 2999-01-01T00:00:00+00:00 is in the future"),
        ("2001-01-01T00:00:00Z", "the start time 2001-01-01T00:00:00+00:00 is before the oldest binlog of"),
    ],
)
async def test_a_start_time_without_binlog(shop: LiveServer, tmp_path: Path, start: str, sentence: str) -> None:
    assert sentence in await refusal(tmp_path, shop.url(), start=start)


async def test_a_start_inside_a_transaction(shop: LiveServer, tmp_path: Path) -> None:
    file, position = shop.binlog_position()
    shop.execute("INSERT INTO shop.t VALUES (1)")
    start = f"{file}:{position + 1}"
    reason = await refusal(tmp_path, shop.url(), start=start)
    assert f"the start position {start} is inside a transaction or an event" in reason


# --- what becomes of it between two runs ------------------------------------------------------------------------------


async def test_a_source_that_changed_since_the_last_run(server_factory: ServerFactory, tmp_path: Path) -> None:
    """Each time the channel says so and stops, its log stays as it was, and it goes on once the source is back."""
    server = server_factory("mysql56")
    server.execute_all("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
    identity = server.instance.data_directory / "auto.cnf"
    first = await outcome(tmp_path, server.url(), start="earliest")
    assert (first.state, first.reason) == ("Normal", None)

    server.kill()
    was = identity.read_bytes()
    identity.unlink()
    server.start()
    replaced = await outcome(tmp_path, server.url())
    assert (replaced.state, replaced.retried) == ("Error", False)
    assert replaced.reason is not None
    for line in (was, identity.read_bytes()):
        assert line.decode().partition("server-uuid=")[2].strip() in replaced.reason

    server.kill()
    identity.write_bytes(was)
    server.start("--skip-log-bin")
    off = await outcome(tmp_path, server.url())
    assert (off.state, off.retried) == ("Error", False)
    assert off.reason is not None
    assert "binary logging" in off.reason
    code, out, _ = check(tmp_path, server.url())
    assert code == 1
    assert remedies(out) == {"binary logging": "log_bin = binlog  # under [mysqld] in my.cnf, then restart the server"}

    server.kill()
    server.start()
    server.execute("INSERT INTO shop.t VALUES (1)")
    back = await outcome(tmp_path, server.url())
    assert (back.state, back.reason) == ("Normal", None)
    code, out, _ = check(tmp_path, server.url(), start="binlog.000099:4")
    assert (code, ", where this channel's data ends" in out) == (0, True), out

    server.execute_all("FLUSH BINARY LOGS", "INSERT INTO shop.t VALUES (2)", "FLUSH BINARY LOGS")
    oldest = server.binlog_files()[-1][0]
    server.execute(f"PURGE BINARY LOGS TO '{oldest}'")
    purged = await outcome(tmp_path, server.url())
    assert (purged.state, purged.retried) == ("Error", False)
    assert purged.reason is not None
    assert f"was purged from {server.url().partition('://')[0]}://repl@" in purged.reason
    assert oldest in purged.reason
    assert "start a new channel: give it another id and topic in the configuration file" in purged.reason
    code, out, _ = check(tmp_path, server.url())
    assert code == 1
    assert "FAILED   start position" in out
    assert "was purged from " in out
    assert "to do: -- start a new channel: give it another id and topic in the configuration file\n" in out
    assert first.high_watermark <= replaced.high_watermark == off.high_watermark <= back.high_watermark
    assert purged.high_watermark >= back.high_watermark
    new = await refusal(tmp_path / "new", server.url(), start="binlog.000001:4")
    assert "the start position binlog.000001:4 does not exist on " in new
    assert f"the file was purged, and the binlog goes from {oldest}:4 to " in new


# --- where it is to serve ---------------------------------------------------------------------------------------------


def test_a_port_in_use_ends_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = serve(tmp_path, f'[[listeners]]\nbind = "127.0.0.1:{port}"\n')
    assert status == 1
    assert said == (
        f"binwire: listener public cannot use 127.0.0.1:{port}: it is in use; stop what listens there or change bind\n"
    )


def _other_format(data: Path) -> None:
    data.mkdir()
    (data / "format").write_text("99\n", "utf-8")


def _other_files(data: Path) -> None:
    data.mkdir()
    (data / "photo.jpg").write_bytes(b"")


def _a_file(data: Path) -> None:
    data.write_bytes(b"")


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (
            _other_format,
            (
                "the data directory {data} has format '99' and this version of Binwire reads format 1; use the version "
                "that wrote it, or name another directory"
            ),
        ),
        (
            _other_files,
            "the directory {data} holds other files (photo.jpg) and no Binwire data; name an empty directory",
        ),
        (
            _a_file,
            (
                "the data directory {data} cannot be used (Not a directory); name a directory that this user may "
                "create and write"
            ),
        ),
    ],
)
def test_a_data_directory_that_is_none_of_ours(tmp_path: Path, prepare: Callable[[Path], None], sentence: str) -> None:
    data = tmp_path / "data"
    prepare(data)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    status, said = serve(tmp_path, 'listeners = [{bind = "127.0.0.1:0"}]\n')
    assert (status, said) == (1, f"binwire: {sentence.format(data=data)}\n")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.name != "binwire.toml") == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    status, said = serve(tmp_path, 'data_dir = "locked/data"\nlisteners = [{bind = "127.0.0.1:0"}]\n')
    assert status == 1
    assert said.endswith("cannot be used (Permission denied); name a directory that this user may create and write\n")


def test_what_only_opening_a_channel_shows_names_the_file(tmp_path: Path) -> None:
    status, said = serve(
        tmp_path,
        'listeners = [{bind = "127.0.0.1:0"}]\n'
        '[[channels]]\nid = "a"\ntopic = "a"\nsource = "mysql://repl:Secret-9@h:port"\nobjects = ["shop"]\n',
    )
    assert status == 1
    assert said == (
        f"binwire: {tmp_path}/binwire.toml: channels[0].source: 'h:port' in the source address is not host:port\n"
    )
