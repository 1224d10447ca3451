"""Operations on sources, called as REST, commands and console call them, on real servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from broker.capturing import source_desk
from broker.config import Secret
from broker.operations.operation import Caller, OperationError, Refusal, builtins, call
from broker.operations.plane import ControlPlane, LoggedAudit
from broker.operations.sources import SourceArguments, note_created, what_to_take_back
from broker.operations.table import BY_NAME
from capture.account import PLACEHOLDER, AccountPlan
from capture.source import SourceAddress
from capture.whitelist import SeenFrom
from storage.catalog import Catalog
from storage.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.live_server import LiveServer

CALLER = Caller("somebody", "api", "127.0.0.1")
PASSWORD = "N3w-account's"


class View:
    def __init__(self, channel_id: str, source: str) -> None:
        self.id = channel_id
        self.source = source


class FakeChannels:
    """Channels by id, their sources with passwords."""

    def __init__(self, **sources: str) -> None:
        self.sources = sources

    def views(self) -> Sequence[Any]:
        return [View(one, str(SourceAddress.parse(url))) for one, url in self.sources.items()]

    def source_address(self, channel_id: str) -> Secret:
        return Secret(self.sources[channel_id])


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    channels: Any = FakeChannels()
    made = ControlPlane(clock=SystemClock(), channels=channels, audit=LoggedAudit())
    made.sources = source_desk()
    made.catalog = Catalog.open(tmp_path / "catalog.db")
    yield made
    made.catalog.close()


def with_channels(plane: ControlPlane, **sources: str) -> None:
    channels: Any = FakeChannels(**sources)
    plane.channels = channels


async def ask(plane: ControlPlane, name: str, **given: Any) -> Any:
    return json.loads(json.dumps(builtins(await call(plane, BY_NAME[name], given, CALLER))))


async def refusal_of(plane: ControlPlane, name: str, **given: Any) -> OperationError:
    with pytest.raises(OperationError) as caught:
        await call(plane, BY_NAME[name], given, CALLER)
    return caught.value


def parts(server: LiveServer, user: str | None = None, password: str | None = None) -> dict[str, Any]:
    return {
        "host": server.host,
        "port": server.port,
        "username": user or server.repl_user,
        "password": server.repl_password if password is None else password,
    }


# ---- what is there ----


async def test_databases_and_tables_by_parts_by_url_and_by_channel(server: LiveServer, plane: ControlPlane) -> None:
    database = server.fresh_database()
    server.execute_all(*(f"CREATE TABLE t{number} (id INT)" for number in range(5)), database=database)
    with_channels(plane, c=server.url())
    for given in ({"source": parts(server)}, {"source": {"url": server.url()}}, {"channel_id": "c"}):
        found = await ask(plane, "list_databases", search=database, **given)
        assert found["databases"] == [{"name": database, "object": database, "tables": 5}]
        assert found["total"] == 1
        page = await ask(plane, "list_tables", databases=[database], page=3, page_size=2, **given)
        assert page == {
            "tables": [{"database": database, "name": "t4", "object": f"{database}.t4"}],
            "total": 5,
            "page": 3,
            "page_size": 2,
        }


async def test_a_source_that_says_no(server: LiveServer, plane: ControlPlane) -> None:
    refusal = await refusal_of(plane, "list_databases", source=parts(server, "nobody", "S3cret-word"))
    assert refusal.refusal is Refusal.SOURCE_UNAVAILABLE
    assert "denies access" in str(refusal)
    assert "S3cret-word" not in str(refusal)
    gone = await refusal_of(plane, "list_tables", source={"url": "mysql://u:S3cret-word@127.0.0.1:1"})
    assert gone.refusal is Refusal.SOURCE_UNAVAILABLE
    assert "S3cret-word" not in str(gone)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "source"),
        ({"source": {"url": "mysql://u@h"}, "channel_id": "c"}, "source"),
        ({"source": {"host": "h"}}, "source.username"),
        ({"source": {"username": "u"}}, "source.host"),
        ({"source": {"host": "h", "username": "u", "port": 0}}, "source.port"),
        ({"source": {"host": "h", "username": "u", "url": "mysql://u@h"}}, "source.url"),
        ({"source": {"host": "h", "username": "u"}, "page": 0}, "page"),
        ({"source": {"host": "h", "username": "u"}, "page_size": 1001}, "page_size"),
        ({"source": {"host": "h", "username": "u", "odd": 1}}, None),
    ],
)
async def test_arguments_that_say_nothing(plane: ControlPlane, given: dict[str, Any], field: str | None) -> None:
    refusal = await refusal_of(plane, "list_databases", **given)
    assert refusal.refusal is Refusal.INVALID
    assert field is None or refusal.field == field


async def test_what_cannot_be_read_is_the_callers_mistake(plane: ControlPlane) -> None:
    odd = await refusal_of(plane, "list_databases", source={"url": "http://u:S3cret-word@h"})
    assert odd.refusal is Refusal.INVALID
    assert "S3cret-word" not in str(odd)
    nowhere = {"host": "127.0.0.1", "port": 1, "username": "u"}
    refusal = await refusal_of(plane, "preview_account", source=nowhere, objects=["a.b.c"])
    assert refusal.refusal is Refusal.INVALID
    assert "'a.b.c' in objects" in str(refusal)


async def test_a_channel_that_is_not_there(plane: ControlPlane) -> None:
    assert (await refusal_of(plane, "list_databases", channel_id="nix")).refusal is Refusal.NOT_FOUND


async def test_binlog_files_have_neither_databases_nor_accounts(plane: ControlPlane) -> None:
    files = {"url": "file:///tmp/binlog.000001"}
    administrator = {"username": "root", "password": "x"}
    for name, more in (
        ("list_databases", {}),
        ("list_tables", {}),
        ("preview_account", {}),
        ("create_account", {"administrator": administrator}),
    ):
        assert "binlog files" in str(await refusal_of(plane, name, source=files, **more))


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ({"host": "::1"}, (("::1", 3306),)),
        ({"host": "a, b:3307,[::1],[::2]:1", "port": 9}, (("a", 9), ("b", 3307), ("::1", 9), ("::2", 1))),
    ],
)
def test_an_address_made_of_parts_is_read_back(given: dict[str, Any], hosts: tuple[tuple[str, int], ...]) -> None:
    password = "p/?:@%#ü,\\"
    source = SourceArguments(
        username="u:@/?", password=Secret(password), kind="mariadb", tls="verify_ca", tls_ca="/a b?&.pem", **given
    )
    address = SourceAddress.parse(source.address().reveal())
    assert (address.user, address.password, address.hosts) == ("u:@/?", password, hosts)
    assert (address.scheme, address.tls, address.tls_ca) == ("mariadb", "verify_ca", "/a b?&.pem")


# ---- the account ----


async def test_an_account_is_previewed_made_remembered_and_to_be_taken_back(
    server: LiveServer, plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    database = server.fresh_database()
    user = f"bw_{database[-8:]}"
    source = parts(server, user, PASSWORD)
    administrator = {"username": server.root_user, "password": server.root_password}
    blind = await ask(plane, "preview_account", source=source, objects=[database])
    shown = await ask(plane, "preview_account", source=source, objects=[database], administrator=administrator)
    assert shown["statements"] == blind["statements"]
    assert shown["statements"][0].endswith(f"IDENTIFIED BY '{PLACEHOLDER}';")
    assert (shown["is_server_known"], blind["is_server_known"]) == (True, False)
    assert shown["exists"] is False
    assert shown["my_cnf"] == []
    made = await ask(plane, "create_account", source=source, objects=[database], administrator=administrator)
    try:
        assert made["account"] == shown["account"]
        assert (await ask(plane, "list_databases", source=source))["total"] == 1
        assert PASSWORD not in f"{shown}{made}{blind}{caplog.text}"
        refusal = await refusal_of(plane, "create_account", source=source, administrator=administrator)
        assert "exists already" in str(refusal)
        with_channels(plane, c=SourceArguments(**source | {"password": Secret(PASSWORD)}).address().reveal())
        assert await what_to_take_back(plane, "c") == (
            f"at {server.host}:{server.port}: DROP USER {made['account']};",
            f"in whitelist and firewall of {server.host}:{server.port}: the address of this machine, 127.0.0.1",
        )
    finally:
        server.execute(f"DROP USER {made['account']}")


async def test_an_account_that_was_made_and_cannot_be_remembered_is_told(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def create_account(*_: object) -> AccountPlan:
        return AccountPlan("'u'@'h'", False, "9.7.0", (), (), True, SeenFrom("h", ()))

    monkeypatch.setattr(plane.sources, "create_account", create_account)
    plane.catalog.close()
    source = {"host": "127.0.0.1", "username": "u", "password": PASSWORD}
    administrator = {"username": "root", "password": "r"}
    refusal = await refusal_of(plane, "create_account", source=source, administrator=administrator)
    assert refusal.refusal is Refusal.STORAGE_UNAVAILABLE
    assert str(refusal).startswith("the account 'u'@'h' was created, and no release will remind of it: ")


async def test_what_other_channels_use_is_not_taken_back(plane: ControlPlane) -> None:
    with_channels(plane, one="mysql://u:p@127.0.0.1:1", two="mysql://u:p@127.0.0.1:1", other="mysql://v:p@127.0.0.1:1")
    note_created(plane.catalog, "mysql://u@127.0.0.1:1", "'u'@'h'")
    note_created(plane.catalog, "mysql://u@127.0.0.1:1", "'u'@'h'")
    note_created(plane.catalog, "mysql://w@127.0.0.1:1", "'w'@'h'")
    assert await what_to_take_back(plane, "one") == ()
    with_channels(plane, one="mysql://u:p@127.0.0.1:1", other="mysql://v:p@127.0.0.1:1")
    assert await what_to_take_back(plane, "one") == ("at 127.0.0.1:1: DROP USER 'u'@'h';",)
    with_channels(plane, one="file:///x.000001")
    assert await what_to_take_back(plane, "one") == ()
    with pytest.raises(KeyError):
        await what_to_take_back(plane, "nix")
