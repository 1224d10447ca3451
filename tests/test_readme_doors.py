"""The README's transcripts are what happens to somebody who has installed Binwire and types them.

`tests/tools/transcript.py` says which blocks these are. Each room is replayed in an environment that has the built
wheel, what it requires and pytest, and nothing of this checkout.
"""

from __future__ import annotations

import contextlib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import installed
from tests.installed import Distribution
from tests.live_server import LiveServer
from tests.tools import readme, transcript
from tests.tools.transcript import Block, TranscriptError, difference, rooms
from tests.transcript_room import Failed, Room

_STATEMENT_END = re.compile(r";[ \t]*(?:--.*)?\n")
ROOMS = rooms(readme.README.read_text(encoding="utf-8"))


def _room(name: str, blocks: list[Block]) -> Any:
    """A room as a test; one that speaks of a MySQL has a real one."""
    needs_mysql = any(3306 in transcript.addresses(block.text) for block in blocks)
    return pytest.param(blocks, marks=[pytest.mark.server("mysql97")] if needs_mysql else [], id=name)


@pytest.fixture(scope="module")
def commands(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are of an environment with the wheel, pip and pytest."""
    return installed.environment(tmp_path_factory.mktemp("readme") / "venv", str(distribution.wheel), "pip", "pytest")


@pytest.mark.parametrize("blocks", [_room(name, blocks) for name, blocks in ROOMS.items()])
def test_what_the_readme_shows_is_what_happens(
    blocks: list[Block],
    commands: Path,
    distribution: Distribution,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    home, folder = tmp_path / "home", tmp_path / "room"
    folder.mkdir()
    variables = installed.clean_environment(home, path=commands)
    links = [variables.get("PIP_FIND_LINKS", ""), str(distribution.folder)]
    variables |= {"PIP_FIND_LINKS": " ".join(filter(None, links)), "PYTHONUNBUFFERED": "1"}
    with contextlib.ExitStack() as stack:
        mysql = None
        if request.node.get_closest_marker("server"):
            server: LiveServer = request.getfixturevalue("mysql97")
            stack.enter_context(_left_as_it_was(server))
            mysql = (server.port, lambda text: server.execute_all(*_STATEMENT_END.split(text)))
        room = stack.enter_context(Room(folder, variables, mysql=mysql))
        for block in blocks:
            room.replay(block)


def test_the_readmes_three_doors_are_replayed():
    assert {"fixture", "server", "benchmark"} <= ROOMS.keys()


@contextlib.contextmanager
def _left_as_it_was(server: LiveServer) -> Iterator[None]:
    """Databases and accounts that a reader makes are gone again from the server that all tests share."""
    accounts = "SELECT CONCAT(QUOTE(user), '@', QUOTE(host)) FROM mysql.user"
    before = {*server.execute("SHOW DATABASES"), *server.execute(accounts)}
    yield
    for (name,) in {*server.execute("SHOW DATABASES")} - before:
        server.execute(f"DROP DATABASE `{name}`")
    for (account,) in {*server.execute(accounts)} - before:
        server.execute(f"DROP USER {account}")


# --- the convention -------------------------------------------------------------------------------------------------


def blocks_of(document: str) -> dict[str, list[Block]]:
    return rooms(textwrap.dedent(document))


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """A room of commands that every machine has, so that the convention is proved without an installation."""
    with Room(tmp_path, {"PATH": "/usr/local/bin:/usr/bin:/bin"}) as room:
        yield room


def test_the_rooms_of_a_document_are_its_marked_blocks():
    found = blocks_of(
        """
        <!-- replay: one -->
        ```console
        $ echo a \\
        > b
        a b

        $ true
        ```
        ```console
        $ not replayed
        ```
        ````
        <!-- replay: inside another block -->
        ````
        <!-- replay: two file=a/b.py -->
        ```python
        print(1)
        ```
        <!-- replay: one status=3 -->
        ```console
        $ exit 3
        ```
        """
    )
    assert {name: [block.language for block in blocks] for name, blocks in found.items()} == {
        "one": ["console", "console"],
        "two": ["python"],
    }
    assert found["one"][0].commands == [transcript.Command("echo a \\\nb", "a b\n\n"), transcript.Command("true", "")]
    assert found["two"][0].values == {"file": "a/b.py"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("<!-- replay: a -->\n\n```console\n$ x\n```", "stands right above a fenced block"),
        ("<!-- replay: a -->", "stands right above a fenced block"),
        ("<!-- replay: a fast -->\n```console\n$ x\n```", "'fast' means nothing here"),
        ("<!-- replay:  -->\n```console\n$ x\n```", "names its room"),
        ("<!-- replay: a -->\n```toml\nx = 1\n```", "needs file= or output"),
        ("<!-- replay: a -->\n```console\n$ x", "has no end"),
    ],
)
def test_a_mark_that_means_nothing_is_an_error(document, message):
    with pytest.raises(TranscriptError, match=message):
        rooms(document)


@pytest.mark.parametrize("text", ["", "output before any command\n$ true"])
def test_a_console_block_without_a_command_is_an_error(text):
    (block,) = rooms(f"<!-- replay: a -->\n```console\n{text}\n```")["a"]
    with pytest.raises(TranscriptError):
        _ = block.commands


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a\n", "a  \n\n"),
        ("started in 0.21 s at 127.0.0.1:18001", "started in 1.5 s at 127.0.0.1:40123"),
        ("topic … sid", "topic cn_x sid"),
        ("INSERT  t  …@…  offset … at 127.0.0.1:…", "INSERT  t  188@1  offset 7 at 127.0.0.1:18001"),
        ('"2026-11-22T00:38:29.69Z"', '"2027-01-02T10:00:00.123456Z"'),
        ("first\n…\nlast", "first\nlast"),
        ("first\n…\nlast", "first\nx\n\ny\nlast"),
        ("…", ""),
        ("…", "a\nb"),
        ("03:22:56  INSERT  shop.t  2539@1  offset 7", "11:02:33  INSERT  shop.t  111@4  offset 9"),
        ("=== 1 passed in 0.53s ===", "===== 1 passed in 2.10s ======"),
    ],
)
def test_what_changes_from_run_to_run_is_compared_by_its_form(shown, printed):
    assert difference(shown, printed) == ""


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a", "b"),
        ("a", ""),
        ("", "a"),
        ("a\nb", "a"),
        ("a", "a\nb"),
        ("first\n…\nlast", "first\nlast\nmore"),
        ("=== 2 passed in 0.53s ===", "=== 1 passed in 0.53s ==="),
        ("a.b", "axb"),
    ],
)
def test_anything_else_is_a_difference(shown, printed):
    assert difference(shown, printed) != ""


def test_numbers_of_a_table_are_compared_by_their_form():
    assert difference("fetch   12,345 rows/s", "fetch  9 rows/s", numbers=True) == ""
    assert difference("fetch   12,345 rows/s", "read  9 rows/s", numbers=True) != ""


def replay(room: Room, document: str) -> None:
    (blocks,) = blocks_of(document).values()
    for block in blocks:
        room.replay(block)


def test_files_commands_and_a_shell_of_its_own_for_each_block(room):
    replay(
        room,
        """
        <!-- replay: a file=deep/words.txt -->
        ```text
        hello
        ```
        <!-- replay: a -->
        ```console
        $ export GREETED=world
        $ echo "$(cat deep/words.txt) $GREETED"; echo aside >&2
        hello world
        aside
        ```
        <!-- replay: a -->
        ```console
        $ echo "${GREETED:-nobody}"
        nobody
        ```
        """,
    )


@pytest.mark.parametrize("command", ["echo other", "false", "echo shown; exit 1"])
def test_a_command_that_does_something_else_fails(room, command):
    with pytest.raises(Failed, match=r"^line "):
        replay(room, f"<!-- replay: a -->\n```console\n$ {command}\nshown\n```")


def test_an_exit_status_is_what_the_mark_says(room):
    replay(room, "<!-- replay: a status=3 -->\n```console\n$ (exit 3)\n```")
    with pytest.raises(Failed, match="ended with status 2"):
        replay(room, "<!-- replay: a status=3 -->\n```console\n$ (exit 2)\n```")


def test_what_stays_runs_until_the_room_ends(tmp_path):
    document = """
        <!-- replay: a stays -->
        ```console
        $ mkfifo pipe; trap 'echo end > ended; exit' INT; echo ready; read < pipe
        ready
        ```
        <!-- replay: a -->
        ```console
        $ echo beside
        beside
        ```
        """
    with Room(tmp_path, {"PATH": "/usr/local/bin:/usr/bin:/bin"}) as room:
        replay(room, document)
    assert (tmp_path / "ended").read_text() == "end\n"


def test_a_command_that_stays_and_ends_fails(room):
    with pytest.raises(Failed, match="ended"):
        replay(room, "<!-- replay: a stays -->\n```console\n$ echo no\nready\n```")


def test_addresses_are_other_ports_and_passwords_are_chosen(room, tmp_path):
    replay(
        room,
        """
        <!-- replay: a file=one.toml -->
        ```toml
        bind = "127.0.0.1:18001"
        ```
        <!-- replay: a -->
        ```console
        $ echo 127.0.0.1:18001 > two; echo '…' > three; cat one.toml
        bind = "127.0.0.1:18001"
        ```
        """,
    )
    address = (tmp_path / "two").read_text().strip()
    assert address != "127.0.0.1:18001"
    assert (tmp_path / "one.toml").read_text() == f'bind = "{address}"\n'
    assert (tmp_path / "three").read_text().startswith("Replayed-")
