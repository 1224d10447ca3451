"""`binwire channel` and `binwire group` on a real MySQL: from an address to a released channel, by commands alone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from kafka import KafkaConsumer

from broker.channel_command import _condition
from broker.cli import main
from broker.config_rules import ConfigError
from broker.operation_commands import Secrets, confirmed
from broker.operations.table import BY_NAME
from tests.live_server import LiveServer
from tests.server_process import ServerProcess

pytestmark = pytest.mark.timeout(120)
PASSWORD, OTHER = "Secret-123", "Changed-456"
CONFIGURATION = '[[listeners]]\nname = "public"\nbind = "127.0.0.1:0"\n[console]\nbind = "127.0.0.1:0"\n'


class Terminal(io.StringIO):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


class Commands:
    """Commands on one server, typed in this process."""

    def __init__(
        self, server: ServerProcess, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.server = server
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.place = ["--data-dir", str(server.data_directory)]

    def __call__(self, *arguments: str, stdin: str = "", status: int = 0) -> str:
        """What a command prints; also to standard error if it is to fail."""
        self._monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        found = main([*arguments, *self.place])
        output = self._capsys.readouterr()
        assert found == status, output
        return output.err if status else output.out

    def json(self, *arguments: str, stdin: str = "") -> Any:
        return json.loads(self(*arguments, "--json", stdin=stdin))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, CONFIGURATION) as started:
        yield started


@pytest.fixture
def run(server: ServerProcess, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(server, capsys, monkeypatch)


def until(run: Commands, channel_id: str, state: str) -> dict[str, Any]:
    shown: dict[str, Any] = {}

    def is_there() -> bool:
        shown.update(run.json("channel", "show", channel_id))
        return bool(shown["state"] == state)

    run.server.wait_for(is_there, state)
    return shown


def consumed(run: Commands, topic: str, group_id: str, password: str, wanted: Callable[[bytes], bool]) -> KafkaConsumer:
    """A consumer of the group that has read up to a record that is `wanted`, and committed."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=run.server.bootstrap(),
        group_id=group_id,
        client_id="the-reader",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=f"dtstest-{group_id}",
        sasl_plain_password=password,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        api_version=(1, 0, 0),
    )
    found = False
    while not found:
        for records in consumer.poll(timeout_ms=200).values():
            found = found or any(wanted(record.value) for record in records)
    consumer.commit()
    return consumer


def test_a_channel_whose_precheck_fails_is_made_and_told_by_the_status(run: Commands) -> None:
    run("channel", "create", "mysql://nobody@127.0.0.1:1", "--objects", "shop", stdin="Never-shown1\n", status=1)
    [made] = run.json("channel", "list")["channels"]
    assert made["state"] == "Not Started"
    run("channel", "precheck", made["id"], status=1)


def test_from_an_address_to_a_released_channel(run: Commands, mysql97: LiveServer) -> None:
    database = mysql97.fresh_database()
    mysql97.execute("CREATE TABLE t (id INT PRIMARY KEY, note VARCHAR(20))", database=database)
    address = mysql97.url()
    scheme, _, rest = address.partition("://")
    account, _, hosts = rest.rpartition("@")
    user, _, password = account.partition(":")
    bare, stdin = f"{scheme}://{user}@{hosts}", f"{unquote(password)}\n"

    assert f"{database} " in run("channel", "databases", bare, "--search", database, stdin=stdin)
    assert run.json("channel", "tables", bare, "--database", database, stdin=stdin)["tables"][0]["name"] == "t"
    assert "GRANT" in run("channel", "account", bare, "--objects", database, stdin=stdin)
    made = run.json("channel", "create", bare, "--objects", database, "--name", "the shop", stdin=stdin)
    channel_id = made["id"]
    assert (made["name"], made["state"], made["defined_by"]) == ("the shop", "Not Started", "operation")
    assert {item["outcome"] for item in made["precheck"]} <= {"passed", "warning"}
    assert channel_id in run("channel", "list")
    assert "passed" in run("channel", "precheck", channel_id)
    assert "its groups" in run(
        "group", "create", channel_id, "early", "--username", "dtstest", stdin=f"{PASSWORD}\n", status=1
    )
    run("channel", "start", channel_id)
    shown = until(run, channel_id, "Normal")
    assert shown["objects"] == [database]
    refused = run("channel", "objects", channel_id, f"{database}.nowhere,{database}.never", "`c,d`", status=1)
    assert all(name in refused for name in ("nowhere", "never", "c,d"))
    assert "renamed" in run("channel", "rename", channel_id, "renamed")
    assert f"{channel_id} goes on at {scheme}://" in run("channel", "source", channel_id, bare, stdin=stdin)

    group = run.json("group", "create", channel_id, "analytics", "--username", "dtstest", stdin=f"{PASSWORD}\n")
    mysql97.execute("INSERT INTO t VALUES (1, 'first')", database=database)
    consumer = consumed(run, shown["topic"], group["id"], PASSWORD, lambda value: b"first" in value)
    listed = run.json("group", "list", channel_id)["groups"]
    assert [(each["id"], each["connections"] > 0, each["defined_by"]) for each in listed] == [
        (group["id"], True, "operation")
    ]
    assert [(each["client_id"], each["address"], each["is_active"]) for each in listed[0]["members"]] == [
        ("the-reader", "127.0.0.1", True)
    ]
    assert listed[0]["remaining"] >= 0
    assert listed[0]["delay_s"] >= 0
    assert listed[0]["consume_timestamp_ms"] >= 1_600_000_000_000
    assert "the-reader at 127.0.0.1 (active)" in run("group", "list", channel_id)
    consumer.close()
    idle = run.json("group", "list", channel_id)["groups"][0]
    assert (idle["remaining"], idle["delay_s"], idle["members"], idle["connections"]) == (-1, -1, [], 0)
    assert idle["consume_timestamp_ms"] is not None

    records = run("channel", "records", channel_id, "--table", "t", "--where", "note = first")
    assert "id:1" in records
    assert "INSERT" in records
    assert "no change that was asked for is in it" in run("channel", "records", channel_id, "--table", "nothing")
    assert "defined by" not in run("channel", "sample", channel_id, "python")
    assert group["id"] in run("channel", "sample", channel_id, "python")
    assert json.loads(run("channel", "schema"))["name"] == "Record"

    run("group", "password", channel_id, group["id"], stdin=f"{PASSWORD}\n{OTHER}\n")
    consumed(run, shown["topic"], group["id"], OTHER, lambda value: True).close()
    told = run("group", "delete", channel_id, group["id"], status=1)
    assert "--yes" in told
    assert "for good" in run("group", "delete", channel_id, group["id"], "--yes")
    assert run.json("group", "list", channel_id)["groups"] == []

    assert "--yes" in run("channel", "release", channel_id, status=1)
    assert "for good" in run("channel", "release", channel_id, "--yes")
    assert run("channel", "list") == "no channels\n"
    assert "there is no channel" in run("channel", "show", channel_id, status=1)


def test_commands_at_an_address_do_the_same(run: Commands) -> None:
    run.place = ["--url", f"http://{run.server.bootstrap('console')}"]
    assert run("channel", "list") == "no channels\n"
    assert json.loads(run("channel", "schema"))["name"] == "Record"
    assert "there is no channel" in run("group", "list", "nothing", status=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("channel", "databases", "mysql://root:Visible-1@127.0.0.1:1"),
        ("channel", "create", "mysql://root:Visible-1@127.0.0.1:1", "--objects", "shop"),
        ("call", "change_password", "password=Visible-1"),
        ("call", "list_databases", 'source={"url": "mysql://root:Visible-1@127.0.0.1:1"}'),
    ],
)
def test_a_password_is_no_argument(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--data-dir", "nowhere"]) == 1
    told = capsys.readouterr()
    assert "does not belong on a command line" in told.err
    assert "Visible-1" not in told.err + told.out


def test_any_operation_can_be_called(run: Commands) -> None:
    assert "show_schema" in run("call")
    assert {each["name"] for each in run.json("call")} == set(BY_NAME)
    assert json.loads(run("call", "list_channels", "page=1", "search=nothing"))["total"] == 0
    told = run("call", "show_channel", "--input", stdin='{"channel_id": "nothing"}', status=1)
    assert "there is no channel 'nothing'" in told
    assert "there is no operation 'nothing'" in run("call", "nothing", status=1)
    assert "write KEY=VALUE" in run("call", "list_channels", "search", status=1)
    assert "is not a JSON object" in run("call", "list_channels", "--input", stdin="[]", status=1)
    assert "page" in run("call", "list_channels", "page=many", status=1)


def test_without_a_server_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["channel", "list", "--data-dir", str(tmp_path)]) == 1
    assert "no server is running" in capsys.readouterr().err
    assert main(["group", "list", "shop", "-c", str(tmp_path / "none.toml")]) == 1
    assert "there is no configuration file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["channel"], ["group"], ["channel", "nothing"], ["group", "create", "shop", "a"]]
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert f"usage: binwire {arguments[0]}" in capsys.readouterr().err


# Secrets and confirmations


def test_a_secret_comes_from_the_environment_first_then_standard_input() -> None:
    given = Secrets(io.StringIO("first\nsecond\r\n"), {"KNOWN": "of the environment"})
    assert given.ask("a", "KNOWN") == "of the environment"
    assert given.ask_twice("a", "KNOWN") == ("of the environment", "of the environment")
    assert given.ask("a", "OTHER") == "first"
    assert given.ask_twice("a", "OTHER") == ("second", "second")
    with pytest.raises(ConfigError, match="no line for the a; write it there, or set OTHER"):
        given.ask("a", "OTHER")


def test_at_a_terminal_a_new_secret_is_typed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["one", "another"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    assert Secrets(Terminal(), {}).ask_twice("a", "NONE") == ("one", "another")


def test_a_confirmation_is_typed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert confirmed("All goes.", "shop", is_sure=False, stdin=Terminal("shop\n"))
    assert not confirmed("All goes.", "shop", is_sure=False, stdin=Terminal("sho\n"))
    assert not confirmed("All goes.", "shop", is_sure=False, stdin=Terminal(""))
    assert confirmed("All goes.", "shop", is_sure=True)
    assert "Type shop to go on: " in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"All goes\. Nobody is at a terminal to confirm it; add --yes"):
        confirmed("All goes.", "shop", is_sure=False, stdin=io.StringIO("shop\n"))


@pytest.mark.parametrize(
    ("text", "column", "operator", "value"),
    [
        ("id = 7", "id", "=", "7"),
        ("id >= 7", "id", ">=", "7"),
        ("id != 7", "id", "!=", "7"),
        ("note contains a = b", "note", "contains", "a = b"),
        ("note starts with x", "note", "starts with", "x"),
        ("note is null", "note", "is null", None),
        ("note is not null", "note", "is not null", None),
        ("two words = ", "two words", "=", ""),
    ],
)
def test_a_condition_as_it_is_typed(text: str, column: str, operator: str, value: str | None) -> None:
    assert _condition(text) == {"column": column, "operator": operator, "value": value}


def test_a_condition_without_an_operator_is_refused() -> None:
    with pytest.raises(ConfigError, match="write a column, an operator and a value"):
        _condition("id")
