"""The account that is made for a channel, on real servers: enough for the whole capture, and no more than that."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from capture import account, browse, precheck, whitelist
from capture.channel import ChannelSpec
from capture.checking import Outcome
from capture.errors import SourceRefused, SourceUnavailable
from capture.selection import object_text
from capture.source import ServerRefusal, SourceAddress, open_source
from capture.sql import quote_identifier, quote_string
from storage.clock import SystemClock
from tests.capture.world import World, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from capture.account import AccountPlan
    from capture.precheck import CheckResult
    from tests.live_server import LiveServer

PASSWORD = r"""N3w-"account'\%s"""
"""A password with all that would break out of a statement."""


def named(server: LiveServer, database: str) -> SourceAddress:
    """An address with an account that is not there yet; 16 characters are what MySQL 5.6 allows."""
    return replace(SourceAddress.parse(server.url()), user=f"bw_{database[-8:]}", password=PASSWORD)


def administrator(server: LiveServer) -> SourceAddress:
    return SourceAddress.parse(server.url(server.root_user, server.root_password))


@asynccontextmanager
async def made(server: LiveServer, address: SourceAddress, *objects: str) -> AsyncIterator[AccountPlan]:
    created = await account.create(address, objects, administrator=administrator(server))
    try:
        yield created
    finally:
        server.execute(f"DROP USER {created.account}")


async def check(address: SourceAddress, *objects: str) -> Sequence[CheckResult]:
    source = open_source(address, 4719, SystemClock())
    try:
        return await precheck.run(source, ChannelSpec("c", "t", address, 4719, objects))
    finally:
        await source.close()


def failed(results: Sequence[CheckResult]) -> set[str]:
    return {result.name for result in results if result.failed}


def not_passed(results: Sequence[CheckResult]) -> set[str]:
    return {result.name for result in results if result.outcome is not Outcome.PASSED}


# ---- enough, and no more ----


@pytest.mark.parametrize("is_whole", [True, False])
async def test_the_account_is_enough_and_each_of_its_grants_is_needed(every_server: LiveServer, is_whole: bool) -> None:
    server, database = every_server, every_server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    server.execute(f"CREATE TABLE {database}.other (id INT PRIMARY KEY)")
    server.execute(f"CREATE VIEW {database}.v AS SELECT 1")
    objects = (database,) if is_whole else (f"{database}.t",)
    address = named(server, database)
    async with made(server, address, *objects) as created:
        with_all = not_passed(await check(address, *objects))
        assert failed(await check(address, *objects)) == set()
        assert not any("privilege" in name for name in with_all)
        grants = [line for line in created.statements if line.startswith("GRANT")]
        privileges = [
            (privilege, place)
            for line in grants
            for privileges, place in re.findall(r"GRANT (.*) ON (.*) TO ", line)
            for privilege in privileges.split(", ")
        ]
        assert len(privileges) == 4
        for privilege, place in privileges:
            server.execute(f"REVOKE {privilege} ON {place} FROM {created.account}")
            lacking = not_passed(await check(address, *objects)) - with_all
            assert f"{privilege} privilege" in lacking
            server.execute(f"GRANT {privilege} ON {place} TO {created.account}")
        assert not_passed(await check(address, *objects)) == with_all


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_channel_captures_with_the_account(server: LiveServer, tmp_path: Path, is_whole: bool) -> None:
    """From the precheck over the snapshot to rows, a DDL statement and a table that is new."""
    database = server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    server.execute(f"CREATE TABLE {database}.other (id INT PRIMARY KEY)")
    objects = (database,) if is_whole else (f"{database}.t",)
    address = named(server, database)
    world = World(tmp_path, SystemClock())
    async with made(server, address, *objects):
        channel = world.channel(lambda: open_source(address, 4719, world.clock), *objects, start="now")
        async with running(channel):
            server.execute_all(
                f"INSERT INTO {database}.t VALUES (1)",
                f"ALTER TABLE {database}.t ADD COLUMN a INT",
                f"INSERT INTO {database}.t VALUES (2, 3)",
                f"CREATE TABLE {database}.later (id INT PRIMARY KEY)",
                f"INSERT INTO {database}.later VALUES (1)",
                f"DELETE FROM {database}.t",
            )
            await until(world, lambda: "DELETE" in world.operations())
    await world.close()
    carried = [name for name in world.operations() if name not in ("BEGIN", "COMMIT")]
    later = ["DDL", "INSERT"] if is_whole else ["DDL"]
    assert carried == ["INSERT", "DDL", "INSERT", *later, "DELETE", "DELETE"]


# ---- refusals ----


async def test_an_account_that_is_there_is_left_alone(server: LiveServer) -> None:
    database = server.fresh_database()
    address = named(server, database)
    async with made(server, address, database) as created:
        other = replace(address, password="An0ther-word")
        with pytest.raises(SourceRefused, match="exists already") as caught:
            await account.create(other, (database,), administrator=administrator(server))
        assert created.account in str(caught.value)
        assert failed(await check(address, database)) == set()
        shown = await account.plan(other, (database,), administrator=administrator(server))
        assert shown.exists
        assert not any("CREATE USER" in statement for statement in shown.statements)


async def test_an_account_that_could_not_log_in_is_taken_back(server: LiveServer) -> None:
    database = server.fresh_database()
    address = named(server, database)
    with pytest.raises(SourceRefused, match="dropped again"):
        await account.create(address, (database,), administrator=administrator(server), host="192.0.2.7")
    assert server.execute("SELECT COUNT(*) FROM mysql.user WHERE user = %s", (address.user,))[0][0] == 0


async def test_an_account_whose_grants_are_refused_is_taken_back(server: LiveServer) -> None:
    """By an administrator who may create users and pass nothing on."""
    database = server.fresh_database()
    address = named(server, database)
    weak = f"weak_{database[-8:]}"
    server.execute(f"CREATE USER {weak}@'%%' IDENTIFIED BY %s", (PASSWORD,))
    server.execute_all(
        f"GRANT CREATE USER, REPLICATION SLAVE ON *.* TO {weak}@'%'", f"GRANT SELECT ON mysql.* TO {weak}@'%'"
    )
    by = SourceAddress.parse(server.url(weak, PASSWORD))
    with pytest.raises(SourceRefused):
        await account.create(address, (database,), administrator=by)
    assert server.execute("SELECT COUNT(*) FROM mysql.user WHERE user = %s", (address.user,))[0][0] == 0
    server.execute(f"DROP USER {weak}@'%'")


async def test_an_administrator_who_is_none(server: LiveServer) -> None:
    database = server.fresh_database()
    wrong = replace(administrator(server), password="wrong")
    with pytest.raises(SourceRefused, match="denies access"):
        await account.create(named(server, database), (database,), administrator=wrong)


# ---- what is shown ----


async def test_no_password_is_shown_logged_or_raised(
    server: LiveServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("DEBUG")
    database = server.fresh_database()
    address = named(server, database)
    shown: list[Any] = [await account.plan(address, (database,), administrator=administrator(server))]
    async with made(server, address, database) as created:
        shown.append(created)
    monkeypatch.setattr(account, "_create_user", lambda name, password: f"CREATE USR '{password}'")
    monkeypatch.setattr(account, "_HASHES_UNKNOWN", (0,))
    monkeypatch.setattr(account, "_OPTION_PREVENTS_STATEMENT", 1064)
    monkeypatch.setattr(account, "_hash", lambda password: "'")
    with pytest.raises(SourceRefused) as caught:
        await account.create(replace(address, password="Pl4in-word"), (database,), administrator=administrator(server))
    assert "USR" in str(caught.value)
    told = f"{shown!r} {caught.value} {caplog.text}"
    for secret in (PASSWORD, "Pl4in-word"):
        assert secret not in told
    assert account.PLACEHOLDER in told


async def test_the_server_does_not_log_the_password(server: LiveServer) -> None:
    database = server.fresh_database()
    address = named(server, database)
    with server.global_variable("log_output", "TABLE"), server.global_variable("general_log", 1):
        async with made(server, address, database):
            rows = server.execute("SELECT argument FROM mysql.general_log")
    logged = [row[0].decode("utf-8", "replace") if isinstance(row[0], bytes) else str(row[0]) for row in rows]
    [created] = [statement for statement in logged if statement.startswith("CREATE USER") and address.user in statement]
    assert "N3w-" not in "".join(logged)
    assert "IDENTIFIED" in created


@pytest.mark.parametrize("version", ["5.7.44", "9.7.4"])
async def test_a_password_does_not_cross_a_network_in_clear_text(version: str) -> None:
    asked = []

    class Unencrypted:
        async def query(self, sql: str) -> list[tuple[str | None, ...]]:
            asked.append(sql)
            return [("Ssl_cipher", "")]

    source: Any = Unencrypted()
    address = SourceAddress.parse("mysql://new:N3w-word@192.0.2.7:3306")
    seen = whitelist.SeenFrom("192.0.2.1", ())
    planned = account.AccountPlan("'new'@'192.0.2.1'", False, version, ("CREATE USER …;",), (), True, seen)
    with pytest.raises(SourceRefused, match="clear text") as caught:
        await account._run(source, planned, address)
    assert "N3w-word" not in str(caught.value)
    assert not any("CREATE USER" in sql for sql in asked)
    near = replace(address, hosts=(("127.0.0.1", 3306),))
    await account._run(source, planned, near)
    assert "CREATE USER 'new'@'192.0.2.1' IDENTIFIED BY 'N3w-word'" in asked


async def test_a_mariadb_that_judges_passwords_is_given_them() -> None:
    """With strict_password_validation and a plugin for it, a hash is refused (sql/sql_acl.cc of 10.11)."""
    asked = []

    class Judging:
        async def query(self, sql: str) -> list[tuple[str | None, ...]]:
            asked.append(sql)
            if "BY PASSWORD" in sql:
                raise ServerRefusal("running with the --strict-password-validation option", 1290)
            return [("Ssl_cipher", "TLS_AES_256_GCM_SHA384")]

    source: Any = Judging()
    address = SourceAddress.parse("mysql://new:N3w-word@192.0.2.7:3306")
    seen = whitelist.SeenFrom("192.0.2.1", ())
    planned = account.AccountPlan("'new'@'192.0.2.1'", False, "10.11.6-MariaDB", ("CREATE USER …;",), (), True, seen)
    await account._run(source, planned, address)
    assert asked[1:] == [
        "CREATE USER 'new'@'192.0.2.1' IDENTIFIED BY PASSWORD '*" + account._hash("N3w-word")[1:] + "'",
        "CREATE USER 'new'@'192.0.2.1' IDENTIFIED BY 'N3w-word'",
    ]


async def test_without_an_administrator_the_refusal_tells_enough(server: LiveServer) -> None:
    database = server.fresh_database()
    shown = await account.plan(named(server, database), (f"{database}.t",))
    by_administrator = await account.plan(
        named(server, database), (f"{database}.t",), administrator=administrator(server)
    )
    assert not shown.is_server_known
    assert shown.account == by_administrator.account
    assert shown.statements == by_administrator.statements
    assert shown.my_cnf[0] == "[mysqld]"
    assert "log_bin = binlog" in shown.my_cnf


async def test_the_lines_that_a_server_lacks(server: LiveServer) -> None:
    address = named(server, server.fresh_database())
    complete = await account.plan(address, (), administrator=administrator(server))
    assert complete.my_cnf == ()
    with server.global_variable("binlog_format", "MIXED"), server.global_variable("binlog_row_image", "MINIMAL"):
        lacking = await account.plan(address, (), administrator=administrator(server))
    assert lacking.my_cnf == ("[mysqld]", "binlog_format = ROW", "binlog_row_image = FULL")
    variable, value, line = {
        "mysql56": ("expire_logs_days", 0, None),
    }.get(server.kind, ("binlog_expire_logs_seconds", 3600, "binlog_expire_logs_seconds = 86400"))
    with server.global_variable(variable, value):
        assert (await account.plan(address, (), administrator=administrator(server))).my_cnf == (
            () if line is None else ("[mysqld]", line)
        )


async def test_a_server_without_a_binlog_lacks_it(server_factory: Callable[..., LiveServer]) -> None:
    server = await asyncio.to_thread(server_factory, "mysql56", "--skip-log-bin")
    lacking = await account.plan(named(server, "shop_shop"), (), administrator=administrator(server))
    assert lacking.my_cnf == ("[mysqld]", "log_bin = binlog")


async def test_a_source_that_cannot_be_reached(server: LiveServer) -> None:
    gone = replace(named(server, "shop_shop"), hosts=(("127.0.0.1", 1),))
    with pytest.raises(SourceUnavailable):
        await account.plan(gone, ())


# ---- hostile names ----


async def test_a_name_with_wildcards_grants_no_other_database(server: LiveServer) -> None:
    odd, neighbour = server.fresh_database(), server.fresh_database()
    name, like = f"{odd[:-4]}_%`x\\", f"{odd[:-4]}aaa`x\\"
    for database in (name, like):
        server.execute(f"CREATE DATABASE {quote_identifier(database)}")
        server.execute(f"CREATE TABLE {quote_identifier(database)}.t (id INT PRIMARY KEY)")
    address = named(server, neighbour)
    try:
        async with made(server, address, object_text(name)):
            assert failed(await check(address, object_text(name))) == set()
            assert "SELECT privilege" in failed(await check(address, object_text(like)))
            source = open_source(address, 4719, SystemClock())
            assert [found.name for found in (await browse.databases(source, "", 0, 10))[1]] == [name]
            await source.close()
    finally:
        for database in (name, like):
            server.execute(f"DROP DATABASE {quote_identifier(database)}")


async def test_a_user_name_that_would_end_its_text(server: LiveServer) -> None:
    database = server.fresh_database()
    address = replace(named(server, database), user="o'x\\ `;--")
    async with made(server, address, database):
        assert failed(await check(address, database)) == set()


# ---- where the server sees us ----


@pytest.mark.parametrize(
    ("sentence", "host"),
    [
        ("denies access: Access denied for user 'x'@'10.0.0.5' (using password: YES)", "10.0.0.5"),
        ("denies access: Access denied for user 'a'@'b'@'db.example' (using password: NO)", "db.example"),
        ("answered: Host '10.0.0.6' is not allowed to connect to this MySQL server", "10.0.0.6"),
        ("Host '::1' is blocked because of many connection errors", "::1"),
        ("cannot be reached", None),
    ],
)
async def test_a_refusal_tells_where_the_server_sees_us(sentence: str, host: str | None) -> None:
    address = SourceAddress.parse("mysql://u:p@127.0.0.1:3306")
    seen = await whitelist.denied_from(sentence, address)
    assert seen.host == host
    assert seen.local == ("127.0.0.1",)
    assert seen.admitted[-1] == "127.0.0.1"


async def test_a_host_that_has_no_address_tells_nothing() -> None:
    address = SourceAddress.parse("mysql://u:p@no-such-host.invalid:3306")
    assert str(await whitelist.denied_from("", address)) == "an address that is not known"


# ---- what the precheck says of it ----


async def test_the_precheck_names_the_address_that_the_source_must_admit(server: LiveServer) -> None:
    results = await check(SourceAddress.parse(server.url()), server.fresh_database())
    [item] = [result for result in results if result.name == "whitelist address"]
    [(user,)] = server.execute("SELECT USER()")
    assert item.outcome is Outcome.PASSED
    assert f"sees this machine as {user.rpartition('@')[2]}" in item.found


async def test_a_refused_login_is_mended_by_its_remedy(server: LiveServer) -> None:
    database = server.fresh_database()
    address = named(server, database)
    [result] = await check(address, database)
    assert result.outcome is Outcome.FAILED
    assert f"user = {quote_string(address.user)};" in (result.remedy or "")
    create_user = (result.remedy or "").splitlines()[1].rstrip(";")
    server.execute(create_user.replace(account.PLACEHOLDER, PASSWORD.replace("\\", "\\\\").replace("'", "''")))
    try:
        assert (await check(address, database))[0].outcome is Outcome.PASSED
        if server.kind != "mysql56":
            server.execute(f"ALTER USER {create_user.split()[2]} ACCOUNT LOCK")
            [result] = await check(address, database)
            statements = (result.remedy or "").replace("'…'", create_user.split()[2].rpartition("@")[2])
            server.execute(statements.splitlines()[-1].rstrip(";"))
            assert (await check(address, database))[0].outcome is Outcome.PASSED
    finally:
        server.execute(f"DROP USER {create_user.split()[2]}")


async def test_a_source_that_does_not_answer_is_told_which_address_to_admit() -> None:
    [result] = await check(SourceAddress.parse("mysql://u:p@127.0.0.1:1"), "shop")
    assert "have the source's whitelist and firewall admit 127.0.0.1" in (result.remedy or "")
