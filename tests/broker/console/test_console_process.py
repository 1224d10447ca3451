"""The console of a real `binwire serve`: where it is told of, how it ends with the server, what a reload changes."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.accounts import Verifier
from broker.remote import Web, call
from tests import certificates
from tests.broker.console.served_console import TOKEN, TOKEN_HASH
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT

CONSOLE = f"""
[[listeners]]
bind = "127.0.0.1:0"

[console]
bind = "127.0.0.1:0"
tokens = ["{TOKEN_HASH}"]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, CONSOLE).start() as running:
        yield running


def web(server: ServerProcess, token: str = TOKEN) -> Web:
    return Web(f"http://{server.bootstrap('console')}", token)


def binwire(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "binwire", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def test_its_address_is_told_wherever_listeners_are(server: ServerProcess) -> None:
    address = server.bootstrap("console")
    assert server.status()["listeners"]["console"] == address
    found = call(web(server), "show_server", {})
    assert {each.name: each.address for each in found.listeners}["console"] == address


def test_it_ends_with_the_server_in_good_order(server: ServerProcess) -> None:
    """With a connection that nobody uses, one in the middle of a request, and one that was answered and stays."""
    idle = socket.create_connection(server.address("console"))
    begun = socket.create_connection(server.address("console"))
    begun.sendall(b"POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    kept = http.client.HTTPConnection(*server.address("console"))
    kept.request("GET", "/api/v1/server")
    assert kept.getresponse().read() != b""
    assert server.stop() == 0
    assert not (server.data_directory / "running").exists()
    for connection in (idle, begun):
        connection.close()
    kept.close()


def test_it_may_be_stopped_as_soon_as_it_started(tmp_path: Path) -> None:
    """While what answers is still being loaded."""
    server = ServerProcess(tmp_path, CONSOLE).start()
    assert server.stop() == 0
    assert "Traceback" not in server.log_tail()


def test_a_reload_takes_another_token_and_no_other_server_is_needed(server: ServerProcess) -> None:
    assert call(web(server), "show_server", {}).version
    file = server.folder / "binwire.toml"
    file.write_text(file.read_text("utf-8").replace(TOKEN_HASH, str(Verifier.create("another token"))), "utf-8")
    assert "password or tokens changed" in call(web(server), "reload", {}).message
    with pytest.raises(Exception, match="this is not the token"):
        call(web(server), "show_server", {})
    assert call(web(server, "another token"), "list_audit", {}).entries[0].refusal == "unauthenticated"


def test_the_configuration_keeps_no_secret_when_it_serves(server: ServerProcess) -> None:
    """Nor does a reload of the same file take anything for changed."""
    assert call(web(server), "reload", {}).message == "the groups are as they were"


def test_an_address_without_a_password_is_refused_by_check_and_serve(tmp_path: Path) -> None:
    file = tmp_path / "binwire.toml"
    file.write_text(f'data_dir = "{tmp_path}/data"\n[console]\nbind = "0.0.0.0:0"\n', "utf-8")
    for command in ("serve", "check"):
        done = binwire(command, "-c", str(file))
        assert done.returncode == 1
        assert "console.bind: found 0.0.0.0:0 without a password, where anybody could change" in done.stderr
    assert not (tmp_path / "data" / "ready.json").exists()


def test_an_address_that_is_taken_ends_the_start_with_a_sentence(server: ServerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    address = server.bootstrap("console")
    file = folder / "binwire.toml"
    listeners = '[[listeners]]\nbind = "127.0.0.1:0"\n'
    file.write_text(f'data_dir = "{folder}/data"\n{listeners}[console]\nbind = "{address}"\n', "utf-8")
    done = binwire("serve", "-c", str(file))
    assert done.returncode == 1
    assert f"console cannot use {address}: it is in use" in done.stderr


def test_a_backup_has_the_log_of_changes(server: ServerProcess, tmp_path: Path) -> None:
    call(web(server), "reload", {})
    target = tmp_path / "copy"
    assert binwire("backup", str(target), "--data-dir", str(server.data_directory)).returncode == 0
    [entry] = [json.loads(line) for line in (target / "audit.jsonl").read_bytes().splitlines()]
    assert (entry["operation"], entry["name"]) == ("reload", "token 1")


def test_check_looks_at_its_address_and_its_certificate(server: ServerProcess, tmp_path: Path) -> None:
    def items(console: str) -> dict[str, tuple[str, str]]:
        file = tmp_path / "checked.toml"
        listeners = '[[listeners]]\nbind = "127.0.0.1:0"\n'
        file.write_text(f'data_dir = "{tmp_path}/none"\n{listeners}[console]\n{console}', "utf-8")
        found = json.loads(binwire("check", "--json", "-c", str(file)).stdout)["machine"]["items"]
        return {item["name"]: (item["outcome"], item["found"]) for item in found}

    assert items('bind = "127.0.0.1:0"')["listener console"] == ("passed", "127.0.0.1:0 is free")
    taken = server.bootstrap("console")
    assert items(f'bind = "{taken}"')["listener console"][0] == "failed"
    assert binwire("check", "-c", str(server.folder / "binwire.toml")).returncode == 0
    made = certificates.make(tmp_path / "tls")
    shown = items(f'bind = "127.0.0.1:0"\nhosts = ["other.example"]\ntls_cert = "{made.cert}"\ntls_key = "{made.key}"')
    assert "not for other.example" in shown["certificate console"][1]
