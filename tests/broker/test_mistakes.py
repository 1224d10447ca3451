"""What people get wrong at the source: one sentence each, where they look for it, and nothing lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.app import Application
from broker.config import from_document
from tests.live_server import LiveServer
from tests.tools.workplace import CHECKOUT

ServerFactory = Callable[..., LiveServer]
STATES_AT_REST = ("Normal", "Error")


def channel(source: str, **values: Any) -> dict[str, Any]:
    return {"id": "shop", "topic": "shop", "source": source, "objects": ["shop"]} | values


async def outcome(folder: Path, source: str, **values: Any) -> tuple[str, str | None, bool]:
    """State and reason of a channel that was started on this source, and whether it tries again by itself."""
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
        return view.state, view.reason, view.retried_until_ms is not None
    finally:
        await app.close()


def check(folder: Path, source: str, start: str = "now") -> tuple[int, str, str]:
    """`binwire check` on this source."""
    file = folder / "binwire.toml"
    text = f'[[channels]]\nid = "shop"\ntopic = "shop"\nsource = "{source}"\nobjects = ["shop"]\nstart = "{start}"\n'
    file.write_text(text, "utf-8")
    command = [sys.executable, "-m", "binwire", "check", "-c", str(file)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def shop(mysql97: LiveServer):
    """MySQL 9.7 with a database `shop`."""
    mysql97.execute_all(
        "DROP DATABASE IF EXISTS shop", "CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"
    )
    yield mysql97
    mysql97.execute("DROP DATABASE shop")


async def test_a_source_out_of_reach_is_tried_again(tmp_path):
    state, reason, retried = await outcome(tmp_path, "mysql://repl:Secret-9@127.0.0.1:1")
    assert (state, retried) == ("Error", True)
    assert reason is not None
    assert reason.startswith("the source mysql://repl@127.0.0.1:1 cannot be reached")
    assert "Secret-9" not in reason
    code, out, err = check(tmp_path, "mysql://repl:Secret-9@127.0.0.1:1")
    assert (code, err) == (1, "")
    assert "  FAILED  reachable  the source mysql://repl@127.0.0.1:1 cannot be reached" in out
    assert "Secret-9" not in out


async def test_all_is_well(shop, tmp_path):
    assert await outcome(tmp_path, shop.url()) == ("Normal", None, False)
    code, out, err = check(tmp_path, shop.url())
    assert (code, err) == (0, "")
    assert "FAILED" not in out


async def test_a_wrong_password(shop, tmp_path):
    state, reason, retried = await outcome(tmp_path, shop.url(password="Wrong-9"))
    assert (state, retried) == ("Error", False)
    assert reason is not None
    assert "Access denied for user 'repl'" in reason
    assert "Wrong-9" not in reason
    assert check(tmp_path, shop.url(password="Wrong-9"))[0] == 1


async def test_a_missing_privilege(shop, tmp_path):
    shop.execute_all("CREATE USER poor@'%' IDENTIFIED BY 'Poor-123'", "GRANT SELECT ON shop.* TO poor@'%'")
    try:
        state, reason, retried = await outcome(tmp_path, shop.url("poor", "Poor-123"))
        code, out, _ = check(tmp_path, shop.url("poor", "Poor-123"))
    finally:
        shop.execute("DROP USER poor@'%'")
    assert (state, retried) == ("Error", False)
    assert reason is not None
    assert "REPLICATION" in reason
    assert code == 1
    assert "to do: GRANT REPLICATION SLAVE ON *.* TO 'poor'@'%';" in out


async def test_a_binlog_that_is_not_row(shop, tmp_path):
    with shop.global_variable("binlog_format", "STATEMENT"):
        state, reason, retried = await outcome(tmp_path, shop.url())
        code, out, _ = check(tmp_path, shop.url())
    assert (state, retried) == ("Error", False)
    assert reason is not None
    assert "binlog_format = STATEMENT" in reason
    assert code == 1
    assert "FAILED  binlog_format" in out
    assert "to do: SET GLOBAL binlog_format = ROW;" in out


async def test_a_start_that_is_not_there(shop, tmp_path):
    state, reason, retried = await outcome(tmp_path, shop.url(), start="binlog.000777:4")
    assert (state, retried) == ("Error", False)
    assert reason is not None
    assert "binlog.000777:4" in reason
    code, out, _ = check(tmp_path, shop.url(), start="binlog.000777:4")
    assert code == 1
    assert "FAILED  start position" in out


async def test_a_binlog_that_is_off(server_factory: ServerFactory, tmp_path):
    server = server_factory("mysql97", "--skip-log-bin")
    server.execute("CREATE DATABASE shop")
    state, reason, retried = await outcome(tmp_path, server.url())
    assert (state, retried) == ("Error", False)
    assert reason is not None
    assert "log" in reason
    assert check(tmp_path, server.url())[0] == 1
