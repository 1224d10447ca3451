"""The plugin of pytest, in runs of pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.processes import wait_until_gone
from tests.tools.workplace import CHECKOUT

ORDERS = "CREATE TABLE orders (id BIGINT PRIMARY KEY, note VARCHAR(40))"


def run(folder: Path, tests: str, *arguments: str, plugins: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """A run of pytest over one file, with no plugin but ours and `plugins`."""
    (folder / "test_theirs.py").write_text(textwrap.dedent(tests), "utf-8")
    options = [option for plugin in ("binwire.pytest_plugin", *plugins) for option in ("-p", plugin)]
    command = [sys.executable, "-m", "pytest", *options, "-q", "-p", "no:cacheprovider", *arguments, "test_theirs.py"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_broker_for_the_run_and_a_channel_for_each_test(tmp_path):
    done = run(
        tmp_path,
        f"""
        import os
        from pathlib import Path

        seen = []

        def test_one(binwire_channel, binwire_broker):
            binwire_channel.table("{ORDERS}").insert(id=1)
            seen.append((binwire_broker._process.pid, binwire_channel.topic))
            assert len(binwire_channel.records()) == 5

        def test_another(binwire_channel, binwire_broker):
            ((pid, topic),) = seen
            assert binwire_broker._process.pid == pid
            assert binwire_channel.topic != topic
            assert binwire_channel.records() == []
            Path("server").write_text(str(binwire_broker._process.folder))

        async def test_asynchronous(binwire_async_channel):
            await (await binwire_async_channel.table("{ORDERS}")).insert(id=1)
            assert len(await binwire_async_channel.records()) == 5
        """,
        "-o",
        "asyncio_mode=auto",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
        "-W",
        "error",
        plugins=("pytest_asyncio.plugin",),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert not Path((tmp_path / "server").read_text()).exists()


def test_a_failing_test_shows_what_its_channel_held(tmp_path):
    done = run(
        tmp_path,
        f"""
        import pytest

        @pytest.fixture
        def orders(binwire_channel):
            table = binwire_channel.table("{ORDERS}")
            table.insert(id=1, note="x" * 40)
            binwire_channel.heartbeat()
            return table

        def test_it(orders, binwire_channel):
            assert False
        """,
    )
    assert done.returncode == 1
    _, _, shown = done.stdout.partition("Binwire channel ")
    assert "3 INSERT test.orders" in shown
    assert "{'id': 1, 'note': 'xxx" in shown
    assert "5 HEARTBEAT" in shown
    assert "committed by its group: nothing" in shown


def test_a_server_that_died_is_told_and_the_run_goes_on(tmp_path):
    done = run(
        tmp_path,
        """
        def test_it(binwire_channel, binwire_broker):
            binwire_broker._process._process.kill()
            binwire_channel.heartbeat()

        def test_other():
            pass
        """,
    )
    assert done.returncode == 1
    assert "its records cannot be shown: the embedded broker ended with status -9" in done.stdout
    assert "1 failed, 1 passed, 1 error" in done.stdout


@pytest.mark.parametrize("how", ["raise KeyboardInterrupt", "os._exit(3)"])
def test_nothing_is_left_however_a_run_ends(tmp_path, how):
    done = run(
        tmp_path,
        f"""
        import os
        from pathlib import Path

        def test_it(binwire_channel, binwire_broker):
            Path("server").write_text(f"{{binwire_broker._process.pid}} {{binwire_broker._process.folder}}")
            {how}
        """,
        "-x",
    )
    assert done.returncode != 0
    pid, folder = (tmp_path / "server").read_text().split()
    wait_until_gone(int(pid))
    assert not Path(folder).exists()


def test_an_unused_plugin_loads_and_starts_nothing(tmp_path):
    done = run(
        tmp_path,
        """
        import sys

        def test_it():
            assert [name for name in sys.modules if name.startswith("binwire")] == ["binwire", "binwire.pytest_plugin"]
        """,
    )
    assert done.returncode == 0, done.stdout


def test_each_worker_has_a_broker(tmp_path):
    done = run(
        tmp_path,
        """
        import os, pytest
        from pathlib import Path

        @pytest.mark.parametrize("number", range(4))
        def test_it(binwire_channel, binwire_broker, number):
            worker = os.environ["PYTEST_XDIST_WORKER"]
            Path(f"{worker}-{binwire_broker._process.pid}").touch()
        """,
        "-n",
        "2",
        "--dist",
        "loadgroup",
        plugins=("xdist",),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    brokers = {path.name for path in tmp_path.glob("gw*")}
    assert {name.partition("-")[0] for name in brokers} == {"gw0", "gw1"}
    assert len(brokers) == 2
